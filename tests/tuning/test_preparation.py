"""The life of a run, with its trials in this process instead of Ray's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from sltune.errors import Interrupted, SltuneError, UsageError
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.settings.space import Space, parse_space
from sltune.tuning import preparation
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.execution.worker import TrialWorker
from sltune.tuning.preparation import resume, start
from sltune.tuning.tune import Tune
from tests.small import quick
from tests.tuning.in_process import QUIET, REQUEST, OneNode, train_in_process
from tests.written_runs import write_run


class Calls(dict[str, int]):
    """Counts the calls of what a run does once."""

    def count(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        call: Callable[..., Any] = getattr(preparation, name)

        def counted(*arguments: Any, **more: Any) -> Any:
            self[name] = self.get(name, 0) + 1
            return call(*arguments, **more)

        monkeypatch.setattr(preparation, name, counted)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Run trials one after the other in this process; return how often each step of a run was taken."""

    train_in_process(monkeypatch)
    made = Calls()
    for name in ("read_manifest", "connected", "locked", "write_info", "remember"):
        made.count(monkeypatch, name)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def evaluated() -> Space:
    return Space.of(quick(evaluation__folds=2))


def searched() -> Space:
    tables = quick(evaluation__folds=2).model_dump(mode="json")
    tables["neuron"]["decay"] = {"low": 0.1, "high": 0.9}
    tables["search"] = {"trials": 2, "sampler": "random", "fold_pruner": "none"}
    return parse_space(tomlkit.dumps(tables), "test")


@pytest.mark.parametrize("kind", [lambda: Evaluate(evaluated()), lambda: Tune(searched())])
def test_each_step_of_a_run_is_taken_once(
    folder: RunFolder, dataset: Path, calls: Calls, kind: Callable[[], preparation.Kind]
) -> None:
    start(kind(), dataset, folder, REQUEST, QUIET)
    assert calls == {"read_manifest": 1, "connected": 1, "locked": 1, "write_info": 1}
    calls.clear()
    records = folder.records()
    assert {record.status for record in records} == {"done"}
    # All is done: nothing is connected to.
    resume(kind(), folder, None, REQUEST, QUIET)
    assert calls == {"read_manifest": 1, "locked": 1, "remember": 1}
    assert folder.records() == records


def test_a_run_that_was_stopped_goes_on_where_it_was(
    folder: RunFolder, dataset: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trial has two epochs and its end; the second one is stopped after its first epoch."""
    step, steps = TrialWorker.step, list[int]()

    def stopped(self: TrialWorker) -> dict[str, Any]:
        if len(steps) == 4:
            raise KeyboardInterrupt
        steps.append(1)
        return step(self)

    monkeypatch.setattr(TrialWorker, "step", stopped)
    with pytest.raises(Interrupted, match="1 of 2 trials have ended; go on with"):
        start(Evaluate(evaluated()), dataset, folder, REQUEST, QUIET)
    calls.clear()
    steps.clear()
    resume(Evaluate(evaluated()), folder, None, REQUEST, QUIET)
    assert len(steps) == 2
    assert calls == {"read_manifest": 1, "connected": 1, "locked": 1, "remember": 1}
    assert [(record.fold, record.status) for record in folder.records()] == [(0, "done"), (1, "done")]


def test_a_run_that_began_while_ray_started_is_refused(
    folder: RunFolder, dataset: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_nodes = OneNode.first

    def another_process_begins(self: OneNode) -> list[Any]:
        folder.root.mkdir()
        folder.run_json.write_text('{"schema": 1}')
        return first_nodes(self)

    monkeypatch.setattr(OneNode, "first", another_process_begins)
    with pytest.raises(UsageError, match="this run exists; go on with it by: sltune resume"):
        start(Evaluate(evaluated()), dataset, folder, REQUEST, QUIET)
    assert folder.run_json.read_text() == '{"schema": 1}'


@pytest.mark.parametrize(
    ("is_run", "said"), [(True, "no configuration that this search can learn"), (False, "a run folder")]
)
def test_an_earlier_run_that_cannot_be_used_is_refused_before_anything_is_written(
    folder: RunFolder, dataset: Path, calls: Calls, tmp_path: Path, is_run: bool, said: str
) -> None:
    earlier = RunFolder(write_run(tmp_path / "earlier", []) if is_run else tmp_path / "missing")
    with pytest.raises(SltuneError, match=said):
        start(Tune(searched(), earlier=earlier), dataset, folder, REQUEST, QUIET)
    assert not folder.root.exists()
    assert calls == {"read_manifest": 1}


def test_how_to_go_on_is_said_before_the_first_trial_and_before_ray_starts_anew(
    folder: RunFolder, dataset: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[bool]()

    def announce(self: Display, root: str, resume: str) -> None:
        seen.append("connected" in calls)
        assert folder.run_json.exists()
        assert not folder.trials.exists()
        assert resume == f"sltune resume {folder.root}"

    monkeypatch.setattr(Display, "announce", announce)
    start(Evaluate(evaluated()), dataset, folder, REQUEST, QUIET)
    shutil.rmtree(folder.trials)
    calls.clear()
    resume(Evaluate(evaluated()), folder, None, REQUEST, QUIET)
    assert seen == [True, False]


@pytest.mark.processes
def test_ray_starts_before_torch_and_tune_are_imported() -> None:
    """Ray mostly waits while it starts, and they take as long to import."""
    script = "import sys, sltune.tuning.evaluate; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "sltune.tuning.preparation" in loaded
    assert not {"torch", "ray.tune", "pandas"} & set(loaded)

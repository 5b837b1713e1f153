"""Runs sent to trackers of experiments; made-up ones here, the real ones in test_trackers.py."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from tests.written_runs import make_record, write_run

EPOCHS = "epoch,train_loss,val_accuracy,seconds\n1,1.5,0.25,3\n2,1.25,0.5,3\n"


def publish(run: Path, target: str = "mlflow:http://localhost:1") -> Result:
    return CliRunner().invoke(main, ["publish", str(run), "--to", target])


@dataclass
class FakeRun:
    """A run as MLflow's client gives it, with its figures as they were sent."""

    run_id: str
    name: str
    tags: dict[str, str]
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    figures: list[tuple[str, int, float]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def info(self) -> Any:
        return SimpleNamespace(run_id=self.run_id)

    @property
    def data(self) -> Any:
        return SimpleNamespace(tags=dict(self.tags), params=self.params, metrics={key: 0.0 for key, *_ in self.figures})


class FakeClient:
    """As much of MLflow's client as is used; it dies after so many calls that write."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.left = math.inf
        self.created = 0

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name, lifecycle_stage="active")

    def search_runs(self, experiments: list[str], words: str, **options: Any) -> Any:
        class Page(list[FakeRun]):
            token = None

        return Page(run for run in self.runs.values() if run.tags["sltune.run"] == words.split("'")[1])

    def create_run(self, experiment: str, start_time: int | None, tags: dict[str, str], run_name: str) -> FakeRun:
        self.write()
        self.created += 1
        made = FakeRun(f"id{self.created}", run_name, dict(tags))
        return self.runs.setdefault(made.run_id, made)

    def delete_run(self, run_id: str) -> None:
        self.write()
        del self.runs[run_id]

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        self.write()
        assert len(metrics) <= 1000
        assert max(len(params), len(tags)) <= 100
        run = self.runs[run_id]
        run.figures += [(key, step, value) for key, value, _, step in metrics]
        run.tags |= dict(tags)
        assert not run.params.items() - (run.params | dict(params)).items(), "MLflow does not change params"
        run.params |= dict(params)

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        return [SimpleNamespace(step=step, value=x) for name, step, x in self.runs[run_id].figures if name == key]

    def log_text(self, run_id: str, text: str, name: str) -> None:
        self.write()
        self.runs[run_id].files[name] = text

    def update_run(self, run_id: str, status: str) -> None:
        self.set_terminated(run_id, status, 0)

    def set_terminated(self, run_id: str, status: str, when: int) -> None:
        self.write()
        self.runs[run_id].status = status

    def write(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("the server is gone")

    def named(self, name: str) -> FakeRun:
        (found,) = [run for run in self.runs.values() if run.name == name]
        return found

    @property
    def content(self) -> list[tuple[Any, ...]]:
        """All that is in it, apart from the ids of runs."""
        names = {run.run_id: run.name for run in self.runs.values()}
        parent = "mlflow.parentRunId"
        return sorted(
            (
                run.name,
                sorted(run.figures),
                sorted((run.tags | {parent: names.get(run.tags.get(parent, ""), "")}).items()),
            )
            for run in self.runs.values()
        )


class FakeWandbRun:
    """As much of a run of W&B's, online, as is used; it refuses steps that it has, as W&B does."""

    offline, entity, project = False, "team", "signs"

    def __init__(self, id: str, group: str, there: dict[str, FakeWandbRun]) -> None:
        self.id, self.group, self.there = id, group, there
        self.rows: dict[int, float] = {}
        self.summary: dict[str, float] = {}

    @property
    def starting_step(self) -> int:
        return max(self.rows, default=-1) + 1

    def log(self, row: dict[str, float], step: int) -> None:
        assert step >= self.starting_step
        self.rows[step] = row["accuracy/val"]

    def log_artifact(self, artifact: FakeArtifact) -> None:
        assert artifact.texts == {"report.html": "paper"}

    def finish(self, exit_code: int) -> None:
        assert exit_code == 0

    def delete(self) -> None:
        del self.there[self.id]


class FakeArtifact:
    """A file of W&B's that goes with a run."""

    def __init__(self, name: str, type: str) -> None:
        self.texts: dict[str, str] = {}

    @contextmanager
    def new_file(self, name: str) -> Iterator[StringIO]:
        file = StringIO()
        yield file
        self.texts[name] = file.getvalue()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    made = FakeClient()
    entities = SimpleNamespace(Metric=lambda *values: values, Param=lambda *pair: pair, RunTag=lambda *pair: pair)
    library = SimpleNamespace(MlflowClient=lambda tracking_uri: made, entities=entities)
    monkeypatch.setitem(sys.modules, "mlflow", library)
    # To draw and write the page takes seconds.
    monkeypatch.setattr("sltune.report.publishing.trackers._files", lambda run: {"report.html": run.name})
    # What is set for the process is taken back.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return made


def write(folder: Path, folds: int = 3, planned: int = 3, **info: Any) -> Path:
    records = [make_record(fold, 0.5 + 0.125 * fold, best_epoch=2) for fold in range(folds)]
    run = write_run(folder, records, [f"c0000-f{fold}-s0" for fold in range(planned)], host="h", **info)
    for fold in range(folds):
        (run / f"trials/c0000-f{fold}-s0/epochs.csv").write_text(EPOCHS)
    return run


def test_configurations_are_parents_of_their_trials_with_epochs_results_and_settings(
    client: FakeClient, tmp_path: Path
) -> None:
    result = publish(write(tmp_path / "paper", git_commit="abc123", versions={"torch": "2.13.0"}))
    assert (result.exit_code, result.stderr) == (0, "published: paper, 4 configurations and trials\n")
    parent, trial = client.named("paper/c0000"), client.named("paper/c0000-f1-s0")
    assert trial.tags["mlflow.parentRunId"] == parent.run_id
    assert "mlflow.parentRunId" not in parent.tags
    assert sorted(trial.figures) == [
        ("accuracy/val", 1, 0.25), ("accuracy/val", 2, 0.5),
        ("final/best_epoch", 2, 2.0), ("final/test_accuracy", 2, 0.625), ("final/val_accuracy", 2, 0.625),
        ("loss/train", 1, 1.5), ("loss/train", 2, 1.25),
    ]  # fmt: skip
    # 0.5, 0.625 and 0.75: their deviation with ddof 1 is an eighth.
    assert {("mean/test_accuracy", 3, 0.625), ("std/test_accuracy", 3, 0.125), ("trials", 3, 3.0)} <= set(
        parent.figures
    )
    assert parent.params == trial.params
    assert parent.params["evaluation.protocol"] == "train-val-test"
    assert json.loads(parent.params["evaluation.sessions"]) == ["S1", "S2", "S3", "S4"]
    told = {"sltune.fold": "1", "sltune.seed": "0", "sltune.status": "done", "sltune.git_commit": "abc123"}
    assert told.items() | {("sltune.fingerprint", "f" * 64), ("sltune.version.torch", "2.13.0")} <= trial.tags.items()
    assert (parent.status, trial.status) == ("FINISHED", "FINISHED")
    assert (parent.files, trial.files) == ({"report.html": "paper"}, {})


def test_published_again_nothing_is_sent_and_further_trials_join_the_same_runs(
    client: FakeClient, tmp_path: Path
) -> None:
    first = publish(write(tmp_path / "paper", folds=2))
    assert "paper is not finished: 1 of 3 trials have no result yet" in first.stderr
    ids = set(client.runs)
    again = publish(tmp_path / "paper")
    assert "published: paper, 0 configurations and trials; 3 were there already" in again.stderr
    publish(write(tmp_path / "paper"))
    assert (len(client.runs), client.created) == (4, 4)
    assert ids < set(client.runs)
    figures = client.named("paper/c0000").figures
    assert [step for name, step, _ in figures if name == "mean/test_accuracy"] == [2, 3]
    assert len(figures) == len(set(figures))


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5, 8, 13])
def test_publishing_that_was_killed_ends_in_the_same_runs(client: FakeClient, tmp_path: Path, calls: int) -> None:
    run = write(tmp_path / "paper")
    client.left = calls
    failed = publish(run)
    assert failed.exit_code == 2
    assert "mlflow:http://localhost:1: does not take the run: the server is gone; mend that" in failed.stderr
    client.left = math.inf
    assert publish(run).exit_code == 0
    killed, client.runs = client.content, {}
    assert publish(run).exit_code == 0
    assert client.content == killed


def test_a_trial_that_was_repeated_replaces_what_is_there(client: FakeClient, tmp_path: Path) -> None:
    run = write(tmp_path / "paper")
    publish(run)
    (run / "trials/c0000-f1-s0/epochs.csv").write_text(EPOCHS.replace("0.25", "0.375"))
    (run / "trials/c0000-f1-s0/record.json").write_text(json.dumps(make_record(1, 0.25, best_epoch=2)))
    publish(run)
    assert len(client.runs) == 4
    parent = client.named("paper/c0000")
    assert [value for name, _, value in parent.figures if name == "mean/test_accuracy"] == [0.5]
    assert {run.tags["mlflow.parentRunId"] for run in client.runs.values() if run is not parent} == {parent.run_id}
    figures = client.named("paper/c0000-f1-s0").figures
    assert [point for point in figures if point[:2] == ("accuracy/val", 1)] == [("accuracy/val", 1, 0.375)]


def test_runs_of_the_same_name_are_kept_apart(client: FakeClient, tmp_path: Path) -> None:
    publish(write(tmp_path / "a" / "paper"))
    publish(write(tmp_path / "b" / "paper", command=["sltune", "evaluate", "other.toml"]))
    assert len(client.runs) == 8


def test_a_trial_without_a_record_has_its_epochs_and_a_failed_one_its_reason(
    client: FakeClient, tmp_path: Path
) -> None:
    failed = make_record(0, status="failed", error="Traceback\n/home/ann/x.py: no memory")
    run = write_run(tmp_path / "paper", [failed], ["c0000-f0-s0", "c0000-f1-s0"], host="h")
    (run / "trials/c0000-f1-s0").mkdir()
    (run / "trials/c0000-f1-s0/epochs.csv").write_text(EPOCHS)
    assert publish(run).exit_code == 0
    broken, begun = client.named("paper/c0000-f0-s0"), client.named("paper/c0000-f1-s0")
    assert (broken.status, broken.tags["sltune.error"]) == ("FAILED", "x.py: no memory")
    assert (begun.status, begun.tags["sltune.status"], len(begun.figures)) == ("RUNNING", "unfinished", 4)
    assert client.named("paper/c0000").figures == [("trials", 0, 0.0)]


def test_wandb_has_a_repeated_trial_once_and_keeps_runs_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: dict[str, FakeWandbRun] = {"strange": FakeWandbRun("strange", "paper/c0000", {})}

    def init(*, id: str, group: str, **others: Any) -> FakeWandbRun:
        return there.setdefault(id, FakeWandbRun(id, group, there))

    library = SimpleNamespace(
        init=init,
        Settings=type("Settings", (), {"model_fields": {}}),
        Artifact=FakeArtifact,
        Api=lambda: SimpleNamespace(
            runs=lambda place, filters: [one for one in there.values() if one.group == filters["group"]]
        ),
    )
    monkeypatch.setitem(sys.modules, "wandb", library)
    monkeypatch.setattr("sltune.report.publishing.trackers._files", lambda run: {"report.html": run.name})
    run = write(tmp_path / "paper")
    assert publish(run, "wandb:team/signs").exit_code == 0
    first = dict(there)
    assert publish(run, "wandb:team/signs").exit_code == 0
    assert there == first
    assert len(there) == 5
    (run / "trials/c0000-f1-s0/epochs.csv").write_text(EPOCHS.replace("0.25", "0.375"))
    assert publish(run, "wandb:team/signs").exit_code == 0
    assert (len(there), len(there.keys() & first.keys())) == (5, 4)
    (new,) = there.keys() - first.keys()
    assert there[new].rows == {1: 0.375, 2: 0.5}
    assert "strange" in there


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("mlflow", "--to mlflow: must be mlflow:URI or wandb:PROJECT"),
        ("neptune:x", "--to neptune:x: must be mlflow:URI or wandb:PROJECT"),
        ("mlflow:http://ann:secret@host", "a password or key must not stand on the command line"),
        ("wandb:x", "pip install 'sltune[wandb]'"),
    ],
)
def test_targets_that_cannot_be_used_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    refused = publish(write(tmp_path / "paper"), target)
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert "secret" not in refused.stderr

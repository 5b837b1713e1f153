"""Seeds are added to an evaluation, and some of its folds trained before others, with trials in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sltune.cli.main import main
from sltune.errors import DataError, Interrupted
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.record import TrialKey
from sltune.settings.space import Space, load_space
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.preparation import resume, start
from sltune.tuning.reuse import configuration_of
from sltune.tuning.trial.job import Job
from tests.small import quick
from tests.tuning.in_process import QUIET, REQUEST, train_in_process
from tests.written_runs import make_record, write_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    train_in_process(monkeypatch)
    return RunFolder(tmp_path / "run")


def space(*seeds: int) -> Space:
    return Space.of(quick(evaluation__folds=2, evaluation__seeds=seeds, training__epochs=1))


def on_disk(folder: RunFolder) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in folder.trials.glob("*/record.json")}


def measured(folder: RunFolder) -> dict[str, object]:
    return {record.key.name: (record.status, record.splits, record.metrics) for record in folder.records()}


def test_a_run_that_grows_has_the_trials_that_it_would_have_had_from_the_start(
    folder: RunFolder, dataset: Path
) -> None:
    start(Evaluate(space(0)), dataset, folder, REQUEST, QUIET)
    before = on_disk(folder)
    resume(Evaluate(space(0, 1, 2)), folder, None, REQUEST, QUIET)
    whole = RunFolder(folder.root.with_name("whole"))
    start(Evaluate(space(0, 1, 2)), dataset, whole, REQUEST, QUIET)
    assert before.items() <= on_disk(folder).items()
    assert measured(folder) == measured(whole)
    assert read_info(folder).trials == read_info(whole).trials
    assert folder.space_toml.read_text() == whole.space_toml.read_text()
    # A new run takes all seeds from it, also where the first record knows of one only.
    assert configuration_of(folder, "c0000").evaluation.seeds == (0, 1, 2)
    # And it goes on without being told of the seeds again.
    resume(Evaluate(load_space(folder.space_toml)), folder, None, REQUEST, QUIET)


@pytest.mark.parametrize("killed_at", ["space.toml", "run.json", "trial"])
def test_a_run_that_is_killed_while_it_grows_goes_on(
    folder: RunFolder, dataset: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    start(Evaluate(space(0)), dataset, folder, REQUEST, QUIET)
    write = RunFolder.write

    def killed(self: RunFolder, file: Path, content: str | bytes | memoryview) -> None:
        write(self, file, content)
        if killed_at in (file.name, "trial" if "-s1" in str(file) else ""):
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write", killed)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        resume(Evaluate(space(0, 1)), folder, None, REQUEST, QUIET)
    monkeypatch.setattr(RunFolder, "write", write)
    resume(Evaluate(load_space(folder.space_toml)), folder, None, REQUEST, QUIET)
    assert sorted(on_disk(folder)) == ["c0000-f0-s0", "c0000-f0-s1", "c0000-f1-s0", "c0000-f1-s1"]
    assert len(read_info(folder).trials or ()) == 4


def test_a_trial_under_way_goes_on_from_its_checkpoint_when_seeds_are_added() -> None:
    key = TrialKey("c0000", 0, 0)
    one, two = (Job(key, space(*seeds).configuration(), (16, 16), 2) for seeds in ((0,), (0, 1)))
    assert one.fingerprint() == two.fingerprint()


def test_folds_are_trained_one_after_the_other(folder: RunFolder, dataset: Path) -> None:
    start(Evaluate(space(0)), dataset, folder, REQUEST, QUIET)
    resume(Evaluate(space(0, 1), folds=[1]), folder, None, REQUEST, QUIET)
    assert sorted(on_disk(folder)) == ["c0000-f0-s0", "c0000-f1-s0", "c0000-f1-s1"]
    assert len(read_info(folder).trials or ()) == 4
    resume(Evaluate(space(0, 1)), folder, None, REQUEST, QUIET)
    assert len(on_disk(folder)) == 4


@pytest.mark.parametrize("old", [False, True])
def test_a_space_without_a_seed_of_the_run_is_refused(folder: RunFolder, dataset: Path, old: bool) -> None:
    start(Evaluate(space(0, 1)), dataset, folder, REQUEST, QUIET)
    if old:
        described = json.loads(folder.run_json.read_text())
        folder.run_json.write_text(json.dumps({**described, "space": None}))
    said = "planned with 2 folds of the seeds .0, 1" if old else r"evaluation\.seeds = \[1, 2\] instead of \[0, 1\]"
    folder.space_toml.write_text(space(1, 2).to_toml())
    with pytest.raises(DataError, match=said):
        resume(Evaluate(space(1, 2)), folder, None, REQUEST, QUIET)


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        ("evaluate", ["--seeds", "1,2"], "--seeds 1,2: {run} has trials of the seeds 0, and none are taken away; name "
         "all seeds: --seeds 0,1,2"),
        ("evaluate", ["--seeds", "0,x"], "--seeds must be whole numbers with commas between, such as 0,1,2, but got"),
        ("evaluate", ["--seeds", "0,0"], "evaluation.seeds"),
        ("evaluate", ["--folds", "0,2"], "--folds 0,2: {run} has the folds 0 to 1; another number of folds is another "
         "split, which takes a new run: sltune evaluate … --set evaluation.folds=N"),
        ("tune", ["--seeds", "0,1"], "--seeds 0,1: {run} is a search, whose seeds and folds stay as they are; its best "
         "configuration can have others: sltune evaluate --from {run} --data DATA --set 'evaluation.seeds=[0, 1]'"),
    ],
)  # fmt: skip
def test_what_a_run_cannot_grow_by_is_refused_with_what_can_be_done(
    tmp_path: Path, kind: str, flags: list[str], said: str
) -> None:
    run = write_run(tmp_path / "run", [make_record(0, 0.5)], kind=kind)
    (run / "space.toml").write_text(space(0).to_toml())
    result = CliRunner().invoke(main, ["resume", str(run), *flags])
    assert result.exit_code == 2
    assert said.format(run=run) in result.stderr

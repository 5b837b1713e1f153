"""A run that goes on is the one that was begun: its name, its space, its data and its folds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sltune.errors import DataError
from sltune.events.dataset import open_dataset
from sltune.events.manifest import read_manifest
from sltune.events.splits.parts import Split
from sltune.events.splits.split import split_of
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, RunInfo, new_info, resume_command, run_name, write_info
from sltune.runs.plan import steps_of, trials_of
from sltune.runs.record import DatasetInfo, TrialKey
from sltune.settings.space import Space, load_space, parse_space
from sltune.tuning import preparation
from sltune.tuning.campaign.campaign import evaluation_campaign
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import export_folds, refuse_other_space, refuse_other_splits
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.trial.report import Report
from tests.small import quick

QUIET = Display(Console(stderr=True), "quiet")
DATASET = DatasetPlace(name="x", synthetic=True, fingerprint="f", classes=("a",))
SEARCH = "[evaluation]\nfolds = 2\n[neuron]\ndecay = { low = 0.0, high = 1.0 }\n[search]\ntrials = 3\n"


def begin(folder: RunFolder, space: Space, data: Path, old: bool = False) -> None:
    """Write what an evaluation has written before its first trial; old: as versions did that wrote less of it."""
    folder.root.mkdir()
    folder.space_toml.write_text(space.to_toml())
    dataset = DatasetPlace.at(data, read_manifest(data))
    checkpoints = Request(device="cpu").checkpoints_of("run")
    info = new_info(folder, space.to_toml(), dataset, checkpoints, steps_of(space.evaluation))
    if old:
        dataset = info.dataset.model_copy(update={"sensor": None, "recording_order": None})
        info = info.model_copy(update={"dataset": dataset, "space": None})
    write_info(folder, info)


def split(space: Space, data: Path, fold: int) -> Split:
    return split_of(space.configuration(), open_dataset(data).samples.recordings(), fold, 0)


def train(folder: RunFolder, space: Space, data: Path, tested: dict[int, tuple[str, ...]] | None = None) -> None:
    """Write the record of every trial, with the parts of its fold or others to be tested on."""
    planned = trials_of(space.configuration())
    campaign = evaluation_campaign(folder, space.configuration(), DatasetInfo.of(read_manifest(data)), planned)
    for key in planned:
        parts = split(space, data, key.fold)
        test = (tested or {}).get(key.fold, parts.test)
        parts = Split(parts.train, parts.val, test)
        campaign.finish(key, Report("done", split=parts, metrics={"test_accuracy": 0.5}))


def resume(folder: RunFolder) -> None:
    preparation.resume(Evaluate(load_space(folder.space_toml)), folder, None, Request(device="cpu"), QUIET)


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def space() -> Space:
    return Space.of(quick(evaluation__folds=4))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("old", [False, True])
def test_a_run_with_all_its_records_is_over_whichever_version_began_it(
    folder: RunFolder, space: Space, dataset: Path, old: bool
) -> None:
    begin(folder, space, dataset, old)
    train(folder, space, dataset)
    resume(folder)


def test_data_in_another_order_are_other_data(folder: RunFolder, space: Space, dataset: Path) -> None:
    """The events, and so the fingerprint, are the same; the folds would not be."""
    begin(folder, space, dataset)
    files = json.loads((dataset / "manifest.json").read_text())["files"]
    change(dataset / "manifest.json", files=files[::-1])
    with pytest.raises(DataError, match=r"these differ: order of recordings \(from which folds are drawn\)"):
        resume(folder)


@pytest.mark.parametrize(
    ("name", "value"), [("sensor", [32, 16]), ("classes", ["right", "left"]), ("fingerprint", "0" * 64)]
)
def test_data_of_which_frames_or_classes_differ_are_other_data(
    folder: RunFolder, space: Space, dataset: Path, name: str, value: object
) -> None:
    begin(folder, space, dataset)
    change(dataset / "manifest.json", **{name: value})
    with pytest.raises(DataError, match=f"data: is not the dataset of .*run; these differ: {name}$"):
        resume(folder)


def test_folds_that_test_a_signer_twice_are_refused(folder: RunFolder, space: Space, dataset: Path) -> None:
    """As when somebody has reordered the data of a run that an older version began."""
    begin(folder, space, dataset, old=True)
    first = split(space, dataset, 0).test
    train(folder, space, dataset, {1: first})
    with pytest.raises(
        DataError, match=f"c0000-f0-s0 and c0000-f1-s0 are both tested on {first[0]}: they are no folds"
    ):
        resume(folder)


def test_folds_that_leave_a_signer_untested_are_refused(folder: RunFolder, space: Space, dataset: Path) -> None:
    begin(folder, space, dataset)
    left = split(space, dataset, 2).test[1:]
    train(folder, space, dataset, {2: left})
    with pytest.raises(DataError, match="is not in exactly one test part of c0000 with seed 0"):
        resume(folder)


def test_a_record_of_other_data_is_refused(folder: RunFolder, space: Space, dataset: Path) -> None:
    begin(folder, space, dataset)
    train(folder, space, dataset)
    file = folder.trial(TrialKey("c0000", 0, 3)).path / "record.json"
    change(file, dataset={**json.loads(file.read_text())["dataset"], "fingerprint": "0" * 64})
    with pytest.raises(DataError, match="the record of c0000-f3-s0 is of other data"):
        resume(folder)


def test_trials_that_have_ended_had_the_parts_that_their_folds_have_now(
    folder: RunFolder, space: Space, dataset: Path
) -> None:
    begin(folder, space, dataset)
    train(folder, space, dataset)
    splits = {(0, fold): split(space, dataset, fold) for fold in range(4)}
    refuse_other_splits(folder.records(), splits)
    one = splits[0, 1]
    splits[0, 1] = Split(one.train, one.val, one.test[::-1])
    with pytest.raises(DataError, match="the record of c0000-f1-s0 has another test part than its fold would have now"):
        refuse_other_splits(folder.records(), splits)


def test_fold_lists_of_another_order_are_kept_and_the_run_refused(
    folder: RunFolder, space: Space, dataset: Path
) -> None:
    """They are there before the first record, and in runs of older versions, too."""
    begin(folder, space, dataset)
    names = tuple(recording.name for recording in open_dataset(dataset).samples.recordings())
    parts = split(space, dataset, 0)
    splits = {(0, 0): parts}
    for _ in range(2):
        export_folds(folder, names, splits)
    splits[0, 0] = Split(parts.train, parts.test, parts.val)
    before = (folder.splits / "seed0" / "testlist1.txt").read_text()
    with pytest.raises(DataError, match=r"list1\.txt: lists other recordings than this fold would have now"):
        export_folds(folder, names, splits)
    assert (folder.splits / "seed0" / "testlist1.txt").read_text() == before


@pytest.mark.parametrize("old", [False, True])
def test_a_space_with_other_folds_does_not_fit_the_plan(
    folder: RunFolder, space: Space, dataset: Path, old: bool
) -> None:
    begin(folder, space, dataset, old)
    folder.space_toml.write_text(Space.of(quick(evaluation__folds=2)).to_toml())
    said = (
        "2 folds of the seeds .0., but the run was planned with 4 folds" if old else "evaluation.folds = 2 instead of 4"
    )
    with pytest.raises(
        DataError, match=rf"space\.toml: .*{said}.*; restore it, or run the new one in a run of its own"
    ):
        resume(folder)


def test_a_space_that_was_edited_before_the_first_record_is_told_with_what_differs(
    folder: RunFolder, space: Space, dataset: Path
) -> None:
    begin(folder, space, dataset)
    folder.space_toml.write_text(Space.of(quick(evaluation__folds=4, training__epochs=7, neuron__decay=0.5)).to_toml())
    with pytest.raises(
        DataError, match=r"neuron\.decay = 0\.5 instead of .*; training\.epochs = 7 instead of 2; restore"
    ):
        resume(folder)


def test_only_budgets_of_a_search_may_be_changed(folder: RunFolder) -> None:
    folder.root.mkdir()
    begun = parse_space(SEARCH, "x")
    steps = [[0, 0], [0, 1]]
    write_info(folder, RunInfo(name="run", kind="tune", dataset=DATASET, steps=steps, space=begun.to_toml()))
    refuse_other_space(folder, parse_space(SEARCH, "x", ["search.trials=9", "search.max_hours=2"]))
    refuse_other_space(folder, parse_space(SEARCH, "x", ["search.max_device_hours=2"]))
    for override, said in (
        ("search.seed=1", r"search\.seed = 1 instead of 0"),
        ("search.sampler='random'", r"search\.sampler = .*random.* instead of .*tpe"),
        ("neuron.decay={low=0.0, high=0.5}", r"neuron\.decay = .*0\.5.* instead of .*1\.0"),
    ):
        with pytest.raises(DataError, match=said):
            refuse_other_space(folder, parse_space(SEARCH, "x", [override]))


def test_a_run_keeps_its_name_wherever_its_folder_lies(
    folder: RunFolder, space: Space, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(folder, space, dataset)
    renamed = folder.root.rename(folder.root.parent / "renamed")
    monkeypatch.chdir(renamed)
    for place in (renamed, Path(), Path("..") / "renamed"):
        assert run_name(RunFolder(place)) == "run"
    train(RunFolder(Path()), space, dataset)
    assert {record.run for record in RunFolder(renamed).records()} == {"run"}
    campaign = evaluation_campaign(
        RunFolder(Path()),
        space.configuration(),
        DatasetInfo.of(read_manifest(dataset)),
        trials_of(space.configuration()),
    )
    assert campaign.plan.title == "run"
    # Where there is no run.json, the folder says it.
    (renamed / "run.json").unlink()
    assert (run_name(RunFolder(Path())), run_name(RunFolder(Path("..")))) == ("renamed", renamed.parent.name)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../../elsewhere", "a\x1b[2Jb", "x" * 256, 7])
def test_a_name_that_leads_elsewhere_is_refused(folder: RunFolder, name: object) -> None:
    """Checkpoints lie in a folder of the run's name."""
    folder.root.mkdir()
    dataset = DATASET.model_dump(mode="json")
    values = {"schema": 1, "kind": "evaluate", "name": name, "trials": [], "dataset": dataset}
    folder.run_json.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"run\.json: ('name' is .*, which is no name of a folder|.* name = 7)"):
        run_name(folder)


def test_commands_take_a_path_that_begins_with_a_hyphen() -> None:
    assert resume_command(RunFolder(Path("-run"))) == "sltune resume ./-run"
    assert resume_command(RunFolder(Path("a $(b)"))) == "sltune resume 'a $(b)'"


@pytest.mark.parametrize(("place", "kept"), [("ck", "{here}/ck"), ("/x/ck", "/x/ck"), ("s3://b/ck", "s3://b/ck")])
def test_a_place_of_checkpoints_is_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kept: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Request(checkpoints=place).checkpoints == kept.format(here=tmp_path)

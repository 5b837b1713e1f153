"""Runs of every split, with trials in this process: what they leave, survive and refuse, and how tables show it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.errors import DataError, UsageError
from sltune.events.importing import import_source
from sltune.events.source import Finding, SourceFile
from sltune.events.store import Sample
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.summary import table
from sltune.report.page import page
from sltune.report.records import load_records
from sltune.report.tables.text import render
from sltune.runs.folder import RunFolder
from sltune.runs.record import Record
from sltune.settings.space import Space
from tests import small
from tests.small import quick
from tests.tuning.in_process import train_in_process

LISTS = {"trainlist1": "user00 user01 user02 user03 user04", "testlist1": "user06_indoor user07"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small dataset with official parts: six signers to train on, and two to test."""

    def in_part(file: SourceFile) -> SourceFile:
        part = "test" if file.name in ("user02_indoor", "user05_indoor") else "train"

        def load() -> tuple[list[Sample], list[Finding]]:
            samples, findings = file.load()
            return [replace(sample, split=part) for sample in samples], findings

        return replace(file, load=load)

    source = small.source()
    folder = tmp_path_factory.mktemp("parts") / "data"
    import_source(replace(source, files=tuple(in_part(file) for file in source.files)), folder)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    train_in_process(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text(Space.of(quick(training__epochs=1)).to_toml().replace("folds = 4\n", ""))
    return tmp_path


def sltune(*arguments: object, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == exit_code, result.output
    return result


def evaluate(data: Path, run: str, *settings: str, exit_code: int = 0) -> Result:
    flags = [word for setting in settings for word in ("--set", f"evaluation.{setting}")]
    trials = ("--device", "cpu", "--gpus-per-trial", 0)
    return sltune("evaluate", "space.toml", "--data", data, "--run", run, *flags, *trials, exit_code=exit_code)


def records(run: str) -> list[Record]:
    return RunFolder(Path("results", run)).records()


def write_lists(folder: Path, **lists: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, names in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{name}\n" for name in names.split()))


def measured(run: str) -> dict[str, Any]:
    return {one.key.name: (one.status, one.splits, one.metrics.as_json()) for one in records(run)}


def test_official_parts_are_one_fold_and_seeds_redraw_validation_alone(parts: Path) -> None:
    evaluate(parts, "official", "split=official", "seeds=[0, 1]")
    sltune("resume", "results/official", "--seeds", "0,1,2", "--device", "cpu", "--gpus-per-trial", 0)
    found = records("official")
    assert [one.key.name for one in found] == ["c0000-f0-s0", "c0000-f0-s1", "c0000-f0-s2"]
    assert {tuple(one.splits["test"]) for one in found} == {("user02_indoor", "user05_indoor")}
    assert {len(one.splits["val"]) for one in found} == {1}
    assert {one.validation for one in found} == {"subject"}
    assert found[0].config["evaluation"]["split"] == "official"
    assert found[0].config["evaluation"]["folds"] == 1


def test_a_table_says_that_one_fold_has_a_deviation_over_seeds_and_gives_no_interval(parts: Path) -> None:
    evaluate(parts, "official", "split=official", "seeds=[0, 1, 2]")
    made = table(load_runs([Path("results/official")]))
    row = made.sections[0].tests[0]
    assert (row.n, row.std_over, row.interval) == (3, "seeds", None)
    text = " ".join(render(made, "md").split())
    assert "protocol train-val-test; split official." in text
    assert "official/c0000: one fold, so ± is over seeds: it says how trainings differ, and nothing of other" in text
    assert json.loads(render(made, "json"))["rows"][0]["std_over"] == "seeds"
    header, first, *_ = render(made, "csv").splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    assert (cells["split"], cells["std_over"]) == ("official", "seeds")
    frame = load_records("results/official")
    assert frame["split"].tolist() == ["official"] * 3
    assert frame["validation"].tolist() == ["subject"] * 3
    sltune("report", "results/official")
    assert "split official" in page(load_runs([Path("results/official")]), made, [])
    assert pandas.read_parquet("results/official/report/records.parquet")["split"].tolist() == ["official"] * 3


def test_runs_of_other_splits_share_no_mean_and_are_not_compared(parts: Path) -> None:
    evaluate(parts, "official", "split=official")
    evaluate(parts, "official-again", "split=official", "seeds=[1]")
    evaluate(parts, "folds", "folds=2")
    made = table(load_runs([Path("results", name) for name in ("official", "official-again", "folds")]))
    means = {(row.group.run, row.group.split): row.n for section in made.sections for row in section.tests}
    assert means == {("official + official-again", "official"): 2, ("folds", "folds"): 2}
    (comparison,) = made.sections[0].comparisons
    assert comparison.reason == "splits differ: official and folds"
    seed_two = Path("results", "official-again"), Path("results", "folds")
    (apart,) = table(load_runs(seed_two)).kept_apart
    assert 'evaluation.split = "folds" instead of "official"' in apart
    frame = load_records("results/official", "results/folds")
    assert frame["split"].tolist() == ["official", "folds", "folds"]


def test_leave_one_subject_out_has_a_fold_for_each_subject(parts: Path) -> None:
    evaluate(parts, "each", "split=leave-one-subject-out", "protocol=train-test")
    assert [one.splits["test"] for one in records("each")] == [[f"user{number:02d}_indoor"] for number in range(8)]
    sltune("resume", "results/each", "--folds", "9", exit_code=2)
    # Recordings that are tested twice are still found.
    assert len(table(load_runs([Path("results/each")])).sections[0].tests[0].values) == 8


def test_stratified_folds_test_every_recording_once(parts: Path) -> None:
    evaluate(parts, "even", "split=stratified", "folds=3")
    tested = [name for one in records("even") for name in one.splits["test"]]
    assert sorted(tested) == [f"user{number:02d}_indoor" for number in range(8)]


def test_a_run_keeps_its_lists_wherever_they_are_by_then(parts: Path, here: Path) -> None:
    write_lists(here / "mine", **LISTS)
    said = evaluate(parts, "lists", "split=list", "split_lists=mine").stderr
    assert "recordings in no part of the split are left out (1): user05_indoor" in said
    (record,) = records("lists")
    assert record.splits["test"] == ["user06_indoor", "user07_indoor"]
    write_lists(here / "mine", testlist1="user05")
    sltune("resume", "results/lists", "--seeds", "0,1", "--device", "cpu", "--gpus-per-trial", 0)
    shutil.rmtree(here / "mine")
    sltune("resume", "results/lists", "--seeds", "0,1,2", "--device", "cpu", "--gpus-per-trial", 0)
    write_lists(here / "mine", **LISTS)
    evaluate(parts, "whole", "split=list", "split_lists=mine", "seeds=[0, 1, 2]")
    assert measured("lists") == measured("whole")
    assert {tuple(split["test"]) for _, split, _ in measured("lists").values()} == {tuple(record.splits["test"])}
    # And a run of the same configuration takes them from there.
    shutil.rmtree(here / "mine")
    sltune("evaluate", "--from", "results/lists", "--data", parts, "--run", "again", "--set", "evaluation.seeds=[0]")
    assert measured("again").items() <= measured("whole").items()
    write_lists(here / "others", trainlist1="user00 user01 user02", testlist1="user03")
    others = ("--set", "evaluation.split_lists=others", "--run", "others")
    sltune("evaluate", "--from", "results/lists", "--data", parts, "--set", "evaluation.seeds=[0]", *others)
    assert records("others")[0].splits["test"] == ["user03_indoor"]
    assert "split list mine" in render(table(load_runs([Path("results/again")])), "md")


def test_lists_that_a_run_has_exported_repeat_its_split(parts: Path) -> None:
    evaluate(parts, "folds", "folds=3")
    evaluate(parts, "repeated", "split=list", "split_lists=results/folds/splits/seed0")
    first, second = records("folds"), records("repeated")
    for part in ("train", "val", "test"):
        assert [sorted(one.splits[part]) for one in first] == [sorted(one.splits[part]) for one in second]
    assert {one.validation for one in second} == {"given"}
    assert {one.validation for one in first} == {""}


@pytest.mark.parametrize("place", ["split_lists", "splits/seed0"])
def test_lists_that_were_changed_in_a_run_are_refused(parts: Path, here: Path, place: str) -> None:
    write_lists(here / "mine", **LISTS)
    evaluate(parts, "lists", "split=list", "split_lists=mine")
    shutil.rmtree(here / "results/lists/trials")
    (here / "results/lists" / place / "testlist1.txt").write_text("user05_indoor\n")
    result = sltune("resume", "results/lists", "--device", "cpu", "--gpus-per-trial", 0, exit_code=3)
    assert "testlist1.txt: lists other recordings than this fold would have now" in result.stderr


def search(data: Path, run: str, *flags: str, exit_code: int = 0) -> Result:
    domain = ("--set", "neuron.decay={ low = 0.1, high = 0.9 }", "--set", "search.trainings=4")
    trials = ("--device", "cpu", "--gpus-per-trial", 0, "--max-concurrent", 1)
    return sltune("tune", "space.toml", "--data", data, "--run", run, *domain, *flags, *trials, exit_code=exit_code)


def test_a_search_over_official_parts_ends_and_its_winner_is_not_flattered_by_the_choice(parts: Path) -> None:
    said = search(parts, "search", "--set", "evaluation.split=official").stderr
    assert "by validation on subjects who are not tested, so that this does not flatter its test mean" in said
    assert "--nested" not in said
    assert {one.splits["test"][0] for one in records("search")} == {"user02_indoor"}
    assert len(records("search")) == 4
    runs = load_runs([Path("results/search")])
    assert "--nested" not in sltune("report", "results/search").stderr + page(runs, table(runs), [])


@pytest.mark.slow
def test_what_a_search_hands_on_has_no_path_of_its_lists_and_the_winner_is_confirmed_on_them(
    parts: Path, here: Path
) -> None:
    write_lists(here / "mine", **LISTS)
    flags = ("evaluation.split=list", f"evaluation.split_lists={here}/mine")
    search(parts, "search", *(word for flag in flags for word in ("--set", flag)))
    shutil.rmtree(here / "mine")
    sltune("report", "results/search")
    assert str(here) not in Path("results/search/best.toml").read_text()
    frame = pandas.read_parquet("results/search/report/records.parquet")
    assert set(frame["evaluation.split_lists"]) == {"mine"}
    trials = ("--device", "cpu", "--gpus-per-trial", 0, "--run", "confirmed")
    sltune("evaluate", "results/search/best.toml", "--data", parts, "--set", "evaluation.seeds=[1]", *trials)
    assert {tuple(one.splits["test"]) for one in (*records("search"), *records("confirmed"))} == {
        ("user06_indoor", "user07_indoor")
    }


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("official", "a plain search is enough, as nobody on whom it validates is tested; leave --nested out"),
        ("leave-one-subject-out", "its folds cannot be drawn anew without the subjects of one; leave --nested out"),
    ],
)
def test_a_nested_search_is_refused_where_no_folds_can_be_drawn(parts: Path, split: str, said: str) -> None:
    flags = ("--nested", "--set", f"evaluation.split={split}", "--set", "search.trainings=20")
    result = search(parts, "nested", *flags, exit_code=2)
    assert f'a nested search is not possible: evaluation.split = "{split}": {said}' in result.stderr
    assert not Path("results/nested").exists()


@pytest.mark.slow
def test_a_nested_search_over_stratified_folds_sees_no_test_signer(parts: Path) -> None:
    flags = ("--nested", "--set", "evaluation.split=stratified", "--set", "evaluation.folds=2")
    search(parts, "nested", *flags)
    for outer in records("nested"):
        inner = RunFolder(Path("results/nested")).outer(outer.fold).records()
        seen = {name for one in inner for part in one.splits.values() for name in part}
        assert not seen & set(outer.splits["test"])


@pytest.mark.slow
def test_a_model_is_fitted_on_everybody_whatever_the_split(parts: Path) -> None:
    flags = ("--set", "evaluation.split=official", "--no-validation", "--device", "cpu", "--out", "model")
    sltune("fit", "space.toml", "--data", parts, *flags)
    model = json.loads(Path("model/model.json").read_text())
    assert len(model["networks"][0]["splits"]["train"]) == 8


def test_check_says_the_split_with_and_without_data(parts: Path) -> None:
    flags = ("--set", "evaluation.split=leave-one-subject-out")
    bare = sltune("check", "space.toml", *flags).stderr
    assert "would run its trials (all folds × 1 seeds)" in bare
    assert "protocol train-val-test, split leave-one-subject-out" in bare
    assert "would run 8 trials (8 folds × 1 seeds)" in sltune("check", "space.toml", "--data", parts, *flags).stderr
    refused = sltune("check", "space.toml", "--data", parts, *flags, "--set", "evaluation.folds=4", exit_code=2)
    assert 'evaluation.folds = 4: evaluation.split = "leave-one-subject-out" has 8 here' in refused.stderr


@pytest.mark.slow
def test_the_check_of_a_network_sees_the_training_part_of_a_split(parts: Path) -> None:
    sltune("check-network", "space.toml", "--data", parts, "--set", "evaluation.split=leave-one-subject-out")


def test_a_dataset_without_official_parts_says_so(dataset: Path) -> None:
    result = evaluate(dataset, "official", "split=official", exit_code=3)
    assert "no recording of the dataset is in its train part; import it again with all of its parts" in result.stderr


def test_gestures_of_29_users_are_evaluated_on_the_six_that_dvsgesture_tests(here: Path) -> None:
    for user in range(1, 30):
        part = "Train" if user < 24 else "Test"
        for label in (0, 1):
            folder = here / f"DVSGesture/ibmGesture{part}/user{user:02d}_led"
            folder.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([user, label])
            columns = [64 * label + rng.integers(0, 64, 50), rng.integers(0, 128, 50), rng.integers(0, 2, 50)]
            np.save(folder / f"{label}.npy", np.stack([*columns, np.sort(rng.integers(0, 200, 50))], axis=1))
    sltune("import", "--source", "tonic:DVSGesture", "--root", here, "--out", "data")
    smaller = ("--set", "sampling.downsample=4", "--set", "evaluation.split=official")
    trials = ("--device", "cpu", "--gpus-per-trial", 0, "--run", "gestures")
    said = sltune("evaluate", "space.toml", "--data", "data", *smaller, *trials)
    (record,) = records("gestures")
    tested = [f"test-user{user}_led-{label}" for user in range(24, 30) for label in (0, 1)]
    assert (record.splits["test"], record.validation) == (tested, "subject")
    users = {part: {name[:12] for name in names} for part, names in record.splits.items()}
    assert (len(users["train"]), len(users["val"])) == (19, 4)
    assert not users["train"] & users["val"]
    assert "DVSGesture" in said.stdout
    assert "PLIF" in said.stdout, "published for the same split"


def test_frames_of_a_part_are_those_of_the_split(parts: Path) -> None:
    import sltune as api

    tested = api.open_dataset(parts).torch("test", {"evaluation": {"split": "official"}})
    assert tested.recordings == ("user02_indoor", "user05_indoor")
    with pytest.raises(UsageError, match="fold must be from 0 to 0"):
        api.open_dataset(parts).torch("test", {"evaluation": {"split": "official"}}, fold=1)
    with pytest.raises(DataError, match=r"holds no trainlist1\.txt"):
        api.open_dataset(parts).torch("test", {"evaluation": {"split": "list", "split_lists": "nowhere"}})

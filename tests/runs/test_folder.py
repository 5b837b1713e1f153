"""The run folder: its layout, its records, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sltune.errors import DataError, UsageError
from sltune.runs.folder import RunFolder, TrialFolder, read_record
from sltune.runs.info import refuse_existing
from sltune.runs.record import Record, TrialKey


def values(**facts: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": "paper",
        "config_id": "c0007",
        "config": {"neuron": {"decay": 0.3}, "evaluation": {"seeds": [0]}},
        "fold": 2,
        "seed": 1,
        "status": "done",
        "error": "",
        "splits": {"train": ["user00_indoor"], "val": [], "test": ["user18_sunlight"]},
        "metrics": {"best_epoch": None, "test_accuracy": 0.5, "confusion": [[1, 0], [0, 1]], "spikes": {"conv1": 2.5}},
        "timings": {"started": 1.0, "ended": 2.5, "epochs": 30.0},
        "device": {"name": "cpu", "gpu_ids": []},
        "versions": {"sltune": "0.1.0"},
        "dataset": {"name": "N-MNIST", "synthetic": False, "fingerprint": "ab", "classes": ["0", "1"]},
        **facts,
    }


def write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def write_record(folder: Path, name: str = "record.json", **facts: Any) -> Path:
    facts = values(**facts)
    trial = f"{facts['config_id']}-f{facts['fold']}-s{facts['seed']}"
    return write(folder / "trials" / trial / name, facts)


def test_a_record_is_written_as_it_was_read(tmp_path: Path) -> None:
    record = read_record(write(tmp_path / "record.json", values()))
    assert json.loads(record.to_json()) == values()
    assert record.key.name == "c0007-f2-s1"
    assert record.dataset.classes == ("0", "1")
    assert record.schema_version == 1


def test_a_record_cannot_be_changed(tmp_path: Path) -> None:
    record = read_record(write(tmp_path / "record.json", values()))
    with pytest.raises(ValueError, match="frozen"):
        record.fold = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param("", ["not JSON", "delete the trial's folder"], id="empty"),
        pytest.param(json.dumps(values())[:-20], ["not JSON"], id="cut"),
        pytest.param("[1]", ["no JSON object"], id="a list"),
        pytest.param({"x": 1}, ["no 'schema'"], id="of something else"),
        pytest.param(values(schema="1"), ["no 'schema'"], id="schema is a text"),
        pytest.param(values(schema=2), ["schema 2 is newer", "(1)", "update sltune"], id="newer"),
        pytest.param(values(status="great"), ["not a trial record", "status", "great"], id="unknown status"),
        pytest.param(values(fold="two"), ["not a trial record", "fold", "two"], id="fold is no number"),
        pytest.param({"schema": 1}, ["not a trial record", "config_id"], id="nearly nothing"),
        pytest.param(values(schema_version=1), ["not a trial record", "schema_version"], id="schema twice"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: Any, parts: list[str]) -> None:
    file = write(tmp_path / "record.json", content)
    with pytest.raises(DataError) as caught:
        read_record(file)
    assert caught.value.exit_code == 3
    assert [part for part in [str(file), *parts] if part not in str(caught.value)] == []


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not JSON"):
        read_record(file)


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record\.json: cannot be read: No such file"):
        read_record(tmp_path / "record.json")


def test_the_newest_record_of_a_trial_counts(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    assert folder.record_file() is None
    assert folder.next_record_file() == tmp_path / "record.json"
    for number in (*range(11), "x", "1.tmp"):
        (tmp_path / ("record.json" if number == 0 else f"record.{number}.json")).touch()
    assert folder.record_file() == tmp_path / "record.10.json"
    assert folder.next_record_file() == tmp_path / "record.11.json"


def test_after_the_first_record_comes_record_1(tmp_path: Path) -> None:
    (tmp_path / "record.json").touch()
    assert TrialFolder(tmp_path).next_record_file() == tmp_path / "record.1.json"


def test_a_run_gives_the_newest_record_of_each_trial_in_order(tmp_path: Path) -> None:
    for fold, seed in ((1, 1), (0, 1), (1, 0), (0, 0)):
        write_record(tmp_path, fold=fold, seed=seed, status="failed")
    write_record(tmp_path, "record.1.json", fold=0, seed=1)
    (tmp_path / "trials" / "c0007-f3-s0").mkdir()
    write(tmp_path / "trials" / "notes.txt", "not a trial")
    records = RunFolder(tmp_path).records()
    assert [record.key.name for record in records] == ["c0007-f0-s0", "c0007-f1-s0", "c0007-f0-s1", "c0007-f1-s1"]
    assert [record.status for record in records] == ["failed", "failed", "done", "failed"]
    assert all(isinstance(record, Record) for record in records)


def test_records_are_in_the_order_of_asking_where_numbers_of_configurations_get_longer(tmp_path: Path) -> None:
    for config_id in ("c10000", "c9999", "c0010"):
        write_record(tmp_path, config_id=config_id)
    assert [record.config_id for record in RunFolder(tmp_path).records()] == ["c0010", "c9999", "c10000"]


def test_a_run_that_has_not_begun_has_no_records(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).records() == []


def test_one_damaged_record_is_named(tmp_path: Path) -> None:
    write_record(tmp_path, fold=0)
    bad = write_record(tmp_path, fold=1, status="great")
    with pytest.raises(DataError, match=str(bad)):
        RunFolder(tmp_path).records()


def test_files_lie_where_the_layout_says(tmp_path: Path) -> None:
    run, key = RunFolder(tmp_path), TrialKey("c0007", 0, 2)
    trial = run.trial(key)
    assert trial.path == tmp_path / "trials" / "c0007-f2-s0"
    assert (trial.epochs_csv.name, trial.best_weights.name, trial.error_txt.name) == (
        "epochs.csv",
        "best.pt",
        "error.txt",
    )
    assert (run.run_json, run.space_toml) == (tmp_path / "run.json", tmp_path / "space.toml")
    assert (run.trials, run.report) == (tmp_path / "trials", tmp_path / "report")


def test_a_folder_that_has_lost_its_run_json_is_no_place_for_a_new_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    refuse_existing(folder)
    trial = folder.trial(TrialKey("c0000", 0, 0))
    trial.path.mkdir(parents=True)
    refuse_existing(folder)
    (trial.path / "record.json").write_text("{}")
    with pytest.raises(UsageError, match=r"records of a run whose run\.json is missing"):
        refuse_existing(folder)

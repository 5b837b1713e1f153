"""The frame of all trials, column by column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sltune
from sltune.errors import DataError
from sltune.report.analysis.runs import load_runs
from sltune.report.records import write_records
from sltune.system.locks import locked

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
PLANNED = [f"c0000-f{fold}-s0" for fold in range(5)]


def begin(folder: Path, trial: str) -> None:
    """Leave what a trial has after its first epoch."""
    (folder / "trials" / trial).mkdir(parents=True)
    (folder / "trials" / trial / "epochs.csv").write_text("epoch,train_loss\n1,0.5\n")


@pytest.fixture
def half_way(record: Record, run_folder: WriteRun) -> Path:
    config = {
        "evaluation": {"protocol": "train-val-test", "sessions": ["S1", "S2"], "seeds": [0]},
        "neuron": {"decay": 0.3},
    }
    done = record(0, 0.5, config=config, spikes={"conv1": 12.5}, synaptic_ops=1e6, best_epoch=3)
    folder = run_folder([done, record(1, status="failed", error="no memory", config=config)], planned=PLANNED)
    begin(folder, "c0000-f2-s0")
    return folder


def test_every_trial_has_a_row(half_way: Path) -> None:
    frame = sltune.load_records(half_way)
    assert list(frame["fold"]) == [0, 1, 2, 3, 4]
    assert list(frame["status"]) == ["done", "failed", "unfinished", "missing", "missing"]
    with locked(half_way / ".lock"):
        assert sltune.load_records(str(half_way))["status"][2] == "running"


def test_what_is_known_of_a_trial_stands_in_columns(half_way: Path) -> None:
    done, failed, *_ = sltune.load_records(half_way).to_dict("records")
    known = {
        **{"run": "paper", "config_id": "c0000", "seed": 0, "protocol": "train-val-test", "sessions": "S1+S2"},
        **{"dataset": "SL-Animals-DVS", "synthetic": False, "fingerprint": "f" * 64, "classes": 19},
        **{"test_accuracy": 0.5, "val_accuracy": 0.5, "best_epoch": 3, "spikes_conv1": 12.5, "synaptic_ops": 1e6},
        **{"train_recordings": 1, "val_recordings": 1, "test_recordings": 1, "epochs": 1, "started": 1, "ended": 2},
        **{"neuron.decay": 0.3, "evaluation.seeds": "[0]", "device": "cpu"},
    }
    assert {name: done[name] for name in known} == known
    assert (failed["error"], pd.isna(failed["test_accuracy"]), pd.isna(done["error"])) == ("no memory", True, True)


def test_several_runs_stand_below_each_other(record: Record, run_folder: WriteRun) -> None:
    runs = [run_folder([record(0, value)], name=name) for name, value in (("a", 0.25), ("b", 0.75))]
    assert list(sltune.load_records(*runs)["test_accuracy"]) == [0.25, 0.75]


def test_runs_of_one_name_are_told_apart_by_their_folder(record: Record, run_folder: WriteRun) -> None:
    runs = [run_folder([record(0, value)], parent=parent) for parent, value in (("a", 0.25), ("b", 0.75))]
    means = sltune.load_records(*runs).groupby(["folder", "config_id"]).test_accuracy.mean()
    assert means.to_dict() == {(str(runs[0]), "c0000"): 0.25, (str(runs[1]), "c0000"): 0.75}


def test_a_setting_that_is_a_number_in_some_trials_and_a_word_in_others_is_a_text_in_all(
    record: Record, run_folder: WriteRun
) -> None:
    def config(length: object, step: float) -> Spec:
        return {"sampling": {"eval_crop_ms": length}, "neuron": {"decay": step}}

    settings = [config("whole", 1), config(1500, 0.5), config("train", 1)]
    folder = run_folder([record(fold, 0.5, config=values) for fold, values in enumerate(settings)])
    (run,) = load_runs([folder])
    written = pd.read_parquet(write_records(run))
    assert list(written["sampling.eval_crop_ms"]) == ["whole", "1500", "train"]
    assert list(written["neuron.decay"]) == [1, 0.5, 1]


def test_configurations_stand_in_the_order_in_which_they_were_asked_for(record: Record, run_folder: WriteRun) -> None:
    names = ["c0002", "c9999", "c10000"]
    folder = run_folder([record(0, 0.5, config_id=config_id) for config_id in reversed(names)])
    assert list(sltune.load_records(folder)["config_id"]) == names


def test_the_frame_lies_beside_the_tables(half_way: Path) -> None:
    (run,) = load_runs([half_way])
    written = pd.read_parquet(write_records(run))
    frame = sltune.load_records(half_way)
    pd.testing.assert_frame_equal(written.drop(columns="folder"), frame.drop(columns="folder"))


def test_a_run_without_any_record_has_rows_all_the_same(run_folder: WriteRun) -> None:
    frame = sltune.load_records(run_folder([], planned=PLANNED))
    assert list(frame.columns) == ["folder", "run", "config_id", "fold", "seed", "status"]
    assert set(frame["status"]) == {"missing"}


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is this a run folder"):
        sltune.load_records(tmp_path)

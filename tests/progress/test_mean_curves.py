"""Curves of configurations, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from sltune.cli.main import main
from sltune.progress.mean_curves import CATEGORY, update_mean_curves
from sltune.runs.epochs import begin_epochs, read_epochs
from sltune.runs.folder import RunFolder
from sltune.runs.record import Record
from sltune.settings.space import Space
from sltune.tuning.campaign.strategy import Candidate
from tests.progress.test_tensorboard import read
from tests.small import quick
from tests.trials import epoch, record
from tests.tuning.in_process import train_in_process

VAL = "accuracy/val"


def trained(folder: RunFolder, name: str, *accuracies: float) -> Record:
    """Write the epochs of a trial and return its record."""
    one = record(name)
    for number, value in enumerate(accuracies, start=1):
        row = epoch(number, value)
        file = folder.trial(one.key).epochs_csv
        if number == 1:
            begin_epochs(file, [row])
        else:
            file.write_text(file.read_text() + ",".join(map(str, row.values())) + "\n")
    return one


def points(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in found.Scalars(tag)]


def curve(folder: RunFolder, tag: str = VAL) -> list[tuple[int, float]]:
    return points(read(folder.mean_curves("c0000")), tag)


def test_the_mean_and_its_margins_are_curves_over_the_epochs_that_all_trials_have(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    done = [trained(folder, "c0000-f0-s0", 0.25, 0.5, 0.75), trained(folder, "c0000-f1-s0", 0.75, 0.5)]
    update_mean_curves(folder, "c0000", [*done, record("c0000-f2-s0", status="failed")], ended=True)
    # Deviations with ddof 1: those of 0.25 and 0.75 are the root of 2 · 0.25².
    assert curve(folder) == [(1, 0.5), (2, 0.5)]
    assert curve(folder, f"mean_minus_std/{VAL}") == [(1, 0.5 - 0.125**0.5), (2, 0.5)]
    assert curve(folder, f"mean_plus_std/{VAL}") == [(1, 0.5 + 0.125**0.5), (2, 0.5)]
    found = read(folder.mean_curves("c0000"))
    layout = Layout.FromString(found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    ((category,),) = [layout.category]
    (series,) = category.chart[0].margin.series
    assert (category.title, series.value, series.lower, series.upper) == (
        CATEGORY, VAL, f"mean_minus_std/{VAL}", f"mean_plus_std/{VAL}"
    )  # fmt: skip


def test_a_reader_sees_each_point_once_while_trials_end_and_processes_are_killed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    done = [trained(folder, f"c0000-f{fold}-s0", 0.5, 0.25 * fold) for fold in range(4)]
    update_mean_curves(folder, "c0000", done[:1], ended=False)
    assert not folder.mean_curves("c0000").exists()
    update_mean_curves(folder, "c0000", done[:2], ended=False)
    watching = read(folder.mean_curves("c0000"))
    assert points(watching, VAL) == [(1, 0.5), (2, 0.125)]
    update_mean_curves(folder, "c0000", done[:3], ended=False)
    # Killed here: the next process begins with what the records say, and asks again after each trial.
    update_mean_curves(folder, "c0000", done[:3], ended=False)
    update_mean_curves(folder, "c0000", done, ended=True)
    assert points(watching.Reload(), VAL) == [(1, 0.5), (2, 0.375)]
    assert curve(folder) == [(1, 0.5), (2, 0.375)]
    assert len(list(folder.mean_curves("c0000").iterdir())) == 3


def test_curves_of_trials_that_were_deleted_vanish_before_these_run_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    done = [trained(folder, f"c0000-f{fold}-s0", 0.25 * fold) for fold in range(3)]
    update_mean_curves(folder, "c0000", done, ended=True)
    update_mean_curves(folder, "c0000", done[:2], ended=False)
    assert curve(folder) == [(1, 0.125)]
    update_mean_curves(folder, "c0000", [*done[:2], trained(folder, "c0000-f2-s0", 1.0)], ended=True)
    assert curve(folder) == [(1, pytest.approx(1.25 / 3))]


def test_many_trials_make_few_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    done = [trained(folder, f"c0000-f{fold}-s0", 0.5) for fold in range(26)]
    for count in range(1, 27):
        update_mean_curves(folder, "c0000", done[:count], ended=count == 26)
    counts = [int(file.name.split(".")[3]) for file in sorted(folder.mean_curves("c0000").iterdir())]
    assert counts == [2, 3, 4, 5, 7, 9, 12, 15, 19, 24, 26]


def test_epochs_that_cannot_be_read_make_no_curve_and_no_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    done = [trained(folder, f"c0000-f{fold}-s0", 0.5) for fold in range(2)]
    folder.trial(done[0].key).epochs_csv.write_bytes(b"\xff\x00")
    update_mean_curves(folder, "c0000", done, ended=True)
    assert not folder.mean_curves("c0000").exists()


def test_a_configuration_that_was_given_up_has_its_last_curves(tmp_path: Path) -> None:
    candidate = Candidate("c0000", quick(), [(0, 0), (0, 1)])
    assert not candidate.is_over
    candidate.over = "worse than others"
    assert candidate.is_over


def test_a_run_writes_them_and_one_that_was_killed_before_its_last_ones_makes_up_for_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_process(monkeypatch)
    (tmp_path / "space.toml").write_text(Space.of(quick(training__epochs=1)).to_toml())
    trials = ["--results", str(tmp_path), "--run", "run", "--device", "cpu", "--gpus-per-trial", "0", "--no-baselines"]
    begun = CliRunner().invoke(main, ["evaluate", str(tmp_path / "space.toml"), "--data", str(dataset), *trials])
    assert begun.exit_code == 0, begun.output
    folder = RunFolder(tmp_path / "run")
    *_, last = files = sorted(folder.mean_curves("c0000").iterdir())
    written = last.read_bytes()
    assert [int(file.name.split(".")[3]) for file in files] == [2, 3, 4]
    last.unlink()
    # Every trial is done: nothing but the curves is left to do.
    assert CliRunner().invoke(main, ["resume", str(folder.root), "--device", "cpu"]).exit_code == 0
    assert last.read_bytes() == written
    epochs = [read_epochs(folder.trial(one.key).epochs_csv) for one in folder.records()]
    assert curve(folder) == [(1, sum(rows[0]["val_accuracy"] for rows in epochs) / 4)]

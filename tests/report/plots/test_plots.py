"""Plots of the shown configurations: what is drawn, against values worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from sltune.errors import DataError
from sltune.report.analysis.series import Proportion
from tests.report.plotting import config, dots, drawn, labels, line, plot_named, write_epochs
from tests.written_runs import DATASET

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
TWO_CLASSES = {"classes": ["cat", "dog"]}


def test_the_mean_curve_ends_where_the_first_trial_does_and_single_curves_go_on(
    record: Record, run_folder: WriteRun
) -> None:
    trials = [record(0, 0.5), record(1, 0.5)]
    folder = run_folder(trials)
    write_epochs(folder, trials[0], [(0.3, 3.0, 0.1), (0.2, 2.0, 0.3), (0.1, 1.0, 0.9)])
    write_epochs(folder, trials[1], [(0.5, 5.0, 0.2), (0.4, 4.0, 0.4)])
    plot = plot_named("learning-curves", folder)
    accuracy, loss, train_loss = plot.figure.axes
    assert np.array(line(accuracy, "mean of 2 trials, to epoch 2")) == pytest.approx(np.array([(1, 15), (2, 35)]))
    assert np.array(line(loss, "mean")) == pytest.approx(np.array([(1, 4), (2, 3)]))
    assert np.array(line(train_loss, "mean")) == pytest.approx(np.array([(1, 0.4), (2, 0.3)]))
    assert [len(one.get_xdata()) for one in accuracy.lines[1:3]] == [3, 2]  # type: ignore[arg-type]
    band = accuracy.collections[0].get_paths()[0].vertices
    assert {tuple(np.round(point, 9)) for point in np.asarray(band)} == {(1, 10), (2, 30), (2, 40), (1, 20)}
    assert "15.0 % at epoch 1, highest 35.0 % at epoch 2" in plot.alt
    assert line(accuracy, "chance (5.3 %)")[0][1] == pytest.approx(100 / 19)


@pytest.mark.parametrize("status", ["failed", "pruned", "diverged"])
def test_trials_without_a_result_have_no_part_in_the_mean_curve(
    status: str, record: Record, run_folder: WriteRun
) -> None:
    trials = [record(0, 0.5), record(1, 0.9, status=status)]
    folder = run_folder(trials)
    write_epochs(folder, trials[0], [(1, 1, 0.25)])
    write_epochs(folder, trials[1], [(1, 1, 0.75)])
    accuracy = plot_named("learning-curves", folder).figure.axes[0]
    assert line(accuracy, "mean of 1 of 2 trials") == [(1, 25)]
    assert all(75 not in np.asarray(one.get_ydata()) for one in accuracy.lines)


def test_a_trial_under_way_is_drawn_singly_as_far_as_its_rows_are_whole(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5)], planned=["c0000-f0-s0", "c0000-f1-s0"])
    write_epochs(folder, record(0), [(1, 1, 0.25), (1, 1, 0.5)])
    file = write_epochs(folder, record(1), [(1, 1, 0.5), (1, 1, 1.0)])
    file.write_text(file.read_text() + "3,1,1,0.")
    accuracy = plot_named("learning-curves", folder).figure.axes[0]
    assert line(accuracy, "mean of 1 of 2 trials") == [(1, 25), (2, 50)]
    assert line(accuracy, "trials under way") == [(1, 50), (2, 100)]


def test_a_run_of_which_no_trial_is_done_shows_those_under_way(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([], planned=["c0000-f0-s0"])
    write_epochs(folder, record(0), [(1, 1, 0.25)])
    plots = drawn(folder)
    assert list(plots) == ["learning-curves"]
    assert plots["learning-curves"].alt.startswith("paper: validation accuracy; 1 of 1 trials under way, none done")


def test_train_test_shows_test_accuracy_and_says_that_it_selects_on_it(record: Record, run_folder: WriteRun) -> None:
    trial = record(0, 0.5, protocol="train-test")
    folder = run_folder([trial])
    write_epochs(folder, trial, [(1, 2, 0.25)], part="test")
    accuracy, loss, _ = plot_named("learning-curves", folder).figure.axes
    assert line(accuracy, "mean of 1 trial, epoch selected on test") == [(1, 25)]
    assert (accuracy.get_ylabel(), loss.get_ylabel()) == ("test accuracy (%)", "test loss")


def test_each_run_has_a_line_of_its_own_with_its_name(record: Record, run_folder: WriteRun) -> None:
    first, second = (run_folder([record(0, 0.5)], name=name) for name in "ab")
    write_epochs(first, record(0), [(1, 1, 0.25)])
    write_epochs(second, record(0), [(1, 1, 0.75)])
    accuracy = plot_named("learning-curves", first, second).figure.axes[0]
    assert (line(accuracy, "a (1 trial)"), line(accuracy, "b (1 trial)")) == ([(1, 25)], [(1, 75)])
    a, b = accuracy.lines[0], accuracy.lines[2]
    assert a.get_color() != b.get_color()
    assert a.get_linestyle() != b.get_linestyle()


def test_confusion_matrices_are_summed_over_folds_and_coloured_by_row(record: Record, run_folder: WriteRun) -> None:
    matrices = [[[3, 1], [0, 0]], [[2, 2], [1, 0]]]
    trials = [record(fold, 0.5, confusion=matrix, dataset=TWO_CLASSES) for fold, matrix in enumerate(matrices)]
    trials.append(record(2, 0.5, status="failed", confusion=[[9, 9], [9, 9]], dataset=TWO_CLASSES))
    plot = plot_named("confusion-matrix", run_folder(trials, dataset=trials[0]["dataset"]))
    axes = plot.figure.axes[0]
    # 5 of 8 and 3 of 8 in the first row, 1 of 1 in the second
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.array([[62.5, 37.5], [100, 0]]))
    assert [(*text.get_position(), text.get_text()) for text in axes.texts] == [(0, 0, "5"), (1, 0, "3"), (0, 1, "1")]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cat", "dog"]
    in_percent = plot_named("confusion-matrix-percent", run_folder(trials, dataset=trials[0]["dataset"])).figure.axes[0]
    assert [text.get_text() for text in in_percent.texts] == ["62", "38", "100"]
    assert plot.alt == (
        "paper: 5 of 9 test samples are right (55.6 %). Most frequent confusion: cat taken for dog, 3 of 8."
    )


def test_a_matrix_of_another_size_than_the_classes_is_not_drawn(record: Record, run_folder: WriteRun) -> None:
    assert "confusion-matrix" not in drawn(run_folder([record(0, 0.5, confusion=[[1, 0], [0, 1]])]))


def test_classes_are_those_of_the_records_whatever_the_run_says(record: Record, run_folder: WriteRun) -> None:
    trial = record(0, 0.5, confusion=[[1, 0], [0, 1]], dataset=TWO_CLASSES)
    plot = plot_named("confusion-matrix", run_folder([trial], dataset={**DATASET, "classes": ["x"]}))
    assert [tick.get_text() for tick in plot.figure.axes[0].get_yticklabels()] == ["cat", "dog"]


def test_several_runs_have_a_matrix_each_of_at_most_four(record: Record, run_folder: WriteRun) -> None:
    names = ["a b", "a/b", "c", "d", "e"]
    runs = []
    for number, name in enumerate(names):
        trial = record(0, 0.5, confusion=[[1, 0], [0, 1]], dataset=TWO_CLASSES)
        folder = run_folder([trial], name=str(number), dataset=trial["dataset"])
        (folder / "run.json").write_text(json.dumps(json.loads((folder / "run.json").read_text()) | {"name": name}))
        runs.append(folder)
    matrices = [plot for name, plot in drawn(*runs).items() if name.startswith("confusion")]
    found, in_percent = matrices[:4], matrices[4:]
    assert [plot.name for plot in found] == [f"confusion-matrix-{end}" for end in ("a-b-1", "a-b-2", "c", "d")]
    assert [plot.name for plot in in_percent] == [f"confusion-matrix-percent-{e}" for e in ("a-b-1", "a-b-2", "c", "d")]
    assert found[2].title == "Confusion matrix: c"


def counts(subject: str, session: str, correct: int, samples: int) -> Spec:
    return {"subject": subject, "session": session, "correct": correct, "samples": samples}


RECORDINGS = [
    {"user1_dc": counts("user1", "S1", 3, 4), "user1_imse": counts("user1", "S3", 1, 4)},
    {"user2_dc": counts("user2", "S1", 4, 6)},
]


def test_samples_of_a_session_are_pooled_over_folds_and_count_once_however_many_seeds_test_them(
    record: Record, run_folder: WriteRun
) -> None:
    trials = [record(fold, 0.5, recordings=recordings) for fold, recordings in enumerate(RECORDINGS)]
    trials.append(record(0, 0.5, seed=1, recordings={"user1_dc": counts("user1", "S1", 1, 4)}))
    trials.append(record(1, 0.5, seed=1, status="pruned", recordings=RECORDINGS[0]))
    plot = plot_named("accuracy-by-session", run_folder(trials))
    axes = plot.figure.axes[0]
    # S1: of user1_dc 4 of 8 in two seeds, so 2 of its 4 samples, and 4 of 6
    (middle, _, (bars,)) = axes.containers[0]
    assert np.asarray(middle.get_ydata()) == pytest.approx(np.array([60, 25]))
    wilson = binomtest(6, 10).proportion_ci(method="wilson")
    assert np.asarray(bars.get_segments()[0])[:, 1] == pytest.approx(np.array([100 * wilson.low, 100 * wilson.high]))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["S1\n10 samples", "S3\n4 samples"]
    assert plot.alt.startswith("paper: S1 60.0 %, S3 25.0 %.")


def test_a_row_for_each_of_very_many_subjects_is_not_drawn(record: Record, run_folder: WriteRun) -> None:
    many = {f"sample{number}": counts(f"user{number}", "S1", 1, 1) for number in range(101)}
    assert "accuracy-by-signer" not in drawn(run_folder([record(0, 0.5, recordings=many)]))


def test_signers_stand_by_their_accuracy_and_runs_beside_each_other(record: Record, run_folder: WriteRun) -> None:
    first = run_folder([record(fold, 0.5, recordings=part) for fold, part in enumerate(RECORDINGS)], name="a")
    second = run_folder([record(fold, 0.5, recordings=part) for fold, part in enumerate(RECORDINGS)], name="b")
    plot = plot_named("accuracy-by-signer", first, second)
    axes = plot.figure.axes[0]
    # user1: 4 of 8; user2: 4 of 6, and so on top
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["user2", "user1"]
    for container, offset in zip(axes.containers, (-0.15, 0.15), strict=True):
        assert np.asarray(container[0].get_xdata()) == pytest.approx(np.array([200 / 3, 50]))
        assert np.asarray(container[0].get_ydata()) == pytest.approx(np.array([offset, 1 + offset]))
    assert labels(axes)[-2:] == ["a", "b"]
    low, high = axes.get_ylim()
    assert low > high


def test_wilson_intervals_at_the_ends_stay_within_0_and_100() -> None:
    # Wilson for 0 of n: upper end z² / (n + z²) = 3.841459 / 13.841459
    assert Proportion(0, 10).interval_percent == pytest.approx((0, 27.7533), abs=1e-3)
    assert Proportion(10, 10).interval_percent == pytest.approx((72.2467, 100), abs=1e-3)


def test_groups_are_left_out_with_a_single_one_or_none(record: Record, run_folder: WriteRun) -> None:
    one = {"user1_dc": counts("user1", "", 3, 4)}
    folder = run_folder([record(0, 0.5, recordings=one)])
    older = run_folder([record(0, 0.5)], name="older")
    assert not [name for name in drawn(folder, older) if name.startswith("accuracy-by")]


def test_two_configurations_are_paired_by_fold_and_seed(record: Record, run_folder: WriteRun) -> None:
    first = run_folder([record(0, 0.5), record(1, 0.75), record(0, 0.25, seed=1), record(2, status="failed")], name="a")
    second = run_folder([record(0, 0.75), record(1, 0.75), record(0, 0.125, seed=1), record(2, 0.9)], name="b")
    plot = plot_named("fold-by-fold", first, second)
    axes = plot.figure.axes[0]
    assert dots(axes, "folds of seed 0") == [(50, 75), (75, 75)]
    assert dots(axes, "folds of seed 1") == [(25, 12.5)]
    assert sorted((*text.xy, text.get_text()) for text in axes.texts) == [  # type: ignore[attr-defined]
        (25, 12.5, "0"), (50, 75, "0"), (75, 75, "1"),
    ]  # fmt: skip
    diagonal = line(axes, "equal")
    assert all(x == y for x, y in diagonal)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a: test accuracy (%)", "b: test accuracy (%)")
    # differences 25, 0 and −12.5
    assert "higher on 1, equal on 1, lower on 1; mean difference +4.2 points" in plot.alt


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "train-test"},
        {"sessions": ["S1"]},
        {"dataset": {"fingerprint": "e" * 64}},
        {"splits": {"train": [], "val": [], "test": ["user00_indoor"]}},
        {"seed": 3},
    ],
)
def test_what_was_tested_on_other_recordings_is_not_paired(other: Spec, record: Record, run_folder: WriteRun) -> None:
    first, second = run_folder([record(0, 0.5)], name="a"), run_folder([record(0, 0.5, **other)], name="b")
    assert "fold-by-fold" not in drawn(first, second)


def test_one_or_three_runs_are_not_paired(record: Record, run_folder: WriteRun) -> None:
    runs = [run_folder([record(0, 0.5)], name=name) for name in "abc"]
    assert "fold-by-fold" not in drawn(*runs)
    assert "fold-by-fold" not in drawn(runs[0])
    assert "fold-by-fold" in drawn(*runs[:2])


def length(record: Record, ms: int, accuracies: list[float], **settings: Any) -> list[Spec]:
    own = {f"sampling.{name}": value for name, value in settings.items()} | {"sampling.train_crop_ms": ms}
    return [record(fold, value, config=config(own), val_accuracy=value / 2) for fold, value in enumerate(accuracies)]


def test_accuracy_over_length_has_mean_and_deviation_of_validation_and_test(
    record: Record, run_folder: WriteRun
) -> None:
    short = run_folder(length(record, 300, [0.4, 0.6]), name="short")
    long = run_folder(length(record, 900, [0.7, 0.9]), name="long")
    whole = run_folder(length(record, 600, [0.1, 0.1], train_crop="whole"), name="whole")
    plot = plot_named("accuracy-over-sample-length", long, short, whole)
    axes = plot.figure.axes[0]
    validation, test = axes.containers
    assert (validation.get_label(), test.get_label()) == ("validation, random crops", "test, random crops")
    assert np.asarray(test[0].get_xydata()) == pytest.approx(np.array([(300, 50), (900, 80)]))
    assert np.asarray(validation[0].get_xydata()) == pytest.approx(np.array([(300, 25), (900, 40)]))
    # deviations of ±10 from the mean of two: std √200
    segment = np.asarray(test[2][0].get_segments()[0])
    assert segment[:, 1] == pytest.approx(np.array([50 - 200**0.5, 50 + 200**0.5]))
    assert test[0].get_linestyle() != "None"
    assert "highest 80.0 ± 14.1 % at 900 ms" in plot.alt


def test_lengths_are_joined_only_where_nothing_else_differs(record: Record, run_folder: WriteRun) -> None:
    runs = [run_folder(length(record, 300, [0.4, 0.6]), name="short")]
    runs.append(run_folder(length(record, 900, [0.7, 0.9], time_bin_ms=10), name="long"))
    axes = plot_named("accuracy-over-sample-length", *runs).figure.axes[0]
    assert [container[0].get_linestyle() for container in axes.containers] == ["None", "None"]


def test_one_length_is_no_plot(record: Record, run_folder: WriteRun) -> None:
    runs = [run_folder(length(record, 300, [0.5]), name=name) for name in "ab"]
    assert "accuracy-over-sample-length" not in drawn(*runs)


def test_an_accuracy_that_is_no_fraction_is_refused_by_its_trial(record: Record, run_folder: WriteRun) -> None:
    runs = [run_folder([record(0, value)], name=name) for name, value in (("a", 0.5), ("b", 79.0))]
    with pytest.raises(DataError, match=r"c0000-f0-s0/record\.json: not a trial record: metrics\.val_accuracy = 79"):
        drawn(*runs)


@pytest.mark.parametrize("trials", [[], [{"status": "failed"}], [{"status": "diverged"}, {"status": "pruned"}]])
def test_without_results_nothing_is_drawn(trials: list[Spec], record: Record, run_folder: WriteRun) -> None:
    records = [record(fold, **facts) for fold, facts in enumerate(trials)]
    assert drawn(run_folder(records, planned=["c0000-f0-s0", "c0000-f1-s0"])) == {}


def test_a_configuration_of_two_datasets_is_left_out(record: Record, run_folder: WriteRun) -> None:
    confusion = np.eye(19, dtype=int).tolist()
    others = record(1, 0.5, confusion=confusion, dataset={"fingerprint": "e" * 64})
    assert drawn(run_folder([record(0, 0.5, confusion=confusion), others])) == {}

"""Rows of the report, every number worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sltune.errors import DataError, UsageError
from sltune.report.analysis.rows import Absence, Row, TrialAccuracy
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.summary import Table, table
from sltune.report.tables.notes import heading, section_notes, table_notes

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
FOLDS = [f"c0000-f{fold}-s0" for fold in range(4)]


def rows_of(*folders: Path, **options: Any) -> tuple[Row, ...]:
    return table(load_runs(folders), **options).rows


def pick(rows: tuple[Row, ...], metric: str = "test_accuracy", seed: int | None = None) -> Row:
    (row,) = (row for row in rows if row.metric == metric and row.seed == seed)
    return row


def test_mean_and_both_standard_deviations_over_four_folds(record: Record, run_folder: WriteRun) -> None:
    # 50, 60, 70, 80: mean 65, squared deviations 225 + 25 + 25 + 225 = 500
    folder = run_folder([record(fold, 0.5 + 0.1 * fold) for fold in range(4)])
    row = pick(rows_of(folder))
    assert row.mean == pytest.approx(65)
    assert row.std(1) == pytest.approx((500 / 3) ** 0.5)
    assert row.std(0) == pytest.approx(125**0.5)
    assert (row.n, row.ddof, row.complete, row.trials) == (4, 1, True, "4 of 4 trials")
    assert [(value.fold, value.seed) for value in row.values] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert [value.percent for value in row.values] == pytest.approx([50, 60, 70, 80])


def test_validation_accuracy_is_a_row_of_its_own(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5, val_accuracy=0.7), record(1, 0.6, val_accuracy=0.9)])
    rows = rows_of(folder)
    assert [row.metric for row in rows] == ["test_accuracy", "val_accuracy"]
    assert pick(rows).mean == pytest.approx(55)
    assert pick(rows, "val_accuracy").mean == pytest.approx(80)


def test_several_seeds_give_one_row_over_all_and_one_for_each(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.2), record(1, 0.4), record(0, 0.6, seed=7), record(1, 1.0, seed=7)])
    rows = rows_of(folder)
    assert {row.seed: row.mean for row in rows if row.metric == "test_accuracy"} == pytest.approx(
        {None: 55, 0: 30, 7: 80}
    )
    # deviations from 55: 35, 15, 5, 45 -> 1225 + 225 + 25 + 2025 = 3500
    assert pick(rows).std(1) == pytest.approx((3500 / 3) ** 0.5)
    assert pick(rows, seed=7).values == (TrialAccuracy(0, 7, 60.0), TrialAccuracy(1, 7, 100.0))


def test_a_single_value_has_no_sample_deviation_and_a_population_deviation_of_zero(
    record: Record, run_folder: WriteRun
) -> None:
    row = pick(rows_of(run_folder([record(0, 0.5)])))
    assert (row.mean, row.std(1), row.std(0)) == (50.0, None, 0.0)


def test_trials_without_a_result_are_counted_and_named_but_not_averaged(record: Record, run_folder: WriteRun) -> None:
    bad = [record(1, status="failed"), record(2, 0.9, status="pruned"), record(3, 0.9, status="diverged")]
    planned = [*FOLDS, "c0000-f4-s0"]
    row = pick(rows_of(run_folder([record(0, 0.5), *bad], planned=planned)))
    assert (row.mean, row.n, row.planned, row.complete) == (50.0, 1, 5, False)
    assert row.trials == "1 of 5 trials; fold 1 failed; fold 2 pruned; fold 3 diverged; fold 4 missing"
    assert row.absent[-1] == Absence(4, 0, "missing")


def test_with_several_seeds_the_absent_trials_are_named_with_their_seed(record: Record, run_folder: WriteRun) -> None:
    planned = ["c0000-f0-s0", "c0000-f1-s0", "c0000-f0-s1", "c0000-f1-s1"]
    rows = rows_of(run_folder([record(0, 0.5), record(1, status="failed")], planned=planned))
    assert pick(rows).trials == "1 of 4 trials; fold 1 of seed 0 failed; folds 0, 1 of seed 1 missing"
    assert pick(rows, seed=1).trials == "0 of 2 trials; folds 0, 1 missing"


def test_a_finished_trial_without_the_metric_is_named(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5), record(1, 0.5, val_accuracy=None)])
    assert pick(rows_of(folder), "val_accuracy").trials == "1 of 2 trials; fold 1 without value"
    assert pick(rows_of(folder)).complete


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "train-test"},
        {"split": "official"},
        {"split": "list", "split_lists": "lists"},
        {"sessions": ["S1", "S2", "S4"]},
        {"dataset": {"fingerprint": "e" * 64}},
        {"dataset": {"synthetic": True}},
        {"config_id": "c0001"},
    ],
)
def test_what_differs_in_more_than_fold_and_seed_never_shares_a_mean(
    other: Spec, record: Record, run_folder: WriteRun
) -> None:
    rows = rows_of(run_folder([record(0, 0.2), record(1, 0.8, **other)]))
    assert [row.mean for row in rows if row.metric == "test_accuracy"] == pytest.approx([20, 80])


def test_the_order_in_which_sessions_are_listed_makes_no_difference(record: Record, run_folder: WriteRun) -> None:
    rows = rows_of(run_folder([record(0, 0.2, sessions=["S2", "S1"]), record(1, 0.8, sessions=["S1", "S2"])]))
    assert pick(rows).mean == pytest.approx(50)


def test_records_of_a_dataset_without_sessions_share_a_mean_whatever_their_version_says(
    record: Record, run_folder: WriteRun
) -> None:
    """Earlier versions wrote the sessions of SL-Animals-DVS for every dataset."""
    digits = {"name": "N-MNIST"}
    earlier, later = record(0, 0.2, dataset=digits), record(1, 0.8, sessions="all", dataset=digits)
    sections = table(load_runs([run_folder([earlier, later])])).sections
    assert [pick(section.rows).mean for section in sections] == [pytest.approx(50)]
    assert heading(sections[0]) == "N-MNIST"
    assert {figure.dataset for figure in sections[0].published} == {"N-MNIST"}


def test_sessions_of_a_labs_own_are_named(record: Record, run_folder: WriteRun) -> None:
    own = record(0, 0.2, sessions=["at noon", "S1"], dataset={"name": "signs"})
    (section,) = table(load_runs([run_folder([own])])).sections
    assert heading(section) == "signs, sessions (S1, at noon)"


def test_train_test_is_optimistic_and_shows_the_last_epoch_beside_it(record: Record, run_folder: WriteRun) -> None:
    trials = [record(0, 0.8, protocol="train-test", test_accuracy_last=0.6, test_accuracy_max=0.8)]
    rows = rows_of(run_folder(trials))
    assert [(row.metric, row.mean, row.optimistic) for row in rows] == [
        ("test_accuracy", 80.0, True),
        ("test_accuracy_last", 60.0, False),
    ]


def test_losses_stand_beside_the_accuracies_that_they_belong_to(record: Record, run_folder: WriteRun) -> None:
    honest = rows_of(run_folder([record(0, 0.8, test_loss=0.3, val_loss=0.2)]))
    assert {row.metric: row.mean_loss for row in honest} == {"test_accuracy": 0.3, "val_accuracy": 0.2}
    losses = {"test_loss": 0.1, "test_loss_min": 0.1, "test_loss_last": 0.4}
    trials = [record(0, 0.8, protocol="train-test", test_accuracy_last=0.6, **losses)]
    optimistic = rows_of(run_folder(trials, name="fast"))
    assert {row.metric: row.mean_loss for row in optimistic} == {"test_accuracy": 0.1, "test_accuracy_last": 0.4}


def test_the_loss_of_an_earlier_train_test_record_is_of_another_epoch_and_left_out(
    record: Record, run_folder: WriteRun
) -> None:
    """It was that of the most accurate epoch, and a record of today has the lowest one."""
    earlier = record(0, 0.8, protocol="train-test", test_accuracy_last=0.6, test_loss=0.5)
    today = record(1, 0.6, protocol="train-test", test_accuracy_last=0.6, test_loss=0.25, test_loss_min=0.25)
    row = pick(rows_of(run_folder([earlier, today])))
    assert (row.mean, row.n, row.complete) == (pytest.approx(70), 2, True)
    assert (row.losses, row.mean_loss, row.std_loss(1)) == ([0.25], 0.25, None)


def test_a_record_without_a_loss_leaves_the_others(record: Record, run_folder: WriteRun) -> None:
    row = pick(rows_of(run_folder([record(0, 0.8, test_loss=None), record(1, 0.6, test_loss=0.5)])))
    assert row.losses == [0.5]


@pytest.mark.parametrize("loss", [float("inf"), float("nan"), 1e200])
def test_a_record_whose_loss_is_no_loss_is_refused(loss: float, record: Record, run_folder: WriteRun) -> None:
    with pytest.raises(DataError, match=r"record\.json"):
        rows_of(run_folder([record(0, 0.8, test_loss=loss), record(1, 0.6, test_loss=0.5)]))


def test_the_newest_record_of_a_trial_counts(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, status="failed")])
    again = json.dumps(record(0, 0.75))
    (folder / "trials" / "c0000-f0-s0" / "record.1.json").write_text(again)
    assert (pick(rows_of(folder)).mean, pick(rows_of(folder)).trials) == (75.0, "1 of 1 trials")


def test_trials_without_a_record_have_the_protocol_that_is_planned(run_folder: WriteRun) -> None:
    folder = run_folder([], planned=FOLDS)
    (folder / "space.toml").write_text('[evaluation]\nprotocol = "train-test"\nsessions = ["S1", "S2", "S4"]\n')
    group = rows_of(folder)[0].group
    assert (group.protocol, group.sessions) == ("train-test", ("S1", "S2", "S4"))


def test_runs_of_the_same_name_stay_apart_by_their_path(record: Record, run_folder: WriteRun) -> None:
    first = run_folder([record(0, 0.2)], parent="one")
    second = run_folder([record(0, 0.8)], parent="two")
    rows = rows_of(first, second)
    assert {row.group.run: row.mean for row in rows} == pytest.approx({"one/paper": 20, "two/paper": 80})


def test_runs_keep_the_order_given_and_a_run_given_twice_counts_once(record: Record, run_folder: WriteRun) -> None:
    first, second = run_folder([record(0, 0.2)], name="b"), run_folder([record(0, 0.8)], name="a")
    rows = rows_of(first, second, first / ".." / "b")
    assert [row.group.run for row in rows if row.metric == "test_accuracy"] == ["b", "a"]


def test_a_run_without_records_gives_a_row_without_a_value(run_folder: WriteRun) -> None:
    (row,) = rows_of(run_folder([], planned=FOLDS))
    assert (row.n, row.mean, row.std(0), row.trials) == (0, None, None, "0 of 4 trials; folds 0, 1, 2, 3 missing")
    assert (row.group.protocol, row.group.sessions) == ("", ())


def test_a_run_that_plans_nothing_gives_an_empty_table(run_folder: WriteRun) -> None:
    assert rows_of(run_folder([])) == ()


def test_chance_is_one_over_the_number_of_classes(record: Record, run_folder: WriteRun) -> None:
    row = pick(rows_of(run_folder([record(0, 0.5, dataset={"classes": ["a", "b", "c", "d"]})])))
    assert row.group.dataset.chance_percent == 25.0


def fitting(folder: Path, **options: Any) -> Table:
    return table(load_runs([folder]), **options)


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        (["S1", "S2", "S3", "S4"], {"EvT": 88.12, "STBP, paper": 56.20, "STBP, ronichester, tuned": 75.78}),
        (["S4", "S2", "S1"], {"EvT": 87.45, "STBP, paper": 71.45}),
        (["S1", "S2"], {}),
    ],
)
def test_published_figures_are_those_of_the_same_sessions(
    sessions: list[str], expected: dict[str, float], record: Record, run_folder: WriteRun
) -> None:
    figures = fitting(run_folder([record(0, 0.5, sessions=sessions)])).published
    names = {"EvT", "STBP, paper", "STBP, ronichester, tuned"}
    assert {figure.method: figure.mean for figure in figures if figure.method in names} == expected


def test_published_figures_of_n_mnist_stand_beneath_n_mnist_only(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5, dataset={"name": "N-MNIST small"})])
    assert [figure.mean for figure in fitting(folder).published] == [98.78, 99.53, 99.20, 99.61]
    other = run_folder([record(0, 0.5, dataset={"name": "DVS Gesture"})], name="other")
    assert fitting(other).published == ()


def test_published_figures_can_be_left_out(record: Record, run_folder: WriteRun) -> None:
    assert fitting(run_folder([record(0, 0.5)]), published=False).published == ()


def test_notes_say_what_makes_a_number_less_than_it_seems(record: Record, run_folder: WriteRun) -> None:
    trials = [record(0, 0.5, protocol="train-test", dataset={"synthetic": True}, test_accuracy_last=0.4)]
    notes = table_notes(fitting(run_folder(trials, planned=FOLDS[:1])))
    text = "\n".join(notes)
    assert "Synthetic data" in text
    assert "selects the epoch on the test set" in text
    assert "no comparison with synthetic data" in text
    assert "Incomplete" not in text


def test_a_ddof_other_than_0_and_1_is_refused_with_its_value() -> None:
    with pytest.raises(UsageError, match="ddof is 2"):
        table([], ddof=2)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json.*is this a run folder"):
        load_runs([tmp_path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema": 1, "trials": []}', "name: Field required"),
        ('{"schema": 99}', "schema 99 is newer"),
        ('{"packages": []}', "has no 'schema'"),
        ("[]", "holds no JSON object"),
        ("{", "not JSON"),
    ],
)
def test_a_foreign_or_newer_run_json_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=message):
        load_runs([tmp_path])


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"schema": 2}', "schema 2 is newer"), ('{"schema": 1}', "not a trial record"), ('{"a": 1}', "no 'schema'")],
)
def test_a_foreign_or_newer_record_is_refused_by_file(
    content: str, message: str, record: Record, run_folder: WriteRun
) -> None:
    folder = run_folder([record(0, 0.5)])
    (folder / "trials" / "c0000-f0-s0" / "record.json").write_text(content)
    with pytest.raises(DataError, match=rf"c0000-f0-s0/record\.json.*{message}"):
        load_runs([folder])


def test_a_copied_trial_folder_is_refused_instead_of_counted_twice(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5)])
    copy = folder / "trials" / "copy"
    copy.mkdir()
    (copy / "record.json").write_text(json.dumps(record(0, 0.5)))
    with pytest.raises(DataError, match="several folders hold a record of c0000-f0-s0"):
        load_runs([folder])


@pytest.mark.parametrize("accuracy", [79.0, -0.1, "0.5"])
def test_an_accuracy_that_is_no_fraction_is_refused(accuracy: object, record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(3, 0.5, val_accuracy=accuracy)])
    with pytest.raises(DataError, match=r"c0000-f3-s0/record\.json: not a trial record: metrics\.val_accuracy = "):
        rows_of(folder)


def test_a_record_without_a_protocol_is_refused(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5, config={"training": {}})])
    with pytest.raises(DataError, match=r"trial c0000-f0-s0.*config\.evaluation"):
        rows_of(folder)


def test_a_run_without_records_and_without_a_dataset_is_refused(run_folder: WriteRun) -> None:
    folder = run_folder([], planned=FOLDS, dataset=None)
    with pytest.raises(DataError, match=r"run\.json: not a description of a run: dataset"):
        rows_of(folder)


def test_the_report_is_made_without_torch_and_ray(record: Record, run_folder: WriteRun) -> None:
    program = (
        "import sys, pathlib\n"
        "from sltune.report.tables.text import render\n"
        "from sltune.report.analysis.runs import load_runs\n"
        "from sltune.report.analysis.summary import table\n"
        "render(table(load_runs([pathlib.Path(sys.argv[1])])), 'md')\n"
        "print(sorted({'torch', 'ray', 'optuna', 'tonic'} & set(sys.modules)))\n"
    )
    folder = run_folder([record(0, 0.5)])
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_folds_that_test_a_recording_twice_are_called_no_cross_validation(record: Record, run_folder: WriteRun) -> None:
    """As a run has them of which the data were put in another order before it went on."""
    same = {"train": ["a"], "val": ["b"], "test": ["user07_indoor"]}
    mixed = load_runs([run_folder([record(fold, 0.5, splits=same) for fold in range(4)])])
    (section,) = table(mixed).sections
    said = "No cross-validation: paper/c0000: user07_indoor was tested on in several folds of seed 0"
    assert said in section_notes(section)
    # The same recording with another seed is as it should be.
    seeds = [record(0, 0.5, seed=seed, splits=same) for seed in range(3)]
    (section,) = table(load_runs([run_folder(seeds, name="seeds")])).sections
    assert not any("No cross-validation" in note for note in section_notes(section))


def test_what_has_begun_without_a_record_is_of_the_same_data_as_what_has_one(
    record: Record, run_folder: WriteRun
) -> None:
    place = {"dataset": {**record(0, 0.5)["dataset"], "path": "/data", "sensor": [128, 128]}}
    folder = run_folder([record(0, 0.5)], kind="tune", **place)
    (folder / "space.toml").write_text('evaluation.protocol = "train-val-test"\n')
    (folder / "trials" / "c0001-f0-s0").mkdir()
    (section,) = table(load_runs([folder])).sections
    assert {row.group.config_id for row in section.rows} == {"c0000", "c0001"}


def test_a_dead_fold_stays_in_the_mean_and_the_reason_stands_beside_it(record: Record, run_folder: WriteRun) -> None:
    """Three folds at 90 % and one whose last layer never fired: 72.5 ± 35, as if nothing had happened."""
    healthy, dead = [[18, 2], [2, 18]], [[20, 0], [20, 0]]
    folder = run_folder(
        [
            record(0, 0.9, confusion=healthy, best_epoch=2),
            record(1, 0.9, confusion=healthy, best_epoch=2),
            record(2, 0.5, confusion=dead, best_epoch=1),
        ]
    )
    for fold, rate in enumerate([0.1, 0.1, 0.0]):
        lines = ["epoch,val_loss,firing_rate_fc2", f"1,1.0,{rate}", f"2,{1 - 5 * rate},{rate}", ""]
        (folder / "trials" / f"c0000-f{fold}-s0" / "epochs.csv").write_text("\n".join(lines))
    found = table(load_runs([folder]))
    assert pick(found.rows).mean == pytest.approx(230 / 3)
    assert pick(found.rows).n == 3
    assert [note for note in table_notes(found) if note.startswith("Health: ")] == [
        "Health: paper/c0000, fold 2: fc2 never fired in epoch 1 of 2, which is tested; usually helps: network.init = "
        '"data", network.norm = "tdbn" or a lower neuron.v_threshold; in a network of yours, larger weights before the '
        "first silent layer",
        "Health: paper/c0000, fold 2: the loss was 1 after each of 2 epochs",
        "Health: paper/c0000, fold 2: all 40 test samples were taken for c0; more training.epochs, another "
        'training.learning_rate or network.init = "data" may help',
        "Health: trials that are named here count in every mean like all others",
    ]

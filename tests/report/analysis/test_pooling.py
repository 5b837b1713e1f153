"""Evaluations that differ in nothing but their seeds share a row; others are kept apart, and it is said why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sltune.cli.main import main
from sltune.report.analysis.pooling import pooled
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import Table, table
from sltune.report.plots.learning_curves import learning_curves
from sltune.report.tables.text import render
from sltune.settings.configuration import Configuration
from tests.written_runs import make_record, write_run

WriteRun = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteRun:
    """Write an evaluation of one seed on two folds."""

    def written(name: str, seed: int, *accuracies: float, planned: int = 2, **settings: Any) -> Path:
        config = Configuration.of({"evaluation.seeds": (seed,), **settings}).model_dump(mode="json")
        facts = {"config": config, "seed": seed, "run": name}
        records = [make_record(fold, accuracy, **facts) for fold, accuracy in enumerate(accuracies)]
        return write_run(tmp_path / name, records, [f"c0000-f{fold}-s{seed}" for fold in range(planned)])

    return written


def table_of(*folders: Path, **options: Any) -> Table:
    return table(load_runs(folders), published=False, **options)


def test_runs_with_other_seeds_share_a_row_over_all_of_them(write: WriteRun) -> None:
    # Seeds 0 and 1: 50, 60 and 70, 80, of which 65 is the mean; its squared deviations are 225, 25, 25 and 225.
    found = table_of(write("first", 0, 0.5, 0.6), write("second", 1, 0.7, 0.8))
    rows = [row for row in found.rows if row.metric == "test_accuracy"]
    assert [(row.group.label, row.seed, row.mean) for row in rows] == [
        ("first + second/c0000", None, pytest.approx(65)),
        ("first + second/c0000", 0, pytest.approx(55)),
        ("first + second/c0000", 1, pytest.approx(75)),
    ]
    assert rows[0].std(1) == pytest.approx((500 / 3) ** 0.5)
    assert found.kept_apart == ()
    assert not found.sections[0].comparisons


def test_pooled_runs_are_compared_with_others_on_all_their_seeds(write: WriteRun) -> None:
    pools = [write("a", 0, 0.5, 0.6), write("b", 1, 0.7, 0.8)]
    others = [write("c", 0, 0.6, 0.7, **{"neuron.decay": 0.9}), write("d", 1, 0.8, 0.9, **{"neuron.decay": 0.9})]
    found = table_of(*pools, *others, baseline="a + b")
    (one,) = found.sections[0].comparisons
    assert one.test is not None
    assert (one.second.run, one.test.n, one.test.difference) == ("c + d", 4, pytest.approx(10))
    # They have the same seeds: whoever puts them together wants to compare them.
    assert found.kept_apart == ()


def test_a_trial_without_a_record_is_missing_in_its_own_run(write: WriteRun) -> None:
    run = write("second", 1, 0.7)
    (run / "trials" / "c0000-f1-s1").mkdir()
    (run / "trials" / "c0000-f1-s1" / "epochs.csv").write_text("epoch,val_accuracy\n1,0.5\n")
    row = table_of(write("first", 0, 0.5, 0.6), run).rows[0]
    assert row.trials == "3 of 4 trials; fold 1 of seed 1 unfinished"
    (both,) = pooled(load_runs([write("first", 0, 0.5, 0.6), run]))
    assert both.trial(both.planned[-1]).path == run / "trials" / "c0000-f1-s1"


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"seed": 1, "neuron.decay": 0.5}, "neuron.decay = 0.5 instead of 0.3"),
        (
            {"seed": 1, "sampling.augment": ("rotation(degrees=5)",), "training.epochs": 7},
            'sampling.augment = ["rotation(degrees=5)"] instead of []; training.epochs = 7 instead of 400',
        ),
        ({"seed": 1, "evaluation.folds": 5}, "evaluation.folds = 5 instead of 4"),
        ({"seed": 0}, "both have trials of the seeds 0"),
    ],
)
def test_what_keeps_runs_apart_is_named(write: WriteRun, second: dict[str, Any], said: str) -> None:
    found = table_of(write("first", 0, 0.5, 0.6), write("second", second.pop("seed"), 0.7, 0.8, **second))
    assert len({row.group for row in found.rows}) == 2
    assert found.kept_apart == (f"second is not pooled with first: {said}",)
    assert said in " ".join(render(found, "md").split()).replace("\\", "")


def test_data_in_another_order_give_other_folds(tmp_path: Path) -> None:
    runs = []
    for seed, order in enumerate("ab"):
        record = make_record(0, 0.5, seed=seed)
        dataset = record["dataset"] | {"recording_order": order}
        runs.append(write_run(tmp_path / f"run{seed}", [record], dataset=dataset))
    assert table_of(*runs).kept_apart == ("run1 is not pooled with run0: dataset.recording_order is another",)


def test_the_same_code_from_two_folders_is_one_code_and_other_code_is_another(tmp_path: Path) -> None:
    runs = []
    for seed, (digit, origin) in enumerate([("a", "/ada"), ("a", "/bob"), ("b", "/ada")]):
        code = {"digest": digit * 64, "origin": origin}
        runs.append(write_run(tmp_path / f"run{seed}", [make_record(0, 0.5, seed=seed)], code=code))
    assert {row.group.run for row in table_of(*runs).rows} == {"run0 + run1", "run2"}
    assert table_of(*runs).kept_apart == ("run2 is not pooled with run0 + run1: the user's code is another",)


def test_a_search_is_not_pooled(tmp_path: Path) -> None:
    """Its best was chosen by its accuracy, which a mean with other runs would hide."""
    search = write_run(tmp_path / "search", [make_record(0, 0.5)], kind="tune", best="c0000")
    other = write_run(tmp_path / "other", [make_record(0, 0.7, seed=1)])
    assert {row.group.run for row in table_of(search, other).rows} == {"search", "other"}


@pytest.fixture
def trained(write: WriteRun) -> list[Path]:
    """Two runs whose trials have epochs."""
    runs = [write("first", 0, 0.5, 0.6), write("second", 1, 0.7, 0.8)]
    for trial in (trial for run in runs for trial in (run / "trials").iterdir()):
        (trial / "epochs.csv").write_text("epoch,train_loss,val_loss,val_accuracy\n1,0.1,0.1,0.5\n2,0.1,0.1,0.6\n")
    return runs


def test_pooled_runs_have_the_curves_of_both(trained: list[Path]) -> None:
    (plot,) = learning_curves(series_of(pooled(load_runs(trained))))
    assert "mean of 4 of 4 trials: 50.0 % at epoch 1, highest 60.0 % at epoch 2" in plot.alt


@pytest.mark.slow
def test_a_page_of_pooled_runs_says_where_both_come_from(trained: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["report", *map(str, trained), "--format", "html", "--out", str(file)])
    assert result.exit_code == 0, result.output
    page = file.read_text()
    assert "first + second/c0000" in page
    assert "mean of 4 of 4 trials: 50.0 % at epoch 1, highest 60.0 % at epoch 2" in page
    assert "first, an evaluation" in page
    assert "second, an evaluation" in page

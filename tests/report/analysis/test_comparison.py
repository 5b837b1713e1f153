"""Comparisons of configurations, worked out by hand, and what may not be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from sltune.errors import UsageError
from sltune.report.analysis.comparison import Comparison
from sltune.report.analysis.costs import with_energy
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.summary import ReportSection, table
from sltune.report.tables.text import render, write_report
from sltune.settings.energy import EnergyTable

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
# 3 of 4 recordings train and 1 tests: a ratio of 1/3, as in four folds without a validation part.
THREE_TO_ONE = {"train": ["a", "b", "c"], "val": [], "test": ["d"]}


def section(*folders: Path, **options: Any) -> ReportSection:
    (found,) = table(load_runs(folders), published=False, **options).sections
    return found


def the_only(section: ReportSection) -> Comparison:
    (one,) = section.comparisons
    return one


@pytest.fixture
def two_runs(record: Record, run_folder: WriteRun) -> list[Path]:
    """Test accuracies 50, 60, 70, 80 and, 1 to 4 points better, 51, 62, 73, 84."""
    first = run_folder([record(fold, 0.5 + 0.1 * fold, splits=THREE_TO_ONE) for fold in range(4)], name="first")
    better = [record(fold, 0.51 + 0.11 * fold, splits=THREE_TO_ONE) for fold in range(4)]
    return [first, run_folder(better, name="second")]


def test_two_runs_are_paired_by_fold(two_runs: list[Path]) -> None:
    one = the_only(section(*two_runs))
    assert (one.first.label, one.second.label, one.metric) == ("first/c0000", "second/c0000", "test_accuracy")
    assert one.test is not None
    assert one.test.difference == pytest.approx(2.5)
    # Mean 2.5, s² = 5/3, error √((1/4 + 1/3) · 5/3).
    assert one.test.p == pytest.approx(2 * stats.t.sf(2.5 / ((7 / 12) * (5 / 3)) ** 0.5, 3))
    # No record says how often each signer was classed right.
    assert one.answer is not None
    assert (one.answer.p, one.answer.units, one.answer.over) == (one.test.p, 0, "new splits")
    assert one.p_holm == one.test.p
    assert one.test.wilcoxon_p == 0.125


def test_the_words_say_that_four_pairs_are_too_few(two_runs: list[Path]) -> None:
    text = " ".join(render(table(load_runs(two_runs), published=False), "md").split())
    assert "second/c0000 against first/c0000: +2.50 points, which can be chance (p = 0.085)" in text
    # 3.182446 · 0.986013
    assert "; only more than ±3.14 could be told from it; n = 4" in text
    assert "With n = 4 the signed-rank test cannot give p < 0.125: too few pairs" in text
    assert "| first/c0000 | second/c0000 | +2.50 | -0.64 to 5.64 | 0.085 | 0.89 | 0.085 | 0.125 | 1.94 | 4 |" in text


def test_a_clear_difference_is_called_one(record: Record, run_folder: WriteRun) -> None:
    runs = [
        run_folder([record(fold, base + 0.01 * fold * step, splits=THREE_TO_ONE) for fold in range(4)], name=name)
        for name, base, step in (("bad", 0.3, 1), ("good", 0.7, 2))
    ]
    text = " ".join(render(table(load_runs(runs), published=False), "md").split())
    assert "good/c0000 against bad/c0000: +41.50 points, more than chance explains at 5 % (p <0.001)" in text


def test_only_what_both_tested_on_the_same_recordings_is_paired(record: Record, run_folder: WriteRun) -> None:
    other = THREE_TO_ONE | {"test": ["e"]}
    first = run_folder([record(fold, 0.5, splits=THREE_TO_ONE) for fold in range(3)], name="first")
    trials = [record(0, 0.6, splits=THREE_TO_ONE), record(1, 0.9, splits=other), record(2, status="failed")]
    one = the_only(section(first, run_folder(trials, name="second")))
    assert one.test is not None
    assert (one.test.n, one.test.difference) == (1, pytest.approx(10))
    foreign = run_folder([record(fold, 0.9, splits=other) for fold in range(3)], name="third")
    assert the_only(section(first, foreign)).reason == "their folds hold other recordings"
    silent = {"test": ["d"]}
    runs = [run_folder([record(0, 0.5, splits=silent)], name=name) for name in ("fifth", "sixth")]
    assert the_only(section(*runs)).reason == "their records do not say what they were trained on"
    elsewhere = run_folder([record(7, 0.9, splits=THREE_TO_ONE)], name="fourth")
    assert the_only(section(first, elsewhere)).reason == "no fold and seed in common"


def test_protocols_are_not_compared(record: Record, run_folder: WriteRun) -> None:
    first = run_folder([record(0, 0.5)], name="first")
    second = run_folder([record(0, 0.5, protocol="train-test", test_accuracy_last=0.4)], name="second")
    assert the_only(section(first, second)).reason == "protocols differ: train-val-test and train-test"
    text = " ".join(render(table(load_runs([first, second]), published=False), "md").split())
    assert "second/c0000 against first/c0000: not compared, protocols differ" in text


def test_what_selects_on_the_test_set_is_compared_by_its_last_epoch(record: Record, run_folder: WriteRun) -> None:
    runs = [
        run_folder([record(0, 0.9, protocol="train-test", test_accuracy_last=last)], name=name)
        for name, last in (("first", 0.3), ("second", 0.5))
    ]
    one = the_only(section(*runs))
    assert (one.metric, one.test and one.test.difference) == ("test_accuracy_last", pytest.approx(20))


def test_seeds_on_the_same_folds_count_once_a_fold(record: Record, run_folder: WriteRun) -> None:
    config = {"evaluation": {"protocol": "train-val-test", "sessions": ["S1"], "split_seed": 0}}
    runs = [
        run_folder(
            [
                record(fold, base + 0.02 * seed + 0.01 * fold, seed=seed, splits=THREE_TO_ONE, config=config)
                for fold in range(2)
                for seed in range(3)
            ],
            name=name,
        )
        for name, base in (("first", 0.5), ("second", 0.6))
    ]
    found = section(*runs)
    assert found.comparisons[0].test is not None
    assert found.comparisons[0].test.n == 2
    row = next(row for row in found.rows if row.seed is None and row.metric == "test_accuracy")
    # Per fold 52 and 53: s² = 0.5, (1/2 + 1/3) · 0.5; t(1, 0.975) = 12.7062.
    assert row.n == 6
    assert row.interval is not None
    assert row.interval.high - 52.5 == pytest.approx(12.7062 * (5 / 12) ** 0.5, abs=1e-3)


def test_many_configurations_are_each_compared_with_the_best(record: Record, run_folder: WriteRun) -> None:
    records = [
        record(fold, 0.3 + 0.05 * number + 0.01 * fold * number, config_id=f"c{number:04d}", splits=THREE_TO_ONE)
        for number in range(8)
        for fold in range(4)
    ]
    folder = run_folder(records, kind="tune", best="c0003")
    compared = section(folder, every=True).comparisons
    assert len(compared) == 7
    assert {one.first.config_id for one in compared} == {"c0003"}
    smallest = min(compared, key=lambda one: one.test.p if one.test and one.test.p is not None else 1)
    assert smallest.test is not None
    assert smallest.test.p is not None
    assert smallest.p_holm == pytest.approx(min(1, 7 * smallest.test.p))


def test_of_several_comparisons_the_words_promise_nothing_that_only_one_could_keep(
    record: Record, run_folder: WriteRun
) -> None:
    runs = [
        run_folder([record(fold, base + 0.01 * fold * step, splits=THREE_TO_ONE) for fold in range(4)], name=name)
        for name, base, step in (("a", 0.3, 1), ("b", 0.32, 2), ("c", 0.31, 5))
    ]
    text = " ".join(render(table(load_runs(runs), published=False), "md").split())
    assert "which can be chance (p = " in text
    assert "could be told from it" not in text


def test_an_interval_lies_round_the_mean_that_stands_beside_it(record: Record, run_folder: WriteRun) -> None:
    config = {"evaluation": {"protocol": "train-val-test", "sessions": ["S1"], "split_seed": 0}}
    trials = [record(0, 0.9, seed=seed, splits=THREE_TO_ONE, config=config) for seed in range(10)]
    trials += [record(fold, 0.5 + 0.01 * fold, splits=THREE_TO_ONE, config=config) for fold in range(1, 10)]
    row = next(row for row in section(run_folder(trials)).rows if row.seed is None)
    assert row.interval is not None
    assert row.mean is not None
    assert row.interval.low + row.interval.high == pytest.approx(2 * row.mean)


def test_a_baseline_is_what_all_others_are_compared_with(record: Record, run_folder: WriteRun) -> None:
    runs = [
        run_folder([record(fold, 0.5 + 0.01 * number, splits=THREE_TO_ONE) for fold in range(4)], name=name)
        for number, name in enumerate(("a", "b", "c"))
    ]
    for baseline in ("b", "b/c0000"):
        compared = section(*runs, baseline=baseline).comparisons
        assert [(one.first.run, one.second.run) for one in compared] == [("b", "a"), ("b", "c")]
    with pytest.raises(UsageError, match=r"--baseline d: must be one of the runs, a, b, c, or a config"):
        section(*runs, baseline="d")


def test_the_best_of_a_search_shows_what_choosing_it_has_flattered(record: Record, run_folder: WriteRun) -> None:
    records = [
        record(fold, 0.6, val_accuracy=0.7 + 0.02 * fold, config_id=config_id)
        for config_id in ("c0000", "c0001")
        for fold in range(2)
    ]
    folder = run_folder(records, kind="tune", best="c0001")
    (one,) = section(folder).optimism
    assert (one.group.chosen_from, one.group.is_alone) == (2, True)
    assert section(folder, every=True).optimism == (replace(one, group=replace(one.group, is_alone=False)),)
    assert (one.group.config_id, one.by, one.n) == ("c0001", "validation", 2)
    assert (one.selected, one.unselected, one.difference) == pytest.approx((71, 60, 11))


def test_the_best_epoch_stands_beside_the_last(record: Record, run_folder: WriteRun) -> None:
    trials = [record(fold, 0.8, protocol="train-test", test_accuracy_last=0.6 + 0.1 * fold) for fold in range(2)]
    (one,) = section(run_folder(trials)).optimism
    assert (one.selected, one.unselected, one.difference) == pytest.approx((80, 65, 15))


def test_comparisons_are_written_for_programs(two_runs: list[Path], record: Record, run_folder: WriteRun) -> None:
    values = json.loads(render(table(load_runs(two_runs)), "json"))
    (one,) = values["comparisons"]
    assert (one["first"], one["n"], one["reason"]) == ({"run": "first", "config_id": "c0000"}, 4, None)
    assert one["difference"] == pytest.approx(2.5)
    assert values["rows"][0]["interval95"] == pytest.approx([65 - 31.379, 65 + 31.379], abs=1e-2)
    records = [record(0, 0.5, config_id=config_id) for config_id in ("c0000", "c0001")]
    folder = run_folder(records, name="both")
    files = write_report(folder, table(load_runs([folder])))
    lines = next(file for file in files if file.name == "comparisons.csv").read_text().splitlines()
    assert lines[0].startswith("first,second,metric,n,difference_points")
    assert lines[1].startswith("both/c0000,both/c0001,test_accuracy,1,0.0")


def test_costs_are_means_over_the_trials_with_a_result(record: Record, run_folder: WriteRun) -> None:
    def facts(ops: float, conv: float, best: int, minutes: float, epochs: float) -> Spec:
        timings = {"started": 100.0, "ended": 100.0 + 60 * minutes, "epochs": epochs}
        spikes = {"input": 1e9, "conv1": conv, "fc1": 500.0}
        return {"synaptic_ops": ops, "spikes": spikes, "best_epoch": best, "timings": timings}

    trials = [record(0, 0.5, **facts(1e6, 1500, 3, 1, 10)), record(1, 0.5, **facts(2e6, 2500, 6, 2, 20))]
    folder = run_folder([*trials, record(2, status="failed", **facts(9e9, 9e9, 9, 90, 90))])
    (cost,) = section(folder).costs
    assert cost.metrics == {"synaptic_ops": 1.5e6, "spikes": 2500}
    assert (cost.n, cost.best_epoch, cost.epochs, cost.minutes) == (2, 4.5, 15, 1.5)
    text = render(table(load_runs([folder]), published=False), "md")
    assert re.search(r"\| paper/c0000 \| +1\.5 \| +2\.5 \| +4\.5 \| +15 \| +1\.5 \| +2 \|", text)
    values = json.loads(render(table(load_runs([folder])), "json"))["costs"][0]
    assert (values["run"], values["config_id"], values["synaptic_ops"]) == ("paper", "c0000", 1.5e6)


def test_another_table_of_energies_changes_what_operations_take(record: Record, run_folder: WriteRun) -> None:
    counts = {"effective_acs": 1e6, "effective_macs": 2e5, "membrane_updates": 1e4, "synaptic_ops": 3e6}
    runs = load_runs([run_folder([record(0, 0.5, **counts, energy_joules=1.0), record(1, 0.5, synaptic_ops=3e6)])])
    energies = EnergyTable.parse("accumulate=1,multiply_accumulate=2,update=3,access=4")
    changed = with_energy(runs[0], energies)
    first, second = (one.metrics for one in changed.records)
    assert first.number("energy_joules") == pytest.approx((1e6 + 4e5 + 3e4) * 1e-12)
    assert first.number("energy_with_memory_joules") == pytest.approx((1e6 + 4e5 + 3e4 + 4 * (1.2e6 + 2e4)) * 1e-12)
    assert second.number("energy_joules") is None
    text = render(table([changed], published=False), "md")
    assert "energy, µJ" in text
    assert "synaptic ops" not in text, "an estimate, where operations were counted"


def test_costs_that_nobody_has_counted_have_no_table(record: Record, run_folder: WriteRun) -> None:
    assert "Cost" not in render(table(load_runs([run_folder([record(0, 0.5)])]), published=False), "md")

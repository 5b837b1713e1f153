"""What the configurations of a run have come to, and which of them a report shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import Series, series_of
from tests.report.plotting import search_records, write_search

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
SPACE = "[neuron]\ndecay = { low = 0.1, high = 0.9 }\n"


def series(*folders: Path) -> list[Series]:
    return series_of(load_runs(folders))


def pruned(number: int, *accuracies: float) -> list[Spec]:
    """Return the records of a configuration of which the first trials are done and a last one is pruned."""
    own = search_records(number, {}, [*accuracies, 0.9])
    return [*own[:-1], own[-1] | {"status": "pruned", "metrics": {}}]


def test_a_configuration_is_complete_only_with_all_its_trials(record: Record, tmp_path: Path) -> None:
    failed = search_records(2, {}, [0.9, 0.9])
    diverged = search_records(4, {}, [0.9, 0.9])
    failed[1]["status"], diverged[0]["status"] = "failed", "diverged"
    records = [*search_records(0, {}, [0.5, 0.6]), *pruned(1, 0.3), *failed, *search_records(3, {}, [0.7]), *diverged]
    (found,) = series(write_search(tmp_path / "run", SPACE, records))
    assert [one.state for one in found.results] == ["complete", "pruned", "failed", "paused", "diverged"]
    assert [one.number for one in found.complete] == [0]
    assert [one.val_percent for one in found.results[:2]] == pytest.approx([55, 30])
    assert [len(one.waiting) for one in found.results] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("other", [{"split": "official"}, {"protocol": "train-test"}])
def test_trials_of_two_splits_or_protocols_are_no_result_together(
    other: Spec, record: Record, run_folder: WriteRun
) -> None:
    (found,) = series(run_folder([record(0, 0.5), record(1, 0.5, **other)]))
    assert found.results == ()
    (found,) = series(run_folder([record(0, 0.5, **other), record(1, 0.5, **other)], name="alike"))
    assert [one.val_percent for one in found.results] == [50]


def test_a_missing_value_leaves_a_configuration_without_a_mean(tmp_path: Path) -> None:
    records = search_records(0, {}, [0.5, 0.6])
    records[1]["metrics"]["val_accuracy"] = None
    (found,) = series(write_search(tmp_path / "run", SPACE, records))
    assert (found.results[0].val_percent, found.complete) == (None, [])


def test_the_best_that_the_run_names_is_shown_else_the_best_so_far(tmp_path: Path) -> None:
    records = [*search_records(0, {}, [0.5, 0.6]), *search_records(1, {}, [0.7, 0.8]), *pruned(2, 0.9)]
    named = write_search(tmp_path / "named", SPACE, records, best="c0000")
    so_far = write_search(tmp_path / "so-far", SPACE, records)
    found = series(named, so_far)
    assert [one.label for one in found] == ["named/c0000", "so-far/c0001"]


def test_a_configuration_that_costs_too_much_is_not_the_best_so_far(tmp_path: Path) -> None:
    space = SPACE + "[search]\nconstraints = { max_synaptic_ops = 5e6 }\n"
    dear = search_records(1, {}, [0.9, 0.9], synaptic_ops=6e6)
    found = write_search(tmp_path / "run", space, [*search_records(0, {}, [0.5, 0.6]), *dear])
    assert series(found)[0].label == "run/c0000"


def test_a_search_without_a_complete_configuration_shows_none(tmp_path: Path) -> None:
    found = write_search(tmp_path / "run", SPACE, [*pruned(0, 0.9), *search_records(1, {}, [0.7])])
    assert series(found)[0].shown is None


def test_an_evaluation_shows_its_configuration_under_its_own_name(record: Record, run_folder: WriteRun) -> None:
    (found,) = series(run_folder([record(0, 0.5)]))
    assert found.shown is not None
    assert (found.label, found.shown.config_id, found.space) == ("paper", "c0000", None)


def test_runs_of_one_name_are_told_apart_by_the_end_of_their_paths(record: Record, tmp_path: Path) -> None:
    write = [tmp_path / place for place in ("x/one/run", "x/two/run", "y/two/run", "other")]
    runs = load_runs([write_search(folder, SPACE, [], name="run") for folder in write[:3]])
    assert [one.name for one in series_of(runs)] == ["x/one/run", "x/two/run", "y/two/run"]
    copies = load_runs([write_search(tmp_path / name, SPACE, [], name="run") for name in ("run-a", "run-b")])
    assert [one.name for one in series_of(copies)] == ["run-a", "run-b"]


def test_a_long_name_is_shortened_in_its_middle(record: Record, run_folder: WriteRun) -> None:
    (found,) = series(run_folder([record(0, 0.5)], name="a" * 30 + "b" * 30))
    assert found.label == "a" * 20 + "…" + "b" * 20

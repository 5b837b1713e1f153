"""What has become of a configuration, by small cases worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.runs.record import Status
from sltune.runs.results import Criteria, Observed, Result, State, pareto_front, state_of, worst
from sltune.settings.search import Search
from tests.trials import record

MEAN_LESS_STD = Criteria.of(Search(aggregate="mean-std"))


def seen(fold: int, accuracy: float | None, ops: float | None) -> Observed:
    return Observed((0, fold), accuracy, {"synaptic_ops": ops})


def complete(config_id: str, *accuracies: float | None, ops: float | None = 1.0) -> Result:
    return Result(config_id, "complete", tuple(seen(fold, accuracy, ops) for fold, accuracy in enumerate(accuracies)))


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([], "paused"),
        (["done"], "paused"),
        (["done", "done", "done"], "complete"),
        (["done", "pruned"], "pruned"),
        (["pruned", "done", "diverged"], "diverged"),
        (["diverged", "failed", "pruned"], "failed"),
        # Others are left, but it will never be complete.
        (["failed"], "failed"),
    ],
)
def test_the_worst_trial_decides_and_without_a_bad_one_all_must_be_done(statuses: list[Status], state: State) -> None:
    records = [record(f"c0000-f{fold}-s0", 0.5, status) for fold, status in enumerate(statuses)]
    assert state_of(records, 3) == state
    assert Result.of("c0000", records, 3).state == state


def test_of_equally_bad_trials_the_first_decides() -> None:
    records = [record(f"c0000-f{fold}-s0", status="failed") for fold in (10, 2)]
    decisive = worst(records)
    assert decisive is not None
    assert decisive.key.name == "c0000-f2-s0"
    assert worst([]) is None


def test_only_trials_that_are_done_are_observed() -> None:
    records = [record("c0000-f0-s0", 0.5), record("c0000-f1-s0", 0.9, "pruned")]
    assert Result.of("c0000", records, 2).observed == (Observed.of(records[0]),)
    assert Observed.of(records[0]).step == (0, 0)
    assert (Observed.of(records[0]).val_accuracy, Observed.of(records[0]).costs["synaptic_ops"]) == (0.5, 1.0)


def test_a_mean_needs_a_value_of_every_trial() -> None:
    assert complete("c0000", 0.5, 0.7).val_accuracy == pytest.approx(0.6)
    assert complete("c0000", 0.5, None).val_accuracy is None
    assert complete("c0000").val_accuracy is None
    assert complete("c0000", 0.5, ops=None).cost("synaptic_ops") is None


def test_the_score_is_the_mean_or_less_some_standard_deviations() -> None:
    # Mean 0.7, standard deviation (ddof 1) 0.2·√2.
    result = complete("c0000", 0.9, 0.5)
    assert Criteria().score(result) == pytest.approx(0.7)
    assert MEAN_LESS_STD.score(result) == pytest.approx(0.7 - 0.2 * math.sqrt(2))
    assert Criteria(std_weight=2).score(result) == pytest.approx(0.7 - 0.4 * math.sqrt(2))
    assert Criteria(std_weight=2).score(complete("c0000", 0.9)) == 0.9


def test_the_best_has_the_highest_score() -> None:
    results = [complete("c0000", 0.9, 0.5), complete("c0001", 0.69, 0.69)]
    assert Criteria().best(results) == results[0]
    assert MEAN_LESS_STD.best(results) == results[1]


def test_of_equals_the_first_that_was_asked_for_is_best_in_whatever_order_they_end() -> None:
    results = [complete("c0002", 0.6, 0.8), complete("c0001", 0.8, 0.6), complete("c10000", 0.7, 0.7)]
    best = Criteria().best(results)
    assert best is not None
    assert best.config_id == "c0001"


@pytest.mark.parametrize("state", ["paused", "pruned", "failed", "diverged"])
def test_only_complete_configurations_with_an_accuracy_can_be_best(state: State) -> None:
    others = [Result("c0000", state, (seen(0, 0.9, 1.0),)), complete("c0001", None, 0.9)]
    assert Criteria().best(others) is None
    assert Criteria().best([*others, complete("c0002", 0.1)]) == complete("c0002", 0.1)


def test_a_limit_is_kept_by_what_reaches_it_and_not_by_what_was_not_counted() -> None:
    limited = Criteria.of(Search(constraints={"max_synaptic_ops": 2.0}))
    kept, over, unknown = (complete("c0000", 0.5, ops=ops) for ops in (2.0, 2.5, None))
    assert [limited.allows(one) for one in (kept, over, unknown)] == [True, False, False]
    assert [limited.excess(one)["max_synaptic_ops"] for one in (kept, over, unknown)] == [0.0, 0.5, math.inf]
    assert limited.best([over, unknown]) is None
    assert all(Criteria().allows(one) for one in (kept, over, unknown))


def test_of_sparsity_more_is_better_in_limits_and_on_fronts() -> None:
    def sparse(number: int, accuracy: float, sparsity: float) -> Result:
        return Result(f"c{number:04d}", "complete", (Observed((0, 0), accuracy, {"activation_sparsity": sparsity}),))

    results = [sparse(0, 0.5, 0.9), sparse(1, 0.9, 0.5), sparse(2, 0.5, 0.8)]
    criteria = Criteria.of(Search(objectives=("val_accuracy", "activation_sparsity")))
    assert criteria.costs == ("activation_sparsity",)
    assert [one.config_id for one in criteria.front(results)] == ["c0000", "c0001"]
    limited = Criteria.of(Search(constraints={"min_activation_sparsity": 0.75}))
    assert [limited.allows(one) for one in results] == [True, False, True]


def test_energy_is_shown_where_all_have_measured_it_and_else_what_earlier_versions_counted() -> None:
    new = Result("c0000", "complete", (Observed((0, 0), 0.5, {"energy_joules": 1e-6, "synaptic_ops": 1.0}),))
    assert Criteria().cost_shown([new]) == "energy_joules"
    assert Criteria().cost_shown([new, complete("c0001", 0.5)]) == "synaptic_ops"
    assert Criteria(cost="latency_ms").cost_shown([new]) == "latency_ms"


def test_deviations_count_only_where_the_search_asks_for_them() -> None:
    assert Criteria.of(Search(std_weight=3.0)) == Criteria.of(None) == Criteria()
    assert Criteria.of(Search(aggregate="mean-std", std_weight=3.0)) == Criteria(std_weight=3.0)


def test_the_front_of_a_search_stands_in_the_order_of_asking_and_keeps_the_limit() -> None:
    points = [(0.5, 100.0), (0.9, 900.0), (0.7, 300.0), (0.7, 200.0), (0.6, 400.0), (0.9, 900.0)]
    results = [complete(f"c{number:04d}", accuracy, ops=ops) for number, (accuracy, ops) in enumerate(points)]
    # c0002 and c0004 are beaten by c0003; equals do not beat each other.
    assert [one.config_id for one in Criteria().front(results)] == ["c0000", "c0001", "c0003", "c0005"]
    assert [one.config_id for one in Criteria(limits={"max_synaptic_ops": 250}).front(results)] == ["c0000", "c0003"]
    assert Criteria().front([complete("c0000", 0.5, ops=None)]) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    unbeaten = {place for place, point in enumerate(points) if not any(beats(one, point) for one in points)}
    front = pareto_front(points)
    assert set(front) == unbeaten
    assert len(front) == len(unbeaten)
    assert [points[place][1] for place in front] == sorted(points[place][1] for place in front)

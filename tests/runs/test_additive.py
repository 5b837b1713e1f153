"""Predicted means against truth: additive data, and searches drawn from the model itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sltune.runs.additive import predict
from sltune.runs.results import Observed, Outlook, Result

NAN = np.nan


def drawn(rng: np.random.Generator, configurations: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all results of a search, and those that successive halving would have: the later, the fewer."""
    levels, folds = rng.normal(0.6, 0.08, (configurations, 1)), rng.normal(0, 0.05, steps)
    whole = levels + folds + rng.normal(0, 0.03, (configurations, steps))
    known = whole.copy()
    for step in range(1, steps):
        so_far = known[:, :step].mean(axis=1)
        known[np.argsort(-np.nan_to_num(so_far, nan=-1.0))[configurations // 3**step :], step] = NAN
    return whole, known


def test_what_is_complete_has_its_own_mean_and_no_error() -> None:
    scores = np.array([[0.5, 0.7], [0.4, 0.6], [0.9, NAN]])
    found = predict(scores)
    assert found.mean[:2] == pytest.approx([0.6, 0.5])
    assert found.error[:2] == pytest.approx([0.0, 0.0])
    assert found.error[2] > 0


def test_an_easy_step_is_nobodys_merit() -> None:
    """Step 1 is 20 points harder: whoever has only step 0 is expected to lose 10 points on average."""
    levels = np.linspace(0.4, 0.8, 12)[:, None]
    scores = levels + np.array([0.1, -0.1])
    scores[8:, 1] = NAN
    assert predict(scores).mean == pytest.approx(levels[:, 0], abs=0.005)


def test_few_results_are_drawn_towards_the_mean() -> None:
    rng = np.random.default_rng(0)
    scores = 0.6 + rng.normal(0, 0.03, (30, 4))
    scores[0] = [0.9, NAN, NAN, NAN]
    found = predict(scores)
    assert 0.6 < found.mean[0] < 0.9
    assert found.level[0] < 0.9


def test_errors_are_as_large_as_they_say() -> None:
    """Over searches drawn from the model, predictions miss by one standard error, as the word says."""
    rng = np.random.default_rng(1)
    ratios, naive, own = [], [], []
    for _ in range(200):
        whole, known = drawn(rng, 40, 4)
        found, lacking = predict(known), np.isnan(known).any(axis=1)
        missed = found.mean - whole.mean(axis=1)
        ratios.append(missed[lacking] / found.error[lacking])
        own.append(missed[lacking])
        naive.append(np.nanmean(known, axis=1)[lacking] - whole.mean(axis=1)[lacking])
    assert 0.8 < np.concatenate(ratios).std() < 1.3
    assert abs(np.concatenate(ratios).mean()) < 0.15
    assert np.concatenate(own).std() < 0.7 * np.concatenate(naive).std()


@pytest.mark.parametrize("shape", [(1, 4), (5, 1), (3, 2)])
def test_it_is_finite_whatever_is_known(shape: tuple[int, int]) -> None:
    equal = predict(np.full(shape, 0.5))
    assert np.isfinite(equal.mean).all()
    first = np.full(shape, NAN)
    first[0, 0] = 0.7
    found = predict(first)
    assert found.mean[0] == pytest.approx(0.7)
    assert np.isfinite(found.error).all()
    assert np.isnan(predict(np.full(shape, NAN)).mean).all()


def test_a_result_depends_on_no_order_of_configurations() -> None:
    _, known = drawn(np.random.default_rng(2), 20, 4)
    order = np.random.default_rng(3).permutation(20)
    assert predict(known[order]).mean == pytest.approx(predict(known).mean[order])


def result(config_id: str, *accuracies: float) -> Result:
    observed = tuple(Observed((0, fold), accuracy, 1.0) for fold, accuracy in enumerate(accuracies))
    return Result(config_id, "complete" if len(accuracies) == 4 else "paused", observed)


def test_the_probability_of_being_the_best_is_shared_by_those_that_can_hardly_be_told_apart() -> None:
    rng = np.random.default_rng(4)
    folds = np.array([0.05, -0.05, 0.0, 0.02])
    levels = [0.8, 0.8, *[0.6] * 10]
    results = [result(f"c{i:04d}", *(level + folds + rng.normal(0, 0.01, 4))) for i, level in enumerate(levels)]
    results.append(result("c0012", 0.95))
    outlook = Outlook(results, [(0, fold) for fold in range(4)])
    likely = outlook.best_probabilities(results[:12])
    assert sum(share for _, share in likely) == pytest.approx(1)
    assert {one.config_id for one, _ in likely[:2]} == {"c0000", "c0001"}
    assert sum(share for _, share in likely[:2]) > 0.99
    best = max(results[:12], key=lambda one: one.val_accuracy or 0)
    error, others = outlook.as_good_as(best, results[:12])
    assert error == pytest.approx(0.01 / 2, rel=0.4)
    assert {one.config_id for one in others} <= {"c0000", "c0001"} - {best.config_id}
    assert outlook.as_good_as(replace(best), results[:12]) == (error, others), "whichever object names the best"
    mean = outlook.mean(results[-1])
    assert mean is not None
    assert mean[0] < 0.95
    assert outlook.mean(result("c0000")) is None

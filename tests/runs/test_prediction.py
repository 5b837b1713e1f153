"""Predicted means against truth: additive data, searches drawn from the model itself, and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from threadpoolctl import threadpool_limits

from sltune.runs import prediction
from sltune.runs.prediction import LENGTHS, SCALES, SHARES, levels_among_neighbours, predict
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


def smooth(rng: np.random.Generator, configurations: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points, true levels, and the results that each has, of one to four steps."""
    points = rng.random((configurations, 3))
    levels = 0.4 + 0.4 * np.exp(-4 * ((points - 0.4) ** 2).sum(axis=1))
    scores = levels[:, None] + rng.normal(0, 0.04, 4) + rng.normal(0, 0.05, (configurations, 4))
    scores[np.arange(4) >= rng.choice([1, 2, 4], (configurations, 1), p=[0.7, 0.2, 0.1])] = NAN
    return points, levels, scores


def regression(points: np.ndarray, noise: np.ndarray, length: float, share: float, variance: float):  # type: ignore[no-untyped-def]
    """Return scikit-learn's; the part of a configuration's own is a process of no length."""
    kernel = ConstantKernel(share * variance) * RBF(length) + ConstantKernel((1 - share) * variance) * RBF(1e-6)
    return GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)


@pytest.mark.parametrize("most", [150, 20])
def test_levels_are_those_of_scikit_learns_most_likely_gaussian_process(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of the most likely length, share and scale, with the most likely mean; also of those that were left out."""
    monkeypatch.setattr(prediction, "MAX_FITTED", most)
    rng = np.random.default_rng(5)
    points, levels, _ = smooth(rng, 40)
    noise = 0.0025 / rng.choice([1, 2, 4], 40)
    own = levels + rng.normal(0, np.sqrt(noise))
    fitted = np.arange(40)
    if most < 40:
        best_first = sorted(fitted, key=lambda row: (noise[row], -own[row]))
        fitted = np.array([*best_first[:10], *sorted(best_first[10:])[::3]])
    at, values, left = points[fitted], own[fitted], noise[fitted]
    spread, found = values.var() - left.mean(), []
    for length, share, scale in product(LENGTHS, SHARES, SCALES):
        likely = regression(at, left, length, share, scale * spread)
        fit = minimize_scalar(
            lambda mean, likely=likely: -likely.fit(at, values - mean).log_marginal_likelihood_value_, (0, 1)
        )
        found.append((-fit.fun, fit.x, (length, share, scale * spread)))
    _, mean, chosen = max(found)
    mean_level, variance = levels_among_neighbours(points, own, noise)
    for row in range(40):
        rows = [*(one for one in fitted if one != row), row]
        likely = regression(points[rows], noise[rows], *chosen).fit(points[rows], own[rows] - mean)
        (expected,), (error,) = likely.predict(points[[row]], return_std=True)
        assert mean_level[row] == pytest.approx(mean + expected, abs=1e-5)
        assert np.sqrt(variance[row]) == pytest.approx(error, rel=1e-3)


def test_similar_configurations_tell_of_each_other_as_far_as_settings_matter() -> None:
    rng = np.random.default_rng(6)
    with_settings, without, errors, shuffled = [], [], [], []
    for _ in range(20):
        points, levels, scores = smooth(rng, 60)
        found = predict(scores, points)
        with_settings.append(found.level - levels)
        errors.append(found.level_error)
        without.append(predict(scores).level - levels)
        shuffled.append(predict(scores, rng.permutation(points)).level - levels)
    # Folds shift all levels of a search alike.
    missed, alone, at_random = (
        np.array([one - one.mean() for one in kind]) for kind in (with_settings, without, shuffled)
    )
    assert missed.std() < 0.75 * alone.std()
    assert at_random.std() < 1.1 * alone.std(), "settings that do not matter do no harm"
    assert 0.7 < (missed / np.array(errors)).std() < 1.3


@pytest.mark.parametrize("points", [np.zeros((6, 1)), np.linspace(0, 1, 6)[:, None], np.eye(6)])
def test_levels_are_finite_whatever_is_known_and_wherever(points: np.ndarray) -> None:
    equal = predict(np.full((6, 3), 0.5), points)
    assert equal.level == pytest.approx(np.full(6, 0.5))
    for known in range(7):
        scores = np.full((6, 3), NAN)
        scores[:known, 0] = np.linspace(0.3, 0.9, 7)[:known]
        found = predict(scores, points)
        assert np.isfinite(found.level[:known]).all()
        assert np.isfinite(found.judged(1.0)[:known]).all()


def test_equal_configurations_have_equal_levels_whatever_their_order_and_the_number_of_threads() -> None:
    points, _, scores = smooth(np.random.default_rng(7), 60)
    points, scores = np.concatenate([points, points[:5]]), np.concatenate([scores, scores[:5]])
    found = predict(scores, points).level
    assert found[:5].tolist() == found[60:].tolist()
    order = np.random.default_rng(8).permutation(65)
    assert predict(scores[order], points[order]).level == pytest.approx(found[order], abs=1e-7)
    with threadpool_limits(2, "blas"):
        assert predict(scores, points).level.tolist() == found.tolist()

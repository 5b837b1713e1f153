"""What a configuration would reach on folds and seeds that it has not been trained on yet.

An additive model, configuration + (fold, seed), is fitted to all results of a search, so that an easy fold is nobody's
merit. Both parts are random effects, estimated by maximum likelihood with the EM algorithm (Laird and Ware 1982,
doi:10.2307/2529876): what rests on few results is drawn towards the mean of all configurations.

Where the settings of configurations are given, it is drawn towards what similar ones have reached instead: their levels
have a Gaussian process as prior (Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, chapters 2, 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float64]

ROUNDS = 25
"""Rounds of the EM algorithm, from fixed values, so that the same results always give the same predictions."""
FIRST_VARIANCES = (0.01, 0.0025)
"""Of configurations and of residuals, in accuracies as fractions: standard deviations of 10 and 5 points."""
MIN_STEP_VARIANCE = 1e-4
MIN_VARIANCE = 1e-8
"""Keep divisions finite where all results are equal."""
DRAWS = 20_000
"""The standard error of a probability is then at most 0.004."""

LENGTHS = (0.2, 0.4, 0.8)
"""Distances over which configurations become unlike, in widths of a domain; from few to nearly all of its values."""
SHARES = (0.5, 0.9, 0.99)
"""Of the variance between configurations, how much settings explain; the rest is each configuration's own."""
SCALES = (1.0, 3.0)
"""Variances between configurations, as multiples of the variance of their means."""
MAX_FITTED = 150
"""The time of a fit grows with the cube of this number; 150 configurations take about 10 ms."""
MIN_FITTED = 4
"""From fewer configurations nothing can be learned of how alike neighbours are."""
DIGITS = 9
"""Later digits of a fit differ between machines, and must not decide between equals."""


@dataclass(frozen=True)
class Prediction:
    """What is known of each configuration, as arrays of shape (configurations,), in fractions.

    scores: of shape (configurations, steps), its results, and predictions where it has none yet. mean: of these. error:
    standard error of that mean; 0 where all results are there. missing: the share of predictions. level, level_error:
    the accuracy that it has on average over all conceivable seeds. noise: standard deviation of a single result, once
    configuration and step are known.
    """

    scores: Floats
    mean: Floats
    error: Floats
    missing: Floats
    level: Floats
    level_error: Floats
    noise: float

    def judged(self, std_weight: float) -> Floats:
        """Return the level of each configuration less some standard deviations (ddof 1) of its results."""
        if not std_weight or self.scores.shape[1] < 2:
            return self.level
        # Predictions scatter less than results will, as they lack the noise of a training.
        variance = self.scores.var(axis=1, ddof=1) + self.missing * self.noise**2
        judged: Floats = self.level - std_weight * np.sqrt(variance)
        return judged

    def best_probabilities(self, rows: Sequence[int]) -> Floats:
        """Return for each of these rows the probability that its level is the highest among them."""
        rng = np.random.default_rng(0)
        drawn = self.level[rows] + self.level_error[rows] * rng.standard_normal((DRAWS, len(rows)))
        return np.bincount(drawn.argmax(axis=1), minlength=len(rows)) / DRAWS


def predict(scores: Floats, points: Floats | None = None) -> Prediction:
    """Fit the model to the results of a search.

    Args:
        scores: of shape (configurations, steps), in fractions; NaN where there is no result yet.
        points: of shape (configurations, coordinates), the settings of each; None if these shall not matter.
    """
    seen = ~np.isnan(scores)
    known = np.where(seen, scores, 0.0)
    per_row, per_step = np.maximum(seen.sum(axis=1), 1), seen.sum(axis=0)
    begun = seen.any(axis=1)
    if not begun.any():
        nothing = np.full(len(scores), np.nan)
        return Prediction(scores, nothing, nothing, nothing, nothing, nothing, math.nan)
    mean, steps = known.sum() / seen.sum(), np.zeros(scores.shape[1])
    spread, noise = FIRST_VARIANCES
    step_variance = max(noise, MIN_STEP_VARIANCE)
    for _ in range(ROUNDS):
        weight = np.where(begun, spread / (spread + noise / per_row), 0.0)
        own = (known - np.where(seen, steps, 0.0)).sum(axis=1) / per_row
        level = mean + weight * (own - mean)
        uncertain = spread * (1 - weight)
        weights = per_step + noise / step_variance
        steps = np.where(seen, known - level[:, None], 0.0).sum(axis=0) / weights
        uncertain_steps = noise / weights
        steps -= steps.mean()
        mean = level[begun].mean()
        left = np.where(seen, known - level[:, None] - steps, 0.0)
        noise = max(((left**2).sum() + (seen.sum(axis=1) * uncertain).sum()) / seen.sum(), MIN_VARIANCE)
        spread = max(float(((level - mean) ** 2 + uncertain)[begun].mean()), MIN_VARIANCE)
        step_variance = max(float((steps**2 + uncertain_steps).mean()), MIN_STEP_VARIANCE)
    if points is not None and begun.sum() >= MIN_FITTED:
        own = (known - np.where(seen, steps, 0.0)).sum(axis=1) / per_row
        # Matrices are too small for several threads, which would wait for each other and round differently.
        with _threads_of_blas().limit(limits=1):
            found = levels_among_neighbours(points[begun], own[begun], noise / per_row[begun])
        level[begun], uncertain[begun] = found
    missing = (~seen).sum(axis=1) / scores.shape[1]
    filled = np.where(seen, known, level[:, None] + steps)
    unknown_steps = np.where(seen, 0.0, noise + uncertain_steps).sum(axis=1) / scores.shape[1] ** 2
    error = np.sqrt(missing**2 * uncertain + unknown_steps)
    return Prediction(filled, filled.mean(axis=1), error, missing, level, np.sqrt(uncertain), math.sqrt(noise))


@cache
def _threads_of_blas() -> ThreadpoolController:
    # Looking for libraries takes 4 ms, and finds those that are loaded. SciPy is slow to load and brings its own.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController().select(user_api="blas")


def levels_among_neighbours(points: Floats, own: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance of the level of each configuration, given the results of all.

    Levels have a Gaussian process as prior. A share of their variance falls off with the distance of settings, as a
    Gaussian does; the rest is each configuration's own.

    Args:
        points: of shape (configurations, coordinates).
        own: mean results, without the effects of their steps. noise: variances of these means.
    """
    fitted = _worth_fitting(own, noise)
    at, values, left = points[fitted], own[fitted], noise[fitted]
    length, share, variance = _most_likely(at, values, left)
    inverse = np.linalg.inv(_covariance(_alike(at, at, length), share, variance, left))
    mean = (inverse @ values).sum() / inverse.sum()
    pull, precision = inverse @ (values - mean), np.diag(inverse)
    # What the others say of each configuration; of one that was fitted, in closed form (Rasmussen and Williams, 5.4.2).
    near = variance * share * _alike(points, at, length)
    expected, spread = mean + near @ pull, variance - ((near @ inverse) * near).sum(axis=1)
    expected[fitted], spread[fitted] = values - pull / precision, 1 / precision - left
    spread = np.maximum(spread, MIN_VARIANCE)
    # And then what its own results say.
    gain = spread / (spread + noise)
    return np.round(expected + gain * (own - expected), DIGITS), spread * (1 - gain)


def _worth_fitting(own: Floats, noise: Floats) -> NDArray[np.int64]:
    """Return the rows to fit: the most tested ones, the best first, and some of all others, which are no better."""
    best_first = np.lexsort((-own, noise))
    if len(own) <= MAX_FITTED:
        return best_first
    half = MAX_FITTED // 2
    others = np.sort(best_first[half:])
    return np.concatenate([best_first[:half], others[:: len(others) // half][:half]])


def _most_likely(points: Floats, own: Floats, noise: Floats) -> tuple[float, float, float]:
    """Return the length, share and variance of the highest marginal likelihood."""
    spread = max(own.var() - noise.mean(), own.var() / 10, MIN_VARIANCE)
    found = []
    for length in LENGTHS:
        alike = _alike(points, points, length)
        for share, scale in product(SHARES, SCALES):
            likelihood = log_likelihood(own, _covariance(alike, share, scale * spread, noise))
            found.append((round(likelihood, DIGITS), (length, share, scale * spread)))
    return max(found, key=itemgetter(0))[1]


def log_likelihood(values: Floats, covariance: Floats) -> float:
    """Return the log density, but for a constant, of values with a common mean, at its most likely."""
    from scipy.linalg import cholesky, solve_triangular

    factor = cholesky(covariance, lower=True, check_finite=False)
    both = np.column_stack([np.ones_like(values), values])
    ones, white = solve_triangular(factor, both, lower=True, check_finite=False).T
    white = white - (ones @ white) / (ones @ ones) * ones
    return float(-white @ white / 2 - np.log(np.diag(factor)).sum())


def _alike(points: Floats, others: Floats, length: float) -> Floats:
    """Return the correlation of every point with every other one."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * points @ others.T
    alike: Floats = np.exp(np.minimum(-squares, 0.0) / (2 * length**2))
    return alike


def _covariance(alike: Floats, share: float, variance: float, noise: Floats) -> Floats:
    """Return the covariance of mean results: a share of the levels' variance comes from settings, the rest does not."""
    covariance = share * variance * alike
    covariance[np.diag_indices(len(noise))] += (1 - share) * variance + noise
    return covariance

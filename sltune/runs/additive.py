"""What a configuration would reach on folds and seeds that it has not been trained on yet.

An additive model, configuration + (fold, seed), is fitted to all results of a search, so that an easy fold is nobody's
merit. Both parts are random effects, estimated by maximum likelihood with the EM algorithm (Laird and Ware 1982,
doi:10.2307/2529876): what rests on few results is drawn towards the mean of all configurations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Prediction:
    """What is known of each configuration, as arrays of shape (configurations,), in fractions.

    scores: of shape (configurations, steps), its results, and predictions where it has none yet. mean: of these. error:
    standard error of that mean; 0 where all results are there. level, level_error: the accuracy that it has on average
    over all conceivable seeds. noise: standard deviation of a single result, once configuration and step are known.
    """

    scores: Floats
    mean: Floats
    error: Floats
    level: Floats
    level_error: Floats
    noise: float

    def best_probabilities(self, rows: Sequence[int]) -> Floats:
        """Return for each of these rows the probability that its level is the highest among them."""
        rng = np.random.default_rng(0)
        drawn = self.level[rows] + self.level_error[rows] * rng.standard_normal((DRAWS, len(rows)))
        return np.bincount(drawn.argmax(axis=1), minlength=len(rows)) / DRAWS


def predict(scores: Floats) -> Prediction:
    """Fit the model to the results of a search.

    Args:
        scores: of shape (configurations, steps), in fractions; NaN where there is no result yet.
    """
    seen = ~np.isnan(scores)
    known = np.where(seen, scores, 0.0)
    per_row, per_step = np.maximum(seen.sum(axis=1), 1), seen.sum(axis=0)
    begun = seen.any(axis=1)
    if not begun.any():
        nothing = np.full(len(scores), np.nan)
        return Prediction(scores, nothing, nothing, nothing, nothing, math.nan)
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
    missing = (~seen).sum(axis=1) / scores.shape[1]
    filled = np.where(seen, known, level[:, None] + steps)
    unknown_steps = np.where(seen, 0.0, noise + uncertain_steps).sum(axis=1) / scores.shape[1] ** 2
    error = np.sqrt(missing**2 * uncertain + unknown_steps)
    return Prediction(filled, filled.mean(axis=1), error, level, np.sqrt(uncertain), math.sqrt(noise))

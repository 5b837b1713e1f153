"""What an accuracy or a difference says about new signers and new trainings.

Every trial trains once, (fold, seed), and tests some signers; its record says how often each of them was classed right.
A signer is harder or easier in all trainings, and a training is better or worse for all its signers. So both are random
effects, and the variance of a mean is clustered both ways (Cameron, Gelbach and Miller 2011, "Robust inference with
multiway clustering", Journal of Business & Economic Statistics 29, section 2), with one degree of freedom less than the
smaller number of clusters. ``benchmarks/inference.py`` compares this method with others by simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.report.inference.statistics import CONFIDENCE, Interval, PairedTest

NO_SPREAD_POINTS = 1e-9
"""A standard error below this is a rounding error: all values are alike."""
Training = tuple[int, int]
"""(fold, seed)."""
Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Score:
    """How one unit went in one training: correct of all its samples."""

    correct: int
    samples: int


Scores = Mapping[Training, Mapping[str, Score]]
"""How each unit went in each training, by its name."""


@dataclass(frozen=True)
class Cells:
    """Values in points, one for each unit in each training that tested it.

    units, trainings: the number of the unit and of the training of each value. weights: they sum to 1; each training
    weighs the same, and within it each sample, so that the weighted mean is the mean of the trials' accuracies.
    """

    values: Floats
    weights: Floats
    units: Codes
    trainings: Codes

    @property
    def mean(self) -> float:
        return float(self.values @ self.weights)


@dataclass(frozen=True)
class Estimate:
    """A mean accuracy in per cent, or a difference in points, and how sure it is.

    interval: of 95 %, None where the values have no spread. error: the standard error. df: the degrees of freedom of
    the t distribution. over: to what it generalises, such as "new signers and new trainings". unit: what units are
    called, such as "signers". units, trainings: how many of both it is from; 0 units where the records do not say how
    often each was classed right.
    """

    value: float
    interval: Interval | None
    error: float
    df: int
    over: str
    unit: str
    units: int
    trainings: int


@dataclass(frozen=True)
class Difference(Estimate):
    """By how many points the second is better than the first.

    p: two-sided. equivalence: the half width of the region of practical equivalence in points. p_better, p_worse: the
    probabilities that the true difference lies above and below this region; what is missing to 1 is that of practical
    equivalence. They are read off the t distribution round the estimate, which is the posterior for a flat prior on
    the difference, as in the Bayesian correlated t-test (Corani and Benavoli 2015), whose variance is another.
    """

    p: float | None
    p_better: float | None
    p_worse: float | None
    equivalence: float


def tally(recordings: Iterable[tuple[str, int, int]]) -> dict[str, Score]:
    """Return the sums of correct and of all samples by unit.

    Args:
        recordings: unit, correct samples and all samples of each.
    """
    found: dict[str, Score] = {}
    for unit, correct, samples in recordings:
        known = found.get(unit, Score(0, 0))
        found[unit] = Score(known.correct + correct, known.samples + samples)
    return found


def cells(scores: Scores) -> Cells:
    """Return the accuracies, in per cent, of every unit in every training that tested it."""
    return _cells({training: {name: (_percent(one), one.samples) for name, one in of.items()}
                   for training, of in scores.items()})  # fmt: skip


def paired_cells(first: Scores, second: Scores) -> Cells:
    """Return the second's accuracies minus the first's, in points, of the units that both have in a training."""
    return _cells({
        training: {
            name: (_percent(second[training][name]) - _percent(one), one.samples)
            for name, one in of.items() if name in second[training]
        }
        for training, of in first.items() if training in second
    })  # fmt: skip


def estimate(found: Cells, unit: str) -> Estimate | None:
    """Return the mean with its interval; None for fewer than two values.

    Args:
        unit: what the units are called, such as "signers".
    """
    if len(found.values) < 2:
        return None
    units, trainings = (len(np.unique(codes)) for codes in (found.units, found.trainings))
    error, df = two_way_error(found.values, found.weights, found.units, found.trainings)
    interval = _interval(found.mean, float(error), df)
    return Estimate(found.mean, interval, float(error), df, _over(unit, units, trainings), unit, units, trainings)


def difference(found: Cells, unit: str, equivalence: float = EQUIVALENCE_POINTS) -> Difference | None:
    """Return the mean of paired differences with its test; None for fewer than two.

    Args:
        unit: what the units are called, such as "signers".
        equivalence: half width of the region of practical equivalence, in points.
    """
    one = estimate(found, unit)
    return None if one is None else _tested(one, equivalence)


def of_splits(test: PairedTest, equivalence: float = EQUIVALENCE_POINTS) -> Difference | None:
    """Return what the corrected resampled t-test says, where no record says how often each unit was classed right."""
    if test.n < 2:
        return None
    df, reach = test.n - 1, 0.0 if test.interval is None else (test.interval.high - test.interval.low) / 2
    error = reach / float(stats.t.ppf((1 + CONFIDENCE) / 2, df))
    one = Estimate(test.difference, test.interval, error, df, "new splits", "splits", 0, test.n)
    return _tested(one, equivalence)


def two_way_error(values: Floats, weights: Floats, units: Codes, trainings: Codes) -> tuple[Floats, int]:
    """Return the standard error of the weighted mean of values, clustered by unit and training, and its df.

    Where units are tested in one training each, they are nested in trainings, whose clusters then hold all there is;
    and the other way round. Otherwise the variance is not taken to be below that of either clustering: it is a
    difference, and could be negative.

    Args:
        values: shape (..., values): the errors of many means at once have the shape (...).
    """
    number = values.shape[-1]
    residuals = (values - (values @ weights)[..., None]) * weights
    by_unit, units_number = _clustered(residuals, units)
    by_training, trainings_number = _clustered(residuals, trainings)
    if units_number == 1:
        return np.sqrt(by_training), trainings_number - 1
    if trainings_number in (1, number):
        return np.sqrt(by_unit), units_number - 1
    if units_number == number:
        return np.sqrt(by_training), trainings_number - 1
    alone, _ = _clustered(residuals, np.arange(number))
    both = by_unit + by_training - alone
    variance = np.maximum(both, np.maximum(by_unit, by_training))
    return np.sqrt(variance), min(units_number, trainings_number) - 1


def _clustered(residuals: Floats, codes: Codes) -> tuple[Floats, int]:
    """Return the variance of a mean whose values are independent between clusters, and the number of clusters."""
    _, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    order, starts = np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums = np.add.reduceat(residuals[..., order], starts, axis=-1)
    number = len(sizes)
    return np.square(sums).sum(axis=-1) * (number / (number - 1) if number > 1 else 0.0), number


def _cells(values: Mapping[Training, Mapping[str, tuple[float, int]]]) -> Cells:
    """Return the cells of (value, samples) of each unit in each training."""
    tested = {training: of for training, of in values.items() if of}
    numbers = {name: number for number, name in enumerate(sorted({name for of in tested.values() for name in of}))}
    rows = list[tuple[float, float, int, int]]()
    for place, of in enumerate(tested.values()):
        size = len(tested) * sum(samples for _, samples in of.values())
        rows += [(value, samples / size, numbers[name], place) for name, (value, samples) in of.items()]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Cells(table[:, 0], table[:, 1], table[:, 2].astype(np.intp), table[:, 3].astype(np.intp))


def _percent(one: Score) -> float:
    return 100 * one.correct / one.samples


def _interval(mean: float, error: float, df: int) -> Interval | None:
    if error < NO_SPREAD_POINTS or df < 1:
        return None
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * error
    return Interval(mean - reach, mean + reach)


def _tested(one: Estimate, equivalence: float) -> Difference:
    p = better = worse = None
    if one.interval is not None:
        p = float(2 * stats.t.sf(abs(one.value) / one.error, one.df))
        better = float(stats.t.sf((equivalence - one.value) / one.error, one.df))
        worse = float(stats.t.sf((equivalence + one.value) / one.error, one.df))
    return Difference(**vars(one), p=p, p_better=better, p_worse=worse, equivalence=equivalence)


def _over(unit: str, units: int, trainings: int) -> str:
    """Say to what a mean of so many units and trainings generalises: one of either says nothing of others."""
    if trainings == 1:
        return f"new {unit}, for this one training"
    if units == 1:
        return f"new trainings, for this one of the {unit}"
    return f"new {unit} and new trainings"


def unit_of(scores: Scores, dataset: str) -> str:
    """Return what the units of a dataset are called: samples, where each is its own subject."""
    if all(one.samples == 1 for of in scores.values() for one in of.values()):
        return "samples"
    return "signers" if "SL-Animals" in dataset else "subjects"

"""How many seeds, folds or signers would show a difference: the power of the test over signers and trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from sltune.report.inference.statistics import CONFIDENCE
from sltune.report.inference.two_way import Cells, Floats

SIZE = 1 - CONFIDENCE
MAX_SEEDS, MAX_UNITS = 100, 10_000
"""Whoever needs more seeds or signers needs another idea: no answer beyond these is given."""
DRAWS = 2000
"""Of variances that the pilot allows. With as many, the ends of an interval move by less than a seed."""
CROSSED_DRAWS = 150
"""Of mean squares of one fold, and of the variances for which they are drawn: an answer within seconds."""
MAX_DF = 200
"""Beyond, more degrees of freedom change no power."""
QUANTILES = 1000
"""Of an estimated standard error; with as many, a power has three digits."""


@dataclass(frozen=True)
class Design:
    """What is tested: every one of the units once with each seed, in so many folds."""

    units: int
    folds: int
    seeds: int

    @property
    def trainings(self) -> int:
        return self.folds * self.seeds

    @property
    def is_crossed(self) -> bool:
        """Whether every unit is tested in each of several trainings."""
        return self.folds == 1 and self.seeds > 1

    @property
    def df(self) -> int:
        """The degrees of freedom of the test; see ``two_way_error``."""
        if self.trainings == 1 or self.folds >= self.units:
            return self.units - 1
        return self.trainings - 1 if self.seeds == 1 else min(self.units, self.trainings) - 1


@dataclass(frozen=True)
class Components:
    """Variances of a difference in squared points, and of how many values each was estimated.

    units: how differently the two configurations suit units. trainings: how differently trainings come out, for all
    units alike. rest: of one unit in one training. Entries of a single pilot are numbers; drawn ones are arrays.
    """

    units: Floats | float
    trainings: Floats | float
    rest: Floats | float

    def variance(self, design: Design) -> Floats:
        """Return the variance of the mean difference with a design."""
        trained = np.asarray(self.trainings) / design.trainings
        return np.asarray(self.units) / design.units + trained + np.asarray(self.rest) / (design.units * design.seeds)

    def error_df(self, design: Design) -> NDArray[np.intp]:
        """Return of how many degrees of freedom the estimated error is: not fewer than the test takes for granted.

        After Satterthwaite (1946), for the sum of what is between units and what is between trainings.
        """
        variance, least = self.variance(design), np.intp(max(design.df, 1))
        if design.seeds == 1 or design.trainings == 1:
            return np.full(variance.shape, least)
        rest = np.asarray(self.rest) / (design.units * design.seeds)
        of_units = (np.asarray(self.units) / design.units + rest) ** 2 / (design.units - 1)
        of_trainings = (np.asarray(self.trainings) / design.trainings + rest) ** 2 / (design.trainings - 1)
        both = np.maximum(of_units + of_trainings, np.finfo(np.float64).tiny)
        return np.maximum(np.minimum(variance**2 / both, MAX_DF), least).astype(np.intp)


@dataclass(frozen=True)
class Need:
    """How many of something would do; None: more than can be. low, high: of 95 %, for what the pilot allows."""

    number: int | None
    low: int | None
    high: int | None


def components(found: Cells) -> Components:
    """Estimate the variances from paired differences, without bias for any pattern of tests, but at least zero.

    Half the mean squared difference of two values is the variance of all in which they differ: of trainings and rest,
    if they are of the same unit; of units and rest, if they are of the same training; otherwise of all three. If no
    unit is tested twice, what is between units and what is rest cannot be told apart, and counts as between units.

    Raises:
        ValueError: there are fewer than two trainings or two units.
    """
    number = len(found.values)
    of_unit, of_training = (_pairs(found.values, codes) for codes in (found.units, found.trainings))
    every = _pairs(found.values, np.zeros(number, dtype=np.intp))
    other = (every[0] - of_unit[0] - of_training[0], every[1] - of_unit[1] - of_training[1])
    if not other[1]:
        raise ValueError("a pilot needs two trainings, and two units that are tested in different ones")
    total = other[0] / other[1]
    same_training = of_training[0] / of_training[1] if of_training[1] else total
    trainings = max(0.0, total - same_training)
    if not of_unit[1]:
        return Components(same_training, trainings, 0.0)
    same_unit = of_unit[0] / of_unit[1]
    units = max(0.0, total - same_unit)
    return Components(units, trainings, max(0.0, total - units - trainings))


def mean_of(found: Sequence[Components]) -> Components:
    """Return the means of the variances of several pairs of configurations."""
    return Components(
        *(float(np.mean([getattr(one, name) for one in found])) for name in ("units", "trainings", "rest"))
    )


def power(found: Components, design: Design, difference: float) -> float:
    """Return the probability that the two-sided test at 5 % finds a true difference of so many points."""
    if design.is_crossed:
        return float(_crossed_power(found, design, difference, 50 * CROSSED_DRAWS)[0])
    error = math.sqrt(float(found.variance(design)))
    return 1.0 if error == 0 else _power(abs(difference) / error, design.df, int(found.error_df(design)))


def drawn(found: Components, pilot: Design, seed: int = 0) -> Components:
    """Draw variances that a pilot allows: its mean squares over chi-squared variables, as for generalised intervals."""
    stream, seeds = np.random.default_rng(seed), pilot.seeds
    per_training = pilot.units / pilot.folds
    freedom = max(1, pilot.units * seeds - pilot.units - pilot.trainings + 1)
    rest = _redrawn(float(found.rest), freedom, stream)
    of_trainings = _redrawn(float(found.rest + per_training * found.trainings), max(1, pilot.trainings - 1), stream)
    of_units = _redrawn(float(found.rest + seeds * found.units), max(1, pilot.units - 1), stream)
    trainings, units = (of_trainings - rest) / per_training, (of_units - rest) / seeds
    return Components(np.maximum(units, 0), np.maximum(trainings, 0), rest)


def needs(found: Components, pilot: Design, difference: float, wanted: float) -> dict[str, Need]:
    """Return how many seeds, folds or units would do, each while the other two stay as they are in the pilot."""
    possible = drawn(found, pilot)
    choices: dict[str, tuple[Callable[[int], Design], Iterable[int]]] = {
        "seeds": (lambda number: replace(pilot, seeds=number), range(1, MAX_SEEDS + 1)),
        "folds": (lambda number: replace(pilot, folds=number), range(2, pilot.units + 1)),
        "units": (lambda number: replace(pilot, units=number), _rising(pilot.folds, MAX_UNITS)),
    }
    return {
        name: _need([*map(design, numbers)], [*numbers], found, possible, (difference, wanted))
        for name, (design, numbers) in choices.items()
    }


def _need(designs: Sequence[Design], numbers: Sequence[int], found: Components, possible: Components,
          aim: tuple[float, float]) -> Need:  # fmt: skip
    """Return the first number that will do, for the pilot's variances and for each that it allows."""
    difference, wanted = aim
    if designs[0].is_crossed or designs[-1].is_crossed:
        possible = Components(*(np.asarray(one)[:CROSSED_DRAWS] for one in vars(possible).values()))
    enough = np.array([_suffices(possible, design, difference, wanted) for design in designs])
    alone = [power(found, design, difference) >= wanted for design in designs]
    firsts = np.where(enough.any(axis=0), enough.argmax(axis=0), len(designs))
    low, high = (int(place) for place in np.quantile(firsts, [SIZE / 2, 1 - SIZE / 2], method="inverted_cdf"))
    known: list[int | None] = [*numbers, None]
    return Need(known[alone.index(True) if any(alone) else len(designs)], known[low], known[high])


def _suffices(found: Components, design: Design, difference: float, wanted: float) -> NDArray[np.bool_]:
    """Return for each of the variances whether a design has the power."""
    if design.is_crossed:
        return np.asarray(_crossed_power(found, design, difference, CROSSED_DRAWS) >= wanted)
    variance, degrees = found.variance(design), found.error_df(design)
    if not design.df:
        return np.zeros(variance.shape, dtype=np.bool_)
    different, places = np.unique(degrees, return_inverse=True)
    shifts = np.array([_needed_shift(design.df, int(one), wanted) for one in different])
    return np.asarray(variance <= (difference / shifts[places].reshape(variance.shape)) ** 2)


def _crossed_power(found: Components, design: Design, difference: float, draws: int) -> Floats:
    """Return the power for each of the variances where all units are tested in all trainings.

    The variance of the mean is then not estimated by the few trainings alone, as the t distribution of other designs
    takes it to be: see ``two_way_error``, here of mean squares, which are independent chi-squared variables.
    """
    units, trainings, rest = (np.atleast_1d(np.asarray(one, dtype=np.float64))[:, None] for one in vars(found).values())
    sizes, number, stream = (design.units - 1, design.seeds - 1), design.units * design.seeds, np.random.default_rng(0)
    degrees = (*sizes, sizes[0] * sizes[1])
    of_units, of_trainings, of_rest = (stream.chisquare(df, draws) for df in degrees)
    squares = (
        (rest + design.seeds * units) * of_units,
        (rest + design.units * trainings) * of_trainings,
        rest * of_rest,
    )
    by_unit, by_training = (square / df / number for square, df in zip(squares, sizes, strict=False))
    alone = sum(squares) / number / (number - 1)
    estimated = np.maximum(by_unit + by_training - alone, np.maximum(by_unit, by_training))
    error = np.sqrt(found.variance(design)).reshape(-1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        limits, shift = stats.t.ppf(1 - SIZE / 2, design.df) * np.sqrt(estimated) / error, abs(difference) / error
        shares = special.ndtr(shift - limits) + special.ndtr(-limits - shift)
    return np.where(error[:, 0] == 0, 1.0, shares.mean(axis=1))


def _rising(first: int, last: int) -> list[int]:
    """Return numbers of units to try: each at first, later in steps of about 2 %."""
    numbers = [max(2, first)]
    while numbers[-1] < last:
        numbers.append(max(numbers[-1] + 1, round(numbers[-1] * 1.02)))
    return numbers


def _pairs(values: Floats, codes: NDArray[np.intp]) -> tuple[float, float]:
    """Return the sum of half the squared differences of all pairs of the same code, and the number of these pairs."""
    sizes = np.bincount(codes)
    # Differences do not change with what is taken off all values, and squares of small values lose no digits.
    centred = values - values.mean()
    sums, squares = np.bincount(codes, centred), np.bincount(codes, np.square(centred))
    return float((sizes * squares - np.square(sums)).sum() / 2), float((sizes * (sizes - 1)).sum() / 2)


def _redrawn(mean_square: float, df: int, stream: np.random.Generator) -> Floats:
    return mean_square * df / stream.chisquare(df, DRAWS)


def _power(shift: float, df: int, error_df: int) -> float:
    """Return the power of a test whose statistic is shifted by so many standard errors.

    Args:
        df: the degrees of freedom of the t distribution that the test takes. error_df: those of the estimated error.
    """
    if df < 1:
        return 0.0
    limits = _limits(df, error_df)
    return float(np.mean(special.ndtr(shift - limits) + special.ndtr(-limits - shift)))


@lru_cache(maxsize=4096)
def _limits(df: int, error_df: int) -> Floats:
    """Return what a shifted normal value must exceed, for equally likely estimates of its standard error.

    scipy's noncentral t distribution is not a number for large shifts.
    """
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.asarray(stats.t.ppf(1 - SIZE / 2, df) * np.sqrt(stats.chi2.ppf(shares, error_df) / error_df))


@lru_cache(maxsize=4096)
def _needed_shift(df: int, error_df: int, wanted: float) -> float:
    """Return by how many standard errors a test's statistic must be shifted for a power."""
    return float(optimize.brentq(lambda shift: _power(shift, df, error_df) - wanted, 0.0, 200.0, xtol=1e-6))

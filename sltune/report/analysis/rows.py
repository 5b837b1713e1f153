"""Rows of the report: one metric of the trials that may share a mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sltune.report.inference.statistics import Interval, mean_interval
from sltune.report.inference.two_way import Estimate, Score, Scores, cells, estimate, unit_of
from sltune.runs.record import DatasetInfo


@dataclass(frozen=True)
class Group:
    """Trials that may share a mean: they differ in nothing but fold and seed.

    protocol, sessions: empty while no trial of the configuration has ended. chosen_from: of how many configurations
    this is the best; 0 where none was chosen. is_alone: whether the report leaves the others out. same_splits: whether
    all seeds share the folds. is_nested: whether each fold has the configuration that a search of its own has chosen.
    split: what the split is called. is_one_fold: whether it has one fold only.
    """

    run: str
    config_id: str
    protocol: str
    sessions: tuple[str, ...]
    dataset: DatasetInfo
    chosen_from: int = 0
    is_alone: bool = False
    same_splits: bool = False
    is_nested: bool = False
    split: str = "folds"
    is_one_fold: bool = False

    @property
    def has_plain_folds(self) -> bool:
        """Whether it was split as every version splits; tables name other splits."""
        return self.split == "folds"

    @property
    def label(self) -> str:
        return f"{self.run}/{'nested' if self.is_nested else self.config_id}"


@dataclass(frozen=True)
class TrialAccuracy:
    """The accuracy of one trial in per cent.

    tested_on: recordings of the test part. test_ratio: their number over that of the training part's. loss: the loss
    of the same epoch and part; None where the record has none. tested: how often each subject was classed right; empty
    where the record does not say it of this accuracy.
    """

    fold: int
    seed: int
    percent: float
    tested_on: tuple[str, ...] = field(default=(), compare=False)
    test_ratio: float | None = field(default=None, compare=False)
    loss: float | None = field(default=None, compare=False)
    tested: Mapping[str, Score] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Absence:
    """A trial without a value, and why: failed, pruned, diverged, running, unfinished (stopped), missing, …"""

    fold: int
    seed: int
    reason: str


@dataclass(frozen=True)
class Row:
    """One metric of one group; over all seeds where ``seed`` is None."""

    group: Group
    metric: str
    seed: int | None
    ddof: int
    values: tuple[TrialAccuracy, ...]
    absent: tuple[Absence, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def outcomes(self) -> tuple[TrialAccuracy | Absence, ...]:
        return (*self.values, *self.absent)

    @property
    def planned(self) -> int:
        return len(self.outcomes)

    @property
    def complete(self) -> bool:
        return not self.absent

    @property
    def optimistic(self) -> bool:
        return self.group.protocol == "train-test" and self.metric == "test_accuracy"

    @property
    def mean(self) -> float | None:
        return float(np.mean([value.percent for value in self.values])) if self.values else None

    @property
    def std_over(self) -> str:
        """What the values differ in, and so what a deviation is over: folds, seeds, or both; "" for a single value."""
        kinds = {"folds": {value.fold for value in self.values}, "seeds": {value.seed for value in self.values}}
        return " and ".join(name for name, numbers in kinds.items() if len(numbers) > 1)

    def std(self, ddof: int) -> float | None:
        """Return the standard deviation, None where there are too few values for this ddof."""
        if self.n <= ddof:
            return None
        return float(np.std([value.percent for value in self.values], ddof=ddof))

    @property
    def losses(self) -> list[float]:
        return [value.loss for value in self.values if value.loss is not None]

    @property
    def mean_loss(self) -> float | None:
        return float(np.mean(self.losses)) if self.losses else None

    def std_loss(self, ddof: int) -> float | None:
        """Return the standard deviation of the losses, None where there are too few for this ddof."""
        return float(np.std(self.losses, ddof=ddof)) if len(self.losses) > ddof else None

    @cached_property
    def estimate(self) -> Estimate | None:
        """The mean with its standard error, and to what it generalises; None where no record says who was tested."""
        scores = scores_of(self.values)
        return estimate(cells(scores), unit_of(scores, self.group.dataset.name)) if scores else None

    @cached_property
    def interval(self) -> Interval | None:
        """The 95 % interval of the mean in per cent; None where the values do not allow one."""
        found = self.estimate.interval if self.estimate else self._interval_of_splits
        if found is None or self.mean is None:
            return None
        # The interval is centred on the mean in the table. Where some folds lack a seed, the mean of the folds' means
        # is another. Accuracies end at 0 and 100 %, which a t distribution does not know.
        reach = (found.high - found.low) / 2
        return Interval(max(0.0, self.mean - reach), min(100.0, self.mean + reach))

    @property
    def _interval_of_splits(self) -> Interval | None:
        """The interval whose variance is corrected for overlapping training sets."""
        ratio = ratio_of(self.values)
        if ratio is None:
            return None
        return mean_interval(independent([(value.fold, value.percent) for value in self.values], self.group), ratio)

    @property
    def trials(self) -> str:
        """How many trials count, and what became of the others: ``3 of 4 trials; fold 2 failed``."""
        return "; ".join([f"{self.n} of {self.planned} trials", *self._absences()])

    def _absences(self) -> Iterator[str]:
        folds: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for absence in self.absent:
            folds[absence.seed, absence.reason].append(absence.fold)
        several = len({trial.seed for trial in self.outcomes}) > 1
        for (seed, reason), numbers in folds.items():
            word = "fold" if len(numbers) == 1 else "folds"
            of_seed = f" of seed {seed}" if several else ""
            yield f"{word} {', '.join(map(str, numbers))}{of_seed} {reason}"


def scores_of(values: Sequence[TrialAccuracy]) -> Scores:
    """Return how often each subject was classed right in each trial; empty unless all trials say it."""
    if not all(value.tested for value in values):
        return {}
    return {(value.fold, value.seed): value.tested for value in values}


def ratio_of(values: Sequence[TrialAccuracy]) -> float | None:
    """Return the mean size of the test part over that of the training part; None if no record tells."""
    ratios = [value.test_ratio for value in values if value.test_ratio is not None]
    return float(np.mean(ratios)) if ratios else None


def independent(values: Sequence[tuple[int, float]], group: Group) -> list[float]:
    """Return the independent draws among values by fold.

    Seeds that share their folds redraw the weights alone. Their values are averaged first: counted as draws, they would
    narrow an interval without telling more about other signers.
    """
    if not group.same_splits:
        return [value for _, value in values]
    folds: defaultdict[int, list[float]] = defaultdict(list)
    for fold, value in values:
        folds[fold].append(value)
    return [float(np.mean(of_fold)) for of_fold in folds.values()]

"""What has become of a configuration: its state, how good it is, whether it keeps the limits, and which one is best.

The board, the summary of a search, its study, tables, plots and the page all ask here, so that they never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Literal, TypeVar

import numpy as np

from sltune.runs.prediction import Prediction, predict
from sltune.runs.record import Record, Status, config_number
from sltune.settings.search import Search

State = Literal["complete", "pruned", "failed", "diverged", "paused"]
"""The state of a configuration. complete: every trial is done. paused: trials are left, and none has ended otherwise.

A running trial does not change it: whether another one follows is known when it has ended.
"""
WORST_FIRST: tuple[Status, ...] = ("failed", "diverged", "pruned", "done")


@dataclass(frozen=True)
class Observed:
    """All that a search may know of a trial: what the validation part gave at the chosen epoch; None: not measured.

    step: (seed, fold).
    """

    step: tuple[int, int]
    val_accuracy: float | None
    synaptic_ops: float | None

    @classmethod
    def of(cls, record: Record) -> Observed:
        return cls((record.seed, record.fold), record.metrics.val_accuracy, record.metrics.synaptic_ops)


@dataclass(frozen=True)
class Result:
    """A configuration and what has become of it. observed: of its trials that are done."""

    config_id: str
    state: State
    observed: tuple[Observed, ...]

    @classmethod
    def of(cls, config_id: str, records: Iterable[Record], trials: int) -> Result:
        """Return the result of a configuration from the trials that have ended; trials: the number of all of them."""
        ended = list(records)
        observed = tuple(Observed.of(record) for record in ended if record.status == "done")
        return cls(config_id, state_of(ended, trials), observed)

    @property
    def number(self) -> int:
        """Its place in the order of asking."""
        return config_number(self.config_id)

    @cached_property
    def val_accuracy(self) -> float | None:
        """Mean validation accuracy, a fraction; None unless every done trial has one."""
        return _mean([one.val_accuracy for one in self.observed])

    @cached_property
    def synaptic_ops(self) -> float | None:
        """Mean synaptic operations per sample; None unless every done trial has counted them."""
        return _mean([one.synaptic_ops for one in self.observed])


AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Criteria:
    """What a search judges configurations by.

    std_weight: how many standard deviations are taken off the mean accuracy. max_synaptic_ops: the most that the mean
    over trials may be.
    """

    std_weight: float = 0.0
    max_synaptic_ops: float = math.inf

    @classmethod
    def of(cls, search: Search | None) -> Criteria:
        """Return the criteria of a search; without one, those of an evaluation: the mean, and no limit."""
        if search is None:
            return cls()
        weight = search.std_weight if search.aggregate == "mean-std" else 0.0
        return cls(weight, search.constraints.get("max_synaptic_ops", math.inf))

    def score(self, result: Result) -> float:
        """Return the mean validation accuracy less some standard deviations (ddof 1); -inf where there is no mean."""
        if result.val_accuracy is None:
            return -math.inf
        accuracies = [one.val_accuracy for one in result.observed if one.val_accuracy is not None]
        has_spread = self.std_weight and len(accuracies) > 1
        return result.val_accuracy - self.std_weight * stdev(accuracies) if has_spread else result.val_accuracy

    def excess(self, result: Result) -> float:
        """Return by how much a configuration exceeds the limit; at most 0 where it keeps it, inf if nobody knows."""
        if self.max_synaptic_ops == math.inf:
            return 0.0
        return math.inf if result.synaptic_ops is None else result.synaptic_ops - self.max_synaptic_ops

    def allows(self, result: Result) -> bool:
        """Say whether a configuration keeps the limit; one that cannot be shown to keep it does not."""
        return self.excess(result) <= 0

    def eligible(self, results: Iterable[AnyResult]) -> list[AnyResult]:
        """Return the complete configurations that have an accuracy and keep the limit."""
        return [one for one in results if one.state == "complete" and one.val_accuracy is not None and self.allows(one)]

    def best(self, results: Iterable[AnyResult]) -> AnyResult | None:
        """Return the eligible configuration with the highest score; of equals, the one that was asked for first."""
        return max(self.eligible(results), key=lambda one: (self.score(one), -one.number), default=None)

    def front(self, results: Iterable[AnyResult]) -> list[AnyResult]:
        """Return the eligible configurations on the Pareto front of accuracy and operations, in the order given."""
        eligible = [one for one in self.eligible(results) if one.synaptic_ops is not None]
        points = [(one.val_accuracy or 0.0, one.synaptic_ops or 0.0) for one in eligible]
        return [eligible[place] for place in sorted(pareto_front(points))]


class Outlook:
    """What the results of a search say of configurations that lack some, and of which one is the best.

    Args:
        results: of all configurations of the search.
        steps: (seed, fold) of the trials of each.
    """

    def __init__(self, results: Sequence[Result], steps: Sequence[tuple[int, int]]) -> None:
        self._results, self._rows = results, {one.config_id: row for row, one in enumerate(results)}
        self._steps = {step: place for place, step in enumerate(steps)}

    @cached_property
    def _prediction(self) -> Prediction:
        scores = np.full((len(self._results), len(self._steps)), np.nan)
        for row, result in enumerate(self._results):
            for one in result.observed:
                if one.val_accuracy is not None and one.step in self._steps:
                    scores[row, self._steps[one.step]] = one.val_accuracy
        return predict(scores)

    def mean(self, result: Result) -> tuple[float, float] | None:
        """Return the mean that a configuration would have with all its trials, and the standard error of that mean."""
        if result.val_accuracy is None:
            return None
        row = self._rows[result.config_id]
        return float(self._prediction.mean[row]), float(self._prediction.error[row])

    def best_probabilities(self, eligible: Sequence[AnyResult]) -> list[tuple[AnyResult, float]]:
        """Return the probability of each complete configuration that it is the best of them, the highest first."""
        rows = [self._rows[one.config_id] for one in eligible]
        shares = self._prediction.best_probabilities(rows).tolist() if rows else []
        return sorted(zip(eligible, shares, strict=True), key=lambda pair: (-pair[1], pair[0].number))

    def as_good_as(self, best: Result, eligible: Sequence[AnyResult]) -> tuple[float, list[AnyResult]]:
        """Return the standard error of the best mean, and the other configurations within it."""
        error = self._prediction.noise / math.sqrt(max(1, len(self._steps)))
        least = (best.val_accuracy or 0.0) - error
        others = [one for one in eligible if one.config_id != best.config_id]
        return error, [one for one in others if (one.val_accuracy or 0.0) >= least]


def worst(records: Iterable[Record]) -> Record | None:
    """Return the record that decides what becomes of its configuration; None where there is none."""
    return min(records, key=lambda record: (WORST_FIRST.index(record.status), record.key), default=None)


def state_of(records: Sequence[Record], trials: int) -> State:
    """Return the state of a configuration from the records of ended trials; trials: the number of all of them."""
    decisive = worst(records)
    if decisive is not None and decisive.status != "done":
        return decisive.status
    return "complete" if len(records) == trials else "paused"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points (gain, cost) that no other beats in one without losing in the other.

    They stand by their cost. Equal points do not beat each other.
    """
    front = list[int]()
    for place in sorted(range(len(points)), key=lambda place: (points[place][1], -points[place][0], place)):
        if not front or points[place][0] > points[front[-1]][0] or points[place] == points[front[-1]]:
            front.append(place)
    return front


def _mean(values: Sequence[float | None]) -> float | None:
    # statistics.mean is exact up to one rounding, whatever the order of the trials.
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None

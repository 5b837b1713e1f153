"""What has become of a configuration: its state, how good it is, whether it keeps the limits, and which one is best.

The board, the summary of a search, its study, tables, plots and the page all ask here, so that they never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Literal, TypeVar, get_args

import numpy as np

from sltune.runs.prediction import Prediction, predict
from sltune.runs.record import Record, Status, config_number
from sltune.settings.search import Search
from sltune.settings.types import Cost

State = Literal["complete", "pruned", "failed", "diverged", "paused"]
"""The state of a configuration. complete: every trial is done. paused: trials are left, and none has ended otherwise.

A running trial does not change it: whether another one follows is known when it has ended.
"""
WORST_FIRST: tuple[Status, ...] = ("failed", "diverged", "pruned", "done")


@dataclass(frozen=True)
class Observed:
    """All that a search may know of a trial: what the validation part gave at the chosen epoch; None: not measured.

    step: (seed, fold). costs: by the names of METRICS.
    """

    step: tuple[int, int]
    val_accuracy: float | None
    costs: Mapping[str, float | None] = field(hash=False)

    @classmethod
    def of(cls, record: Record) -> Observed:
        costs = {name: record.metrics.number(name) for name in get_args(Cost)}
        return cls((record.seed, record.fold), record.metrics.val_accuracy, costs)


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

    def cost(self, name: str) -> float | None:
        """Mean of a cost; None unless every done trial has measured it."""
        return _mean([one.costs.get(name) for one in self.observed])


AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Criteria:
    """What a search judges configurations by.

    std_weight: how many standard deviations are taken off the mean accuracy. limits: of the means of costs over trials,
    such as max_effective_acs. cost: the one that is an objective beside the accuracy, or "".
    """

    std_weight: float = 0.0
    limits: Mapping[str, float] = field(default_factory=dict, hash=False)
    cost: str = ""

    @classmethod
    def of(cls, search: Search | None) -> Criteria:
        """Return the criteria of a search; without one, those of an evaluation: the mean, and no limit."""
        if search is None:
            return cls()
        weight = search.std_weight if search.aggregate == "mean-std" else 0.0
        cost = next((name for name in search.objectives if name != "val_accuracy"), "")
        return cls(weight, dict[str, float](search.constraints.items()), cost)

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that the search judges by."""
        return tuple(dict.fromkeys([*map(limited, self.limits), *([self.cost] if self.cost else [])]))

    def score(self, result: Result) -> float:
        """Return the mean validation accuracy less some standard deviations (ddof 1); -inf where there is no mean."""
        if result.val_accuracy is None:
            return -math.inf
        accuracies = [one.val_accuracy for one in result.observed if one.val_accuracy is not None]
        has_spread = self.std_weight and len(accuracies) > 1
        return result.val_accuracy - self.std_weight * stdev(accuracies) if has_spread else result.val_accuracy

    def excess(self, result: Result) -> dict[str, float]:
        """Return by how much a configuration exceeds each limit; at most 0 where it keeps it, inf if nobody knows."""
        values = {name: result.cost(limited(name)) for name in self.limits}
        return {
            name: math.inf if value is None else sign(name) * (value - self.limits[name])
            for name, value in values.items()
        }

    def allows(self, result: Result) -> bool:
        """Say whether a configuration keeps all limits; one that cannot be shown to keep them does not."""
        return all(excess <= 0 for excess in self.excess(result).values())

    def eligible(self, results: Iterable[AnyResult]) -> list[AnyResult]:
        """Return the complete configurations that have an accuracy and keep the limits."""
        return [one for one in results if one.state == "complete" and one.val_accuracy is not None and self.allows(one)]

    def best(self, results: Iterable[AnyResult]) -> AnyResult | None:
        """Return the eligible configuration with the highest score; of equals, the one that was asked for first."""
        return max(self.eligible(results), key=lambda one: (self.score(one), -one.number), default=None)

    def front(self, results: Iterable[AnyResult]) -> list[AnyResult]:
        """Return the eligible configurations on the Pareto front of accuracy and cost, in the order given."""
        name = self.cost_shown(eligible := self.eligible(results))
        known = [(one, cost) for one in eligible if (cost := one.cost(name)) is not None]
        eligible = [one for one, _ in known]
        points = [(one.val_accuracy or 0.0, sign(name) * cost) for one, cost in known]
        return [eligible[place] for place in sorted(pareto_front(points))]

    def cost_shown(self, results: Iterable[Result]) -> str:
        """Return the cost to show beside accuracies: that of the search, else the energy, where all have measured it.

        Earlier versions measured synaptic operations only.
        """
        is_measured = all(one.cost("energy_joules") is not None for one in results if one.observed)
        return self.cost or ("energy_joules" if is_measured else "synaptic_ops")


def limited(limit: str) -> str:
    """Return the cost that a limit such as max_effective_acs is of."""
    return limit.partition("_")[2]


def sign(name: str) -> int:
    """Return 1 where a cost, or that of a limit, should be low, and -1 where it should be high."""
    return -1 if name.removeprefix("min_") == "activation_sparsity" else 1


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

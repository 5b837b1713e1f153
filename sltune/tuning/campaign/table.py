"""What came of the trainings of a search, as arrays, and which configurations are better than which."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sltune.runs.prediction import Floats, Prediction, predict
from sltune.runs.results import Criteria, limited, sign
from sltune.settings.points import Point

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max


class Table:
    """What came of the trainings, a row for each configuration and a column for each step.

    Args:
        costs: how many of each training are kept.

    Attributes: accuracy, costs: NaN where there is no result. decision: the number of the decision to train, -1
    where there was none. lost: by row, the number of the first training that ended without a result, else NEVER.
    points: by row, the settings.
    """

    def __init__(self, steps: int, costs: int = 0) -> None:
        self.rows: dict[str, int] = {}
        self._points: list[Point] = []
        self._accuracy, self._costs = np.full((16, steps), np.nan), np.full((16, steps, costs), np.nan)
        self._decision, self._lost = np.full((16, steps), -1), np.full(16, NEVER)

    def open(self, name: str, point: Point) -> int:
        """Return the row of a configuration with these settings, a new one if it has none yet."""
        row = self.rows.setdefault(name, len(self.rows))
        if row == len(self._points):
            self._points.append(point)
        if row == len(self._lost):
            self._accuracy, self._costs, self._decision, self._lost = (
                np.concatenate([array, np.full_like(array, empty)])
                for array, empty in (
                    (self._accuracy, np.nan),
                    (self._costs, np.nan),
                    (self._decision, -1),
                    (self._lost, NEVER),
                )
            )
        return row

    def decide(self, name: str, step: int, number: int) -> None:
        self._decision[self.rows[name], step] = number

    def add(self, name: str, step: int, accuracy: float, costs: Sequence[float] = ()) -> None:
        row = self.rows[name]
        self._accuracy[row, step], self._costs[row, step] = accuracy, costs

    def lose(self, name: str, number: int) -> None:
        row = self.rows[name]
        self._lost[row] = min(self._lost[row], number)

    def view(self, before: int) -> View:
        """Return the table as known from the decisions before the one of this number."""
        count = len(self.rows)
        decision, lost = self._decision[:count], self._lost[:count]
        # Whether a training that ran beside the lost one still came to a result is left to chance.
        is_known = (decision < before) & (decision <= lost[:, None])
        accuracy = np.where(is_known, self._accuracy[:count], np.nan)
        costs = np.where(is_known[..., None], self._costs[:count], np.nan)
        return View(accuracy, costs, np.array(self._points), (decision >= 0).sum(axis=1), lost >= before)


@dataclass(frozen=True)
class View:
    """What one decision may know. decided: by row, how many trainings. alive: by row, whether all have a result.

    costs: shape (rows, steps, costs), in the order of the criteria.
    """

    accuracy: Floats
    costs: Floats
    points: Floats
    decided: Ints
    alive: NDArray[np.bool_]

    @cached_property
    def results(self) -> Ints:
        """By row, how many results there are."""
        found: Ints = (~np.isnan(self.accuracy)).sum(axis=1)
        return found

    @cached_property
    def _prediction(self) -> Prediction:
        return predict(self.accuracy, self.points)

    @cached_property
    def mean_costs(self) -> Floats:
        """By row and cost, the mean of the results."""
        means: Floats = np.nansum(self.costs, axis=1) / np.maximum(self.results, 1)[:, None]
        return means

    def scores(self, criteria: Criteria) -> Floats:
        """By row, what a configuration is judged by."""
        return self._prediction.judged(criteria.std_weight)

    def cost(self, criteria: Criteria) -> Floats:
        """By row, the mean of the cost that is an objective."""
        means: Floats = self.mean_costs[:, criteria.costs.index(criteria.cost)]
        return means

    def excess(self, criteria: Criteria) -> Floats:
        """By row and limit, by how much a cost exceeds it; at most 0 where it does not."""
        places = [criteria.costs.index(limited(name)) for name in criteria.limits]
        signs = np.array([sign(name) for name in criteria.limits], dtype=float)
        excess: Floats = signs * (self.mean_costs[:, places] - np.array([*criteria.limits.values()], dtype=float))
        return excess

    def ranks(self, criteria: Criteria, by_front: bool) -> Ints:
        """Return the place of each row among all, the best first: what keeps the limits comes before what does not.

        Args:
            by_front: Pareto fronts of scores and costs come before scores.
        """
        scores = self.scores(criteria)
        front = np.zeros(len(scores), dtype=int)
        if by_front:
            front = fronts(scores, sign(criteria.cost) * self.cost(criteria))
        # Costs have different units, so that what exceeds several limits is ordered by the largest share of a limit.
        shares = self.excess(criteria) / np.array([*criteria.limits.values()], dtype=float)
        order = np.lexsort((np.arange(len(scores)), -scores, front, shares.max(axis=1, initial=0.0)))
        ranks = np.empty(len(order), dtype=int)
        ranks[order] = np.arange(len(order))
        return ranks


def fronts(gain: Floats, cost: Floats) -> Ints:
    """Return by row the number of the Pareto front of (gain, cost) that it is on, once those before are taken away."""
    fronts = np.empty(len(gain), dtype=int)
    cheapest: list[float] = []
    # From the highest gain on, a row is on the first front of which no member so far costs as little.
    for row in np.lexsort((cost, -gain)):
        place = bisect_right(cheapest, float(cost[row]))
        cheapest[place : place + 1] = [float(cost[row])]
        fronts[row] = place
    return fronts

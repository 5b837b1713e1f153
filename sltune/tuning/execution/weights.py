"""Which weights a run keeps: those of the best configuration and of the Pareto front, all, or none.

What is kept follows from the records alone, so that a run that was killed at any moment deletes at its next start what
it had no time to, and nothing else. A trial's weights are written before its record, and others are deleted only after
the record of what has beaten them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sltune.runs.results import Outlook, Result, pareto_front, sign
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.strategy import Candidate

TRIALS_BETWEEN_LOOKS = 64
"""Trials that end between two comparisons of all paused configurations, which take tens of milliseconds."""
MIN_PAUSED = 64
"""Of so many paused configurations the weights are kept at least, and at the end of a search at most."""
PROMOTABLE = 0.25
"""The share of the paused configurations that keep their weights: twice the share that is promoted."""


class KeptWeights:
    """Deletes the weights of configurations that fall behind, while a run goes on.

    Args:
        keep: "best", "all" or "none".
    """

    def __init__(self, campaign: Campaign, keep: str) -> None:
        # Where there is one configuration, it is the best one.
        is_search = campaign.plan.configurations > 1
        self._campaign, self._keep = campaign, keep if is_search or keep == "none" else "all"
        self._leading = dict[str, Result]()
        self._ended = 0

    def catch_up(self) -> None:
        """Delete what a process that was killed had no time to delete.

        Raises:
            UsageError: a file cannot be deleted.
        """
        if self._keep == "none":
            self._delete(self._campaign.candidates.values())
        if self._keep != "best":
            return
        candidates = self._campaign.candidates
        leading = self._compared(candidates.values())
        self._leading = {name: candidates[name].result for name in leading}
        self._delete(one for name, one in candidates.items() if name not in leading and not _may_go_on(one))
        self._look_at_paused()

    def update(self, candidate: Candidate) -> None:
        """Take note that a trial of a configuration has ended, and has its record; raises as catch_up does."""
        if self._keep != "best":
            return
        name, earlier = candidate.config_id, set(self._leading)
        if candidate.result.state == "complete":
            # Who is neither the best nor on the front of those compared so far never will be of more.
            self._leading[name] = candidate.result
            self._leading = {one: self._leading[one] for one in self._names(self._leading.values())}
            fallen = {*earlier, name} - set(self._leading)
            self._delete(self._campaign.candidates[one] for one in fallen)
        elif not _may_go_on(candidate):
            self._delete([candidate])
        self._ended += 1
        if self._ended % TRIALS_BETWEEN_LOOKS == 0 or self._campaign.finished:
            self._look_at_paused()

    def _compared(self, candidates: Iterable[Candidate]) -> set[str]:
        return self._names([one.result for one in candidates if one.result.state == "complete"])

    def _names(self, results: Iterable[Result]) -> set[str]:
        """Return the best of complete configurations, and those on the front."""
        results, criteria = list(results), self._campaign.plan.criteria
        best = criteria.best(results)
        return {one.config_id for one in [*criteria.front(results), *([best] if best else [])]}

    def _look_at_paused(self) -> None:
        """Delete the weights of those paused configurations that are unlikely to be promoted."""
        campaign = self._campaign
        waiting = [one for one in campaign.candidates.values() if _may_go_on(one) and one.records and not one.running]
        begun = 0 if campaign.finished else len(campaign.candidates)
        most = max(MIN_PAUSED, round(begun * (2 * PROMOTABLE if campaign.plan.criteria.cost else PROMOTABLE)))
        if len(waiting) > most:
            likely = set(self._likeliest([one.result for one in waiting], most))
            self._delete(one for one in waiting if one.config_id not in likely)

    def _likeliest(self, results: Sequence[Result], most: int) -> list[str]:
        """Return the configurations that lead by what they are expected to reach, or by fronts of that and the cost."""
        every = [candidate.result for candidate in self._campaign.candidates.values()]
        outlook, cost = Outlook(every, self._campaign.steps), self._campaign.plan.criteria.cost
        points = {
            one.config_id: ((outlook.mean(one) or (0.0, 0.0))[0], sign(cost) * (one.cost(cost) or 0.0) if cost else 0.0)
            for one in results
        }
        if not cost:
            return sorted(points, key=lambda name: -points[name][0])[:most]
        chosen = list[str]()
        while points and len(chosen) < most:
            names = list(points)
            front = [names[place] for place in pareto_front([*points.values()])]
            chosen += front
            points = {name: point for name, point in points.items() if name not in set(front)}
        return chosen

    def _delete(self, candidates: Iterable[Candidate]) -> None:
        folder = self._campaign.folder
        for candidate in candidates:
            for key in candidate.records:
                file = folder.trial(key).best_weights
                if file.exists():
                    folder.remove(file)


def _may_go_on(candidate: Candidate) -> bool:
    """Say whether a configuration that is not complete may yet be: it has trials left, or one that may be repeated."""
    state = candidate.result.state
    return state == "failed" or (state == "paused" and not candidate.over)

"""The strategy that gives nothing up: a configuration pauses after each training, and the best paused ones go on.

A configuration begins with its first (fold, seed). Of those with equally many results, the best one in ETA gets another
one, as in asynchronous successive halving (Li et al. 2020, arXiv:1810.05934). What is compared is what a configuration
can be expected to reach on average, by all results of the search as they stand now; the sampler sees the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from sltune.errors import DataError
from sltune.runs.folder import RunFolder
from sltune.runs.record import Record, TrialKey, config_number
from sltune.runs.results import limited, sign
from sltune.settings.points import point_of
from sltune.settings.search import Search
from sltune.settings.space import Space
from sltune.tuning.campaign.proposals import recall
from sltune.tuning.campaign.search import SearchStrategy
from sltune.tuning.campaign.storage import Standing
from sltune.tuning.campaign.strategy import Candidate
from sltune.tuning.campaign.study import Proposal, SearchStudy
from sltune.tuning.campaign.study_checks import RESTORE_STUDY
from sltune.tuning.campaign.table import Ints, Table, View

ETA, ETA_OF_FRONTS = (8, 4), (4, 2)
"""One configuration in so many goes on after its first result, and after any later one; more where a front is wanted.

Chosen with benchmarks/search_cost.py.
"""

Decision = int | Literal["ask", "wait", "end"]
"""The row whose configuration gets another training; or ask for a new one; or wait for results; or end."""


class Promotion(SearchStrategy):
    """Promotes the best paused configurations, asks for new ones, and completes the finalists at the end.

    What was decided and has no record, as a process was killed or a record removed, runs first.
    """

    def __init__(
        self, folder: RunFolder, space: Space, search: Search, study: SearchStudy, retry_failed: bool = False
    ) -> None:
        super().__init__(folder, space, search, study, retry_failed)
        self._table = Table(len(self._steps), len(self._criteria.costs))
        self._candidates: dict[int, Candidate] = {}
        self._decisions: dict[TrialKey, int] = {}
        self._under_way: dict[TrialKey, Candidate] = {}
        self._choice: tuple[object, Decision] = (None, "wait")
        self._view = self._table.view(0)
        """What the last decision knew."""

    def begun(self, records: Sequence[Record]) -> Iterable[Candidate]:
        candidates = sorted(super().begun(records), key=lambda candidate: config_number(candidate.config_id))
        self._take_up(candidates, records)
        return candidates

    def _standings_at_start(self, candidates: Sequence[Candidate], records: Sequence[Record]) -> Mapping[int, Standing]:
        self._take_up(sorted(candidates, key=lambda candidate: config_number(candidate.config_id)), records)
        self._view = self._table.view(self._before)
        return self._standings()

    def _take_up(self, candidates: Iterable[Candidate], records: Sequence[Record]) -> None:
        """Take up what was decided on configurations, and what came of it; on each of them once."""
        earlier = {candidate.config_id for candidate in self._candidates.values()}
        names = {candidate.config_id: candidate for candidate in candidates if candidate.config_id not in earlier}
        own = [record for record in records if record.config_id in names]
        trained: dict[str, set[TrialKey]] = {name: set() for name in names}
        for record in own:
            if not record.was_spared:
                trained[record.config_id].add(record.key)
        for candidate in names.values():
            self._open_row(candidate)
        for key in self._noted():
            if key.config_id in names:
                self._decide(names[key.config_id], key)
            elif key.config_id not in earlier:
                raise DataError(f"the study decided on {key.name}, whose configuration it lacks; {RESTORE_STUDY}")
        for name, candidate in names.items():
            for key in self._derived(candidate, trained[name]):
                if key not in self._decisions:
                    self._decide_anew(candidate, key)
        for candidate in names.values():
            for record in candidate.records.values():
                self._end(record)
            # Somebody may have removed the very record for which it was given up.
            if candidate.over or any(record.status != "done" for record in candidate.records.values()):
                self._table.lose(candidate.config_id, len(self._decisions) - 1)
        self._remove_spared(names, own)

    def _open_row(self, candidate: Candidate) -> None:
        point = point_of(candidate.configuration.settings(), self._space.domains)
        self._candidates[self._table.open(candidate.config_id, point)] = candidate

    def _noted(self) -> list[TrialKey]:
        """Return the trainings that the study says were decided on; somebody else may have written it."""
        names = self._study.decisions() if self.search.lag else []
        try:
            noted = [TrialKey.parse(name) for name in names]
        except ValueError as error:
            raise DataError(f"the study's decisions: {error}; {RESTORE_STUDY}") from error
        if unknown := next((key for key in noted if (key.seed, key.fold) not in self._places), None):
            raise DataError(f"the study decided on {unknown.name}, which the space does not have; {RESTORE_STUDY}")
        return noted

    def _remove_spared(self, candidates: Mapping[str, Candidate], records: Iterable[Record]) -> None:
        """Remove the records of trials that another one's failure had spared, and that are possible again."""
        for record in records:
            file = self._folder.trial(record.key).record_file()
            if record.was_spared and file is not None and record.key in candidates[record.config_id].waiting:
                self._folder.remove(file)

    def _derived(self, candidate: Candidate, trained: Collection[TrialKey]) -> Iterator[TrialKey]:
        """Give the trainings that a configuration must have been meant to have: its first, and all up to the last."""
        if self._told.get(candidate.config_id) == TrialState.COMPLETE:
            yield from candidate.steps
            return
        last = max((candidate.steps[key] for key in trained), default=0)
        yield from (key for key in islice(candidate.steps, last + 1) if not candidate.over or key in trained)

    def _recall_earlier(self, source: str, trial: FrozenTrial) -> None:
        super()._recall_earlier(source, trial)
        costs = dict.fromkeys(self._criteria.costs, 0.0)
        costs |= {limited(x): top + sign(x) * trial.constraints.get(x, 0.0) for x, top in self._criteria.limits.items()}
        point = point_of({**self._space.settings, **recall(trial.params, self._space)}, self._space.domains)
        self._table.open(source, point)
        for step, score in trial.intermediate_values.items():
            self._table.add(source, step, score, [*costs.values()])

    def _finished_before(self, proposal: Proposal, state: TrialState, records: Sequence[Record]) -> Candidate:
        """Return a configuration that is finished in the study; one that was only paused may go on."""
        trained = [record for record in records if not record.was_spared]
        if state != TrialState.COMPLETE and all(record.status == "done" for record in trained):
            self._again[proposal.config_id] = proposal
            return self._candidate(proposal, trained)
        return super()._finished_before(proposal, state, records)

    def choose(self, waiting: Sequence[Candidate]) -> Candidate | None:
        """Return the configuration that gets the next training; None to wait, or at the end."""
        for key, begun in self._under_way.items():
            if key in begun.waiting:
                return begun
        while (candidate := self._next()) is not None:
            key = next(key for key in candidate.steps if key not in self._decisions)
            self._decide_anew(candidate, key)
            if key in candidate.waiting:
                return candidate
            # It was given up after a result of which this decision must not know yet.
            self._end(candidate.records[key])
        return None

    def _next(self) -> Candidate | None:
        """Return the configuration that gets another training, which may be a new one; None to wait, or at the end."""
        choice = self._chosen()
        if choice == "ask":
            proposal = self._study.ask(self._standings())
            if proposal is None:
                return None
            candidate = self._candidate(proposal, [])
            self._open_row(candidate)
            return candidate
        return self._candidates[choice] if isinstance(choice, int) else None

    @property
    def _asked_enough(self) -> bool:
        return 0 < self.search.trials <= self._study.asked

    @property
    def spent(self) -> str:
        return "" if 0 < self.search.trainings <= len(self._decisions) else self._hours_spent

    def finished(self, waiting: Collection[Candidate]) -> bool:
        return not self._under_way and self._chosen() == "end"

    def note(self, record: Record) -> None:
        super().note(record)
        if record.key in self._decisions:
            candidate = self._under_way.get(record.key)
            self._end(record)
            if candidate is not None and record.status == "done":
                step = candidate.steps[record.key]
                self._study.note(self._numbers[record.config_id], step, record.metrics.val_accuracy or 0.0)

    def _decide_anew(self, candidate: Candidate, key: TrialKey) -> None:
        if self.search.lag:
            self._study.decide(len(self._decisions), key.name)
        self._decide(candidate, key)

    def _decide(self, candidate: Candidate, key: TrialKey) -> None:
        self._table.decide(key.config_id, candidate.steps[key], len(self._decisions))
        self._decisions[key] = len(self._decisions)
        self._under_way[key] = candidate

    def _end(self, record: Record) -> None:
        candidate = self._under_way.pop(record.key, None)
        if candidate is None:
            return
        if record.status == "done":
            metrics, step = record.metrics, candidate.steps[record.key]
            costs = [metrics.number(name) or 0.0 for name in self._criteria.costs]
            self._table.add(record.config_id, step, metrics.val_accuracy or 0.0, costs)
        else:
            self._table.lose(record.config_id, self._decisions[record.key])

    @property
    def _before(self) -> int:
        """The decision now to be taken may know those before this number."""
        return max(0, len(self._decisions) - (self.search.lag - 1 if self.search.lag else 0))

    def _chosen(self) -> Decision:
        """Return the next decision; computed once for the same state."""
        state = (len(self._decisions), len(self._under_way), self.may_ask, self._hours_spent)
        if self._choice[0] != state:
            self._choice = state, self._decision()
        return self._choice[1]

    def _decision(self) -> Decision:
        search, before = self.search, self._before
        left = search.trainings - len(self._decisions) if search.trainings else math.inf
        if left <= 0:
            return "end"
        if search.lag and any(self._decisions[key] < before for key in self._under_way):
            return "wait"
        view = self._view = self._table.view(before)
        ranks = view.ranks(self._criteria, by_front=len(self.search.objectives) > 1)
        own = np.array(list(self._candidates), dtype=int)
        alive = own[view.alive[own] & (view.results[own] > 0)]
        best_first = alive[np.argsort(ranks[alive])]
        steps = len(self._steps)
        lacks = {int(row): steps - int(view.decided[row]) for row in best_first}
        finalists = [*lacks][: search.finalists]
        if self._hours_spent or left <= sum(lacks[row] for row in finalists):
            return self._to_complete(finalists, lacks, left)
        paused = (view.results == view.decided) & (view.results < steps) & view.alive
        if (row := self._promotable(view, ranks, paused)) is not None:
            return row
        if self.may_ask:
            return "ask"
        # With a budget of trainings it is used up; without one, the search is over when the finalists are complete.
        rest = [row for row in lacks if paused[row]] if search.trainings else [row for row in finalists if lacks[row]]
        return rest[0] if rest else self._nothing()

    def _to_complete(self, finalists: Sequence[int], lacks: Mapping[int, int], left: float) -> Decision:
        """Return the row to complete next, where no more trainings are left than all finalists lack.

        Results may change who the finalists are, so that one that the rest of the budget completes comes first.
        """
        lacking = [row for row in finalists if lacks[row]]
        rows = lacking if self._hours_spent else [*lacking, *lacks]
        return next((row for row in rows if 0 < lacks[row] <= left), lacking[0] if lacking else self._nothing())

    def _nothing(self) -> Decision:
        return "wait" if self._under_way else "end"

    def _promotable(self, view: View, ranks: Ints, paused: NDArray[np.bool_]) -> int | None:
        """Return the best paused row among the top of its rung, the highest rung first."""
        etas = ETA if len(self.search.objectives) == 1 else ETA_OF_FRONTS
        for rung in range(len(self._steps) - 1, 0, -1):
            reached = np.flatnonzero((view.results >= rung) & view.alive)
            quota = len(reached) // etas[min(rung, len(etas)) - 1]
            for row in reached[np.argsort(ranks[reached])][:quota]:
                if paused[row] and view.results[row] == rung and int(row) in self._candidates:
                    return int(row)
        return None

    def _standings(self) -> dict[int, Standing]:
        """Return what the sampler is to see of each configuration, by the number of its trial in the study."""
        view = self._view
        scores = view.scores(self._criteria)
        figures = [scores if x == "val_accuracy" else view.cost(self._criteria) for x in self.search.objectives]
        # As Python's own numbers, all at once: there may be thousands of configurations.
        values = np.column_stack(figures).tolist()
        results, alive, excess = view.results.tolist(), view.alive.tolist(), view.excess(self._criteria).tolist()
        found = dict[int, Standing]()
        for row, candidate in self._candidates.items():
            if not alive[row]:
                continue
            standing = Standing(TrialState.RUNNING)
            if results[row]:
                over = dict(zip(self._criteria.limits, excess[row], strict=True))
                standing = Standing(TrialState.COMPLETE, values[row], over)
            found[self._numbers[candidate.config_id]] = standing
        return found


def strategy_of(
    folder: RunFolder, space: Space, search: Search, study: SearchStudy, retry_failed: bool = False
) -> SearchStrategy:
    """Return the strategy that the settings of a search name."""
    kind = Promotion if search.strategy == "promote" else SearchStrategy
    return kind(folder, space, search, study, retry_failed)

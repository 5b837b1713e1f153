"""The strategy of a search: asks for configurations, gives up those that fall behind, tells what came of the others.

Of a record it reads validation accuracy and costs, all measured on the validation part, and never a test metric.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from sltune.errors import DataError
from sltune.runs.epochs import read_epochs
from sltune.runs.folder import RunFolder
from sltune.runs.health.findings import why_hopeless
from sltune.runs.plan import most_epochs, steps_of
from sltune.runs.record import Record, TrialKey, config_number
from sltune.runs.results import Criteria, Observed, Outlook, Result, State, worst
from sltune.settings.search import Search
from sltune.settings.space import Space
from sltune.tuning.campaign.pruning import FOLD_PRUNERS, FoldScores, epoch_scores
from sltune.tuning.campaign.storage import Standing
from sltune.tuning.campaign.strategy import Candidate
from sltune.tuning.campaign.study import Proposal, SearchStudy, Verdict
from sltune.tuning.campaign.study_checks import FROM, RESTORE_STUDY, RETRY_OF

FINISHED_STATES: Mapping[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    # A sampler learns from what was pruned, and forgets what failed: where training diverges is worth knowing.
    "diverged": TrialState.PRUNED,
    "paused": TrialState.PRUNED,
}
"""What Optuna calls the states of configurations that have ended."""


class SearchStrategy:
    """Asks a study for configurations, gives up those that fall behind, and tells the study what came of each.

    Args:
        retry_failed: run configurations again of which a trial failed earlier.
    """

    def __init__(
        self, folder: RunFolder, space: Space, search: Search, study: SearchStudy, retry_failed: bool = False
    ) -> None:
        self.search = search
        self._folder, self._space, self._study, self._retry_failed = folder, space, study, retry_failed
        self._steps = steps_of(space.evaluation)
        self._places = {step: place for place, step in enumerate(self._steps)}
        self._budget_s = search.max_hours * 3600 or float("inf")
        self._began = time.monotonic()
        self._device_hours = 0.0
        self._trained = 0
        self._criteria = Criteria.of(search)
        self._infeasible: set[str] = set()
        self._observed: defaultdict[str, list[Observed]] = defaultdict(list)
        self._scores = FoldScores(len(self._steps), self._infeasible)
        self._curves = epoch_scores(search.epoch_pruner, most_epochs(space), self._infeasible, space.code)
        self._again: dict[str, Proposal] = {}
        """Those that the study calls finished, and that may yet come to another end."""
        self._numbers: dict[str, int] = {}
        self._told: dict[str, TrialState] = {}

    def begun(self, records: Sequence[Record]) -> Iterable[Candidate]:
        """Take up where an earlier process, if any, has stopped.

        Raises:
            DataError: records and study do not belong together.
        """
        known: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            known[record.config_id].append(record)
            self.note(record)
        self._recall_earlier_runs()
        trials = self._study.trials.values()
        copies = {trial.user_attrs[RETRY_OF]: trial.state for trial in trials if RETRY_OF in trial.user_attrs}
        candidates = []
        for proposal, first in self._study.finished():
            own, state = known[proposal.config_id], copies.get(proposal.config_id, first)
            # What the study calls pruned may have been paused, and have failed since.
            has_failed = state == TrialState.PRUNED and any(record.status == "failed" for record in own)
            if self._retry_failed and (state == TrialState.FAIL or has_failed):
                self._again[proposal.config_id] = proposal
                candidates.append(self._candidate(proposal, own, retry_failed=True))
            else:
                candidates.append(self._finished_before(proposal, state, own))
        for proposal in self._study.adopt(lambda: self._standings_at_start(candidates, records)):
            candidates.append(self._candidate(proposal, known[proposal.config_id]))
        if unknown := known.keys() - {candidate.config_id for candidate in candidates}:
            text = f"{self._folder.trials}: has records of {min(unknown, key=config_number)}"
            journal = self._folder.study_journal.name
            raise DataError(f"{text}, which the study does not know ({journal}); {RESTORE_STUDY}")
        return candidates

    def _standings_at_start(self, candidates: Sequence[Candidate], records: Sequence[Record]) -> Mapping[int, Standing]:
        """Return what the sampler is to see of all others where a process was killed within an ask."""
        return {}

    def _recall_earlier_runs(self) -> None:
        """Note what the study has learned from earlier runs, with which configurations of this one are compared."""
        for trial in self._study.trials.values():
            if FROM in trial.user_attrs:
                self._recall_earlier(trial.user_attrs[FROM], trial)

    def _recall_earlier(self, source: str, trial: FrozenTrial) -> None:
        for step, score in trial.intermediate_values.items():
            self._scores.add(source, step, score)
        if any(excess > 0 for excess in trial.constraints.values()):
            self._infeasible.add(source)

    def _finished_before(self, proposal: Proposal, state: TrialState, records: Sequence[Record]) -> Candidate:
        """Return a configuration that is finished in the study, and may yet have trials without a record.

        Those of one that was given up ran when the process was killed, and end as pruned. Of a complete one somebody
        has removed records: these trials run again, for the tables; the study keeps its first result.
        """
        self._told[proposal.config_id] = state
        candidate = self._candidate(proposal, records)
        if candidate.waiting and state != TrialState.COMPLETE:
            decisive = worst(candidate.records.values())
            candidate.over = _reason(decisive) if decisive else "given up"
        return candidate

    def _candidate(self, proposal: Proposal, records: Sequence[Record], retry_failed: bool = False) -> Candidate:
        candidate = Candidate(proposal.config_id, self._space.configuration(proposal.values), self._steps)
        candidate.take(records, self._folder.space_toml, retry_failed)
        self._numbers[candidate.config_id] = proposal.number
        if self.search.epoch_pruner != "none":
            for key in candidate.steps:
                self._recall_curve(key)
            for record in candidate.records.values():
                self._curves.end(record)
        return candidate

    def _recall_curve(self, key: TrialKey) -> None:
        file = self._folder.trial(key).epochs_csv
        for row in read_epochs(file):
            try:
                self._note_epoch(key, row)
            except KeyError as error:
                raise DataError(f"{file}: has no validation metrics: {error}") from error

    @property
    def may_ask(self) -> bool:
        """Whether there may be further configurations."""
        return not self._asked_enough and not self._hours_spent and not self._study.exhausted

    @property
    def _asked_enough(self) -> bool:
        search, asked = self.search, self._study.asked
        # Each configuration that is not finished has a training under way.
        trainings = self._trained + asked - len(self._told)
        return (0 < search.trials <= asked) or (0 < search.trainings <= trainings)

    @property
    def _hours_spent(self) -> str:
        """Which budget of hours is used up; "" where none is."""
        if time.monotonic() - self._began >= self._budget_s:
            return f"search.max_hours = {self.search.max_hours:g}"
        if self.search.max_device_hours and self._device_hours >= self.search.max_device_hours:
            return f"search.max_device_hours = {self.search.max_device_hours:g}"
        return ""

    @property
    def spent(self) -> str:
        """Which budget of hours has kept the search from what other budgets would allow; "" where none has."""
        return "" if self._asked_enough else self._hours_spent

    def finished(self, waiting: Collection[Candidate]) -> bool:
        return not waiting and not self.may_ask

    def choose(self, waiting: Sequence[Candidate]) -> Candidate | None:
        """Return the configuration that gets the next trial.

        Each configuration has one trial at a time, so that what its folds show can spare the rest of it, and free
        places go to further configurations. Only where there are none, its trials run side by side.
        """
        idle = [candidate for candidate in waiting if not candidate.running]
        return _least_begun(idle) or self._ask() or _least_begun(waiting)

    def _ask(self) -> Candidate | None:
        proposal = self._study.ask() if self.may_ask else None
        return None if proposal is None else self._candidate(proposal, [])

    def note(self, record: Record) -> None:
        """Take what the search needs of a record.

        Raises:
            DataError: the record does not have it.
        """
        self._device_hours += record.device_hours
        self._trained += not record.was_spared
        step = self._places.get((record.seed, record.fold))
        if record.status != "done" or step is None:
            self._curves.end(record)
            return
        seen, config_id = Observed.of(record), record.config_id
        absent = [name for name in self._criteria.costs if seen.costs.get(name) is None]
        if seen.val_accuracy is None or absent:
            file = self._folder.trial(record.key).record_file()
            missing = absent[0] if absent else "val_accuracy"
            raise DataError(f"{file}: has no {missing}, by which the search judges; delete the trial's folder")
        self._scores.add(config_id, step, seen.val_accuracy)
        self._observed[config_id].append(seen)
        result = Result(config_id, "paused", tuple(self._observed[config_id]))
        # What costs too much is often accurate, and would crowd out what does not.
        (self._infeasible.discard if self._criteria.allows(result) else self._infeasible.add)(config_id)
        self._curves.end(record)

    def _note_epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        step, epoch = (key.seed, key.fold), int(row["epoch"])
        self._curves.add(step, key.config_id, epoch, row["val_loss"], row["val_accuracy"])

    def reason_to_stop(self, candidate: Candidate, key: TrialKey, row: Mapping[str, float]) -> str:
        # At its last epoch all has been paid for.
        is_last = row["epoch"] >= candidate.configuration.training.epochs
        if self.search.epoch_pruner != "none" and not candidate.over:
            self._note_epoch(key, row)
            if not is_last and self._curves.gives_up((key.seed, key.fold), key.config_id):
                return f"{self.search.epoch_pruner} of learning curves, epoch {row['epoch']} of {key.name}"
        return "" if is_last else candidate.over or why_hopeless(row)

    def judge(self, candidate: Candidate) -> str:
        decisive, ended = worst(candidate.records.values()), len(candidate.records)
        if decisive is None or candidate.config_id in self._told:
            return ""
        if decisive.status != "done":
            return _reason(decisive)
        if ended < len(self._steps) and FOLD_PRUNERS[self.search.fold_pruner](self._scores, candidate.config_id):
            return f"{self.search.fold_pruner} over folds, after {ended} of {len(self._steps)} trials"
        return ""

    def conclude(self, candidate: Candidate) -> None:
        """Finish the configuration in the study, after its records are written: it is never proposed again.

        A trial that ran when the others had decided may still have ended with its result and completed the
        configuration.
        """
        if candidate.config_id in self._told:
            return
        verdict = verdict_of(candidate, self.search)
        self._told[candidate.config_id] = verdict.state
        if candidate.config_id not in self._again:
            self._study.tell(self._numbers[candidate.config_id], verdict)
        elif verdict.state != TrialState.FAIL:
            proposal = self._again[candidate.config_id]
            self._study.tell_again(proposal.number, proposal.values, verdict)

    def close(self, candidates: Collection[Candidate]) -> None:
        """Tell the study of the configurations that are paused at the end; more trainings may yet promote them.

        Only call it when no trial is left to run.
        """
        outlook = Outlook([candidate.result for candidate in candidates], self._steps)
        for candidate in candidates:
            name, ended = candidate.config_id, len(candidate.records)
            if name not in self._told and name not in self._again and not candidate.ended:
                reason = f"paused after {ended} of {len(self._steps)} trainings"
                if mean := outlook.mean(candidate.result):
                    reason += ", predicted mean of all {:.4f} ± {:.4f}".format(*mean)
                self._study.pause(self._numbers[name], verdict_of(candidate, self.search), reason)

    def progress(self, candidates: Collection[Candidate]) -> str:
        best = self._criteria.best([candidate.result for candidate in candidates])
        of_best = f", best {best.config_id} with validation {100 * (best.val_accuracy or 0.0):.1f} %" if best else ""
        return f"{self._how_far(candidates)}{of_best}"

    def _how_far(self, candidates: Collection[Candidate]) -> str:
        if self.search.trainings:
            return f"{self._trained} of {self.search.trainings} trainings have ended"
        return f"{sum(one.ended for one in candidates)} of {self.search.trials} configurations have ended"


def verdict_of(candidate: Candidate, search: Search) -> Verdict:
    """Return what the study learns of a configuration that has ended: never anything but validation."""
    result, criteria = candidate.result, Criteria.of(search)
    done = [record for record in candidate.records.values() if record.status == "done"]
    accuracies = {candidate.steps[record.key]: Observed.of(record).val_accuracy for record in done}
    scores = {step: accuracy for step, accuracy in sorted(accuracies.items()) if accuracy is not None}
    objectives = {"val_accuracy": criteria.score(result), criteria.cost: result.cost(criteria.cost) or 0.0}
    return Verdict(
        FINISHED_STATES[result.state],
        scores,
        [objectives[name] for name in search.objectives] if result.state == "complete" else [],
        criteria.excess(result) if scores else {},
    )


def _reason(record: Record) -> str:
    """Return why a configuration ends with this record of one of its trials."""
    return record.error if record.status == "pruned" else f"{record.key.name} {record.status}"


def _least_begun(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the configuration with the fewest trials that have begun; of equals, the first proposed."""
    return min(candidates, key=lambda one: (one.begun, config_number(one.config_id)), default=None)

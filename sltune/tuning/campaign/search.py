"""A search as a campaign: asks for configurations, gives up those that fall behind, tells what came of the others.

Of a record it reads validation accuracy and synaptic operations, both measured on the validation part, and never a
test metric.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

from optuna.trial import TrialState

from sltune.errors import DataError
from sltune.runs.epochs import read_epochs
from sltune.runs.folder import RunFolder
from sltune.runs.plan import Plan, most_epochs, search_plan, steps_of
from sltune.runs.record import DatasetInfo, Record, TrialKey
from sltune.runs.results import Criteria, Observed, Result, State, worst
from sltune.settings.search import Search
from sltune.settings.space import Space
from sltune.tuning.campaign.campaign import Campaign, Candidate, Finished
from sltune.tuning.campaign.pruning import FOLD_PRUNERS, EpochScores, FoldScores
from sltune.tuning.campaign.study import Proposal, SearchStudy, Verdict
from sltune.tuning.campaign.study_checks import FROM, RETRY_OF

TOLD: Mapping[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    # A sampler learns from what was pruned, and forgets what failed: where training diverges is worth knowing.
    "diverged": TrialState.PRUNED,
}
"""What Optuna calls the states of configurations that have ended."""


class SearchCampaign(Campaign):
    """The search over a run folder and its study.

    Args:
        retry_failed: run configurations again of which a trial failed earlier.

    Raises:
        DataError: records and study do not belong together.
    """

    shows_test = False

    def __init__(
        self, folder: RunFolder, dataset: DatasetInfo, space: Space, search: Search, study: SearchStudy,
        retry_failed: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(folder, dataset, steps_of(space.evaluation))
        self.search = search
        self._budget_s = search.max_hours * 3600 or float("inf")
        self._began = time.monotonic()
        self._space, self._study = space, study
        self._places = {step: place for place, step in enumerate(self.steps)}
        self._criteria = Criteria.of(search)
        self._infeasible: set[str] = set()
        self._observed: defaultdict[str, list[Observed]] = defaultdict(list)
        self._scores = FoldScores(len(self.steps), self._infeasible)
        self._curves = EpochScores(search.epoch_pruner, most_epochs(space), self._infeasible)
        self._device_hours = 0.0
        self._retried: dict[str, Proposal] = {}
        self._numbers: dict[str, int] = {}
        self._decided: set[str] = set()
        self._load(retry_failed)

    def _load(self, retry_failed: bool) -> None:
        """Take up where an earlier process, if any, has stopped."""
        records: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.folder.records():
            records[record.config_id].append(record)
            self._note(record)
        for trial in self._study.trials.values():
            if FROM in trial.user_attrs:
                for step, score in trial.intermediate_values.items():
                    self._scores.add(trial.user_attrs[FROM], step, score)
                if any(excess > 0 for excess in trial.constraints.values()):
                    self._infeasible.add(trial.user_attrs[FROM])
        retried = {trial.user_attrs.get(RETRY_OF) for trial in self._study.trials.values()}
        undecided = []
        for proposal, state in self._study.told():
            again = retry_failed and state == TrialState.FAIL and proposal.config_id not in retried
            if again:
                self._retried[proposal.config_id] = proposal
            candidate = self._add(proposal, records[proposal.config_id], again)
            if again:
                undecided.append(candidate)
            elif not candidate.ended:
                self._abandon(candidate, complete=state == TrialState.COMPLETE)
        for proposal in self._study.adopt():
            undecided.append(self._add(proposal, records[proposal.config_id], again=False))
        if unknown := records.keys() - self.candidates.keys():
            raise DataError(
                f"{self.folder.trials}: has records of {min(unknown)}, which the study does not know; restore "
                f"{self.folder.study_journal.name}, or search in a new run"
            )
        # Also those with all their records: the process may have died before it told of them.
        for candidate in undecided:
            self._settle(candidate)

    def _add(self, proposal: Proposal, records: list[Record], again: bool) -> Candidate:
        candidate = Candidate(proposal.config_id, self._space.configuration(proposal.values), self.steps)
        self._numbers[candidate.config_id] = proposal.number
        self.add(candidate, records, lambda record: again and record.status != "done")
        if self.search.epoch_pruner != "none":
            for key in candidate.steps:
                self._load_curve(key)
        return candidate

    def _abandon(self, candidate: Candidate, complete: bool) -> None:
        """Settle a configuration that was told already, but of which trials have no record.

        They ran when the process was killed. Of a complete one somebody has removed records: these trials run again,
        for the tables; the study keeps what it was told.
        """
        self._decided.add(candidate.config_id)
        if not complete:
            decisive = worst(candidate.records.values())
            self._give_up(candidate, _reason(decisive) if decisive else "given up")
            self._open.pop(candidate.config_id, None)

    def progress(self) -> str:
        ended = len(self.candidates) - len(self._open)
        text = f"{ended} of {self.search.trials} configurations have ended"
        best = self._criteria.best(self.results)
        if best is None:
            return text
        return f"{text}, best {best.config_id} with validation {100 * (best.val_accuracy or 0.0):.1f} %"

    @property
    def results(self) -> list[Result]:
        """What has become of each configuration so far, in the order of asking."""
        return [candidate.result for candidate in self.candidates.values()]

    def plan(self) -> Plan:
        return search_plan(self.name, self._space, self.search, self.steps)

    @property
    def finished(self) -> bool:
        return not self._open and not self._may_ask()

    @property
    def spent(self) -> str:
        """Which budget of hours keeps the search from further configurations; "" where none does."""
        if self._study.asked >= self.search.trials:
            return ""
        if time.monotonic() - self._began >= self._budget_s:
            return f"search.max_hours = {self.search.max_hours:g}"
        if self.search.max_device_hours and self._device_hours >= self.search.max_device_hours:
            return f"search.max_device_hours = {self.search.max_device_hours:g}"
        return ""

    def _may_ask(self) -> bool:
        return self._study.asked < self.search.trials and not self.spent and not self._study.exhausted

    def _ask(self) -> Candidate | None:
        proposal = self._study.ask() if self._may_ask() else None
        return None if proposal is None else self._add(proposal, [], again=False)

    def _write_record(self, candidate: Candidate, key: TrialKey, finished: Finished) -> Record:
        record = super()._write_record(candidate, key, finished)
        self._note(record)
        return record

    def _note(self, record: Record) -> None:
        """Take what the search needs of a record.

        Raises:
            DataError: the record does not have it.
        """
        self._device_hours += record.device_hours
        step = self._places.get((record.seed, record.fold))
        if record.status != "done" or step is None:
            return
        seen, config_id = Observed.of(record), record.config_id
        if seen.val_accuracy is None or seen.synaptic_ops is None:
            file = self.folder.trial(record.key).record_file()
            raise DataError(f"{file}: has no val_accuracy or no synaptic_ops; delete the trial's folder")
        self._scores.add(config_id, step, seen.val_accuracy)
        self._observed[config_id].append(seen)
        is_allowed = self._criteria.allows(Result(config_id, "open", tuple(self._observed[config_id])))
        # What costs too much is often accurate, and would crowd out what does not.
        (self._infeasible.discard if is_allowed else self._infeasible.add)(config_id)

    def _load_curve(self, key: TrialKey) -> None:
        file = self.folder.trial(key).epochs_csv
        for row in read_epochs(file):
            try:
                self._note_epoch(key, row)
            except KeyError as error:
                raise DataError(f"{file}: has no validation metrics: {error}") from error

    def _note_epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        loss, accuracy = row["val_loss"], row["val_accuracy"]
        self._curves.add((key.seed, key.fold), key.config_id, int(row["epoch"]), loss, accuracy)

    def _reason_to_stop(self, candidate: Candidate, key: TrialKey, row: Mapping[str, float]) -> str:
        # At its last epoch all has been paid for.
        is_last = row["epoch"] >= candidate.configuration.training.epochs
        if self.search.epoch_pruner != "none" and not candidate.over:
            self._note_epoch(key, row)
            if not is_last and self._curves.gives_up((key.seed, key.fold), key.config_id):
                return f"{self.search.epoch_pruner} of learning curves, epoch {row['epoch']} of {key.name}"
        return "" if is_last else candidate.over

    def _judge(self, candidate: Candidate) -> None:
        """Give a configuration up or not, and tell the study of it once none of its trials runs any more.

        A trial that runs when the others have decided may still end with its result, and complete the configuration.
        """
        if candidate.config_id in self._decided:
            return
        decisive, is_complete = worst(candidate.records.values()), candidate.result.state == "complete"
        if decisive is None:
            return
        reason = "" if is_complete else candidate.over or self._reason_to_give_up(candidate, decisive)
        if not (is_complete or reason):
            return
        self._give_up(candidate, reason)
        if candidate.running:
            return
        self._decided.add(candidate.config_id)
        self._tell(candidate)

    def _reason_to_give_up(self, candidate: Candidate, decisive: Record) -> str:
        """Return why a configuration is to be given up, by the worst of its records; "" where it is not."""
        if decisive.status != "done":
            return _reason(decisive)
        if FOLD_PRUNERS[self.search.fold_pruner](self._scores, candidate.config_id):
            return f"{self.search.fold_pruner} over folds, after {len(candidate.records)} of {len(self.steps)} trials"
        return ""

    def _tell(self, candidate: Candidate) -> None:
        """Tell the study, after the records: what was told is never asked for again."""
        verdict = verdict_of(candidate, self.search)
        if candidate.config_id not in self._retried:
            self._study.tell(self._numbers[candidate.config_id], verdict)
        elif verdict.state != TrialState.FAIL:
            proposal = self._retried[candidate.config_id]
            self._study.tell_again(proposal.number, proposal.values, verdict)


def verdict_of(candidate: Candidate, search: Search) -> Verdict:
    """Return what the study is told of a configuration that has ended: never anything but validation."""
    result, criteria = candidate.result, Criteria.of(search)
    done = [record for record in candidate.records.values() if record.status == "done"]
    accuracies = {candidate.steps[record.key]: Observed.of(record).val_accuracy for record in done}
    scores = {step: accuracy for step, accuracy in sorted(accuracies.items()) if accuracy is not None}
    objectives = {"val_accuracy": criteria.score(result), "synaptic_ops": result.synaptic_ops or 0.0}
    return Verdict(
        TOLD[result.state],
        scores,
        [objectives[name] for name in search.objectives] if result.state == "complete" else [],
        {"max_synaptic_ops": criteria.excess(result)} if search.constraints and scores else {},
    )


def _reason(record: Record) -> str:
    """Return why a configuration ends with this record of one of its trials."""
    return record.error if record.status == "pruned" else f"{record.key.name} {record.status}"

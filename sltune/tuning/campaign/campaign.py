"""A run as a plain object over its folder: hands out trials, writes what comes of them, knows what is left.

Knows no Ray. The records are the only durable truth, so a run that was killed at any moment goes on from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sltune.runs.epochs import EpochRow, append_epochs, begin_epochs, seconds_of
from sltune.runs.folder import RunFolder
from sltune.runs.info import run_name
from sltune.runs.metrics import Metrics
from sltune.runs.plan import Plan, evaluation_plan
from sltune.runs.record import SCHEMA, DatasetInfo, Device, Record, Timings, TrialKey
from sltune.runs.results import Result
from sltune.settings.configuration import Configuration
from sltune.tuning.campaign.strategy import Candidate, Everything, Strategy
from sltune.tuning.trial.report import Report


@dataclass(frozen=True)
class HandedOut:
    """A trial to run now. alone: nothing else may run on its GPU."""

    key: TrialKey
    configuration: Configuration
    alone: bool = False


class Campaign:
    """The trials of some configurations over folds and seeds, kept in a run folder.

    Args:
        plan: what the run is to do.
        strategy: decides which configurations there are and which of their trials run.
        records: those of the folder, where they have been read already; a large search has thousands.

    Raises:
        DataError: the folder holds records that are not of this run.
    """

    def __init__(
        self,
        folder: RunFolder,
        dataset: DatasetInfo,
        plan: Plan,
        strategy: Strategy,
        records: Sequence[Record] | None = None,
    ) -> None:
        self.folder, self.dataset, self.plan, self.strategy = folder, dataset, plan, strategy
        self.name, self.steps = plan.title, plan.steps
        records = folder.records() if records is None else records
        self.candidates = {candidate.config_id: candidate for candidate in strategy.begun(records)}
        self._open = {name: candidate for name, candidate in self.candidates.items() if not candidate.ended}
        self._alone: list[TrialKey] = []
        self._epochs: dict[TrialKey, int] = {}
        # Also those with all their records: the process may have died before their strategy knew.
        for candidate in self.candidates.values():
            self._settle(candidate)

    @property
    def finished(self) -> bool:
        """Whether no trial runs and none is left to hand out."""
        return not self.running and self.strategy.finished(self._waiting)

    @property
    def records(self) -> list[Record]:
        """The record of every trial that has ended."""
        return [record for candidate in self.candidates.values() for record in candidate.records.values()]

    @property
    def results(self) -> list[Result]:
        """What has become of each configuration so far, in the order of asking."""
        return [candidate.result for candidate in self.candidates.values()]

    @property
    def running(self) -> int:
        """How many trials are handed out."""
        return sum(len(candidate.running) for candidate in self._open.values())

    @property
    def _waiting(self) -> list[Candidate]:
        return [candidate for candidate in self._open.values() if candidate.waiting]

    def progress(self) -> str:
        """Say in words how far the run is."""
        return self.strategy.progress(self.candidates.values())

    def next_trial(self) -> HandedOut | None:
        """Hand out the next trial; None while there is none, for good once the campaign is finished."""
        if self._alone:
            return self._hand_out(self._alone.pop(), alone=True)
        chosen = self.strategy.choose(self._waiting)
        if chosen is None:
            return None
        # It may be a new one.
        self.candidates[chosen.config_id] = self._open[chosen.config_id] = chosen
        return self._hand_out(chosen.waiting[0])

    def hand_back(self, key: TrialKey, alone: bool = False) -> None:
        """Take back a trial that is to run once more, alone on its GPU if that is why; nothing if nobody wants it."""
        candidate = self.candidates[key.config_id]
        candidate.running.discard(key)
        if key not in candidate.records:
            candidate.waiting.appendleft(key)
            self._alone += [key] if alone else []
        self._settle(candidate)

    def hand_back_all(self) -> None:
        """Take back every trial that runs, to run once more."""
        for candidate in list(self._open.values()):
            # In the order in which they were handed out, which handing back reverses.
            for key in sorted(candidate.running, key=lambda key: candidate.steps[key], reverse=True):
                self.hand_back(key)

    def add_epochs(self, key: TrialKey, rows: Sequence[EpochRow]) -> tuple[Sequence[EpochRow], str]:
        """Take the metrics of epochs that follow one another.

        Returns the rows that count, and why the trial should end after the last of them, "" where it should not. It
        makes no difference how many come at once: what a trial has trained after the epoch that ends it is left out.

        A trial that goes on from an earlier epoch after its process died replaces the rows of later ones.
        """
        if not rows:
            return [], ""
        candidate, kept, reason = self.candidates[key.config_id], list[EpochRow](), ""
        for row in rows:
            kept.append(row)
            if reason := self.strategy.reason_to_stop(candidate, key, row):
                break
        write = append_epochs if self._epochs.get(key) == kept[0]["epoch"] - 1 else begin_epochs
        write(self.folder.trial(key).epochs_csv, kept, self.folder.root)
        self._epochs[key] = int(kept[-1]["epoch"])
        return kept, reason

    def finish(self, key: TrialKey, report: Report) -> Record:
        """Write the trial's weights and predictions, then its record, whose presence says that the trial is over.

        A trial that is over already keeps its record: a result may come twice when a worker dies.
        """
        candidate = self.candidates[key.config_id]
        candidate.running.discard(key)
        if key in candidate.waiting:
            candidate.waiting.remove(key)
        self._alone = [other for other in self._alone if other != key]
        if key not in candidate.records:
            self._write_record(candidate, key, report)
        self._settle(candidate)
        return candidate.records[key]

    def _settle(self, candidate: Candidate) -> None:
        """Give a configuration up if there is a reason to; those of its trials that run end at their next epoch."""
        candidate.over = candidate.over or self.strategy.judge(candidate)
        if candidate.over:
            while candidate.waiting:
                self._write_record(candidate, candidate.waiting.popleft(), Report("pruned", candidate.over))
            self._alone = [key for key in self._alone if key.config_id != candidate.config_id]
        if candidate.ended:
            self._open.pop(candidate.config_id, None)
            self.strategy.conclude(candidate)

    def _hand_out(self, key: TrialKey, alone: bool = False) -> HandedOut:
        candidate = self.candidates[key.config_id]
        candidate.waiting.remove(key)
        candidate.running.add(key)
        return HandedOut(key, candidate.configuration_of(key), alone)

    def _write_record(self, candidate: Candidate, key: TrialKey, report: Report) -> None:
        assert report.status != "running", "only the last report of a trial becomes its record"
        trial = self.folder.trial(key)
        if report.weights is not None:
            self.folder.write(trial.best_weights, report.weights)
        if report.predictions is not None:
            self.folder.write(trial.predictions, report.predictions)
        else:
            # That of an earlier attempt does not belong to this record.
            self.folder.remove(trial.predictions)
        if report.status in ("failed", "diverged"):
            self.folder.write(trial.error_txt, report.error + "\n")
        else:
            self.folder.remove(trial.error_txt)
        split = report.split
        validation = {"validation": split.validation} if split and split.validation else {}
        record = Record(
            schema_version=SCHEMA,
            run=self.name,
            config_id=key.config_id,
            config=candidate.settings_of(key),
            fold=key.fold,
            seed=key.seed,
            status=report.status,
            error=report.error,
            splits={"train": list(split.train), "val": list(split.val), "test": list(split.test)} if split else {},
            **validation,
            metrics=Metrics(**report.metrics),
            timings=Timings(
                **report.timings,
                epochs=self._epochs.pop(key, 0),
                epochs_s=seconds_of(trial.epochs_csv) if report.timings else 0.0,
            ),
            device=Device(**report.device),
            versions=dict(report.versions),
            dataset=self.dataset,
        )
        self.folder.write(trial.next_record_file(), record.to_json())
        self.folder.remove(trial.checkpoint)
        candidate.records[key] = record
        self.strategy.note(record)


def evaluation_campaign(
    folder: RunFolder,
    configuration: Configuration,
    dataset: DatasetInfo,
    planned: Sequence[TrialKey],
    retry_failed: bool = False,
    records: Sequence[Record] | None = None,
) -> Campaign:
    """Return the campaign of one fixed configuration.

    Args:
        planned: every trial of the run, in the order in which they are handed out.
        retry_failed: hand out trials that failed or diverged earlier once more.
        records: as for Campaign.

    Raises:
        DataError: the folder holds records of another configuration.
    """
    steps = [(key.seed, key.fold) for key in planned]
    candidate = Candidate(planned[0].config_id, configuration, steps)
    strategy = Everything(candidate, retry_failed, folder.space_toml)
    return Campaign(folder, dataset, evaluation_plan(run_name(folder), configuration, steps), strategy, records)

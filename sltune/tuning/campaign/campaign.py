"""A run as a plain object over its folder: hands out trials, takes what comes of them, knows what is left.

Knows no Ray. The records are the only durable truth, so a run that was killed at any moment goes on from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sltune.errors import DataError
from sltune.runs.epochs import append_epoch, begin_epochs, seconds_of
from sltune.runs.folder import RunFolder
from sltune.runs.info import run_name
from sltune.runs.metrics import Metrics
from sltune.runs.plan import Plan, Step, evaluation_plan
from sltune.runs.record import SCHEMA, DatasetInfo, Device, Record, Status, Timings, TrialKey
from sltune.runs.results import Result
from sltune.settings.configuration import Configuration


@dataclass(frozen=True)
class Finished:
    """What a worker reports at the end of a trial; everything of a record that the driver does not know."""

    status: Status
    error: str = ""
    splits: Mapping[str, list[str]] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    weights: bytes | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HandedOut:
    """A trial to run now. alone: nothing else may run on its GPU."""

    key: TrialKey
    configuration: Configuration
    alone: bool = False


class Candidate:
    """One configuration and where its trials stand. over: why the rest of them is not wanted; "" while it is."""

    def __init__(self, config_id: str, configuration: Configuration, steps: Sequence[Step]) -> None:
        self.config_id = config_id
        self.configuration = configuration
        self.settings = configuration.model_dump(mode="json")
        self.steps = {TrialKey(config_id, *step): place for place, step in enumerate(steps)}
        self.records: dict[TrialKey, Record] = {}
        self.waiting = deque(self.steps)
        self.running: set[TrialKey] = set()
        self.over = ""

    def take(self, records: Iterable[Record], again: Callable[[Record], bool], space_file: object) -> None:
        """Count earlier trials as ended, but for those that are to run again.

        Raises:
            DataError: one is of another configuration, which must not share a mean with this one.
        """
        for record in records:
            if record.config != self.settings:
                text = f"{space_file}: is not the configuration of the record of {record.key.name}"
                raise DataError(f"{text}; restore it, or run the new one in a run of its own")
            if not again(record):
                self.records[record.key] = record
        self.waiting = deque(key for key in self.steps if key not in self.records)

    def states(self) -> dict[TrialKey, str]:
        """Return the state of its trials: "waiting", "running", or their record's status."""
        return {
            key: self.records[key].status if key in self.records else "running" if key in self.running else "waiting"
            for key in self.steps
        }

    @property
    def result(self) -> Result:
        """What has become of it so far."""
        return Result.of(self.config_id, self.records.values(), len(self.steps))

    @property
    def ended(self) -> bool:
        """Whether none of its trials runs or will."""
        return not self.waiting and not self.running


class Campaign:
    """The trials of some configurations over folds and seeds, kept in a run folder.

    Given alone it evaluates fixed configurations; a search adds configurations and gives some up.
    """

    shows_test = True
    """Whether test accuracies may be shown while it runs."""

    def __init__(self, folder: RunFolder, dataset: DatasetInfo, steps: Sequence[Step]) -> None:
        self.folder = folder
        self.name = run_name(folder)
        self.dataset = dataset
        self.steps = tuple(steps)
        self.candidates: dict[str, Candidate] = {}
        self._open: dict[str, Candidate] = {}
        self._alone: list[TrialKey] = []
        self._epochs: dict[TrialKey, int] = {}

    def add(
        self, candidate: Candidate, records: Iterable[Record] = (), again: Callable[[Record], bool] = lambda _: False
    ) -> None:
        """Take a configuration and the records that it has; raises as Candidate.take does."""
        candidate.take(records, again, self.folder.space_toml)
        self.candidates[candidate.config_id] = candidate
        if not candidate.ended:
            self._open[candidate.config_id] = candidate

    @property
    def finished(self) -> bool:
        """Whether no trial runs and none is left to hand out."""
        return not self._open

    @property
    def records(self) -> list[Record]:
        """The record of every trial that has ended."""
        return [record for candidate in self.candidates.values() for record in candidate.records.values()]

    @property
    def running(self) -> int:
        """How many trials are handed out."""
        return sum(len(candidate.running) for candidate in self._open.values())

    def progress(self) -> str:
        """Say in words how far the run is."""
        planned = sum(len(candidate.steps) for candidate in self.candidates.values())
        return f"{len(self.records)} of {planned} trials have ended"

    def plan(self) -> Plan:
        """Return what the run shall do, for whoever follows it."""
        (candidate,) = self.candidates.values()
        return evaluation_plan(self.name, candidate.configuration, self.steps)

    def next_trial(self) -> HandedOut | None:
        """Hand out the next trial; None while there is none, for good once the campaign is finished.

        Each configuration has one trial at a time, so that what its folds show can spare the rest of it, and free
        places go to further configurations. Only where there are none, its trials run side by side.
        """
        if self._alone:
            return self._hand_out(self._alone.pop(), alone=True)
        waiting = [candidate for candidate in self._open.values() if candidate.waiting]
        idle = [candidate for candidate in waiting if not candidate.running]
        chosen = min(idle, key=_breadth_first, default=None) or self._ask()
        chosen = chosen or min(waiting, key=_breadth_first, default=None)
        return self._hand_out(chosen.waiting[0]) if chosen else None

    def hand_back(self, key: TrialKey, alone: bool = False) -> None:
        """Take back a trial that is to run once more, alone on its GPU if that is why; nothing if nobody wants it."""
        candidate = self.candidates[key.config_id]
        candidate.running.discard(key)
        if key not in candidate.records:
            candidate.waiting.appendleft(key)
        if candidate.over:
            self._give_up(candidate, candidate.over)
        elif alone and key not in candidate.records:
            self._alone.append(key)
        self._settle(candidate)

    def hand_back_all(self) -> None:
        """Take back every trial that runs, to run once more."""
        for candidate in list(self._open.values()):
            # In the order in which they were handed out, which handing back reverses.
            for key in sorted(candidate.running, key=lambda key: candidate.steps[key], reverse=True):
                self.hand_back(key)

    def add_epoch(self, key: TrialKey, row: Mapping[str, float]) -> str:
        """Take one epoch's metrics; return why the trial should end now, "" where it should not.

        A trial that goes on from an earlier epoch after its process died replaces the rows of later ones.
        """
        file, epoch = self.folder.trial(key).epochs_csv, int(row["epoch"])
        write = append_epoch if self._epochs.get(key) == epoch - 1 else begin_epochs
        write(file, row, self.folder.root)
        self._epochs[key] = epoch
        return self._reason_to_stop(self.candidates[key.config_id], key, row)

    def finish(self, key: TrialKey, finished: Finished) -> Record:
        """Write the trial's weights, then its record, whose presence says that the trial is over.

        A trial that is over already keeps its record: a result may come twice when a worker dies.
        """
        candidate = self.candidates[key.config_id]
        candidate.running.discard(key)
        if key in candidate.waiting:
            candidate.waiting.remove(key)
        self._alone = [other for other in self._alone if other != key]
        if key not in candidate.records:
            self._write_record(candidate, key, finished)
        self._settle(candidate)
        return candidate.records[key]

    def _ask(self) -> Candidate | None:
        """Return one more configuration; a search has some."""
        return None

    def _judge(self, candidate: Candidate) -> None:
        """Look at a configuration of which a trial has ended; a search may give it up."""

    def _reason_to_stop(self, candidate: Candidate, key: TrialKey, row: Mapping[str, float]) -> str:
        """Return why a trial should end now; a search may have one."""
        return candidate.over

    def _settle(self, candidate: Candidate) -> None:
        self._judge(candidate)
        if candidate.ended:
            self._open.pop(candidate.config_id, None)

    def _give_up(self, candidate: Candidate, reason: str) -> None:
        """Record the trials that wait as pruned; those that run end at their next epoch."""
        candidate.over = reason
        while candidate.waiting:
            self._write_record(candidate, candidate.waiting.popleft(), Finished("pruned", reason))
        self._alone = [key for key in self._alone if key.config_id != candidate.config_id]

    def _hand_out(self, key: TrialKey, alone: bool = False) -> HandedOut:
        candidate = self.candidates[key.config_id]
        candidate.waiting.remove(key)
        candidate.running.add(key)
        return HandedOut(key, candidate.configuration, alone)

    def _write_record(self, candidate: Candidate, key: TrialKey, finished: Finished) -> Record:
        trial = self.folder.trial(key)
        if finished.weights is not None:
            self.folder.write(trial.best_weights, finished.weights)
        if finished.status in ("failed", "diverged"):
            self.folder.write(trial.error_txt, finished.error + "\n")
        else:
            self.folder.remove(trial.error_txt)
        record = Record(
            schema_version=SCHEMA,
            run=self.name,
            config_id=key.config_id,
            config=candidate.settings,
            fold=key.fold,
            seed=key.seed,
            status=finished.status,
            error=finished.error,
            splits=dict(finished.splits),
            metrics=Metrics(**finished.metrics),
            timings=Timings(
                **finished.timings,
                epochs=self._epochs.pop(key, 0),
                epochs_s=seconds_of(trial.epochs_csv) if finished.timings else 0.0,
            ),
            device=Device(**finished.device),
            versions=dict(finished.versions),
            dataset=self.dataset,
        )
        self.folder.write(trial.next_record_file(), record.to_json())
        self.folder.remove(trial.checkpoint)
        candidate.records[key] = record
        return record


def _breadth_first(candidate: Candidate) -> tuple[int, str]:
    return len(candidate.records) + len(candidate.running), candidate.config_id


def evaluation_campaign(
    folder: RunFolder,
    configuration: Configuration,
    dataset: DatasetInfo,
    planned: Sequence[TrialKey],
    retry_failed: bool = False,
) -> Campaign:
    """Return the campaign of one fixed configuration.

    Args:
        planned: every trial of the run, in the order in which they are handed out.
        retry_failed: hand out trials that failed or diverged earlier once more.

    Raises:
        DataError: the folder holds records of another configuration.
    """
    campaign = Campaign(folder, dataset, [(key.seed, key.fold) for key in planned])
    candidate = Candidate(planned[0].config_id, configuration, campaign.steps)
    campaign.add(candidate, folder.records(), lambda record: retry_failed and record.status != "done")
    return campaign

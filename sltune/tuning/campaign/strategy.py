"""What a campaign asks of a strategy, which decides what runs next; and the strategy that runs everything."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sltune.errors import DataError
from sltune.runs.plan import Step
from sltune.runs.record import Record, TrialKey, apart_from_seeds
from sltune.runs.results import Result
from sltune.settings.configuration import Configuration

RESTORE = "restore it, or run the new one in a run of its own"
"""What to do where a file of a run no longer says what the run began with."""


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

    def configuration_of(self, key: TrialKey) -> Configuration:
        """Return what one of its trials trains: in a nested search each fold has chosen another."""
        return self.configuration

    def settings_of(self, key: TrialKey) -> dict[str, Any]:
        """Return what the record of one of its trials says of its configuration."""
        return self.settings

    def take(self, records: Iterable[Record], space_file: object, retry_failed: bool = False) -> None:
        """Count those trials of this configuration that have records as ended.

        Args:
            space_file: what an error names.
            retry_failed: leave those out that ended without a result, to run once more.

        Raises:
            DataError: one is of another configuration, which must not share a mean with this one.
        """
        for record in records:
            if apart_from_seeds(record.config) != apart_from_seeds(self.settings_of(record.key)):
                text = f"{space_file}: is not the configuration of the record of {record.key.name}"
                raise DataError(f"{text}; {RESTORE}")
            if record.key in self.steps and (record.status == "done" or not retry_failed):
                self.records[record.key] = record
        self.waiting = deque(key for key in self.steps if key not in self.records)

    @property
    def begun(self) -> int:
        """How many of its trials have begun."""
        return len(self.records) + len(self.running)

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

    @property
    def is_over(self) -> bool:
        """Whether no further result of its trials is wanted."""
        return self.ended or bool(self.over)


class Strategy(Protocol):
    """Decides which configurations a campaign has, which of them gets the next trial, and which are given up.

    The campaign keeps the state of all trials and writes the files; a strategy learns of every record and epoch.
    """

    def begun(self, records: Sequence[Record]) -> Iterable[Candidate]:
        """Give the configurations that the run has from the start, with those of its records that count.

        Raises:
            DataError: the records are not of this run.
        """

    def finished(self, waiting: Collection[Candidate]) -> bool:
        """Say whether no further trial shall run, while none is running; waiting: those that have trials waiting."""

    def choose(self, waiting: Sequence[Candidate]) -> Candidate | None:
        """Return the configuration that gets the next trial: one of those that have trials waiting, or a new one.

        None if no further trial shall run for now.
        """

    def note(self, record: Record) -> None:
        """Learn from a record that has been written."""

    def reason_to_stop(self, candidate: Candidate, key: TrialKey, row: Mapping[str, float]) -> str:
        """Return why a trial should end after the epoch of this row; "" where it should not."""

    def judge(self, candidate: Candidate) -> str:
        """Return why a configuration, of which a trial has ended, is given up; "" where it is not."""

    def conclude(self, candidate: Candidate) -> None:
        """Take note that all trials of a configuration have ended; may be called more than once."""

    def progress(self, candidates: Collection[Candidate]) -> str:
        """Say in words how far the run is."""


class Everything:
    """The strategy of an evaluation: every trial of one configuration runs, and none is given up.

    Args:
        retry_failed: run trials that failed or diverged earlier once more.
        space_file: what errors name.
    """

    def __init__(self, candidate: Candidate, retry_failed: bool, space_file: object) -> None:
        self._candidate, self._retry_failed, self._space_file = candidate, retry_failed, space_file

    def begun(self, records: Sequence[Record]) -> Iterable[Candidate]:
        self._candidate.take(records, self._space_file, self._retry_failed)
        return [self._candidate]

    def finished(self, waiting: Collection[Candidate]) -> bool:
        return not waiting

    def choose(self, waiting: Sequence[Candidate]) -> Candidate | None:
        return next(iter(waiting), None)

    def note(self, record: Record) -> None:
        """Nothing: no decision depends on results."""

    def reason_to_stop(self, candidate: Candidate, key: TrialKey, row: Mapping[str, float]) -> str:
        return ""

    def judge(self, candidate: Candidate) -> str:
        return ""

    def conclude(self, candidate: Candidate) -> None:
        """Nothing: nobody waits to be told."""

    def progress(self, candidates: Collection[Candidate]) -> str:
        planned, ended = len(self._candidate.steps), len(self._candidate.records)
        return f"{ended} of {planned} trials have ended"

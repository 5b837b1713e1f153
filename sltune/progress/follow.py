"""Following a run by its folder alone, while other processes write to it; each look reads only what has changed."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import ConfigError, DataError
from sltune.progress.board import Board
from sltune.progress.messages import Message, epoch_ended, left_unfinished, trial_ended
from sltune.progress.state import RunState, duration
from sltune.runs.epochs import EpochRow, read_epochs
from sltune.runs.folder import RunFolder, read_record
from sltune.runs.info import RunInfo, read_info
from sltune.runs.plan import Plan, evaluation_plan, nested_plan, search_plan
from sltune.runs.record import TrialKey
from sltune.settings.space import load_space
from sltune.system.locks import held_since, is_locked, locked_on, seems_held

MAX_ENDED_LOOKS = 200
"""How many of the trials that ended without a result each look includes, since ``resume`` may train them once more."""

Stamp = tuple[int, ...]
"""Changes with a file: its time, its size, and which file it is; empty if there is none."""


@dataclass
class _Trial:
    """What is known of a trial's files. record: the name of its last record. epoch: the last that was reported."""

    record: str = ""
    epochs_csv: Stamp = ()
    epoch: int = 0


class Follower:
    """Follows one run, and writes nothing.

    Raises:
        DataError: the folder is no run folder, or a file in it is foreign, broken or of a newer schema.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._begin(read_info(folder))

    def _begin(self, info: RunInfo) -> None:
        """Follow the trials that the run has now."""
        folder, self._written = self.folder, 0
        self._described = self._stamp_of(folder.run_json)
        self._is_search = info.is_search
        self.state = RunState(_plan(folder, info))
        self.alive = False
        self._steps = set(self.state.plan.steps)
        self._trials: dict[TrialKey, _Trial] = {}
        self._open: dict[TrialKey, None] = {}
        self._without_result: deque[TrialKey] = deque()
        self._stamp: Stamp = ()
        self._looked = False
        if not self._is_search:
            for key in info.planned(folder):
                self.state.add(key.config_id)
        self.look()

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.state.plan.title

    @property
    def over(self) -> bool:
        """Whether all trials have ended and, in a search, no more of them will come.

        A process of this machine that has the run may still train trials once more, so it is waited for.
        """
        if self.state.left or is_locked(self.folder.lock):
            return False
        plan = self.state.plan
        if not self._is_search or (self.state.begun >= plan.configurations and not self.state.paused):
            return True
        info = read_info(self.folder)
        # Searches of earlier versions do not say that they have ended.
        return not self.alive and (info.ended or (not plan.promotes and info.best is not None))

    def look(self) -> list[Message]:
        """Read what has changed since the last look, and return what has happened.

        Raises:
            DataError: as the constructor does.
        """
        self.alive = seems_held(self.folder.lock)
        if self._has_grown():
            self._begin(read_info(self.folder))
            return []
        self._find_trials()
        again = [self._without_result.popleft() for _ in range(min(MAX_ENDED_LOOKS, len(self._without_result)))]
        messages = list[Message]()
        for key in [*self._open, *again]:
            messages += self._look_at(key)
            if key not in self._open and self.state.cell(key).state != "done":
                self._without_result.append(key)
        self._looked = True
        return [*messages, *self._follow_process()]

    def board(self, lines: int) -> Board:
        """Return the board as of the last look."""
        return self.state.board(lines, list(self.facts()))

    def facts(self) -> Iterator[tuple[str, ...]]:
        """Give what the board shows below the grid besides the state of the trials."""
        written = f"last written {duration(max(0.0, time.time() - self._written / 1e9))} ago"
        if not self.alive:
            yield ("the run is over",) if self.over else ("no process has the run", written)
            return
        with suppress(OSError):
            times = tuple(self.state.times(max(0.0, time.time() - held_since(self.folder.lock))))
            host = locked_on(self.folder.lock)
            yield times if is_locked(self.folder.lock) else (*times, f"begun on {host}, {written}")

    def _has_grown(self) -> bool:
        """Say whether an evaluation has other trials than at the last look, since seeds were added to it."""
        stamp = self._stamp_of(self.folder.run_json)
        if self._is_search or stamp in ((), self._described):
            return False
        self._described = stamp
        return {(key.seed, key.fold) for key in read_info(self.folder).planned(self.folder)} != self._steps

    def _find_trials(self) -> None:
        """Take up the trials whose folders are new since the last look."""
        stamp = self._stamp_of(self.folder.trials)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        found = []
        for name in os.listdir(self.folder.trials) if stamp else ():
            with suppress(ValueError):
                key = TrialKey.parse(name)
                if key not in self._trials and (key.seed, key.fold) in self._steps:
                    found.append(key)
        for key in sorted(found):
            self._trials[key] = _Trial()
            self._open[key] = None

    def _look_at(self, key: TrialKey) -> Iterator[Message]:
        trial, folder = self._trials[key], self.folder.trial(key)
        file = folder.record_file()
        if file is not None and file.name != trial.record:
            record = read_record(file)
            if record.key != key:
                raise DataError(f"{file}: is the record of {record.key.name}; move it to the folder of that name")
            self._stamp_of(file)
            stamp = self._stamp_of(folder.epochs_csv)
            if self._looked and stamp and stamp != trial.epochs_csv:
                # The trial has ended since the last look; these are its last epochs.
                yield from self._epochs(key, trial, folder.epochs_csv)
            news = self.state.end(record)
            trial.record, trial.epochs_csv, trial.epoch = file.name, stamp, 0
            self._open.pop(key, None)
            yield trial_ended(record, self.state.plan.shows_test)
            yield from news
            return
        stamp = self._stamp_of(folder.epochs_csv)
        if stamp and stamp != trial.epochs_csv:
            trial.epochs_csv = stamp
            yield from self._epochs(key, trial, folder.epochs_csv)

    def _epochs(self, key: TrialKey, trial: _Trial, file: Path) -> Iterator[Message]:
        """Report the epochs that are new; all of them if the trial has begun again."""
        rows = read_epochs(file)
        _refuse_incomplete(rows, file)
        if not rows:
            return
        if rows[-1]["epoch"] <= trial.epoch:
            trial.epoch = 0
        if self.state.cell(key).state != "running":
            self.state.begin(key, self.state.plan.epochs if self.state.plan.same_epochs else 0)
        self._open[key] = None
        for row in rows:
            if row["epoch"] > trial.epoch:
                news = self.state.advance(key, row)
                yield epoch_ended(key, row, self.state.cell(key).epochs)
                yield from news
        trial.epoch = int(rows[-1]["epoch"])

    def _follow_process(self) -> Iterator[Message]:
        """Trials that have begun are running while a process has the run, and unfinished afterwards."""
        for key in self._open:
            state = self.state.cell(key).state
            if self.alive and state == "unfinished":
                self.state.take_up(key)
            elif not self.alive and state == "running":
                self.state.leave(key)
                yield left_unfinished(key)

    def _stamp_of(self, file: Path) -> Stamp:
        try:
            status = file.stat()
        except OSError:
            return ()
        self._written = max(self._written, status.st_mtime_ns)
        # A folder has one link more for each folder in it, so a new one shows even within one tick of the clock.
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_nlink


def _plan(folder: RunFolder, info: RunInfo) -> Plan:
    try:
        space = load_space(folder.space_toml)
        if info.is_search:
            return search_plan(info.name, space, space.required_search(), info.steps or ())
        steps = [(key.seed, key.fold) for key in info.planned(folder)]
        if info.is_nested:
            return nested_plan(info.name, space, steps)
        return evaluation_plan(info.name, space.configuration(), steps)
    except ConfigError as error:
        raise DataError(f"{folder.space_toml}: the run cannot be followed without it: {error}") from error


def _refuse_incomplete(rows: Sequence[EpochRow], file: Path) -> None:
    """Make sure that rows of epochs.csv have the columns that every version writes.

    Raises:
        DataError: one lacks a column.
    """
    for row in rows:
        part = "val_accuracy" if "val_accuracy" in row else "test_accuracy"
        missing = {"samples_per_second", "seconds", part} - row.keys()
        if missing:
            raise DataError(f"{file}: epoch {row['epoch']} has no {', '.join(sorted(missing))}; not written by sltune")

"""Where a study is kept: in the journal of the run folder, or in a database that the user names."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sltune.errors import DataError, UsageError
from sltune.system.places import Database, without_secrets
from sltune.tuning.campaign.journal import mend_journal
from sltune.tuning.campaign.study_checks import CONSTRAINT, RESTORE_STUDY
from sltune.wording import printable


def open_storage(journal: Path, database: Database | None = None) -> BaseStorage:
    """Return the storage in a database, or the journal; call it only with the run's lock.

    Raises:
        UsageError: the storage cannot be opened.
        DataError: the journal is broken elsewhere than at its end; names the line.
    """
    if database is not None:
        try:
            return optuna.storages.RDBStorage(database.url)
        except Exception as error:
            reason = database.without_password(_reason_of_database(error))
        # Outside of the block, so that nothing that may hold the URL stays with the error.
        raise UsageError(f"--study-storage {database.address}: cannot be opened: {reason}")
    try:
        mend_journal(journal)
        return JournalStorage(JournalFileBackend(str(journal)))
    except OSError as error:
        raise UsageError(f"{journal}: cannot be read or written: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataError(f"{journal}: is broken: {error!r}; {RESTORE_STUDY}") from error


@dataclass(frozen=True, slots=True)
class Standing:
    """What a sampler is to see of a trial of Optuna's. values: of the objectives, where it counts as complete."""

    state: TrialState
    values: Sequence[float] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)


class StandingsStorage:
    """Another storage in which some trials look as they stand now.

    What Optuna was told of a trial cannot be changed, and a sampler leaves out trials of which nothing was told; but
    where a configuration stands changes with every result. Everything but ``get_all_trials``, through which samplers
    look, is the other storage's.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._copies: dict[int, FrozenTrial] = {}
        self._shown: dict[int, FrozenTrial] = {}
        self._standings: Mapping[int, Standing] = {}

    def show(self, standings: Mapping[int, Standing]) -> None:
        """Let samplers see trials of these numbers as they stand; without any, as they are in the other storage."""
        self._standings, self._shown = standings, {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(study_id, deepcopy=deepcopy)
        if self._standings and not self._shown:
            # Once for all looks of one ask, as there may be thousands of trials.
            own = (trial for trial in trials if trial.number in self._standings)
            self._shown = {trial.number: self._as_it_stands(trial) for trial in own}
        seen = [self._shown.get(trial.number, trial) for trial in trials] if self._shown else trials
        return seen if states is None else [trial for trial in seen if trial.state in states]

    def _as_it_stands(self, trial: FrozenTrial) -> FrozenTrial:
        standing, seen = self._standings[trial.number], self._copies.get(trial.number)
        # A trial of which not all values were drawn yet may have more of them now.
        if seen is None or len(seen.params) < len(trial.params):
            seen = self._copies[trial.number] = copy.copy(trial)
        seen.state = standing.state
        seen.values = list(standing.values) or None
        if standing.constraints:
            excesses = {f"{CONSTRAINT}{name}": excess for name, excess in standing.constraints.items()}
            seen.system_attrs = {**trial.system_attrs, **excesses}
        return seen


def place_of(storage: BaseStorage, name: str) -> str:
    """Return what errors call a study: a journal's file, or the name in a database, whose URL may hold a password."""
    backend = getattr(storage, "_backend", None)
    return backend._file_path if isinstance(backend, JournalFileBackend) else f"the study {name}"


def _reason_of_database(error: Exception) -> str:
    """Return why a database cannot be used; texts of libraries that may quote parts of its URL are left out."""
    if isinstance(error, DBAPIError):
        # Without the statement and its values.
        return printable(str(error.orig).partition("\n")[0])
    if isinstance(error, ImportError):
        return "the Python package of its driver is not installed"
    if isinstance(error, RuntimeError):
        # Optuna's tables are of another version.
        return printable(" ".join(str(error).split()))
    if isinstance(error, SQLAlchemyError | ValueError):
        return "it is no URL that SQLAlchemy understands, as sqlite:///study.db or postgresql://HOST/NAME"
    return type(error).__name__


@contextmanager
def writing() -> Iterator[None]:
    """Turn a storage that cannot be written into an error of ours.

    Raises:
        UsageError: the disk is full, say, or the database has gone away.
    """
    try:
        yield
    except (OSError, StorageInternalError, SQLAlchemyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, SQLAlchemyError):
            reason = without_secrets(_reason_of_database(error))
        raise UsageError(f"the study cannot be written: {reason}") from error

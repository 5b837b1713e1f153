"""The run folder: where everything under ``results/<run>/`` lies, and how it is read and written.

Only this module knows the layout. Every file appears whole or not at all, so that a run can be killed
at any moment, and a record's presence means that its trial is over.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from sltune.errors import DataError, UsageError
from sltune.runs.record import SCHEMA, Record, TrialKey, config_number
from sltune.settings.space import CODE
from sltune.system.files import open_folder, read_plain, remove, write_whole
from sltune.system.locks import LOCK
from sltune.system.memory import without_collection
from sltune.wording import excerpt, first_of

MAX_NAME_BYTES = 255
"""What all usual file systems allow."""
MAX_SHOWN_REASONS = 5
"""A broken file can have thousands of errors; the first few say enough."""


def is_run_name(name: str) -> bool:
    """Say whether a run may have this name: that of a visible folder, and not a path, which would lead elsewhere."""
    is_name = name == name.strip() and name not in ("", ".", "..") and "/" not in name and name.isprintable()
    return is_name and len(name.encode()) <= MAX_NAME_BYTES


def new_folder(results: Path, name: str | None, stem: str) -> RunFolder:
    """Return the folder of a new run, named after a space and the time unless it has a name.

    Raises:
        UsageError: the name is none that a folder directly below ``results`` can have.
    """
    name = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}" if name is None else name
    if not is_run_name(name):
        text = f"must be the name of a folder below --results, without / and of at most {MAX_NAME_BYTES} bytes"
        raise UsageError(f"--run {text}, but got {excerpt(repr(name))}")
    return RunFolder(results / name)


@dataclass(frozen=True)
class TrialFolder:
    """Where the files of one trial lie."""

    path: Path

    @property
    def epochs_csv(self) -> Path:
        return self.path / "epochs.csv"

    @property
    def best_weights(self) -> Path:
        return self.path / "best.pt"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.parquet"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def error_txt(self) -> Path:
        return self.path / "error.txt"

    def record_file(self) -> Path | None:
        """Return the newest record's file: ``record.json``, or the highest-numbered ``record.K.json``."""
        numbered = {}
        for file in self.path.glob("record*.json"):
            found = re.fullmatch(r"record(?:\.(\d+))?\.json", file.name)
            if found:
                numbered[int(found[1] or 0)] = file
        return numbered[max(numbered)] if numbered else None

    def next_record_file(self) -> Path:
        """Return where the next record goes; a record is never rewritten."""
        newest = self.record_file()
        if newest is None:
            return self.path / "record.json"
        number = int(newest.suffixes[0][1:]) if len(newest.suffixes) > 1 else 0
        return self.path / f"record.{number + 1}.json"


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run lie."""

    root: Path

    @property
    def run_json(self) -> Path:
        return self.root / "run.json"

    @property
    def space_toml(self) -> Path:
        return self.root / "space.toml"

    @property
    def baselines_json(self) -> Path:
        return self.root / "baselines.json"

    @property
    def code(self) -> Path:
        return self.root / CODE

    @property
    def split_lists(self) -> Path:
        """A copy of the lists by which the recordings are split, where the space names any."""
        return self.root / "split_lists"

    @property
    def study_journal(self) -> Path:
        return self.root / "study.journal"

    @property
    def best_toml(self) -> Path:
        return self.root / "best.toml"

    @property
    def lock(self) -> Path:
        return self.root / LOCK

    @property
    def splits(self) -> Path:
        return self.root / "splits"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def outer(self, fold: int) -> RunFolder:
        """Return where the search of an outer fold lies, if this is the folder of a nested search."""
        return RunFolder(self.root / f"outer-{fold}")

    @property
    def above(self) -> RunFolder | None:
        """The folder of the nested search, if this one is named as that of an outer fold is; it may be another one."""
        # The paths "." and ".." do not tell what lies above.
        root = self.root if self.root.name not in ("", "..") else self.root.resolve()
        return RunFolder(root.parent) if re.fullmatch(r"outer-\d+", root.name) else None

    def trial(self, key: TrialKey) -> TrialFolder:
        return TrialFolder(self.trials / key.name)

    def mean_curves(self, config_id: str) -> Path:
        """Where TensorBoard finds the means over a configuration's trials, and then lists it right above them."""
        return self.trials / config_id

    def write(self, file: Path, content: str | bytes | memoryview) -> None:
        """Write a file of the run, but never through a link. Raises as ``files.write_whole`` does."""
        write_whole(file, content, inside=self.root)

    def remove(self, file: Path) -> None:
        """Remove a file of the run, if it is there. Raises as ``files.remove`` does."""
        remove(file, inside=self.root)

    def make(self, folder: Path) -> Path:
        """Return a folder of the run, into which others may write. It is made if it is missing.

        Raises:
            UsageError: it cannot be made, or a link on the way leads elsewhere.
        """
        try:
            with open_folder(folder, inside=self.root):
                return folder
        except OSError as error:
            raise UsageError(f"{folder}: cannot be made: {error.strerror or error}") from error

    def begun(self) -> list[str]:
        """Return the configurations that have a trial's folder, in the order of asking."""
        found = set()
        for folder in self.trials.glob("c*-f*-s*"):
            # Users may keep other folders here, such as a copy of a trial's.
            with suppress(ValueError):
                found.add(TrialKey.parse(folder.name).config_id)
        return sorted(found, key=config_number)

    def records(self) -> list[Record]:
        """Return the newest record of every finished trial, by configuration, seed and fold.

        Raises:
            DataError: a record cannot be read or was written by a newer sltune; names the file.
        """
        files = (TrialFolder(folder).record_file() for folder in self.trials.glob("*"))
        # A search may have tens of thousands, of which half the time would be for collections.
        with without_collection():
            return sorted((read_record(file) for file in files if file), key=lambda record: record.key)


def read_record(file: Path) -> Record:
    """Read one trial's record.

    Raises:
        DataError: the file is not a record, or has a newer schema.
    """
    values = read_object(file, "delete the trial's folder to run it again")
    try:
        return Record(schema_version=values.pop("schema"), **values)
    except (ValidationError, TypeError) as error:
        raise DataError(f"{file}: not a trial record: {reasons(error)}") from error


def read_object(file: Path, hint: str) -> dict[str, Any]:
    """Return the values of a JSON file of sltune's.

    Args:
        hint: what the user may do if the file is broken.

    Raises:
        DataError: the file cannot be read, holds no JSON object, or was written by a newer sltune.
    """
    try:
        # It takes half the time of Python's, of what may be tens of thousands, and refuses text that nothing can write.
        values = from_json(read_plain(file), allow_inf_nan=False)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; {hint}") from error
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}; {hint}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file}: holds no JSON object; {hint}")
    schema = values.get("schema")
    if type(schema) is not int:
        raise DataError(f"{file}: has no 'schema'; not written by sltune")
    if schema > SCHEMA:
        raise DataError(f"{file}: schema {schema} is newer than this sltune reads ({SCHEMA}); update sltune")
    return values


def reasons(error: Exception) -> str:
    """Return what is wrong with the content of a file, in one line: keys, values, and what is allowed."""
    if not isinstance(error, ValidationError):
        return excerpt(str(error))
    problems = [
        f"{'.'.join(map(str, problem['loc']))}{_found(problem)}: {problem['msg']}".lstrip(": ")
        for problem in error.errors(include_url=False)
    ]
    return "; ".join(first_of(problems, MAX_SHOWN_REASONS))


def _found(problem: ErrorDetails) -> str:
    """Return the value that is wrong; nothing for a missing key or a misfit of several, where it is the whole file."""
    return "" if problem["type"] == "missing" or not problem["loc"] else f" = {excerpt(repr(problem['input']))}"

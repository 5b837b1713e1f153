"""The run folder: where everything under ``results/<run>/`` lies, and what a trial's record holds.

Only this module knows the layout. Every file appears whole or not at all, so that a run can be killed
at any moment, and a record's presence means that its trial is over.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from sltune.errors import DataError, UsageError
from sltune.runs.metrics import checked_device, checked_metrics
from sltune.settings.configuration import Configuration
from sltune.settings.types import LAST_SEED, MOST_FOLDS
from sltune.system.files import open_folder, parse_json, read_plain, remove, write_whole
from sltune.system.locks import LOCK
from sltune.wording import printable

SCHEMA = 1
LATEST_S = 1e11
"""Unix time in the year 5138: no trial ends later."""
SHOWN_REASONS = 5
"""Of many things that are wrong in a file the first few say enough."""
SHOWN_LETTERS = 200
Status = Literal["done", "pruned", "failed", "diverged"]
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
Setting = Switch | Whole | Number | str | list[Whole | Number | str] | None
"""Of a record's configuration, whose settings may be those of another version."""


MAX_NAME_BYTES = 255
"""Of a file on all usual file systems."""


def is_run_name(name: str) -> bool:
    """Say whether a run may be called so: as a folder that one can see, and not by a path, which leads elsewhere."""
    is_name = name == name.strip() and name not in ("", ".", "..") and "/" not in name and name.isprintable()
    return is_name and len(name.encode()) <= MAX_NAME_BYTES


@dataclass(frozen=True, order=True)
class TrialKey:
    """One training: a configuration on one fold with one seed."""

    config_id: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        return f"{self.config_id}-f{self.fold}-s{self.seed}"

    @classmethod
    def parse(cls, name: str) -> TrialKey:
        """Read the key back from a trial's folder name.

        Raises:
            ValueError: the name is not of the form ``c0000-f0-s0``.
        """
        found = re.fullmatch(r"(c[0-9]{4,9})-f([0-9]{1,9})-s([0-9]{1,10})", name)
        key = cls(_known(found[1]), seed=int(found[3]), fold=int(found[2])) if found else None
        # Zeros before a number would give one trial several names.
        if key is None or key.name != name:
            raise ValueError(f"{name!r} is no name of a trial such as c0000-f0-s0")
        return key


def _known(config_id: str) -> str:
    """Return the name of a configuration, c0000 or another, as it is.

    Raises:
        ValueError: it is none.
    """
    if re.fullmatch("c[0-9]{4,9}", config_id) is None or f"c{int(config_id[1:]):04d}" != config_id:
        raise ValueError(f"{config_id!r} is no name of a configuration such as c0000")
    return config_id


ConfigId = Annotated[str, AfterValidator(_known)]


class DatasetInfo(BaseModel):
    """What a record says of its data: enough to never mix two datasets in one mean."""

    model_config = ConfigDict(frozen=True)
    name: str
    synthetic: bool
    fingerprint: str
    classes: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def chance_percent(self) -> float:
        """Accuracy in per cent of guessing."""
        return 100 / len(self.classes)


class Judged(BaseModel):
    """What of a record's configuration says which trials may share a mean."""

    model_config = ConfigDict(frozen=True)
    protocol: str = ""
    sessions: tuple[str, ...] = ()
    split_seed: Whole = -1


class Record(BaseModel):
    """The outcome of one trial. Accuracies are fractions, times are Unix seconds, folds count from 0."""

    model_config = ConfigDict(frozen=True)
    schema_version: int
    run: str
    config_id: ConfigId
    config: dict[str, dict[str, Setting]]
    fold: Annotated[int, Field(strict=True, ge=0, lt=MOST_FOLDS)]
    seed: Annotated[int, Field(strict=True, ge=0, le=LAST_SEED)]
    status: Status
    error: str
    splits: dict[str, list[str]]
    metrics: Annotated[dict[str, Any], AfterValidator(checked_metrics)]
    timings: dict[str, Annotated[float, Field(strict=True, ge=0, le=LATEST_S)]]
    device: Annotated[dict[str, Any], AfterValidator(checked_device)]
    versions: dict[str, str]
    dataset: DatasetInfo

    @model_validator(mode="after")
    def _is_judged(self) -> Self:
        _ = self.judged
        return self

    @cached_property
    def judged(self) -> Judged:
        """What it was judged on."""
        return Judged.model_validate(self.config.get("evaluation", {}))

    @property
    def key(self) -> TrialKey:
        return TrialKey(self.config_id, self.seed, self.fold)

    @property
    def reason(self) -> str:
        """The last line of its error, which says most."""
        return (self.error.strip().splitlines() or ["no reason given"])[-1]

    @property
    def seconds(self) -> float:
        """How long it was worked on; without epochs that an interruption made it repeat."""
        last_process = self.timings.get("ended", 0.0) - self.timings.get("started", 0.0)
        return max(last_process, self.timings.get("epochs_s", 0.0))

    @property
    def device_hours(self) -> float:
        """Its hours times its share of devices: GPUs, or CPUs where it had no GPU."""
        return self.seconds / 3600 * float(self.device.get("num_gpus") or self.device.get("num_cpus") or 0.0)

    def configuration(self) -> Configuration:
        """Return what was trained.

        Raises:
            DataError: this version has other settings.
        """
        try:
            return Configuration.model_validate_json(json.dumps(self.config))
        except ValidationError as error:
            raise DataError(f"record of {self.key.name}: its configuration is of another version: {error}") from error

    def to_json(self) -> str:
        values = self.model_dump(mode="json")
        return json.dumps({"schema": values.pop("schema_version"), **values}, indent=1)


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

    def trial(self, key: TrialKey) -> TrialFolder:
        return TrialFolder(self.trials / key.name)

    def write(self, file: Path, content: str | bytes | memoryview) -> None:
        """Write a file of the run, never through a link; raises as ``files.write_whole`` does."""
        write_whole(file, content, inside=self.root)

    def remove(self, file: Path) -> None:
        """Remove a file of the run, if it is there; raises as ``files.remove`` does."""
        remove(file, inside=self.root)

    def make(self, folder: Path) -> Path:
        """Return a folder of the run, made where it is missing, into which others may write.

        Raises:
            UsageError: it cannot be made, or a link on the way leads elsewhere.
        """
        try:
            with open_folder(folder, inside=self.root):
                return folder
        except OSError as error:
            raise UsageError(f"{folder}: cannot be made: {error.strerror or error}") from error

    def begun(self) -> list[str]:
        """Return the configurations of which trials have folders, in the order of their numbers."""
        found = set()
        for folder in self.trials.glob("c*-f*-s*"):
            # What is no trial's folder, such as a copy of one, is not ours to judge.
            with suppress(ValueError):
                found.add(TrialKey.parse(folder.name).config_id)
        return sorted(found, key=lambda config_id: int(config_id[1:]))

    def records(self) -> list[Record]:
        """Return the newest record of every finished trial, by configuration, seed and fold.

        Raises:
            DataError: a record cannot be read or was written by a newer sltune; names the file.
        """
        files = (TrialFolder(folder).record_file() for folder in self.trials.glob("*"))
        return sorted((read_record(file) for file in files if file), key=lambda record: record.key)


def read_record(file: Path) -> Record:
    """Read one trial's record.

    Raises:
        DataError: the file is no record or of a newer schema.
    """
    values = read_object(file, "delete the trial's folder to run it again")
    try:
        return Record(schema_version=values.pop("schema"), **values)
    except (ValidationError, TypeError) as error:
        raise DataError(f"{file}: not a trial record: {reasons(error)}") from error


def read_object(file: Path, hint: str) -> dict[str, Any]:
    """Return the values of a JSON file that this version of sltune reads; hint: what else to do if it does not.

    Raises:
        DataError: it cannot be read, is no JSON object, or is of a newer sltune.
    """
    try:
        values = parse_json(read_plain(file))
        # Half a character, which JSON can escape, could be written nowhere.
        json.dumps(values, ensure_ascii=False).encode()
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
    """Return what a model says against the content of a file, in one line: keys, values, and what is allowed."""
    if not isinstance(error, ValidationError):
        return _short(str(error))
    problems = [
        f"{'.'.join(map(str, problem['loc']))}{_found(problem)}: {problem['msg']}".lstrip(": ")
        for problem in error.errors(include_url=False)
    ]
    more = [f"… and {len(problems) - SHOWN_REASONS} more"] if len(problems) > SHOWN_REASONS else []
    return "; ".join([*problems[:SHOWN_REASONS], *more])


def _found(problem: ErrorDetails) -> str:
    """Return the value that is wrong; of what is missing or does not fit together it would be all of the file."""
    return "" if problem["type"] == "missing" or not problem["loc"] else f" = {_short(repr(problem['input']))}"


def _short(text: str) -> str:
    return printable(text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…")

"""The run folder: where everything under ``results/<run>/`` lies, and what a trial's record holds.

Only this module knows the layout. Every file appears whole or not at all, so that a run can be killed
at any moment, and a record's presence means that its trial is over.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sltune.config import Configuration
from sltune.errors import DataError, UsageError
from sltune.files import open_folder, remove, write_whole
from sltune.locks import LOCK
from sltune.metrics import checked_metrics
from sltune.wording import as_argument

SCHEMA = 1
LATEST_S = 1e11
"""Unix time in the year 5138: no trial ends later."""
Status = Literal["done", "pruned", "failed", "diverged"]


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
        found = re.fullmatch(r"(c\d{4,})-f(\d+)-s(\d+)", name)
        if found is None:
            raise ValueError(name)
        return cls(config_id=found[1], fold=int(found[2]), seed=int(found[3]))


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


class Record(BaseModel):
    """The outcome of one trial. Accuracies are fractions, times are Unix seconds, folds count from 0."""

    model_config = ConfigDict(frozen=True)
    schema_version: int
    run: str
    config_id: Annotated[str, Field(pattern=r"^c\d{4,}$")]
    config: dict[str, Any]
    fold: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    status: Status
    error: str
    splits: dict[str, list[str]]
    metrics: Annotated[dict[str, Any], AfterValidator(checked_metrics)]
    timings: dict[str, Annotated[float, Field(ge=0, le=LATEST_S)]]
    device: dict[str, Any]
    versions: dict[str, str]
    dataset: DatasetInfo

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

    @property
    def resume_command(self) -> str:
        """What to type to go on with the run."""
        return shlex.join(["sltune", "resume", as_argument(self.root)])

    def name(self) -> str:
        """Return what the run is called: as ``run.json`` says, whatever its folder is called by now.

        Raises:
            DataError: run.json cannot be read, or gives it a name that none can have.
        """
        name = self.info().get("name") if self.run_json.exists() else None
        if name is None:
            # Of "." and "..", the path does not tell.
            return self.root.name if self.root.name not in ("", "..") else self.root.resolve().name
        if not isinstance(name, str) or not is_run_name(name):
            raise DataError(f"{self.run_json}: 'name' is {str(name)[:60]!r}, which is no name of a folder")
        return name

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

    def refuse_existing(self) -> None:
        """Make sure that there is no run in the folder yet.

        Raises:
            UsageError: there is; says how to go on with it.
        """
        if self.run_json.exists():
            raise UsageError(f"{self.root}: this run exists; go on with it by: {self.resume_command}")
        if next(self.trials.glob("*/record*.json"), None) is not None:
            text = "holds records of a run whose run.json is missing; restore that, or choose another --run"
            raise UsageError(f"{self.root}: {text}")

    def info(self) -> dict[str, Any]:
        """Return what ``run.json`` says of the run.

        Raises:
            DataError: the folder is no run folder, or was written by a newer sltune.
        """
        values = _read_json(self.run_json, "is this a run folder?")
        _check_schema(self.run_json, values)
        return values

    def checkpoint_place(self) -> str | None:
        """Return where the run's trials keep their state; None for the run folder."""
        facts = self.info().get("checkpoints")
        place = facts.get("place") if isinstance(facts, dict) else None
        return place if isinstance(place, str) else None

    def planned(self) -> list[TrialKey]:
        """Return the trials of which the run consists, in the order in which they are handed out.

        Those of a search are all steps of each configuration that has begun.
        """
        info = self.info()
        try:
            if "steps" in info:
                steps = [(int(seed), int(fold)) for seed, fold in info["steps"]]
                return [TrialKey(config_id, *step) for config_id in self._begun() for step in steps]
            return [TrialKey.parse(name) for name in info["trials"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.run_json}: 'trials' is no list of trial names: {error}") from error

    def _begun(self) -> list[str]:
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
    values = _read_json(file, "delete the trial's folder to run it again")
    _check_schema(file, values)
    try:
        return Record(schema_version=values.pop("schema"), **values)
    except (ValidationError, TypeError) as error:
        raise DataError(f"{file}: not a trial record: {error}") from error


def _read_json(file: Path, hint: str) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; {hint}") from error
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}; {hint}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file}: holds no JSON object; {hint}")
    return values


def _check_schema(file: Path, values: Mapping[str, Any]) -> None:
    schema = values.get("schema")
    if not isinstance(schema, int):
        raise DataError(f"{file}: has no 'schema'; not written by sltune")
    if schema > SCHEMA:
        raise DataError(f"{file}: schema {schema} is newer than this sltune reads ({SCHEMA}); update sltune")

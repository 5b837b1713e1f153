"""``run.json``: what a run consists of, where it came from, and where its parts lie; read whole, or refused."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sltune.errors import DataError, UsageError
from sltune.runs.folder import RunFolder, is_run_name, read_object, reasons
from sltune.runs.places import address_of, lies_in, without_secrets
from sltune.runs.record import SCHEMA, ConfigId, DatasetInfo, TrialKey, Whole
from sltune.settings.types import LAST_SEED, MOST_FOLDS
from sltune.wording import as_argument

MAX_TRIALS = 1_000_000
"""More than any machine trains; a short file must not make a long list."""

Seed = Annotated[int, Field(strict=True, ge=0, le=LAST_SEED)]
Fold = Annotated[int, Field(strict=True, ge=0, lt=MOST_FOLDS)]
# Earlier versions wrote passwords, which are left out already where the file is read.
Place = Annotated[str, AfterValidator(without_secrets)]


class DatasetPlace(DatasetInfo):
    """The data of a run, and where they lay when it began."""

    path: str = ""
    sensor: tuple[Whole, Whole] | None = None
    recording_order: str | None = None


class CheckpointPlace(BaseModel):
    """How often the trials of a run save their state, and where; place: None for the run folder."""

    model_config = ConfigDict(frozen=True)
    minutes: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    place: Place | None = None
    run: str


class StudyPlace(BaseModel):
    """The study of a search.

    storage: URL of its database, without user, password and parameters; None for the journal in the run folder.
    named: what --study-storage was; None where the environment named it. name: that of the study.
    """

    model_config = ConfigDict(frozen=True)
    storage: Annotated[str, AfterValidator(address_of)] | None = None
    named: Place | None = None
    name: str


class RunInfo(BaseModel):
    """What ``run.json`` says.

    trials: names of those of an evaluation. steps: (seed, fold) of every configuration of a search. best: the
    configuration that a search has found best, once there is one. space: the text of its space file.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    schema_version: Annotated[int, Field(alias="schema")] = SCHEMA
    name: str
    kind: Literal["evaluate", "tune"]
    command: tuple[Place, ...] = ()
    dataset: DatasetPlace
    checkpoints: CheckpointPlace | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    python: str = ""
    host: str = ""
    git_commit: Annotated[str, Field(pattern="^[0-9a-f]+$")] | None = None
    space: str | None = None
    trials: Annotated[tuple[str, ...], Field(max_length=MAX_TRIALS)] | None = None
    steps: Annotated[tuple[tuple[Seed, Fold], ...], Field(min_length=1, max_length=MAX_TRIALS)] | None = None
    study: StudyPlace | None = None
    best: ConfigId | None = None

    @model_validator(mode="after")
    def _has_trials(self) -> Self:
        if self.trials is None and self.steps is None:
            raise ValueError("must have 'trials', as an evaluation, or 'steps', as a search")
        for name in self.trials or ():
            TrialKey.parse(name)
        return self

    @property
    def is_search(self) -> bool:
        return self.kind == "tune"

    def outer_places(self, folder: RunFolder) -> dict[str, str | None]:
        """Return the options that name the places outside of the run's folder to which it writes, with their values.

        None for a database that only the environment has named.
        """
        places: dict[str, str | None] = {}
        if self.study is not None and self.study.storage is not None:
            places["--study-storage"] = self.study.named
        place = self.checkpoints.place if self.checkpoints is not None else None
        if place is not None and not lies_in(place, folder.root):
            places["--checkpoints"] = place
        return places

    def planned(self, folder: RunFolder) -> list[TrialKey]:
        """Return the trials of which the run consists, in the order in which they are handed out.

        Those of a search are all steps of each configuration that has begun.

        Raises:
            DataError: there are more than any run has.
        """
        if self.steps is None:
            return [TrialKey.parse(name) for name in self.trials or ()]
        begun = folder.begun()
        if len(begun) * len(self.steps) > MAX_TRIALS:
            raise DataError(f"{folder.root}: has more than {MAX_TRIALS:,} trials; not written by sltune")
        return [TrialKey(config_id, *step) for config_id in begun for step in self.steps]


def read_info(folder: RunFolder) -> RunInfo:
    """Return what ``run.json`` says of the run.

    Raises:
        DataError: the folder is no run folder, or the file is broken or of a newer sltune.
    """
    values = read_object(folder.run_json, "is this a run folder?")
    try:
        return RunInfo.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{folder.run_json}: not a description of a run: {reasons(error)}") from error


def resume_command(folder: RunFolder) -> str:
    """Return what to type to go on with a run: also the places outside of its folder, which have to be named anew."""
    options: list[str] = []
    # Without run.json, say while the folder is gone, the command itself asks for them.
    with suppress(DataError):
        for option, value in read_info(folder).outer_places(folder).items():
            options += [] if value is None else [option, value]
    return shlex.join(["sltune", "resume", as_argument(folder.root), *options])


def refuse_existing(folder: RunFolder) -> None:
    """Make sure that there is no run in a folder yet.

    Raises:
        UsageError: there is; says how to go on with it.
    """
    if folder.run_json.exists():
        raise UsageError(f"{folder.root}: this run exists; go on with it by: {resume_command(folder)}")
    if next(folder.trials.glob("*/record*.json"), None) is not None:
        text = "holds records of a run whose run.json is missing; restore that, or choose another --run"
        raise UsageError(f"{folder.root}: {text}")


def run_name(folder: RunFolder) -> str:
    """Return what a run is called: as ``run.json`` says, whatever its folder is called by now.

    Raises:
        DataError: run.json cannot be read, or gives it a name that none can have.
    """
    if folder.run_json.exists():
        name = read_info(folder).name
        if not is_run_name(name):
            raise DataError(f"{folder.run_json}: 'name' is {name[:60]!r}, which is no name of a folder")
        return name
    # Of "." and "..", the path does not tell.
    return folder.root.name if folder.root.name not in ("", "..") else folder.root.resolve().name


def write_info(folder: RunFolder, info: RunInfo) -> None:
    """Write ``run.json``."""
    folder.write(folder.run_json, info.model_dump_json(by_alias=True, exclude_none=True, indent=1))

"""``run.json``: what a run consists of, where it came from, and where its parts lie; read whole, or refused."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sltune import __version__
from sltune.errors import DataError, UsageError
from sltune.runs.folder import RunFolder, is_run_name, read_object, reasons
from sltune.runs.places import CheckpointPlace, CodeInfo, Place, StudyPlace
from sltune.runs.record import SCHEMA, ConfigId, DatasetInfo, TrialKey, Whole
from sltune.settings.types import MAX_FOLDS, MAX_SEED
from sltune.system.files import sibling
from sltune.system.places import Database, lies_in
from sltune.system.remote import AnyPath, path_or_uri
from sltune.wording import as_argument, excerpt

MAX_TRIALS = 1_000_000
"""More than any machine trains; a short file must not make a long list."""
PACKAGES = ("torch", "ray", "optuna", "numpy", "pyarrow", "scikit-learn", "tonic")
"""Libraries whose versions may change results."""

Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Fold = Annotated[int, Field(strict=True, ge=0, lt=MAX_FOLDS)]


class DatasetPlace(DatasetInfo):
    """The data of a run, and where they lay when it began; what older versions did not write is None.

    sensor: (height, width) in pixels. recording_order: decides folds together with the fingerprint.
    """

    path: Place = ""
    sensor: tuple[Whole, Whole] | None = None
    recording_order: str | None = None

    @classmethod
    def at(cls, data: AnyPath, manifest: object) -> DatasetPlace:
        """Return what is said of the dataset in a folder, which has this manifest."""
        return cls.of(manifest).model_copy(update={"path": str(data.resolve())})

    @property
    def folder_name(self) -> str:
        """The last name of its path or URI."""
        return path_or_uri(self.path).name

    def differences(self, manifest: object) -> list[str]:
        """Return which facts that decide folds and frames are others in a manifest, as far as they are known here."""
        found = DatasetPlace.of(manifest)
        known = [name for name in DatasetPlace.model_fields if name in self.model_fields_set - {"path"}]
        return [name for name in known if getattr(self, name) != getattr(found, name)]


class RunInfo(BaseModel):
    """What ``run.json`` says.

    trials: names of those of an evaluation, or of the outer trials of a nested search. steps: (seed, fold) of every
    configuration of a search. best: the configuration that a search has found best, once there is one. ended: whether
    a search has come to its end; more of its budget may reopen it. space: the text of its space file. outer_fold: that
    of a nested search whose test signers are left out of this one. winners: the configurations that the searches of the
    outer folds 0, 1, … of a nested search have chosen so far. code: the user's; None where the space names none.
    keep_weights: whose weights stay in the folder; earlier versions kept all.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    schema_version: Annotated[int, Field(alias="schema")] = SCHEMA
    name: str
    kind: Literal["evaluate", "tune", "nested"]
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
    ended: bool = False
    outer_fold: Fold | None = None
    winners: Annotated[tuple[ConfigId, ...], Field(max_length=MAX_FOLDS)] | None = None
    code: CodeInfo | None = None
    keep_weights: Literal["best", "all", "none"] = "all"

    @model_validator(mode="after")
    def _has_trials(self) -> Self:
        if self.is_search and self.steps is None:
            raise ValueError("must have 'steps', as it is of a search")
        if not self.is_search and self.trials is None:
            raise ValueError("must have 'trials', as it is no search")
        for name in self.trials or ():
            TrialKey.parse(name)
        return self

    @property
    def is_search(self) -> bool:
        return self.kind == "tune"

    @property
    def is_nested(self) -> bool:
        return self.kind == "nested"

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
        if not self.is_search:
            return [TrialKey.parse(name) for name in self.trials or ()]
        begun, steps = folder.begun(), self.steps or ()
        if len(begun) * len(steps) > MAX_TRIALS:
            raise DataError(f"{folder.root}: has more than {MAX_TRIALS:,} trials; not written by sltune")
        return [TrialKey(config_id, *step) for config_id in begun for step in steps]


def read_info(folder: RunFolder) -> RunInfo:
    """Return what ``run.json`` says of the run.

    Raises:
        DataError: the folder is no run folder, or the file is broken or of a newer sltune.
    """
    if not folder.root.exists():
        raise DataError(f"{folder.root}: is not a run folder, as there is no such folder{sibling(folder.root)}")
    values = read_object(folder.run_json, "is this a run folder?")
    try:
        return RunInfo.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{folder.run_json}: not a description of a run: {reasons(error)}") from error


def new_info(
    folder: RunFolder,
    space: str,
    dataset: DatasetPlace,
    checkpoints: object,
    steps: Sequence[tuple[int, int]],
    study: StudyPlace | None = None,
) -> RunInfo:
    """Return what ``run.json`` says of a run that begins now, on this machine.

    Args:
        space: the text of its space file.
        checkpoints: has the attributes of a CheckpointPlace.
        steps: (seed, fold) of the trials of each configuration.
        study: that of a search; None for an evaluation of one configuration.
    """
    return RunInfo(
        name=run_name(folder),
        kind="evaluate" if study is None else "tune",
        command=tuple(sys.argv),
        dataset=dataset,
        checkpoints=CheckpointPlace.model_validate(checkpoints),
        versions={"sltune": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}},
        python=platform.python_version(),
        host=platform.node(),
        git_commit=_git_commit(),
        space=space,
        trials=tuple(TrialKey("c0000", *step).name for step in steps) if study is None else None,
        steps=tuple(steps) if study is not None else None,
        study=study,
    )


def _git_commit() -> str | None:
    """Return the commit of the source tree that sltune runs from; None where it is installed."""
    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").exists() or shutil.which("git") is None:
        return None
    # These name another repository, in which somebody works while this command runs, say from a hook.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    top, _, commit = result.stdout.strip().partition("\n")
    # A copy of the sources may lie in a repository of something else.
    return commit if result.returncode == 0 and Path(top) == root.resolve() else None


def remember(folder: RunFolder, checkpoints: object, keep_weights: str, database: Database | None = None) -> None:
    """Note where a run that goes on keeps the state of its trials and its study, and whose weights it keeps.

    Passwords that an earlier version has written into ``run.json`` vanish with that.

    Args:
        checkpoints: has the attributes of a CheckpointPlace.
    """
    info = read_info(folder)
    study = info.study
    if study is not None and study.storage is not None:
        study = StudyPlace.of(study.name, database)
    known = {"checkpoints": CheckpointPlace.model_validate(checkpoints), "keep_weights": keep_weights, "study": study}
    write_info(folder, info.model_copy(update=known))


def nested_run(folder: RunFolder) -> RunFolder | None:
    """Return the nested search in whose folder that of one of its outer folds lies; None where it is no such one."""
    above = folder.above
    with suppress(DataError):
        if above is not None and read_info(above).is_nested:
            return above
    return None


def resume_command(folder: RunFolder) -> str:
    """Return what to type to go on with a run: also the places outside of its folder, which have to be named anew.

    What goes on with the search of an outer fold is its nested search.
    """
    folder = nested_run(folder) or folder
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
            raise DataError(f"{folder.run_json}: 'name' is {excerpt(repr(name))}, which is no name of a folder")
        return name
    # The paths "." and ".." do not tell the name.
    name = folder.root.name if folder.root.name not in ("", "..") else folder.root.resolve().name
    above = nested_run(folder)
    # Else the searches of all nested ones would have the same names, and share a place for checkpoints.
    return name if above is None else f"{run_name(above)}-{name}"


def write_info(folder: RunFolder, info: RunInfo) -> None:
    """Write ``run.json``."""
    folder.write(folder.run_json, info.model_dump_json(by_alias=True, exclude_none=True, indent=1))

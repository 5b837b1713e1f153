"""A model: the folder with the networks of one configuration that are trained on everybody, one for each seed."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sltune import __version__
from sltune.errors import DataError
from sltune.extensions.code import Code
from sltune.runs.folder import read_object, reasons
from sltune.runs.info import Seed
from sltune.runs.places import CodeInfo
from sltune.runs.record import SCHEMA, DatasetInfo, TrialKey, Whole
from sltune.settings.configuration import Configuration
from sltune.settings.space import CODE
from sltune.system.files import write_whole
from sltune.system.locks import LOCK
from sltune.tuning.trial.job import Job

MAX_SIDE = 1 << 16
"""No sensor has more pixels in a row or column."""


@dataclass(frozen=True)
class ModelFolder:
    """Where the files of a model lie."""

    root: Path

    @property
    def model_json(self) -> Path:
        return self.root / "model.json"

    @property
    def code(self) -> Path:
        return self.root / CODE

    @property
    def lock(self) -> Path:
        return self.root / LOCK

    def weights(self, seed: int) -> Path:
        return self.root / f"seed{seed}" / "weights.pt"

    def epochs_csv(self, seed: int) -> Path:
        return self.root / f"seed{seed}" / "epochs.csv"

    def checkpoint(self, seed: int) -> Path:
        return self.root / f"seed{seed}" / "checkpoint.pt"


class FittedNetwork(BaseModel):
    """One network that is ready. epoch: the one whose weights it has. The losses are None without validation."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    seed: Seed
    epoch: int
    epochs: int
    val_loss: float | None = None
    val_accuracy: float | None = None
    splits: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class ModelInfo(BaseModel):
    """What ``model.json`` says: what is trained on which data, and which networks are ready.

    sensor: (height, width) in pixels. validation: whether some signers choose the epoch and are not trained on. code:
    the user's; None where the configuration names none.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    schema_version: Annotated[int, Field(alias="schema")] = SCHEMA
    kind: Literal["model"] = "model"
    config: Configuration
    sensor: tuple[Annotated[Whole, Field(ge=1, le=MAX_SIDE)], Annotated[Whole, Field(ge=1, le=MAX_SIDE)]]
    dataset: DatasetInfo
    validation: bool
    networks: tuple[FittedNetwork, ...] = ()
    code: CodeInfo | None = None
    versions: dict[str, str] = Field(
        default_factory=lambda: {
            "sltune": __version__, "python": platform.python_version(), "torch": torch.__version__
        }
    )  # fmt: skip

    @property
    def missing(self) -> list[int]:
        """The seeds whose networks are not ready."""
        ready = {network.seed for network in self.networks}
        return [seed for seed in self.config.evaluation.seeds if seed not in ready]

    def differences(self, other: ModelInfo) -> list[str]:
        """Return in what two models differ, other than in how far they are."""
        same = ("config", "sensor", "dataset", "validation", "code")
        return [name for name in same if getattr(self, name) != getattr(other, name)]

    def job(self, seed: int, code: Code, weights: bytes | None = None) -> Job:
        """Return what trains the network of a seed.

        Args:
            code: the user's. weights: to start from; None for fresh ones.
        """
        key, classes = TrialKey("c0000", seed, 0), len(self.dataset.classes)
        return Job(key, self.config, self.sensor, classes, weights, self.dataset.fingerprint, code)


def read_model(folder: ModelFolder) -> ModelInfo:
    """Return what ``model.json`` says.

    Raises:
        DataError: the folder is no model, or the file is broken or of a newer sltune.
    """
    values = read_object(folder.model_json, "is this a model that sltune fit made?")
    try:
        return ModelInfo.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise DataError(f"{folder.model_json}: not a description of a model: {reasons(error)}") from error


def write_model(folder: ModelFolder, info: ModelInfo) -> None:
    """Write ``model.json``."""
    write_whole(folder.model_json, info.model_dump_json(by_alias=True, exclude_none=True, indent=1), inside=folder.root)

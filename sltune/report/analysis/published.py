"""Published accuracies: the rows of ``published.toml`` and the question which of them fit a dataset."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sltune.errors import DataError

_SETS = {frozenset({"S1", "S2", "S3", "S4"}): "full", frozenset({"S1", "S2", "S4"}): "reduced"}


class Published(BaseModel):
    """One published accuracy in per cent; a value that its source does not give is None or empty.

    split: what was tested. protocol: as ours, where "train-test" selects the epoch on the test set. std_over: what ± is
    over; "" where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    dataset: Literal["SL-Animals-DVS", "N-MNIST", "DVSGesture"]
    set: str
    mean: float
    std: float | None = None
    ddof: Literal[0, 1] | None = None
    n: int | None = None
    split: str
    protocol: Literal["train-test", "train-val-test", ""] = ""
    std_over: Literal["folds", "seeds", "folds and seeds", "not stated", ""] = ""
    source: str = ""
    doi: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _says_what_its_deviation_is_over(self) -> Self:
        if (self.std is None) != (self.std_over == ""):
            raise ValueError("std_over must be given with std, and only then")
        return self

    @property
    def reference(self) -> str:
        """Source and doi in one line."""
        return ", ".join(part for part in (self.source, self.doi and f"doi {self.doi}") if part)

    def fits(self, dataset: str, sessions: Sequence[str]) -> bool:
        """Tell whether this figure is about the dataset of that name and those sessions."""
        if self.dataset == "SL-Animals-DVS":
            used = session_set(dataset, sessions)
            return used is not None and self.set in (used, "not stated")
        # Tonic calls N-MNIST NMNIST.
        return self.dataset.replace("-", "") in dataset.replace("-", "")


def session_set(dataset: str, sessions: Sequence[str]) -> str | None:
    """Return the name that the literature gives to a choice of SL-Animals sessions: full, reduced or None."""
    return _SETS.get(frozenset(sessions)) if "SL-Animals" in dataset else None


def published_file() -> Path:
    """Return where the figures lie: beside this module in a wheel, under ``results/`` in a source tree.

    Raises:
        DataError: they are in neither place.
    """
    places = (Path(__file__).with_name("published.toml"), Path(__file__).parents[3] / "results" / "published.toml")
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"{places[0]}: the published figures are missing; reinstall sltune or leave them out")


def load_published(file: Path) -> list[Published]:
    """Read published accuracies in the order of the file.

    Raises:
        DataError: the file cannot be read or a row is wrong; names the row, counted from 1.
    """
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))["published"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file}: no list of [[published]] rows: {error}") from error
    return [_read(file, number, entry) for number, entry in enumerate(entries, start=1)]


def _read(file: Path, number: int, entry: object) -> Published:
    try:
        return Published.model_validate(entry)
    except ValidationError as error:
        raise DataError(f"{file}: row {number}: {error}") from error

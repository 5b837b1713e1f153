"""What a run keeps of classifiers that need no network, tested on its own folds: ``baselines.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sltune.errors import DataError
from sltune.runs.folder import RunFolder
from sltune.system.files import parse_json, read_plain
from sltune.wording import excerpt

Count = Annotated[int, Field(strict=True, ge=0)]


class TestedRecording(BaseModel):
    """Of a tested recording the number of its samples, and how many each baseline classed correctly, by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    samples: Annotated[int, Field(strict=True, ge=1)]
    correct: dict[str, Count]


class TestedFold(BaseModel):
    """What the baselines reach on the test part of one fold of one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: Count
    fold: Count
    recordings: dict[str, TestedRecording]

    @property
    def names(self) -> list[str]:
        """The names of the baselines."""
        return list(dict.fromkeys(name for one in self.recordings.values() for name in one.correct))

    def accuracy(self, name: str) -> float:
        """Return the share of samples that a baseline classed correctly."""
        samples = sum(one.samples for one in self.recordings.values())
        return sum(one.correct.get(name, 0) for one in self.recordings.values()) / samples


class Baselines(BaseModel):
    """The baselines of a run. settings: what they were given, in words. fingerprint: that of the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    fingerprint: str
    settings: str
    folds: tuple[TestedFold, ...]

    def fold_of(self, seed: int, fold: int, tested: Iterable[str]) -> TestedFold | None:
        """Return what was reached on the test part of a fold; None where there is nothing of the same recordings."""
        recordings = set(tested)
        found = (one for one in self.folds if (one.seed, one.fold) == (seed, fold))
        return next((one for one in found if one.recordings.keys() == recordings), None)

    @classmethod
    def read(cls, folder: RunFolder) -> Self | None:
        """Return the baselines of a run; None where it has none.

        Raises:
            DataError: the file is damaged.
        """
        file = folder.baselines_json
        try:
            return cls.model_validate(parse_json(read_plain(file)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        except (ValidationError, ValueError, RecursionError, MemoryError) as error:
            raise DataError(
                f"{file}: is damaged: {excerpt(str(error))}; delete it, and sltune resume makes it anew"
            ) from error

    def write(self, folder: RunFolder) -> None:
        folder.write(folder.baselines_json, json.dumps(self.model_dump(mode="json"), indent=1))

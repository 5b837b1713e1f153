"""What a line of the report says: one metric of the trials that may share a mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sltune.record import DatasetInfo


@dataclass(frozen=True)
class Group:
    """What a mean may be taken over: only fold and seed differ inside.

    ``protocol`` and ``sessions`` are empty while no trial of the configuration has ended. ``remark`` says how the
    configuration was chosen, if it was.
    """

    run: str
    config_id: str
    protocol: str
    sessions: tuple[str, ...]
    dataset: DatasetInfo
    remark: str = ""

    @property
    def label(self) -> str:
        return f"{self.run}/{self.config_id}"


@dataclass(frozen=True)
class Value:
    """The accuracy of one trial in per cent."""

    fold: int
    seed: int
    percent: float


@dataclass(frozen=True)
class Absence:
    """A trial without a value, and why: failed, pruned, diverged, missing (no record) or without value."""

    fold: int
    seed: int
    reason: str


@dataclass(frozen=True)
class Row:
    """One metric of one group; over all seeds where ``seed`` is None."""

    group: Group
    metric: str
    seed: int | None
    ddof: int
    values: tuple[Value, ...]
    absent: tuple[Absence, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def outcomes(self) -> tuple[Value | Absence, ...]:
        return (*self.values, *self.absent)

    @property
    def planned(self) -> int:
        return len(self.outcomes)

    @property
    def complete(self) -> bool:
        return not self.absent

    @property
    def optimistic(self) -> bool:
        return self.group.protocol == "train-test" and self.metric == "test_accuracy"

    @property
    def mean(self) -> float | None:
        return float(np.mean([value.percent for value in self.values])) if self.values else None

    def std(self, ddof: int) -> float | None:
        """Return the standard deviation, None where there are too few values for this ddof."""
        if self.n <= ddof:
            return None
        return float(np.std([value.percent for value in self.values], ddof=ddof))

    @property
    def trials(self) -> str:
        """How many trials count, and which do not: ``3 of 4 trials; fold 2 failed``."""
        return "; ".join([f"{self.n} of {self.planned} trials", *self._absences()])

    def _absences(self) -> Iterator[str]:
        folds: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for absence in self.absent:
            folds[absence.seed, absence.reason].append(absence.fold)
        several = len({trial.seed for trial in self.outcomes}) > 1
        for (seed, reason), numbers in folds.items():
            word = "fold" if len(numbers) == 1 else "folds"
            of_seed = f" of seed {seed}" if several else ""
            yield f"{word} {', '.join(map(str, numbers))}{of_seed} {reason}"

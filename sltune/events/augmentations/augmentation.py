"""What augmentations have in common: parameters with their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from sltune.events.augmentations.events import Events


def parameter(allowed: str, permits: Callable[[Any], bool], meaning: str) -> Any:
    """Return a field for a number: what is allowed, in words and as a function, and what it means."""
    return field(metadata={"allowed": allowed, "permits": permits, "meaning": meaning})


@dataclass(frozen=True)
class Augmentation:
    """A frozen dataclass whose fields are numbers, each made by ``parameter``.

    A class of a user's need not derive from this one.

    Raises:
        ValueError: a number is not allowed; says which.
    """

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not one.metadata["permits"](value):
                raise ValueError(f"{value} is not allowed")

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the changed events of a crop; rng is the only source of chance."""
        raise NotImplementedError

    def margin_us(self, length_us: int, margin_us: float) -> float:
        """Return how far outside the crop events may lie before this step that lie within a margin after it.

        Args:
            length_us: that of the crop. margin_us: how far outside events are of use to the steps that follow.
        """
        return margin_us

    @classmethod
    def form(cls) -> str:
        """Return what must stand behind the name in a space file."""
        own = fields(cls)
        names = ["N"] if len(own) == 1 else [one.name for one in own]
        written = ", ".join(f"{one.name}={name if name == 'N' else '…'}" for one, name in zip(own, names, strict=True))
        limits = [
            f"{name} {one.metadata['allowed']}: {one.metadata['meaning']}" for one, name in zip(own, names, strict=True)
        ]
        return f"({written}) with {'; '.join(limits)}"

"""Changes the events of a training crop at random, by one augmentation after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sltune.errors import CodeError
from sltune.events.augmentations.events import Events

MAX_MARGIN_US = 2**32
"""Times within a sample have 32 bits."""


@dataclass(frozen=True)
class Augmenter:
    """Applies augmentations one after the other, with random numbers from rng."""

    augmentations: Sequence[Callable[[Events, np.random.Generator], Events]]
    rng: np.random.Generator

    def margin_us(self, crop_us: int) -> int:
        """Return how far outside a crop of crop_us the events lie that may be moved into it."""
        margin = 0.0
        for step in reversed(self.augmentations):
            # A user's augmentation has no such method if it moves no event into the crop.
            margin = step.margin_us(crop_us, margin) if hasattr(step, "margin_us") else margin
        return min(math.ceil(margin), MAX_MARGIN_US)

    def __call__(self, events: Events) -> Events:
        """Return the events that are kept; their arrays may be views.

        Raises:
            CodeError: an augmentation returns something else than events.
        """
        for step in self.augmentations:
            events = step(events, self.rng)
            if not isinstance(events, Events):
                hint = "return events.replace(…), or some of the events: events[kept]"
                raise CodeError(f"{step}: returned {type(events).__name__} instead of Events; {hint}")
        return events

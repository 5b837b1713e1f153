"""Changes the events of a training crop at random, by one augmentation after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sltune.errors import CodeError
from sltune.events.augmentations.events import Events
from sltune.events.augmentations.geometric import PixelMove, Targets, joined, moved

Change = Callable[[Events, np.random.Generator], Events]

MAX_MARGIN_US = 2**32
"""Times within a sample have 32 bits."""


@dataclass(frozen=True)
class Augmenter:
    """Applies augmentations one after the other, with random numbers from rng."""

    augmentations: Sequence[Change]
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
        return in_turn(self.augmentations, events, self.rng)


def in_turn(steps: Sequence[Change], events: Events, rng: np.random.Generator) -> Events:
    """Return the events after all steps; moves of pixels that follow one another are joined, which changes nothing.

    Raises:
        CodeError: a step returns something else than events.
    """
    targets: Targets | None = None
    for step in steps:
        if isinstance(step, PixelMove):
            drawn = step.targets(events.sensor, rng)
            targets = drawn if targets is None else joined(targets, drawn)
            continue
        events, targets = events if targets is None else moved(events, targets), None
        events = step(events, rng)
        if not isinstance(events, Events):
            hint = "return events.replace(…), or some of the events: events[kept]"
            raise CodeError(f"{step}: returned {type(events).__name__} instead of Events; {hint}")
    return events if targets is None else moved(events, targets)

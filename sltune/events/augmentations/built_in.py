"""The augmentations that are built in, as vector operations on addresses and times."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sltune.events.augmentations.augmentation import Augmentation, parameter
from sltune.events.augmentations.augmenter import in_turn
from sltune.events.augmentations.events import POLARITIES, Events
from sltune.events.augmentations.geometric import AreaDrop, Rotation, Shear, SpatialShift, Zoom

JITTER_REACH = 5
"""Events farther from the crop than this, in standard deviations, are ignored; one in 3.5 million would jitter in."""


@dataclass(frozen=True)
class EventDrop(Augmentation):
    """Drop each event with this probability."""

    probability: float = parameter(
        "a number ≥ 0 and < 1",
        # With 1 no event would be left.
        lambda number: 0 <= number < 1,
        "the probability with which each event is dropped",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        return events[rng.random(len(events)) >= self.probability]


@dataclass(frozen=True)
class TimeJitter(Augmentation):
    """Add normal noise to every time."""

    std_us: float = parameter(
        "a number from 0 to 1000000",
        lambda number: 0 <= number <= 1_000_000,
        "the standard deviation in µs of the normal noise on every time",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        noise_us = rng.normal(0, self.std_us, len(events))
        return replace(events, t_us=events.t_us + np.rint(noise_us).astype(np.int64))

    def margin_us(self, length_us: int, margin_us: float) -> float:
        return margin_us + JITTER_REACH * self.std_us


@dataclass(frozen=True)
class PolarityFlip(Augmentation):
    """Flip all polarities of the crop with this probability."""

    probability: float = parameter(
        "a number from 0 to 1",
        lambda number: 0 <= number <= 1,
        "the probability with which all polarities of the crop flip",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        flips = rng.random() < self.probability
        return replace(events, address=np.bitwise_xor(events.address, 1)) if flips else events


@dataclass(frozen=True)
class TimeScale(Augmentation):
    """Multiply times since the crop's start by a factor."""

    fraction: float = parameter(
        "a number > 0 and < 1",
        # With 1 all events could get the same time.
        lambda number: 0 < number < 1,
        "how far the factor on times since the crop's start may be from 1",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        factor = rng.uniform(1 - self.fraction, 1 + self.fraction)
        # Rounding up would move the last event before the crop into it.
        return replace(events, t_us=np.floor(events.t_us * factor).astype(np.int64))

    def margin_us(self, length_us: int, margin_us: float) -> float:
        return (length_us + margin_us) / (1 - self.fraction) - length_us


@dataclass(frozen=True)
class TimeDrop(Augmentation):
    """Drop all events of one interval of the crop."""

    fraction: float = parameter(
        "a number > 0 and < 1",
        lambda number: 0 < number < 1,
        "the share of the crop's time from which all events are dropped",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        start_us = rng.uniform(0, (1 - self.fraction) * events.length_us)
        end_us = start_us + self.fraction * events.length_us
        return events[(events.t_us < start_us) | (events.t_us >= end_us)]


@dataclass(frozen=True)
class HotPixels(Augmentation):
    """Add the noise of pixels that fire by themselves, each with one polarity."""

    pixels: int = parameter(
        "a whole number from 1 to 1000",
        lambda number: isinstance(number, int) and 1 <= number <= 1000,
        "how many pixels fire by themselves",
    )
    rate_hz: float = parameter(
        "a number from 0 to 10000",
        lambda number: 0 <= number <= 10_000,
        "how many events each of them adds a second, on average",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        height, width = events.sensor
        hot = rng.integers(0, height * width * POLARITIES, self.pixels)
        counts = rng.poisson(self.rate_hz * events.length_us / 1e6, self.pixels)
        t_us = rng.integers(0, events.length_us, counts.sum())
        address = np.repeat(hot, counts).astype(events.address.dtype)
        return replace(events, t_us=np.append(events.t_us, t_us), address=np.append(events.address, address))


@dataclass(frozen=True)
class NDA(Augmentation):
    """Carry out some of six mild changes, drawn for every crop (after neuromorphic data augmentation, Li et al. 2022).

    A shift of up to a tenth of the longer side, a rotation of up to 15 degrees, a shear and a zoom of up to 0.15, and
    drops of a twentieth of the area and of a tenth of the time. Flips are left out, as signs may be handed.
    """

    operations: int = parameter(
        "a whole number from 1 to 6",
        lambda number: isinstance(number, int) and 1 <= number <= 6,
        "how many of them change each crop",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        changes = (
            SpatialShift(max(1, min(1000, round(max(events.sensor) / 10)))),
            Rotation(15),
            Shear(0.15),
            Zoom(0.15),
            AreaDrop(0.05),
            TimeDrop(0.1),
        )
        return in_turn([changes[chosen] for chosen in rng.permutation(len(changes))[: self.operations]], events, rng)

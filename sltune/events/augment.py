"""Change the events of a training crop at random, by vector operations on their addresses and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltune.events.samples import POLARITIES, Addresses
from sltune.settings.augmentations import Augmentation

Times = NDArray[np.int64]

# Events farther from the crop than this, in standard deviations, are ignored; one in 3.5 million would jitter into it.
JITTER_REACH = 5
# Times within a sample have 32 bits.
MAX_MARGIN_US = 2**32


@dataclass(frozen=True)
class Augmenter:
    """Applies augmentations one after the other, with random numbers from rng.

    sensor: (height, width) of the addresses, which are (row · width + column) · 2 + polarity.
    """

    augmentations: Sequence[Augmentation]
    sensor: tuple[int, int]
    rng: np.random.Generator

    def margin_us(self, crop_us: int) -> int:
        """Return how far outside a crop of crop_us the events lie that can move into it, up to JITTER_REACH."""
        margin = 0.0
        for step in reversed(self.augmentations):
            match step.name:
                case "time_jitter":
                    margin += JITTER_REACH * step.amount
                case "time_scale":
                    margin = (crop_us + margin) / (1 - step.amount) - crop_us
        return min(math.ceil(margin), MAX_MARGIN_US)

    def __call__(self, address: Addresses, time_us: Times, crop_start_us: int) -> tuple[Addresses, Times]:
        """Return address and time of the events that are kept, arrays of shape (kept,) that may be views.

        address: shape (events,). time_us: shape (events,); it and crop_start_us count from the start of the sample.
        Neither array is changed; addresses keep their type.
        """
        for step in self.augmentations:
            match step.name:
                case "event_drop":
                    kept = self.rng.random(len(address)) >= step.amount
                    address, time_us = address[kept], time_us[kept]
                case "time_jitter":
                    noise_us = self.rng.normal(0, step.amount, len(time_us))
                    time_us = time_us + np.rint(noise_us).astype(np.int64)
                case "time_scale":
                    factor = self.rng.uniform(1 - step.amount, 1 + step.amount)
                    # Rounding up would move the last event before the crop into it.
                    scaled_us = np.floor((time_us - crop_start_us) * factor).astype(np.int64)
                    time_us = crop_start_us + scaled_us
                case "polarity_flip":
                    if self.rng.random() < step.amount:
                        address = np.bitwise_xor(address, 1)
                case "spatial_shift":
                    furthest = int(step.amount)
                    rows, columns = self.rng.integers(-furthest, furthest, 2, endpoint=True).tolist()
                    address, time_us = _move(address, time_us, _shifted(self.sensor, rows, columns))
                case "rotation":
                    angle = math.radians(self.rng.uniform(-step.amount, step.amount))
                    address, time_us = _move(address, time_us, _rotated(self.sensor, angle))
        return address, time_us


def _move(address: Addresses, time_us: Times, target: NDArray[np.int64]) -> tuple[Addresses, Times]:
    """Move events to the target of their pixel; drop those whose target is −1."""
    pixel = target[address // POLARITIES]
    kept = pixel >= 0
    moved = address[kept]
    moved[:] = pixel[kept] * POLARITIES + moved % POLARITIES
    return moved, time_us[kept]


def _shifted(sensor: tuple[int, int], rows: int, columns: int) -> NDArray[np.int64]:
    """Return the pixel to which each pixel moves; −1 if that lies outside the sensor."""
    row, column = np.ogrid[: sensor[0], : sensor[1]]
    return _pixels(sensor, row + rows, column + columns)


def _rotated(sensor: tuple[int, int], angle: float) -> NDArray[np.int64]:
    """Return the pixel to which each pixel is rotated, from columns towards rows; −1 outside of the sensor."""
    row, column = np.ogrid[: sensor[0], : sensor[1]]
    middle_row, middle_column = (sensor[0] - 1) / 2, (sensor[1] - 1) / 2
    down, right = row - middle_row, column - middle_column
    sine, cosine = math.sin(angle), math.cos(angle)
    turned_row = middle_row + cosine * down + sine * right
    turned_column = middle_column + cosine * right - sine * down
    # If one side is odd and one even, a quarter turn ends at halves; rounding these to even would merge neighbours.
    return _pixels(sensor, np.floor(turned_row + 0.5), np.floor(turned_column + 0.5))


def _pixels(
    sensor: tuple[int, int], row: NDArray[np.integer | np.floating], column: NDArray[np.integer | np.floating]
) -> NDArray[np.int64]:
    height, width = sensor
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, row * width + column, -1).astype(np.int64).ravel()

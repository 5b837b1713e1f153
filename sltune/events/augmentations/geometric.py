"""Augmentations that move pixels: events of one pixel go to the same place, at all times and with both polarities."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sltune.events.augmentations.augmentation import Augmentation, parameter
from sltune.events.augmentations.events import POLARITIES, Events

ELASTIC_NODES = 5
"""Nodes of the grid in each axis: strokes and fingers bend as a whole, a few of them independently."""


@dataclass(frozen=True)
class SpatialShift(Augmentation):
    """Move the crop by whole pixels."""

    pixels: int = parameter(
        "a whole number from 0 to 1000",
        lambda number: isinstance(number, int) and 0 <= number <= 1000,
        "how far the crop moves at most in each axis, either way",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        rows, columns = rng.integers(-self.pixels, self.pixels, 2, endpoint=True).tolist()
        row, column = np.ogrid[: events.sensor[0], : events.sensor[1]]
        return _moved(events, row + rows, column + columns)


@dataclass(frozen=True)
class Rotation(Augmentation):
    """Turn the crop about the sensor's centre, to the nearest pixels."""

    degrees: float = parameter(
        "a number from 0 to 180",
        lambda number: 0 <= number <= 180,
        "how far the crop turns at most about the sensor's centre, either way",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        """Turn from columns towards rows."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        height, width = events.sensor
        row, column = np.ogrid[:height, :width]
        middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
        down, right = row - middle_row, column - middle_column
        sine, cosine = math.sin(angle), math.cos(angle)
        turned_row = middle_row + cosine * down + sine * right
        turned_column = middle_column + cosine * right - sine * down
        # If one side is odd and one even, a quarter turn ends at halves; rounding these to even would merge neighbours.
        return _moved(events, np.floor(turned_row + 0.5), np.floor(turned_column + 0.5))


@dataclass(frozen=True)
class HorizontalFlip(Augmentation):
    """Mirror the crop's columns with this probability; a sign of one hand becomes that of the other."""

    probability: float = parameter(
        "a number from 0 to 1",
        lambda number: 0 <= number <= 1,
        "the probability with which the columns of the crop are mirrored",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        if rng.random() >= self.probability:
            return events
        height, width = events.sensor
        row, column = np.ogrid[:height, :width]
        return _moved(events, row, width - 1 - column)


@dataclass(frozen=True)
class Zoom(Augmentation):
    """Scale the crop about the sensor's centre."""

    fraction: float = parameter(
        "a number > 0 and < 1",
        # With 1 all pixels could fall on one.
        lambda number: 0 < number < 1,
        "how far the factor on distances from the sensor's centre may be from 1",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        factor = rng.uniform(1 - self.fraction, 1 + self.fraction)
        height, width = events.sensor
        # Each pixel is a random point of its square: centres would leave every sixth row empty at a factor of 1.2.
        down, right = rng.random((2, height, width))
        row, column = np.ogrid[:height, :width]
        return _moved(
            events,
            np.floor(height / 2 + factor * (row + down - height / 2)),
            np.floor(width / 2 + factor * (column + right - width / 2)),
        )


@dataclass(frozen=True)
class Shear(Augmentation):
    """Move each row along by its distance from the middle row, times a factor."""

    fraction: float = parameter(
        "a number from 0 to 1",
        lambda number: 0 <= number <= 1,
        "how far a row moves at most for each row between it and the middle, either way",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        factor = rng.uniform(-self.fraction, self.fraction)
        height, width = events.sensor
        row, column = np.ogrid[:height, :width]
        return _moved(events, row, np.floor(column + factor * (row - (height - 1) / 2) + 0.5))


@dataclass(frozen=True)
class Elastic(Augmentation):
    """Distort the crop smoothly, as if drawn on rubber (after Simard et al. 2003)."""

    fraction: float = parameter(
        "a number > 0 and < 0.5",
        # Half a side moves most nodes to where their neighbours were.
        lambda number: 0 < number < 0.5,
        "the standard deviation by which each node of a grid moves, as a share of the sensor's longer side",
    )

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        """Move the nodes of a grid at random in each axis, and pixels between them as linear interpolation says."""
        height, width = events.sensor
        nodes = rng.normal(0, self.fraction * max(height, width), (2, ELASTIC_NODES, ELASTIC_NODES))
        down, right = _between_nodes(height).T @ nodes @ _between_nodes(width)
        # Random points of the pixels' squares, as in Zoom.
        row, column = np.mgrid[:height, :width] + rng.random((2, height, width))
        return _moved(events, np.floor(row + down), np.floor(column + right))


def _between_nodes(pixels: int) -> NDArray[np.float64]:
    """Return the share of each node in each pixel between them, shape (nodes, pixels)."""
    place = np.linspace(0, ELASTIC_NODES - 1, pixels)
    return np.asarray(np.maximum(0, 1 - np.abs(place - np.arange(ELASTIC_NODES)[:, None])))


def _moved(events: Events, row: NDArray[np.integer | np.floating], column: NDArray[np.integer | np.floating]) -> Events:
    """Move the events of each pixel to another one; drop those that leave the sensor.

    Args:
        row, column: where each pixel goes; together of the sensor's shape.
    """
    height, width = events.sensor
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    target = np.where(inside, row * width + column, -1).astype(np.int64).ravel()
    pixel = target[events.address // POLARITIES]
    kept = pixel >= 0
    moved = events.address[kept]
    moved[:] = pixel[kept] * POLARITIES + moved % POLARITIES
    return replace(events, t_us=events.t_us[kept], address=moved)

"""Augmentations that move pixels: events of one pixel go to the same place, at all times and with both polarities.

Where several follow one another, their moves are joined first, and events move once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.events.augmentations.augmentation import Augmentation, parameter
from sltune.events.augmentations.events import POLARITIES, Events

Targets = NDArray[np.int64]
"""For each pixel of a sensor, row by row, the pixel to which its events move; −1 where they are dropped."""
ELASTIC_NODES = 5
"""Nodes of the grid in each axis: strokes and fingers bend as a whole, a few of them independently."""


class PixelMove(Augmentation):
    """An augmentation that moves or drops all events of a pixel alike."""

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        """Draw where the events of each pixel go.

        Args:
            sensor: (height, width).
        """
        raise NotImplementedError

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        return moved(events, self.targets(events.sensor, rng))


def moved(events: Events, targets: Targets) -> Events:
    """Return the events at the targets of their pixels; those without one are dropped."""
    addresses = targets[:, None] * POLARITIES + np.arange(POLARITIES)
    # One look-up for each event; 32 bits are faster, and hold the addresses of 2³⁰ pixels.
    found = addresses.ravel().astype(np.int32)[events.address]
    kept = np.flatnonzero(found >= 0)
    address: Any = found[kept].astype(events.address.dtype)
    return replace(events, t_us=events.t_us[kept], address=address)


def joined(first: Targets, second: Targets) -> Targets:
    """Return the targets of two moves, one after the other."""
    return np.where(first < 0, -1, second[first])


@dataclass(frozen=True)
class SpatialShift(PixelMove):
    """Move the crop by whole pixels."""

    pixels: int = parameter(
        "a whole number from 0 to 1000",
        lambda number: isinstance(number, int) and 0 <= number <= 1000,
        "how far the crop moves at most in each axis, either way",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        rows, columns = rng.integers(-self.pixels, self.pixels, 2, endpoint=True).tolist()
        row, column = np.ogrid[: sensor[0], : sensor[1]]
        return _targets(sensor, row + rows, column + columns)


@dataclass(frozen=True)
class Rotation(PixelMove):
    """Turn the crop about the sensor's centre, to the nearest pixels."""

    degrees: float = parameter(
        "a number from 0 to 180",
        lambda number: 0 <= number <= 180,
        "how far the crop turns at most about the sensor's centre, either way",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        """Turn from columns towards rows."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        height, width = sensor
        row, column = np.ogrid[:height, :width]
        middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
        down, right = row - middle_row, column - middle_column
        sine, cosine = math.sin(angle), math.cos(angle)
        turned_row = middle_row + cosine * down + sine * right
        turned_column = middle_column + cosine * right - sine * down
        # If one side is odd and one even, a quarter turn ends at halves; rounding these to even would merge neighbours.
        return _targets(sensor, np.floor(turned_row + 0.5), np.floor(turned_column + 0.5))


@dataclass(frozen=True)
class HorizontalFlip(PixelMove):
    """Mirror the crop's columns with this probability; a sign of one hand becomes that of the other."""

    probability: float = parameter(
        "a number from 0 to 1",
        lambda number: 0 <= number <= 1,
        "the probability with which the columns of the crop are mirrored",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        flips = rng.random() < self.probability
        row, column = np.ogrid[: sensor[0], : sensor[1]]
        return _targets(sensor, row, sensor[1] - 1 - column if flips else column)


@dataclass(frozen=True)
class Zoom(PixelMove):
    """Scale the crop about the sensor's centre."""

    fraction: float = parameter(
        "a number > 0 and < 1",
        # With 1 all pixels could fall on one.
        lambda number: 0 < number < 1,
        "how far the factor on distances from the sensor's centre may be from 1",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        factor = rng.uniform(1 - self.fraction, 1 + self.fraction)
        height, width = sensor
        # Each pixel is a random point of its square: centres would leave every sixth row empty at a factor of 1.2.
        down, right = rng.random((2, height, width))
        row, column = np.ogrid[:height, :width]
        return _targets(
            sensor,
            np.floor(height / 2 + factor * (row + down - height / 2)),
            np.floor(width / 2 + factor * (column + right - width / 2)),
        )


@dataclass(frozen=True)
class Shear(PixelMove):
    """Move each row along by its distance from the middle row, times a factor."""

    fraction: float = parameter(
        "a number from 0 to 1",
        lambda number: 0 <= number <= 1,
        "how far a row moves at most for each row between it and the middle, either way",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        factor = rng.uniform(-self.fraction, self.fraction)
        height, width = sensor
        row, column = np.ogrid[:height, :width]
        return _targets(sensor, row, np.floor(column + factor * (row - (height - 1) / 2) + 0.5))


@dataclass(frozen=True)
class Elastic(PixelMove):
    """Distort the crop smoothly, as if drawn on rubber (after Simard et al. 2003)."""

    fraction: float = parameter(
        "a number > 0 and < 0.5",
        # Half a side moves most nodes to where their neighbours were.
        lambda number: 0 < number < 0.5,
        "the standard deviation by which each node of a grid moves, as a share of the sensor's longer side",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        """Move the nodes of a grid at random in each axis, and pixels between them as linear interpolation says."""
        height, width = sensor
        nodes = rng.normal(0, self.fraction * max(height, width), (2, ELASTIC_NODES, ELASTIC_NODES))
        down, right = _between_nodes(height).T @ nodes @ _between_nodes(width)
        # Random points of the pixels' squares, as in Zoom.
        row, column = np.mgrid[:height, :width] + rng.random((2, height, width))
        return _targets(sensor, np.floor(row + down), np.floor(column + right))


@dataclass(frozen=True)
class AreaDrop(PixelMove):
    """Drop all events of a rectangle of the sensor's proportions, wherever it lies on the sensor (cutout)."""

    share: float = parameter(
        "a number > 0 and < 1",
        # With 1 no event would be left.
        lambda number: 0 < number < 1,
        "the share of the sensor's area from which all events are dropped",
    )

    def targets(self, sensor: tuple[int, int], rng: np.random.Generator) -> Targets:
        height, width = sensor
        rows, columns = (max(1, round(side * math.sqrt(self.share))) for side in (height, width))
        room = np.array([height - rows, width - columns])
        top, left = np.floor(rng.random(2) * (room + 1)).astype(int).tolist()
        targets = np.arange(height * width).reshape(sensor)
        targets[top : top + rows, left : left + columns] = -1
        return targets.ravel()


def _between_nodes(pixels: int) -> NDArray[np.float64]:
    """Return the share of each node in each pixel between them, shape (nodes, pixels)."""
    place = np.linspace(0, ELASTIC_NODES - 1, pixels)
    return np.asarray(np.maximum(0, 1 - np.abs(place - np.arange(ELASTIC_NODES)[:, None])))


def _targets(
    sensor: tuple[int, int], row: NDArray[np.integer | np.floating], column: NDArray[np.integer | np.floating]
) -> Targets:
    """Return the targets of pixels that go to these rows and columns, which together are of the sensor's shape."""
    height, width = sensor
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, row * width + column, -1).astype(np.int64).ravel()

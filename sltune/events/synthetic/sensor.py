"""What the sensor sends: the events of moving edges, of noise and of neon light, in the light of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.events.formats.aedat import SENSOR_SIZE, encode_address
from sltune.events.sources.slanimals.full_set import USERS
from sltune.events.synthetic.body import STEP_US, Edges

# Events as time_us · 2¹⁶ + address: sorting the numbers sorts by time.
Keys = NDArray[np.int64]
# Neon tubes on 50 Hz mains flicker 100 times a second.
FLICKER_US = 10_000
# Flicker appears and disappears in spells of this length.
SPELL_US = 300_000


@dataclass(frozen=True)
class Session:
    """Light and camera of one set: mean events a second, and the fractions of these that are noise and flicker."""

    suffix: str
    rate_hz: float
    noise: float
    flicker: float = 0.0

    @property
    def users(self) -> Sequence[int]:
        return USERS[self.suffix]


SESSIONS = (
    Session("imse", 41_000, noise=0.12),
    Session("dc", 32_000, noise=0.12),
    Session("indoor", 83_000, noise=0.12, flicker=0.4),
    Session("sunlight", 12_000, noise=0.35),
)


def signal_keys(rng: np.random.Generator, edges: Edges, gain: float, start_us: int) -> Keys:
    """Draw the events of moving edges, unsorted: ``gain`` events per pixel swept, ON if it turns brighter."""
    expected = np.abs(edges.swept) * np.float32(gain)
    counts = (expected + rng.random(expected.shape, dtype=np.float32)).astype(np.int32).ravel()
    busy = np.flatnonzero(counts)
    steps = (busy // expected.shape[1]).astype(np.float32)
    counts = counts[busy]
    x, y, along_x, along_y, move_x, move_y, swept = (np.repeat(values.ravel()[busy], counts) for values in edges)
    part, along, blur_x, blur_y = rng.random((4, len(x)), dtype=np.float32)
    column = np.floor(x + along * along_x + part * move_x + (blur_x - 0.5)).astype(np.int16)
    row = np.floor(y + along * along_y + part * move_y + (blur_y - 0.5)).astype(np.int16)
    time_us = start_us + ((np.repeat(steps, counts) + part) * STEP_US).astype(np.int64)
    in_picture = (column | row) & ~(SENSOR_SIZE - 1) == 0
    keys: Keys = _keys(time_us, row, column, swept < 0)[in_picture]
    return keys


def noise_keys(rng: np.random.Generator, session: Session, length_us: int) -> Keys:
    """Draw noise events, unsorted: pixels differ in their rates, and a few hot ones send most."""
    pixels = SENSOR_SIZE**2
    weights = np.exp(rng.normal(0, 0.7, pixels))
    weights[rng.integers(0, pixels, 12)] *= 60
    events = int(rng.poisson(session.rate_hz * session.noise * length_us * 1e-6))
    row, column = _draw_pixels(rng, weights, events)
    off = rng.random(events, dtype=np.float32) < 0.3
    return _keys(rng.integers(0, length_us, events), row, column, off)


def flicker_keys(rng: np.random.Generator, session: Session, length_us: int) -> Keys:
    """Draw the events of neon light, unsorted: bright pixels of the wall send ON and OFF once a cycle of a spell."""
    spells = rng.random(length_us // SPELL_US + 1) < 0.5
    cycles = np.flatnonzero(np.repeat(spells, SPELL_US // FLICKER_US)[: length_us // FLICKER_US])
    if not (session.flicker and len(cycles)):
        return np.empty(0, np.int64)
    events = int(rng.poisson(session.rate_hz * session.flicker * length_us * 1e-6))
    y, x = np.mgrid[:SENSOR_SIZE, :SENSOR_SIZE]
    lamps = rng.uniform((0, 40), SENSOR_SIZE, (3, 2))
    wall = np.sum([np.exp(-((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2) / (2 * 18**2)) for lamp in lamps], axis=0)
    row, column = _draw_pixels(rng, wall.ravel(), events)
    off = rng.random(events, dtype=np.float32) < 0.5
    late_us = np.minimum(600 * rng.standard_exponential(events, dtype=np.float32), FLICKER_US // 2 - 1)
    start_us = cycles[rng.integers(0, len(cycles), events)] * FLICKER_US + off * (FLICKER_US // 2)
    return _keys(start_us + late_us.astype(np.int64), row, column, off)


def _draw_pixels(rng: np.random.Generator, weights: NDArray[np.float64], events: int) -> tuple[NDArray[np.int16], ...]:
    """Draw (row, column) in proportion to weights, by a table of 2¹⁸ entries, which is much faster than a search."""
    entries = 1 << 18
    last = np.round(np.cumsum(weights) / weights.sum() * entries).astype(np.int64)
    table = np.repeat(np.arange(len(weights), dtype=np.int16), np.diff(last, prepend=0))
    pixel = table[rng.integers(0, entries, events, dtype=np.int32)]
    return pixel // SENSOR_SIZE, pixel % SENSOR_SIZE


def _keys(time_us: NDArray[np.int64], row: NDArray[Any], column: NDArray[Any], off: NDArray[np.bool_]) -> Keys:
    """Pack events; column counts from the left of the upright picture, which is the address's last column."""
    keys: Keys = (time_us << 16) | encode_address(row, SENSOR_SIZE - 1 - column, off)
    return keys

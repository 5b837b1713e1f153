"""Flips, zooms, shears, drops of areas and times, hot pixels and their mixture, worked out by hand, and their laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.augmentations.events import Events
from tests.events.test_augment import (
    OnSensor,
    augmentation,
    decode,
    draw_events,
    encode,
    every_pixel,
    forced,
    moved,
    parsed,
    sensors,
)

LENGTH_US = 100_000
TEXTS = (
    "horizontal_flip(probability=0.5)",
    "zoom(fraction=0.3)",
    "shear(fraction=0.3)",
    "elastic(fraction=0.1)",
    "area_drop(share=0.2)",
    "time_drop(fraction=0.2)",
    "hot_pixels(pixels=3, rate_hz=500)",
    "nda(operations=2)",
)


class Middles:
    """In place of a generator: every pixel is the middle of its square, and a factor or place is set."""

    def __init__(self, uniform: float = 0, random: Any = 0.5) -> None:
        self._uniform, self._random = uniform, random

    def uniform(self, low: float, high: float) -> float:
        assert low <= self._uniform <= high
        return self._uniform

    def random(self, size: Any) -> Any:
        return np.broadcast_to(self._random, size)


def with_draws(name: str, amount: float, sensor: tuple[int, int], uniform: float = 0, random: Any = 0.5) -> OnSensor:
    return OnSensor([augmentation(name, amount)], sensor, Middles(uniform, random))


def changed(text: str, events: Events, seed: int = 0) -> Events:
    return Augmenter([parsed(text)], np.random.default_rng(seed))(events)


def events_on(sensor: tuple[int, int], seed: int = 0, dtype: type = np.uint16, count: int = 200) -> Events:
    address, t_us = draw_events(seed, sensor, dtype, count)
    return Events(t_us, address, sensor, LENGTH_US)


@given(sensor=sensors)
def test_a_horizontal_flip_reads_every_row_backwards(sensor: tuple[int, int]) -> None:
    pixels = every_pixel(sensor)
    flip = forced("horizontal_flip", 0.5, sensor, random=0.49)
    assert moved(flip, pixels) == {n: (row, sensor[1] - 1 - column, p) for n, (row, column, p) in enumerate(pixels)}
    assert moved(forced("horizontal_flip", 0.5, sensor, random=0.5), pixels) == dict(enumerate(pixels))


@pytest.mark.parametrize(
    ("sensor", "factor", "places"),
    [
        # The middles of 3 pixels lie at 0.5, 1.5 and 2.5; at a factor of 1.5 at 0, 1.5 and 3, where the sensor ends.
        ((1, 3), 1.5, {(0, 1): (0, 1), (0, 0): (0, 0), (0, 2): None}),
        ((1, 5), 1.5, {(0, 2): (0, 2), (0, 3): (0, 4), (0, 1): (0, 1), (0, 0): None, (0, 4): None}),
        # At half the size four neighbours fall on one.
        ((4, 4), 0.5, {(0, 0): (1, 1), (1, 1): (1, 1), (3, 3): (2, 2), (0, 3): (1, 2)}),
        ((5, 7), 1.0, {(4, 6): (4, 6), (0, 0): (0, 0)}),
    ],
)
def test_zooms_by_a_known_factor(
    sensor: tuple[int, int], factor: float, places: dict[tuple[int, int], tuple[int, int] | None]
) -> None:
    zoomed = moved(with_draws("zoom", 0.5, sensor, uniform=factor), [(*place, 1) for place in places])
    assert zoomed == {number: (*place, 1) for number, place in enumerate(places.values()) if place}


def test_a_zoom_leaves_no_stripes() -> None:
    """At a factor of 1.2 the middles of 60 rows would never reach every sixth; random points of them do."""
    sensor = (60, 60)
    pixels = encode(every_pixel(sensor), 60)
    rows = set[int]()
    for seed in range(5):
        events = Events(np.zeros(len(pixels), np.int64), pixels, sensor, 1)

        class Drawn(Middles):
            def random(self, size: Any) -> Any:
                return np.random.default_rng(seed).random(size)  # noqa: B023

        zoomed = augmentation("zoom", 0.5)(events, Drawn(uniform=1.2))
        rows = {row for row, _, _ in decode(zoomed.address, 60)}
        assert rows == set(range(60))


@pytest.mark.parametrize(
    ("factor", "places"),
    [
        # The middle row stays; the rows above move by the factor times their distance.
        (1.0, {(0, 2): (0, 1), (1, 2): (1, 2), (2, 2): (2, 3), (2, 4): None, (0, 0): None}),
        (-0.5, {(0, 2): (0, 3), (2, 2): (2, 2), (1, 4): (1, 4)}),
    ],
)
def test_shears_by_a_known_factor(factor: float, places: dict[tuple[int, int], tuple[int, int] | None]) -> None:
    sheared = moved(with_draws("shear", 1, (3, 5), uniform=factor), [(*place, 0) for place in places])
    assert sheared == {number: (*place, 0) for number, place in enumerate(places.values()) if place}


class Nodes(Middles):
    """Nodes of which the middle one moves by half the reach downwards, and those of the right side to the left."""

    def normal(self, mean: float, std: float, size: tuple[int, ...]) -> Any:
        moves = np.full(size, float(mean))
        moves[0, 2, 2] = std / 2
        moves[1, :, 4] = -std
        return moves


def test_an_elastic_distortion_bends_what_lies_between_nodes() -> None:
    """A fifth of 21 pixels is 4.2; nodes are 5 pixels apart, and pixels between them move in proportion."""
    sensor = (21, 21)
    elastic = OnSensor([augmentation("elastic", 0.2)], sensor, Nodes())
    places = {
        (0, 0): (0, 0),
        # 2.1 for the middle node, two fifths of it three pixels above, four fifths one pixel above.
        (10, 10): (12, 10),
        (7, 10): (8, 10),
        (9, 10): (11, 10),
        # The right side by 4.2, and the pixels next to it by four fifths of that.
        (3, 20): (3, 16),
        (3, 19): (3, 16),
        (3, 15): (3, 15),
    }
    bent = moved(elastic, [(*place, 1) for place in places])
    assert bent == {number: (*place, 1) for number, place in enumerate(places.values())}


def test_elastic_distortions_are_as_large_as_asked_at_nodes() -> None:
    """4,000 draws of a node in the middle of 41 pixels: a standard deviation of 4.1, and no direction."""
    events = Events(np.zeros(1, np.int64), np.array([(20 * 41 + 20) * 2], np.uint16), (41, 41), 1)
    ends = [changed("elastic(fraction=0.1)", events, seed) for seed in range(4000)]
    down, right = (np.array([end.y[0] if axis == 0 else end.x[0] for end in ends]) - 20 for axis in (0, 1))
    for moves in (down, right):
        assert abs(moves.mean()) < 5 * 4.1 / math.sqrt(4000)
        # Rounding to whole pixels adds a variance of about 1/6.
        assert moves.std() == pytest.approx(math.sqrt(4.1**2 + 1 / 6), rel=5 / math.sqrt(8000))


@pytest.mark.parametrize(("random", "corner"), [(0.0, (0, 0)), (0.999, (4, 6)), (0.5, (2, 3))])
def test_an_area_is_dropped_wherever_it_lies(random: float, corner: tuple[int, int]) -> None:
    """A quarter of 8 rows and 12 columns: 4 rows and 6 columns, of which there are 5 and 7 places."""
    sensor = (8, 12)
    left = moved(with_draws("area_drop", 0.25, sensor, random=random), every_pixel(sensor)).values()
    gone = {(row, column) for row in range(8) for column in range(12)} - {place[:2] for place in left}
    assert gone == {(corner[0] + row, corner[1] + column) for row in range(4) for column in range(6)}
    assert len(list(left)) == 2 * (96 - 24)


@pytest.mark.parametrize(("start_us", "gone"), [(0, range(25)), (75_000, range(75, 100)), (30_500, range(31, 56))])
def test_an_interval_is_dropped(start_us: int, gone: range) -> None:
    events = Events(np.arange(100) * 1000, np.zeros(100, np.uint16), (1, 1), LENGTH_US)
    left: Events = augmentation("time_drop", 0.25)(events, Middles(uniform=start_us))
    assert set((left.t_us // 1000).tolist()) == set(range(100)) - set(gone)


def test_hot_pixels_add_as_many_events_as_asked_on_as_many_places() -> None:
    """100 times 5 pixels of 2000 Hz for 0.1 s: 1000 events each time, ± 32."""
    events = events_on((64, 64))
    counts = []
    for seed in range(100):
        noisy = changed("hot_pixels(pixels=5, rate_hz=2000)", events, seed)
        added = noisy[len(events) :]
        assert noisy[: len(events)].address.tolist() == events.address.tolist()
        assert len(set(added.address.tolist())) <= 5
        assert 0 <= added.t_us.min() <= added.t_us.max() < LENGTH_US
        counts.append(len(added))
    assert abs(np.mean(counts) - 1000) < 5 * math.sqrt(1000 / 100)


@pytest.mark.parametrize("operations", [1, 2, 6])
def test_nda_carries_out_as_many_changes_as_asked_each_of_six_as_often(operations: int) -> None:
    """Of 600 crops, one of six comes 100 ± 9 times first."""
    texts = ("spatial_shift(pixels=5)", "rotation(degrees=15)", "shear(fraction=0.15)", "zoom(fraction=0.15)")
    changes = [parsed(text) for text in (*texts, "area_drop(share=0.05)", "time_drop(fraction=0.1)")]
    events, first = events_on((32, 48)), np.zeros(6, int)
    for seed in range(600):
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(6)[:operations]
        expected = Augmenter([changes[number] for number in chosen], rng)(events)
        found = changed(f"nda(operations={operations})", events, seed)
        assert found.address.tolist() == expected.address.tolist()
        assert found.t_us.tolist() == expected.t_us.tolist()
        first[chosen[0]] += 1
    assert (abs(first - 100) < 5 * 9.1).all()


@given(
    texts=st.lists(st.sampled_from(TEXTS), unique=True),
    sensor=sensors,
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([np.uint16, np.uint32]),
)
def test_joined_moves_change_nothing_of_what_one_after_the_other_would_do(
    texts: list[str], sensor: tuple[int, int], seed: int, dtype: type
) -> None:
    steps = [parsed(text) for text in texts]
    events, rng = events_on(sensor, seed, dtype), np.random.default_rng(seed)
    together = Augmenter(steps, np.random.default_rng(seed))(events)
    for step in steps:
        events = step(events, rng)
    assert together.address.tolist() == events.address.tolist()
    assert together.t_us.tolist() == events.t_us.tolist()
    assert together.address.dtype == dtype


@given(
    text=st.sampled_from(TEXTS),
    sensor=sensors,
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([np.uint16, np.uint32]),
    count=st.sampled_from([0, 1, 200]),
)
def test_events_stay_on_the_sensor_and_inputs_as_they_are(
    text: str, sensor: tuple[int, int], seed: int, dtype: type, count: int
) -> None:
    events = events_on(sensor, seed, dtype, count)
    before = events.address.copy(), events.t_us.copy()
    left = changed(text, events, seed)
    assert (left.address.dtype, left.t_us.dtype) == (dtype, np.int64)
    assert len(left.address) == len(left.t_us)
    assert left.address.size == 0 or left.address.max() < 2 * sensor[0] * sensor[1]
    assert (events.address == before[0]).all()
    assert (events.t_us == before[1]).all()
    if "hot" not in text:
        assert len(left) <= len(events)
        assert set(left.t_us.tolist()) <= set(events.t_us.tolist())
    assert [left.address.tolist(), left.t_us.tolist()] == [
        values.tolist() for values in (changed(text, events, seed).address, changed(text, events, seed).t_us)
    ]

"""Augmented events, worked out by hand with draws that are set, and laws that hold for every draw."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.augmentations.built_in import JITTER_REACH
from sltune.events.augmentations.events import Events
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.events.samples import Samples
from sltune.events.store import read_table
from sltune.extensions.code import NO_CODE
from sltune.extensions.kinds import KINDS, built_in, named
from sltune.training.batches import BatchSource
from tests import small
from tests.small import write_samples

Pixel = tuple[int, int, int]
"""Row, column, polarity."""

TEXTS = (
    "event_drop(probability=0.3)",
    "time_jitter(std_us=2000)",
    "spatial_shift(pixels=3)",
    "polarity_flip(probability=0.5)",
    "time_scale(fraction=0.3)",
    "rotation(degrees=30)",
)
sensors = st.tuples(st.integers(1, 9), st.integers(1, 9))
dtypes = st.sampled_from([np.uint16, np.uint32])
pipelines = st.lists(st.sampled_from(TEXTS), unique=True).map(lambda texts: [*map(parsed, texts)])


class Forced:
    """In place of a generator: draws that a test sets."""

    def __init__(self, uniform: float = 0, integers: Sequence[int] = (), noise: float = 0, random: float = 0) -> None:
        self._uniform, self._integers, self._noise, self._random = uniform, integers, noise, random

    def uniform(self, low: float, high: float) -> float:
        assert low <= self._uniform <= high
        return self._uniform

    def integers(self, low: int, high: int, size: int, endpoint: bool) -> NDArray[np.int64]:
        assert endpoint
        assert size == len(self._integers)
        assert all(low <= value <= high for value in self._integers)
        return np.array(self._integers)

    def normal(self, mean: float, std: float, size: int) -> NDArray[np.float64]:
        return np.full(size, mean + self._noise * std)

    def random(self) -> float:
        return self._random


class OnSensor:
    """Augmentations of addresses of a sensor, and of times since the start of a sample."""

    def __init__(self, steps: Sequence[Any], sensor: tuple[int, int], rng: Any) -> None:
        self.sensor, self.steps, self.augmenter = sensor, steps, Augmenter(steps, rng)
        self.margin_us = self.augmenter.margin_us

    def __call__(self, address: Any, time_us: NDArray[np.int64], start_us: int) -> tuple[Any, NDArray[np.int64]]:
        events = self.augmenter(Events(time_us - start_us, address, self.sensor, 100_000))
        return events.address, events.t_us + start_us


def augmentation(name: str, amount: float) -> Any:
    return built_in(KINDS["sampling.augment"], name)(amount)


def parsed(text: str) -> Any:
    return named(KINDS["sampling.augment"], text, NO_CODE)


def forced(name: str, amount: float, sensor: tuple[int, int] = (1, 1), **draws: Any) -> OnSensor:
    return OnSensor([augmentation(name, amount)], sensor, Forced(**draws))


def seeded(*texts: str, sensor: tuple[int, int] = (9, 9), seed: int = 0) -> OnSensor:
    return OnSensor([parsed(text) for text in texts], sensor, np.random.default_rng(seed))


def encode(pixels: Sequence[Pixel], width: int, dtype: type = np.uint16) -> Any:
    return np.array([(row * width + column) * 2 + polarity for row, column, polarity in pixels], dtype)


def decode(address: Any, width: int) -> list[Pixel]:
    return [(value // 2 // width, value // 2 % width, value % 2) for value in address.tolist()]


def moved(augmenter: OnSensor, pixels: Sequence[Pixel]) -> dict[int, Pixel]:
    """Return where each pixel that is left went, by its place in the list."""
    width = augmenter.sensor[1]
    address, number = augmenter(encode(pixels, width), np.arange(len(pixels)), 0)
    return dict(zip(number.tolist(), decode(address, width), strict=True))


def every_pixel(sensor: tuple[int, int]) -> list[Pixel]:
    return [(row, column, polarity) for row in range(sensor[0]) for column in range(sensor[1]) for polarity in (0, 1)]


def draw_events(seed: int, sensor: tuple[int, int], dtype: type, count: int = 200) -> tuple[Any, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    address = rng.integers(0, 2 * sensor[0] * sensor[1], count).astype(dtype)
    time_us = np.sort(rng.integers(0, 100_000, count))
    address.flags.writeable = time_us.flags.writeable = False
    return address, time_us


# Space


def test_a_shift_moves_rows_and_columns_and_drops_what_leaves_the_sensor() -> None:
    """3 rows and 4 columns: by 1 down and 2 right."""
    shift = forced("spatial_shift", 2, (3, 4), integers=(1, 2))
    assert moved(shift, [(0, 0, 1), (2, 0, 0), (1, 2, 0), (1, 1, 1)]) == {0: (1, 2, 1), 3: (2, 3, 1)}
    shift = forced("spatial_shift", 2, (3, 4), integers=(0, -1))
    assert moved(shift, [(0, 0, 0), (0, 1, 0), (2, 3, 1)]) == {1: (0, 0, 0), 2: (2, 2, 1)}


@given(sensor=sensors, rows=st.integers(-12, 12), columns=st.integers(-12, 12))
def test_a_shift_is_a_shift_of_coordinates(sensor: tuple[int, int], rows: int, columns: int) -> None:
    pixels = every_pixel(sensor)
    shifted = {number: (row + rows, column + columns, p) for number, (row, column, p) in enumerate(pixels)}
    expected = {n: place for n, place in shifted.items() if 0 <= place[0] < sensor[0] and 0 <= place[1] < sensor[1]}
    assert moved(forced("spatial_shift", 12, sensor, integers=(rows, columns)), pixels) == expected


def test_shifts_are_drawn_evenly_in_each_axis_up_to_both_ends() -> None:
    """Of 4900 shifts by up to 3, each of the 49 comes 100 times; 5 standard deviations are 50."""
    shift = seeded("spatial_shift(pixels=3)", sensor=(7, 7))
    places = [moved(shift, [(3, 3, 0)])[0][:2] for _ in range(4900)]
    counts = np.zeros((7, 7))
    np.add.at(counts, tuple(np.array(places).T), 1)
    assert 50 < counts.min() <= counts.max() < 150


@pytest.mark.parametrize(
    ("sensor", "degrees", "places"),
    [
        # A quarter turn takes right to down, and down to left.
        ((3, 3), 90, {(1, 2): (2, 1), (2, 1): (1, 0), (0, 0): (0, 2), (1, 1): (1, 1)}),
        ((3, 3), -90, {(1, 2): (0, 1), (0, 0): (2, 0)}),
        # The centre lies at row 0.5 and column 1.5.
        ((2, 4), 90, {(0, 1): (0, 2), (1, 1): (0, 1), (0, 0): None, (1, 3): None}),
        # 2 pixels right turn to 1.41 right and down; the corner, 2.83 away, goes to the left of the sensor.
        ((5, 5), 45, {(2, 4): (3, 3), (2, 2): (2, 2), (4, 2): (3, 1), (4, 0): None}),
        # The centre lies at row 0.5: neighbours stay apart though their columns are drawn to halves.
        ((2, 3), 90, {(0, 1): (1, 2), (1, 1): (1, 1)}),
    ],
)
def test_turns_by_a_known_angle(
    sensor: tuple[int, int], degrees: float, places: dict[tuple[int, int], tuple[int, int] | None]
) -> None:
    turned = moved(forced("rotation", 180, sensor, uniform=degrees), [(*place, 1) for place in places])
    expected = {number: (*place, 1) for number, place in enumerate(places.values()) if place}
    assert turned == expected


@given(sensor=sensors)
def test_half_a_turn_reads_the_sensor_backwards(sensor: tuple[int, int]) -> None:
    pixels = every_pixel(sensor)
    turned = moved(forced("rotation", 180, sensor, uniform=180), pixels)
    assert [turned[number][:2] for number in range(len(pixels))] == [pixel[:2] for pixel in reversed(pixels)]
    assert [turned[number][2] for number in range(len(pixels))] == [pixel[2] for pixel in pixels]


@given(sensor=sensors, degrees=st.floats(-180, 180))
def test_a_turn_takes_each_pixel_to_the_nearest_or_off_the_sensor(sensor: tuple[int, int], degrees: float) -> None:
    """By multiplication of complex numbers."""
    pixels = every_pixel(sensor)
    turned = moved(forced("rotation", 180, sensor, uniform=degrees), pixels)
    centre = complex((sensor[1] - 1) / 2, (sensor[0] - 1) / 2)
    turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    for number, (row, column, polarity) in enumerate(pixels):
        place = centre + (complex(column, row) - centre) * turn
        if number in turned:
            assert abs(turned[number][0] - place.imag) <= 0.5 + 1e-9
            assert abs(turned[number][1] - place.real) <= 0.5 + 1e-9
            assert turned[number][2] == polarity
        else:
            inside = (-0.5 < place.imag < sensor[0] - 0.5, -0.5 < place.real < sensor[1] - 0.5)
            edge = min(abs(place.imag % 1 - 0.5), abs(place.real % 1 - 0.5))
            assert not all(inside) or edge < 1e-9


def test_a_flip_changes_every_polarity_and_two_change_none() -> None:
    flip = forced("polarity_flip", 0.5, (2, 3), random=0.49)
    assert moved(flip, [(0, 0, 0), (1, 2, 1)]) == {0: (0, 0, 1), 1: (1, 2, 0)}
    pixels = every_pixel((2, 3))
    assert moved(flip, list(moved(flip, pixels).values())) == dict(enumerate(pixels))
    assert moved(forced("polarity_flip", 0.5, (2, 3), random=0.5), pixels) == dict(enumerate(pixels))


def test_crops_flip_as_often_as_asked() -> None:
    """Of 1000, 300 ± 14.5; the bound is at 5 standard deviations."""
    flip = seeded("polarity_flip(probability=0.3)")
    flips = sum(moved(flip, [(0, 0, 0)])[0][2] for _ in range(1000))
    assert abs(flips - 300) < 5 * math.sqrt(1000 * 0.3 * 0.7)
    always = seeded("polarity_flip(probability=1)")
    assert all(moved(always, [(0, 0, 0)])[0][2] == 1 for _ in range(100))


# Number


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.99])
def test_as_many_events_are_dropped_as_asked(probability: float) -> None:
    count = 100_000
    address, time_us = draw_events(0, (9, 9), np.uint16, count)
    left, left_us = seeded(f"event_drop(probability={probability})")(address, time_us, 0)
    assert abs(count - len(left) - count * probability) < 5 * math.sqrt(count * probability * (1 - probability))
    assert len(left_us) == len(left)


def test_events_that_are_not_dropped_stay_as_they_are_and_in_order() -> None:
    number = np.arange(1000)
    left, left_us = seeded("event_drop(probability=0.5)", sensor=(50, 10))(number.astype(np.uint16), 7 * number, 0)
    assert 0 < len(left) < 1000
    assert (left_us == 7 * left.astype(np.int64)).all()
    assert (np.diff(left_us) > 0).all()


# Time


def test_jitter_is_normal_noise_of_each_event_by_itself() -> None:
    """Of 100,000 draws the mean is known to 0.3 % and the deviation to 0.2 % of the standard deviation."""
    address, time_us = draw_events(0, (9, 9), np.uint16, 100_000)
    same, jittered_us = seeded("time_jitter(std_us=2000)")(address, time_us, 0)
    noise = (jittered_us - time_us) / 2000
    assert same.tolist() == address.tolist()
    assert jittered_us.dtype == np.int64
    assert abs(noise.mean()) < 5 / math.sqrt(100_000)
    assert abs(noise.std() - 1) < 5 / math.sqrt(200_000)
    assert abs((np.abs(noise) < 1).mean() - 0.6827) < 5 * math.sqrt(0.6827 * 0.3173 / 100_000)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 5 / math.sqrt(100_000)


def test_jitter_is_rounded_to_the_nearest_microsecond() -> None:
    for noise, expected in [(0.3, 50_000), (0.7, 50_001), (-0.7, 49_999)]:
        assert forced("time_jitter", 1, noise=noise)(encode([(0, 0, 0)], 1), np.array([50_000]), 0)[1] == expected


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.5, [500, 999, 1000, 1200, 1250]), (1.5, [-500, 998, 1000, 1600, 1751]), (1, [0, 999, 1000, 1400, 1501])],
)
def test_times_are_scaled_about_the_crops_start_and_rounded_down(factor: float, expected: list[int]) -> None:
    time_us = np.array([0, 999, 1000, 1400, 1501])
    _, scaled_us = forced("time_scale", 0.5, uniform=factor)(np.zeros(5, np.uint16), time_us, 1000)
    assert scaled_us.tolist() == expected


@given(
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32),
    start_us=st.integers(-999, 200_000),
)
def test_scaling_keeps_the_order_and_the_side_of_the_start(fraction: float, seed: int, start_us: int) -> None:
    address, time_us = draw_events(seed, (9, 9), np.uint16)
    same, scaled_us = seeded(f"time_scale(fraction={fraction})", seed=seed)(address, time_us, start_us)
    assert same.tolist() == address.tolist()
    assert (np.diff(scaled_us) >= 0).all()
    assert ((scaled_us < start_us) == (time_us < start_us)).all()
    span = np.abs(time_us - start_us)
    assert (np.abs(scaled_us - start_us) <= span * (1 + fraction) + 1).all()
    assert (np.abs(scaled_us - start_us) >= span * (1 - fraction) - 1).all()


def test_factors_are_drawn_evenly_up_to_both_ends() -> None:
    """Of an even distribution over ±0.2 the mean is 1, and the deviation 0.4 / √12 = 0.1155."""
    scale = seeded("time_scale(fraction=0.2)")
    factors = np.array([int(scale(encode([(0, 0, 0)], 9), np.array([10**6]), 0)[1][0]) / 1e6 for _ in range(2000)])
    assert 0.8 <= factors.min() < 0.802
    assert 1.198 < factors.max() <= 1.2
    assert abs(factors.mean() - 1) < 5 * 0.1155 / math.sqrt(2000)


# Reach


@pytest.mark.parametrize(
    ("texts", "margin_us"),
    [
        ([], 0),
        (["event_drop(probability=0.3)", "spatial_shift(pixels=3)", "polarity_flip(probability=1)"], 0),
        (["rotation(degrees=90)"], 0),
        (["time_jitter(std_us=200)"], 1000),
        # At half the speed as at most, 2000 µs are needed of a crop of 1000.
        (["time_scale(fraction=0.5)"], 1000),
        # Jitter last: a crop of 1000 needs times up to 2000 before jitter, and 4000 before scaling.
        (["time_scale(fraction=0.5)", "time_jitter(std_us=200)"], 3000),
        # Scaling last: 2000 before scaling, 3000 before jitter.
        (["time_jitter(std_us=200)", "rotation(degrees=9)", "time_scale(fraction=0.5)"], 2000),
        (["time_scale(fraction=0.9999999999999999)"], 2**32),
    ],
)
def test_the_margin_is_what_the_fastest_and_the_most_jittered_sample_needs(texts: list[str], margin_us: int) -> None:
    assert JITTER_REACH == 5
    assert seeded(*texts).margin_us(1000) == margin_us


@given(
    order=st.permutations(["time_jitter", "time_scale"]),
    length=st.integers(0, 2),
    std_us=st.integers(0, 10_000),
    fraction=st.floats(0.01, 0.9),
    crop_us=st.integers(1000, 1_000_000),
)
def test_what_lies_within_the_margin_can_come_into_the_crop_and_nothing_beyond(
    order: list[str], length: int, std_us: int, fraction: float, crop_us: int
) -> None:
    """With the smallest factor and jitter towards the crop; one microsecond either way is rounding."""
    start_us = 50_000
    amounts = {"time_jitter": std_us, "time_scale": fraction}
    steps = [augmentation(name, amounts[name]) for name in order[:length]]

    def ends_at(time_us: int, noise: int) -> int:
        draws = Forced(uniform=1 - fraction, noise=noise)
        augmenter = OnSensor(steps, (1, 1), draws)
        return int(augmenter(np.zeros(1, np.uint16), np.array([time_us]), start_us)[1][0])

    margin_us = Augmenter(steps, np.random.default_rng(0)).margin_us(crop_us)
    end_us = start_us + crop_us
    assert ends_at(end_us + margin_us - 2, -JITTER_REACH) < end_us
    assert ends_at(end_us + margin_us + 1, -JITTER_REACH) >= end_us
    assert ends_at(start_us - margin_us - 1, JITTER_REACH) < start_us


class OneSample:
    """A sample with events at these times on the one pixel of its sensor."""

    def __init__(self, time_us: Sequence[int], phase_us: int = 0) -> None:
        self._time_us, self._phase_us = time_us, phase_us

    def events(self, _: int) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
        address, time_us = np.zeros(len(self._time_us), np.uint16), np.array(self._time_us, np.uint32)
        address.flags.writeable = time_us.flags.writeable = False
        return address, time_us

    def phase_us(self, _: int) -> int:
        return self._phase_us


def bins_of(sample: OneSample, window: Window, crop_bins: int, augmenter: OnSensor) -> list[int]:
    """Return the bin of 10 ms of every event in the crop."""
    places = place_events(sample, [window], FrameFormat((1, 1), 10), crop_bins, augmenter.augmenter)  # type: ignore[arg-type]
    return (places // 2).tolist()


@pytest.mark.parametrize(
    ("std_us", "noise", "bins"),
    [
        # Events at 19.5, 20.5, 39.5 and 40.5 ms; the crop is from 20 to 40 ms.
        (1000, 0, [0, 1]),
        (1000, 1, [0, 0]),
        (1000, -1, [1, 1]),
        (100, 5, [0, 0]),
        (100, -5, [0, 1]),
        # Beyond the reach of 5 standard deviations the last event is not looked for.
        (100, -5.5, [1]),
    ],
)
def test_events_near_the_edges_jitter_into_the_crop_and_out_of_it(std_us: int, noise: float, bins: list[int]) -> None:
    sample = OneSample([19_500, 20_500, 39_500, 40_500, 60_000])
    jitter = forced("time_jitter", std_us, noise=noise)
    assert bins_of(sample, Window(0, 2, 6), 2, jitter) == bins


def test_jitter_brings_no_event_before_the_samples_start_into_the_crop() -> None:
    """The sample begins 0.9 ms after a full one, so its first bin has room before it."""
    sample = OneSample([0, 5_000, 60_000], phase_us=900)
    assert bins_of(sample, Window(0, 0, 6), 2, forced("time_jitter", 100, noise=-1)) == [0]


@pytest.mark.parametrize(("factor", "per_bin"), [(0.5, 20), (1, 10), (1.25, 8)])
def test_a_sample_at_another_speed_fills_the_crop_to_its_end(factor: float, per_bin: int) -> None:
    """One event a millisecond: at a factor of 0.5 twice as many fall into a bin of 10 ms."""
    sample = OneSample(range(0, 200_001, 1000))
    bins = bins_of(sample, Window(0, 3, 20), 5, forced("time_scale", 0.5, uniform=factor))
    assert np.bincount(bins).tolist() == [per_bin] * 5


# Laws of all


@given(steps=pipelines, sensor=sensors, dtype=dtypes, seed=st.integers(0, 2**32))
def test_no_event_is_invented_and_inputs_stay_as_they_are(
    steps: list[Any], sensor: tuple[int, int], dtype: type, seed: int
) -> None:
    address, time_us = draw_events(seed, sensor, dtype)
    before = address.copy(), time_us.copy()
    left, left_us = OnSensor(steps, sensor, np.random.default_rng(seed))(address, time_us, 20_000)
    assert left.dtype == dtype
    assert left_us.dtype == np.int64
    assert len(left) == len(left_us) <= len(address)
    assert left.size == 0 or left.max() < 2 * sensor[0] * sensor[1]
    assert (address == before[0]).all()
    assert (time_us == before[1]).all()
    names = {type(step).__name__ for step in steps}
    if not {"EventDrop", "SpatialShift", "Rotation"} & names:
        assert len(left) == len(address)
    if not {"TimeJitter", "TimeScale"} & names:
        assert set(left_us.tolist()) <= set(time_us.tolist())
    if "PolarityFlip" not in names:
        assert (left % 2 == 1).sum() <= (address % 2 == 1).sum()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize(
    "text",
    [
        "event_drop(probability=0)",
        "time_jitter(std_us=0)",
        "spatial_shift(pixels=0)",
        "polarity_flip(probability=0)",
        "rotation(degrees=0)",
    ],
)
def test_an_amount_of_zero_changes_nothing(text: str, dtype: type) -> None:
    for sensor in [(5, 7), (6, 4), (1, 1)]:
        address, time_us = draw_events(3, sensor, dtype)
        same, same_us = seeded(text, sensor=sensor)(address, time_us, 20_000)
        assert same.tolist() == address.tolist()
        assert same_us.tolist() == time_us.tolist()


def test_addresses_of_32_bits_are_not_cut() -> None:
    """480 rows of 640 columns: the last address is 614399."""
    sensor = (480, 640)
    for augmenter in (
        forced("spatial_shift", 1, sensor, integers=(-1, -1)),
        forced("rotation", 180, sensor, uniform=180),
        forced("polarity_flip", 1, sensor),
    ):
        address, _ = augmenter(encode([(479, 639, 1)], 640, np.uint32), np.zeros(1, np.int64), 0)
        expected = {"SpatialShift": (478, 638, 1), "Rotation": (0, 0, 1), "PolarityFlip": (479, 639, 0)}
        assert decode(address, 640) == [expected[type(augmenter.steps[0]).__name__]]


def test_augmentations_are_applied_in_their_order() -> None:
    """On 1 row of 3: half a turn takes column 0 to 2, from which a shift to the right leaves the sensor."""
    turn, shift = augmentation("rotation", 180), augmentation("spatial_shift", 1)
    draws: Any = Forced(uniform=180, integers=(0, 1))
    assert moved(OnSensor([turn, shift], (1, 3), draws), [(0, 0, 0), (0, 2, 0)]) == {1: (0, 1, 0)}
    assert moved(OnSensor([shift, turn], (1, 3), draws), [(0, 0, 0), (0, 2, 0)]) == {0: (0, 1, 0)}


@pytest.mark.parametrize("texts", [*[(text,) for text in TEXTS], TEXTS])
def test_equal_seeds_give_equal_events_and_others_other_events(texts: tuple[str, ...]) -> None:
    address, time_us = draw_events(0, (9, 9), np.uint16)

    def crops(seed: int) -> list[tuple[list[int], list[int]]]:
        augmenter = seeded(*texts, seed=seed)
        pairs = [augmenter(address, time_us, 20_000) for _ in range(8)]
        return [(left.tolist(), left_us.tolist()) for left, left_us in pairs]

    assert crops(1) == crops(1)
    assert crops(1) != crops(2)
    assert len({str(crop) for crop in crops(1)}) > 1


@pytest.mark.parametrize("sensor", [(9, 9), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_crops_without_events_stay_empty(sensor: tuple[int, int], dtype: type) -> None:
    left, left_us = seeded(*TEXTS, sensor=sensor)(np.empty(0, dtype), np.empty(0, np.int64), 0)  # type: ignore[arg-type]
    assert (left.tolist(), left_us.tolist(), left.dtype) == ([], [], dtype)


# Places in frames, as the version before gave them whose augmentations were no classes

EARLIER = {
    (0, TEXTS[0]): "4da4e6b1c43493d3",
    (0, TEXTS[1]): "58ad840474689e05",
    (0, TEXTS[2]): "9e89c213be7ce722",
    (0, TEXTS[3]): "62f44ccf21547764",
    (0, TEXTS[4]): "f598eed3c87a382d",
    (0, TEXTS[5]): "9c8e48edbc352127",
    (0, *TEXTS): "1555a64d8c7f369c",
    (0, *TEXTS[::-1]): "686385578173bcfe",
    (9, TEXTS[0]): "7c65e16a23df05bd",
    (9, TEXTS[1]): "19b026a3908e9e5c",
    (9, TEXTS[2]): "5e9a16a323a138fc",
    (9, TEXTS[3]): "d43ecf3cd27cf272",
    (9, TEXTS[4]): "0420efe7f5e366a9",
    (9, TEXTS[5]): "5a82471bc870460f",
    (9, *TEXTS): "4e621e65df102d18",
    (9, *TEXTS[::-1]): "e5544f9cc39239ce",
}


class Drawn(OneSample):
    """A sample of 24 × 32 pixels that begins 0.321 ms after a full one."""

    def events(self, _: int) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
        rng = np.random.default_rng(5)
        address = rng.integers(0, 2 * 24 * 32, 5000).astype(np.uint16)
        time_us = np.sort(rng.integers(0, 400_000, 5000)).astype(np.uint32)
        address.flags.writeable = time_us.flags.writeable = False
        return address, time_us


@pytest.mark.parametrize(("first", "digest"), EARLIER.items())
def test_augmentations_place_events_as_before_to_the_last_bit(first: tuple[Any, ...], digest: str) -> None:
    start_bin, *texts = first
    sample: Any = Drawn([], phase_us=321)
    augmenter = Augmenter([*map(parsed, texts)], np.random.default_rng(7))
    found = hashlib.sha256()
    for _ in range(5):
        windows = [Window(0, start_bin, 40)] * 2
        found.update(place_events(sample, windows, FrameFormat((24, 32), 10), 15, augmenter).tobytes())
    assert found.hexdigest()[:16] == digest


# In batches


def test_augmentation_changes_training_frames_never_those_of_evaluation(tmp_path: Path) -> None:
    write_samples(tmp_path / "a.parquet", [small.sample(0, row, 400) for row in range(6)], small.SENSOR, {})
    samples = Samples([read_table(tmp_path / "a.parquet")])
    part = BatchSource(samples, np.arange(6), FrameFormat(small.SENSOR, 20), 5, torch.device("cpu"))

    def epoch(seed: int | None) -> torch.Tensor:
        augmenter = None if seed is None else seeded(*TEXTS, sensor=small.SENSOR, seed=seed).augmenter
        batches = part.training(4, "random", np.random.default_rng(0), None, augmenter)
        return torch.cat([view.clone() for batch in batches for view in batch.views], dim=1)

    def evaluation() -> torch.Tensor:
        return torch.cat([view.clone() for batch in part.evaluation(4) for view in batch.views], dim=1)

    before = evaluation()
    assert torch.equal(epoch(1), epoch(1))
    assert epoch(1).shape == epoch(None).shape
    assert not torch.equal(epoch(1), epoch(None))
    assert not torch.equal(epoch(1), epoch(2))
    assert torch.equal(evaluation(), before)

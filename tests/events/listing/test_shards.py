"""Arrays of events as samples, and samples in shards."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import DTypeLike

from sltune.errors import DataError
from sltune.events.listing import shards
from sltune.events.listing.shards import Item, find_sensor, pack, read_sample
from tests.events.conftest import refused

SENSOR = (20, 30)
Row = tuple[float, float, float, float]


def item(*rows: Row, name: str = "a", t: DTypeLike = np.int64, p: DTypeLike = np.int64, xy: DTypeLike = int) -> Item:
    """Return an item of rows of x, y, t, p."""
    events = np.array(list(rows), dtype=[("x", xy), ("y", xy), ("t", t), ("p", p)])
    return Item(name, name, "user", 1, "dog", 0, lambda: events, lambda: hashlib.sha256(events.tobytes()).hexdigest())


def test_address_times_and_start_are_those_worked_out_by_hand() -> None:
    """In a sensor 30 wide: (2·30 + 29)·2 + 1, (19·30 + 0)·2 + 0."""
    sample = read_sample(item((29, 2, 1_000_500, 1), (0, 19, 1_000_000, 0), (0, 0, 1_000_007, 1)), SENSOR)
    assert sample.address.tolist() == [179, 1140, 1]
    assert (sample.start_us, sample.time_us.tolist()) == (1_000_000, [500, 0, 7])
    assert (sample.sample_id, sample.recording, sample.subject, sample.session) == ("a", "a", "user", "")
    assert (sample.label, sample.gesture) == (1, "dog")
    assert (sample.address.dtype, sample.time_us.dtype) == (np.uint16, np.uint32)


@pytest.mark.parametrize(
    ("sensor", "dtype"), [((128, 256), np.uint16), ((181, 182), np.uint32), ((720, 1280), np.uint32)]
)
def test_addresses_have_32_bits_where_16_are_too_few(sensor: tuple[int, int], dtype: DTypeLike) -> None:
    """2·128·256 is 65,536 exactly, 2·181·182 is 65,884."""
    height, width = sensor
    sample = read_sample(item((width - 1, height - 1, 0, 1)), sensor)
    assert sample.address.tolist() == [2 * height * width - 1]
    assert sample.address.dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(bool, False, True), (np.uint8, 0, 1), (np.int8, -1, 1), (np.float32, -1.0, 1.0)]
)
def test_polarity_becomes_0_and_1_however_it_is_written(dtype: DTypeLike, low: float, high: float) -> None:
    sample = read_sample(item((0, 0, 0, high), (0, 0, 1, low), p=dtype), SENSOR)
    assert sample.address.tolist() == [1, 0]


@pytest.mark.parametrize("values", [(0, 2), (0, -1), (0.5, 1), (3, 1)])
def test_another_polarity_is_refused(values: tuple[float, float]) -> None:
    with refused(DataError, "a: p"):
        read_sample(item((0, 0, 0, values[0]), (0, 0, 1, values[1]), p=float), SENSOR)


def test_the_event_of_a_wrong_polarity_is_named() -> None:
    with refused(DataError, "a: polarity 2 of event 1 is neither 0 or 1"):
        read_sample(item((0, 0, 0, 0), (0, 0, 0, 2)), SENSOR)


@pytest.mark.parametrize(
    ("t", "times", "start_us", "expected"),
    [
        pytest.param(np.float64, [7.0, 5.0, 6.0], 5, [2, 0, 1], id="whole numbers as floats, not in order"),
        pytest.param(np.int64, [-20, 3], 0, [0, 23], id="negative"),
        pytest.param(np.int32, [-(2**31), 2**31 - 1], 0, [0, 2**32 - 1], id="as long as can be, in 32 bits"),
        pytest.param(np.uint64, [2**63, 2**63 + 9], 2**63, [0, 9], id="the epoch of another clock"),
    ],
)
def test_times_count_from_the_earliest_and_keep_the_order_of_the_file(
    t: DTypeLike, times: list[int], start_us: int, expected: list[int]
) -> None:
    events = np.zeros(len(times), dtype=[("x", int), ("y", int), ("t", t), ("p", int)])
    events["t"] = np.array(times, dtype=t)
    sample = read_sample(replace(item(), read=lambda: events), SENSOR)
    assert (sample.start_us, sample.time_us.tolist()) == (start_us, expected)


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        pytest.param(item(), ["holds no events"], id="empty"),
        pytest.param(item((0, 0, 0, 1), (30, 1, 0, 1)), ["x=30, y=1 of event 1", "30x20"], id="right of the sensor"),
        pytest.param(item((0, 20, 0, 1)), ["x=0, y=20 of event 0", "30x20"], id="below the sensor"),
        pytest.param(item((-1, 0, 0, 1)), ["x=-1, y=0"], id="left of the sensor"),
        pytest.param(item((0, 0, 1.5, 1), t=float), ["t of event 0 is 1.5, no whole number"], id="half a microsecond"),
        pytest.param(item((0, 0, 1, 1), (0, 0, np.nan, 1), t=float), ["t of event 1 is nan"], id="no time"),
        pytest.param(item((0, 0, 1e300, 1), t=float), ["t of event 0 is 1e+300"], id="beyond 64 bits"),
        pytest.param(item((0.5, 0, 1, 1), xy=float), ["x of event 0 is 0.5"], id="half a pixel"),
        pytest.param(item((0, 0, 0, 1), (0, 0, 2**32, 1)), ["lasts 4294967296 µs"], id="too long"),
        pytest.param(item((0, 0, 0, 1), p="U4"), ["p has numbers of type <U4"], id="text"),
        pytest.param(replace(item(), read=lambda: np.zeros((3, 4))), ["no events with x, y, t, p"], id="no fields"),
    ],
)
def test_what_is_no_sample_is_refused(bad: Item, parts: list[str]) -> None:
    with refused(DataError, "a: ", *parts):
        read_sample(bad, SENSOR)


def test_events_in_a_column_as_matlab_has_them_are_one_row_each() -> None:
    column = replace(item(), read=lambda: item((0, 0, 0, 1), (1, 0, 5, 0)).read().reshape(-1, 1))
    assert read_sample(column, SENSOR).address.tolist() == [1, 2]


def test_bad_items_are_errors_that_name_what_is_lost_and_the_others_come() -> None:
    def absent() -> np.ndarray[tuple[int], np.dtype[np.void]]:
        raise DataError("b: cannot be read")

    bad = replace(item(name="b"), read=absent)
    late = item((0, 0, 9, 1), (0, 0, 3, 1), name="c")
    samples, findings = pack([item((0, 0, 0, 1)), bad, late], SENSOR)[0].load()
    assert [sample.sample_id for sample in samples] == ["a", "c"]
    assert [(str(finding), finding.is_error, finding.lost) for finding in findings] == [
        ("b: cannot be read", True, ("b",)),
        ("c: time goes backwards 1 times; sorted when read", False, ()),
    ]


def test_the_hash_changes_with_all_that_samples_depend_on_and_a_missing_file_does_not_stop_it() -> None:
    first = item((0, 0, 0, 1))

    def absent() -> str:
        raise DataError("a: no such file")

    variants = [
        first,
        replace(first, subject="other"),
        replace(first, label=2),
        replace(first, gesture="cat"),
        item((0, 0, 1, 1)),
        replace(first, sha256=absent),
    ]
    hashes = [pack([variant], SENSOR)[0].sha256() for variant in variants]
    hashes += [pack([first], (30, 20))[0].sha256(), pack([first, first], SENSOR)[0].sha256()]
    assert len(set(hashes)) == 8
    assert pack([first], SENSOR)[0].sha256() == hashes[0]


def test_items_are_packed_in_order_and_one_larger_than_a_shard_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 100)
    items = [replace(item(name=str(number)), size=size) for number, size in enumerate([60, 40, 1, 300, 99])]
    packed = pack(items, SENSOR)
    assert [(shard.name, shard.size) for shard in packed] == [
        ("shard-0000", 100),
        ("shard-0001", 1),
        ("shard-0002", 300),
        ("shard-0003", 99),
    ]


def test_the_sensor_is_the_smallest_that_holds_all_events_of_readable_items() -> None:
    items = [item((3, 9, 0, 1), (4, 0, 0, 1)), item(name="empty"), item((0, 2, 0, 0))]
    assert find_sensor(items) == (10, 5)
    with refused(DataError, "empty: holds no events"):
        find_sensor(items[1:2])
    with refused(DataError, "100000x100000 pixels"):
        find_sensor([item((99_999, 99_999, 0, 1))])


def test_an_item_of_which_the_name_is_not_utf_8_is_refused() -> None:
    with refused(DataError, r"'b\udcff': its name is not UTF-8; rename it"):
        pack([item((0, 0, 0, 0)), item((0, 0, 0, 0), name="b\udcff")], SENSOR)

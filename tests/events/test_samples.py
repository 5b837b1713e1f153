"""Samples as read-only views over Arrow tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sltune.events.samples import RecordingInfo, Samples
from sltune.events.store import Sample, read_table
from tests.small import write_samples


def sample(
    name: str, recording: str, address: list[int], time_us: list[int], label: int = 0, start_us: int = 0
) -> Sample:
    subject, session = recording.split("_")
    events = np.array(address, np.uint16), np.array(time_us, np.uint32)
    return Sample(name, recording, subject, session, label, "sign", start_us, *events)


@pytest.fixture
def tables(tmp_path: Path) -> list[pa.Table]:
    """Two files; the second holds two recordings, in turns."""
    files = [
        [sample("a1", "a_S1", [1, 2, 3], [0, 5, 5], label=4), sample("a2", "a_S1", [4], [0], label=2)],
        [
            sample("c1", "c_S3", [9, 8, 7, 6, 5], [7, 3, 7, 0, 3], label=1, start_us=10**9 + 999),
            sample("b1", "b_S2", [11, 12], [0, 1001], start_us=1999),
            sample("c2", "c_S3", [13, 14], [0, 2**32 - 1]),
        ],
    ]
    for number, rows in enumerate(files):
        write_samples(tmp_path / f"{number}.parquet", rows, (128, 128), {})
    return [read_table(tmp_path / f"{number}.parquet") for number in range(2)]


def test_samples_stand_in_the_order_of_tables_and_rows(tables: list[pa.Table]) -> None:
    samples = Samples(tables)
    assert len(samples) == 5
    assert samples.sample_id == ["a1", "a2", "c1", "b1", "c2"]
    assert samples.label.tolist() == [4, 2, 1, 0, 0]
    assert samples.label.dtype == np.int64
    assert [samples.events(index)[0].tolist() for index in (0, 1, 3)] == [[1, 2, 3], [4], [11, 12]]
    assert [samples.events(index)[1].tolist() for index in (0, 1, 3)] == [[0, 5, 5], [0], [0, 1001]]


def test_recordings_stand_once_in_the_order_of_the_files(tables: list[pa.Table]) -> None:
    assert Samples(tables).recordings() == [
        RecordingInfo("a_S1", "a", "S1"),
        RecordingInfo("c_S3", "c", "S3"),
        RecordingInfo("b_S2", "b", "S2"),
    ]


def test_indices_follow_the_recordings_asked_for_and_the_rows_within(tables: list[pa.Table]) -> None:
    samples = Samples(tables)
    assert samples.indices_of(["c_S3", "a_S1"]).tolist() == [2, 4, 0, 1]
    assert samples.indices_of([]).tolist() == []
    assert samples.indices_of([]).dtype == np.int64


def test_a_sample_out_of_order_is_sorted_and_equal_times_keep_their_order(tables: list[pa.Table]) -> None:
    address, time_us = Samples(tables).events(2)
    assert time_us.tolist() == [0, 3, 3, 7, 7]
    assert address.tolist() == [6, 8, 5, 9, 7]


def test_many_equal_times_keep_their_order_too(tmp_path: Path) -> None:
    """Short arrays are sorted stably by any method; these 300 events have the times 2, 1, 0, 2, 1, 0 …"""
    events = [(2 - number % 3, number) for number in range(300)]
    times, addresses = ([event[part] for event in events] for part in (0, 1))
    write_samples(tmp_path / "a.parquet", [sample("a1", "a_S1", addresses, times)], (128, 128), {})
    address, time_us = Samples([read_table(tmp_path / "a.parquet")]).events(0)
    in_order = sorted(events, key=lambda event: event[0])
    assert time_us.tolist() == [time for time, _ in in_order]
    assert address.tolist() == [number for _, number in in_order]


def test_times_of_a_sample(tables: list[pa.Table]) -> None:
    """b1 runs from 1999 to 3000 µs: from millisecond 1 to 3. c1 begins 1 µs before a full millisecond."""
    samples = Samples(tables)
    assert [samples.phase_us(index) for index in (0, 2, 3)] == [0, 999, 999]
    assert [samples.duration_us(index) for index in (0, 2, 3, 4)] == [5, 7, 1001, 2**32 - 1]
    assert [samples.last_ms(index) for index in (0, 2, 3, 4)] == [0, 1, 2, 4294967]


def test_milliseconds_are_those_of_the_cameras_32_bits_however_often_its_clock_has_wrapped(tmp_path: Path) -> None:
    """2³² mod 1000 is 296: what the camera calls 620900 µs is 4295588196 µs after one wrap, 8590555492 after two."""
    starts = [620_900, 4_295_588_196, 8_590_555_492, 2**32 - 1, 2**32]
    rows = [sample(f"a{row}", "a_S1", [1, 2], [0, 99], start_us=start) for row, start in enumerate(starts)]
    write_samples(tmp_path / "a.parquet", rows, (128, 128), {})
    samples = Samples([read_table(tmp_path / "a.parquet")])
    # 2³² − 1 = 4294967 · 1000 + 295.
    assert [samples.phase_us(index) for index in range(5)] == [900, 900, 900, 295, 0]
    assert [samples.last_ms(index) for index in range(5)] == [0, 0, 0, 0, 0]


def test_events_are_views_of_arrows_own_buffers(tables: list[pa.Table]) -> None:
    samples = Samples(tables)
    address = tables[1]["address"].chunk(0).values.to_numpy(zero_copy_only=True)
    time_us = tables[1]["time_us"].chunk(0).values.to_numpy(zero_copy_only=True)
    for index in (3, 4):
        assert np.shares_memory(samples.events(index)[0], address)
        assert np.shares_memory(samples.events(index)[1], time_us)


def test_no_event_can_be_written(tables: list[pa.Table]) -> None:
    samples = Samples(tables)
    for index in range(len(samples)):
        for part in samples.events(index):
            with pytest.raises(ValueError, match="read-only"):
                part[0] = 1


def test_slices_and_pieces_of_tables_give_the_same_samples(tables: list[pa.Table]) -> None:
    whole = Samples(tables)
    pieces = Samples([tables[0].slice(1), pa.concat_tables([tables[1].slice(0, 1), tables[1].slice(1)])])
    assert pieces.sample_id == whole.sample_id[1:]
    for index in range(len(pieces)):
        for mine, theirs in zip(pieces.events(index), whole.events(index + 1), strict=True):
            assert mine.tolist() == theirs.tolist()


def test_no_tables_are_no_samples() -> None:
    samples = Samples([])
    assert len(samples) == 0
    assert samples.recordings() == []

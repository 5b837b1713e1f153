"""Laws of the event path that hold for all recordings, tags and crops."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sltune.events.dataset import open_dataset
from sltune.events.formats.aedat import read_aedat, write_aedat
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.events.importing import import_source
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.source import Source, SourceFile
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.store import Sample, encode_samples
from tests.events.conftest import aedat_bytes

SENSOR = (9, 8)
ADDRESSES = 2 * SENSOR[0] * SENSOR[1]
HALF = 2**31

one_line = st.text(st.characters(codec="latin-1", exclude_categories=["Cc", "Zs"]), max_size=30)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Addresses, special ones among them, and times that mostly rise, sometimes fall, and may wrap."""
    count = draw(st.integers(19, 150))
    address = draw(st.lists(st.integers(0, 0xFFFF), min_size=count, max_size=count))
    steps = draw(st.lists(st.integers(-50, 40_000), min_size=count, max_size=count))
    first = draw(st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 10**6, 2**32 - 1)))
    return address, ((first + np.cumsum(steps)) % 2**32).tolist()


@given(
    events=st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)), min_size=1, max_size=60),
    comments=st.lists(one_line, max_size=3),
)
def test_write_read_write_is_the_identity(events: list[tuple[int, int]], comments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "1.aedat", Path(folder) / "2.aedat"
        write_aedat(first, *zip(*events, strict=True), comments)
        recording = read_aedat(first)
        write_aedat(second, recording.address, recording.time_us, recording.comments)
        assert second.read_bytes() == first.read_bytes()


@settings(max_examples=60)
@given(recording=recordings(), data=st.data())
def test_every_stored_sample_is_its_slice_of_the_source(
    recording: tuple[list[int], list[int]], data: st.DataObject
) -> None:
    address, time_us = recording
    bounds = sorted(data.draw(st.lists(st.integers(0, len(address)), min_size=38, max_size=38)))
    labels = data.draw(st.permutations(range(1, 20)))
    tags = [(label, *bounds[2 * row : 2 * row + 2]) for row, label in enumerate(labels)]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "data"
        for part in ("recordings", "tags"):
            (source / part).mkdir(parents=True)
        (source / "recordings" / "user00_indoor.aedat").write_bytes(aedat_bytes(address, time_us))
        rows = ["class,startTime_ev,endTime_ev", *(",".join(map(str, tag)) for tag in tags)]
        (source / "tags" / "user00_indoor.csv").write_text("\n".join(rows))
        expected = {
            f"user00_indoor_{row:02d}": (label - 1, [i for i in range(start, end) if address[i] < 0x8000])
            for row, (label, start, end) in enumerate(tags, start=1)
        }
        whole = {name: rows for name, rows in expected.items() if rows[1]}
        if not whole:
            return
        import_source(open_slanimals(source), out, skip_bad=True)
        dataset = open_dataset(out)
        assert {left.name for left in dataset.manifest.left_out} == expected.keys() - whole.keys()
        assert dataset.samples.sample_id == list(whole)
        for index, (label, events) in enumerate(whole.values()):
            times = unwrapped([time_us[i] for i in events])
            order = sorted(range(len(events)), key=lambda i: times[i])
            stored_address, stored_us = dataset.samples.events(index)
            assert dataset.samples.label[index] == label
            assert stored_address.tolist() == [address[events[i]] for i in order]
            assert stored_us.tolist() == [times[i] - min(times) for i in order]


def unwrapped(time_us: Sequence[int]) -> list[int]:
    """Continue times over 2³² one by one; the slices here span far less than half of that."""
    out = [time_us[0]]
    for raw in time_us[1:]:
        step = (raw - out[-1]) % 2**32
        out.append(out[-1] + (step if step < HALF else step - 2**32))
    return out


@st.composite
def stored_samples(draw: st.DrawFn, most: int = 4) -> list[Sample]:
    """Samples on a small sensor, a few of them with times that go backwards."""
    rows = []
    for number in range(draw(st.integers(1, most))):
        count = draw(st.integers(1, 40))
        times = draw(st.lists(st.integers(0, 90_000), min_size=count, max_size=count))
        time_us = np.array(times if draw(st.booleans()) else sorted(times))
        address = draw(st.lists(st.integers(0, ADDRESSES - 1), min_size=count, max_size=count))
        start_us = draw(st.integers(0, 10**7))
        events = np.array(address, np.uint16), (time_us - time_us.min()).astype(np.uint32)
        rows.append(Sample(f"s{number}", f"r{number}", f"u{number}", "S1", 0, "sign", start_us, *events))
    return rows


def in_memory(rows: Sequence[Sample]) -> Samples:
    return Samples([pq.read_table(pa.BufferReader(encode_samples(rows, SENSOR, {})))])


def counts(samples: Samples, windows: Sequence[Window], frames: FrameFormat, crop_bins: int) -> NDArray[np.int64]:
    """Return frames of shape (T, B, values of a frame)."""
    places = place_events(samples, windows, frames, crop_bins)
    shape = (crop_bins, len(windows), frames.values)
    return np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)


def bins_by_hand(sample: Sample, time_bin_ms: int) -> list[int]:
    """Return the bin of each event as the format defines it."""
    return [(sample.start_us % 1000 + int(time_us)) // 1000 // time_bin_ms for time_us in sample.time_us]


windows_of = st.tuples(st.integers(1, 30), st.integers(0, 12), st.integers(1, 12))
"""time_bin_ms, first bin and bins of a crop."""


@given(rows=stored_samples(), crop=windows_of, downsample=st.sampled_from([1, 2, 4]))
def test_count_frames_conserve_the_events_of_a_crop(
    rows: list[Sample], crop: tuple[int, int, int], downsample: int
) -> None:
    time_bin_ms, start, crop_bins = crop
    samples, frames = in_memory(rows), FrameFormat(SENSOR, time_bin_ms, downsample=downsample)
    edge = SENSOR[0] // downsample * downsample
    for index, sample in enumerate(rows):
        bins = max(1, samples.last_ms(index) // time_bin_ms)
        made = counts(samples, [Window(index, start, bins)], frames, crop_bins)
        inside = [
            bin_
            for bin_, address in zip(bins_by_hand(sample, time_bin_ms), sample.address.tolist(), strict=True)
            if start <= bin_ < min(start + crop_bins, bins) and address // 2 // SENSOR[1] < edge
        ]
        assert made.sum(axis=(1, 2)).tolist() == [inside.count(start + step) for step in range(crop_bins)]


@given(rows=stored_samples(), crop=windows_of)
def test_the_frames_of_a_crop_are_a_crop_of_the_frames(rows: list[Sample], crop: tuple[int, int, int]) -> None:
    time_bin_ms, start, crop_bins = crop
    samples, frames = in_memory(rows), FrameFormat(SENSOR, time_bin_ms)
    for index in range(len(rows)):
        bins = max(1, samples.last_ms(index) // time_bin_ms)
        whole = counts(samples, [Window(index, 0, bins)], frames, max(bins, start + crop_bins))
        cropped = counts(samples, [Window(index, start, bins)], frames, crop_bins)
        assert np.array_equal(cropped, whole[start : start + crop_bins])


@given(rows=stored_samples(), crop=windows_of, data=st.data())
def test_a_samples_frames_do_not_depend_on_the_batch_that_it_is_in(
    rows: list[Sample], crop: tuple[int, int, int], data: st.DataObject
) -> None:
    time_bin_ms, start, crop_bins = crop
    samples, frames = in_memory(rows), FrameFormat(SENSOR, time_bin_ms)
    batch = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6))
    windows = [Window(index, start, max(1, samples.last_ms(index) // time_bin_ms)) for index in batch]
    together = counts(samples, windows, frames, crop_bins)
    for slot, window in enumerate(windows):
        assert np.array_equal(together[:, slot], counts(samples, [window], frames, crop_bins)[:, 0])


def fingerprint_of(files: Sequence[Sequence[Sample]]) -> str:
    parts = tuple(
        SourceFile(f"f{number}", str, lambda rows=rows: (list(rows), [])) for number, rows in enumerate(files)
    )
    with tempfile.TemporaryDirectory() as folder:
        return import_source(Source("x", False, SENSOR, ("sign",), parts), Path(folder)).fingerprint


@settings(max_examples=30)
@given(rows=stored_samples(), data=st.data())
def test_the_fingerprint_does_not_depend_on_the_order_or_the_number_of_files(
    rows: list[Sample], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows) - 1))
    assert fingerprint_of([shuffled[: cut + 1], shuffled[cut + 1 :]][: 1 + (cut + 1 < len(rows))]) == fingerprint_of(
        [[sample] for sample in rows]
    )


@settings(max_examples=30)
@given(rows=stored_samples(), data=st.data())
def test_the_fingerprint_changes_with_any_event(rows: list[Sample], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(rows) - 1))
    event = data.draw(st.integers(0, rows[which].events - 1))
    kind = data.draw(st.sampled_from(["address", "time_us", "more", "other start"]))
    sample = rows[which]
    address, time_us = sample.address.copy(), sample.time_us.copy()
    start_us = sample.start_us
    if kind == "address":
        address[event] ^= 1
    elif kind == "time_us":
        time_us[event] += 1
    elif kind == "more":
        address, time_us = np.append(address, address[event]), np.append(time_us, time_us[event])
    else:
        start_us += 1
    changed = dataclasses.replace(sample, address=address, time_us=time_us, start_us=start_us)
    assert fingerprint_of([[*rows[:which], changed, *rows[which + 1 :]]]) != fingerprint_of([rows])


@settings(max_examples=20)
@given(rows=stored_samples())
def test_digests_can_be_made_again_from_files_of_another_compression(rows: list[Sample]) -> None:
    """So the fingerprint is of what is stored and not of how."""
    table = pq.read_table(pa.BufferReader(encode_samples(rows, SENSOR, {})))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="gzip", row_group_size=1)
    sink.seek(0)
    for row in pq.read_table(sink).to_pylist():
        facts = {name: row[name] for name in ("sample_id", "recording", "subject", "session", "label", "gesture")}
        events = np.array(row["address"], np.uint16), np.array(row["time_us"], np.uint32)
        assert Sample(**facts, start_us=row["start_us"], address=events[0], time_us=events[1]).digest == row["digest"]


def test_a_dataset_can_be_moved(dataset: Path, tmp_path: Path) -> None:
    fingerprint = read_manifest(dataset).fingerprint
    moved = dataset.rename(tmp_path / "moved")
    assert open_dataset(moved).manifest.fingerprint == fingerprint
    assert len(open_dataset(moved).samples.events(0)[0]) > 0

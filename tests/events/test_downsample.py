"""Pixels merged at import: the frames are those of ``sampling.downsample`` on the full dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import sltune
from sltune.cli.main import main
from sltune.errors import DataError, UsageError
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.events.importing import import_source, merge_pixels
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.source import Source, SourceFile
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.store import Sample, encode_samples
from sltune.events.verify import verify_dataset
from tests.events.conftest import TinyFolder, refused


def sample(pixels: list[tuple[int, int, int]], width: int, time_us: list[int], start_us: int = 7) -> Sample:
    """Return a sample with events of (row, column, polarity)."""
    address = [(row * width + column) * 2 + polarity for row, column, polarity in pixels]
    return Sample("a_01", "a", "u", "", 0, "cat", start_us, np.array(address, np.uint16), np.array(time_us, np.uint32))


def places(one: Sample, frames: FrameFormat) -> list[int]:
    """Return where the events of a sample fall in its frames."""
    samples = Samples([pq.read_table(pa.BufferReader(encode_samples([one], frames.sensor, {})))])
    count = max(1, samples.last_ms(0) // frames.time_bin_ms)
    return place_events(samples, [Window(0, 0, count)], frames, count).tolist()


@given(st.data())
def test_frames_are_those_of_the_full_dataset_with_merged_pixels(data: st.DataObject) -> None:
    """The first and the last event lie in a whole pixel here, as a sample begins and ends with its events."""
    factor = data.draw(st.integers(2, 5))
    height, width = data.draw(st.tuples(st.integers(factor, 12), st.integers(factor, 12)))
    pixel = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1), st.integers(0, 1))
    events = data.draw(st.lists(pixel, min_size=0, max_size=20))
    time_us = sorted(data.draw(st.lists(st.integers(1, 99_999), min_size=len(events), max_size=len(events))))
    one = sample([(0, 0, 1), *events, (0, 0, 0)], width, [0, *time_us, 100_000])
    (merged,), findings = merge_pixels("f", [one], (height, width), factor)
    size = height // factor, width // factor
    assert places(merged, FrameFormat(size, 5)) == places(one, FrameFormat((height, width), 5, downsample=factor))
    left_out = sum(row // factor >= size[0] or column // factor >= size[1] for row, column, _ in events)
    expected = f"{left_out:,} events at the edges are left out, as they fill no whole pixel of {factor}×{factor}"
    assert [finding.text for finding in findings] == ([expected] if left_out else [])
    assert merged.events == one.events - left_out


def test_a_sample_whose_first_events_are_left_out_begins_with_the_next() -> None:
    one = sample([(4, 0, 0), (1, 1, 1), (3, 2, 0), (4, 4, 1)], 5, [0, 10, 30, 50], start_us=100)
    (merged,), _ = merge_pixels("f", [one], (5, 5), 2)
    assert (merged.start_us, merged.time_us.tolist(), merged.duration_us) == (110, [0, 20], 20)
    assert merged.address.tolist() == [(0 * 2 + 0) * 2 + 1, (1 * 2 + 1) * 2 + 0]


def source_of(*samples: Sample, sensor: tuple[int, int] = (5, 5), downsample: int = 1) -> Source:
    files = (SourceFile("f", lambda: "hash", lambda: (list(samples), [])),)
    return Source("mine", False, sensor, ("cat",), files, downsample=downsample)


def test_a_sample_that_lies_at_the_edge_alone_is_an_error_and_can_be_left_out(tmp_path: Path) -> None:
    inside, edge = sample([(0, 0, 0)], 5, [0]), replace(sample([(4, 4, 1)], 5, [0]), sample_id="a_02")
    source = source_of(inside, edge, downsample=2)
    with refused(DataError, "a_02: all of its events lie at the edges that fill no whole pixel of 2×2"):
        import_source(source, tmp_path / "data")
    assert [left.name for left in import_source(source, tmp_path / "data", skip_bad=True).left_out] == ["a_02"]


def test_addresses_outside_of_the_sensor_are_refused(tmp_path: Path) -> None:
    with refused(DataError, "a_01: has addresses outside of its sensor of 5x5 pixels"):
        import_source(source_of(sample([(5, 0, 0)], 5, [0]), downsample=2), tmp_path / "data")


def test_more_pixels_than_the_sensor_has_cannot_be_merged(tmp_path: Path) -> None:
    with refused(UsageError, "--downsample 6: the sensor has 5×5 pixels only"):
        import_source(source_of(sample([(0, 0, 0)], 5, [0]), downsample=6), tmp_path / "data")


@pytest.mark.parametrize("factor", [2, 4])
def test_an_import_with_merged_pixels_gives_the_frames_of_the_full_one(
    tiny_folder: TinyFolder, tmp_path: Path, factor: int
) -> None:
    folder = tiny_folder(names=["user35_dc"])
    arguments = ["import", str(folder), "--out", str(tmp_path / "cli"), "--downsample", str(factor), "-q"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    full = sltune.import_recordings(folder, tmp_path / "full", progress=False)
    small = sltune.import_recordings(folder, tmp_path / "small", downsample=factor, progress=False)
    assert read_manifest(tmp_path / "cli") == small.manifest
    side = 128 // factor
    assert (small.manifest.sensor, small.manifest.downsample, small.manifest.warnings) == ((side, side), factor, ())
    verify_dataset(small.root)
    for index in range(len(full)):
        counts = [dataset.frames(index, binning="count", downsample=n) for dataset, n in ((full, factor), (small, 1))]
        assert (counts[0] == counts[1]).all()


def test_an_import_with_another_factor_is_one_of_another_dataset(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = open_slanimals(tiny_folder(names=["user35_dc"])), tmp_path / "data"
    before = import_source(source, out)
    held, other = "holds SL-Animals-DVS of 128×128 pixels;", "for SL-Animals-DVS of 64×64 pixels, 2×2 merged into one"
    with refused(UsageError, f"{held} choose another --out {other}"):
        import_source(replace(source, downsample=2), out)
    assert read_manifest(out) == before


def test_what_a_killed_import_with_another_factor_has_left_is_read_again(
    tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    """The grid has 3×3 pixels by both factors."""
    source, out = open_slanimals(tiny_folder(names=["user35_dc"])), tmp_path / "data"
    import_source(replace(source, downsample=40), out)
    (out / "manifest.json").unlink()
    reused = list[bool]()
    manifest = import_source(replace(source, downsample=42), out, done=lambda done: reused.append(done.reused))
    assert manifest.sensor == (3, 3)
    assert reused == [False]
    again = import_source(replace(source, downsample=42), out, done=lambda done: reused.append(done.reused))
    assert (again, reused[-1]) == (manifest, True)


def test_less_than_one_pixel_cannot_be_merged(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    with refused(UsageError, "downsample must be at least 1, but got 0"):
        sltune.import_recordings(tiny_folder(), tmp_path / "data", downsample=0)

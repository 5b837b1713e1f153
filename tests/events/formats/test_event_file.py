"""The same events come out of every format, in the order of the file, on the file's own clock."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sltune.errors import DataError
from sltune.events.formats.event_file import EventFile, is_event_file, needs_time_unit, open_event_file
from sltune.events.formats.members import Member
from tests.events.conftest import refused
from tests.events.formats.writers import WRITERS, Events, random_events

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
EVERY = pytest.mark.parametrize("suffix", WRITERS)


def opened(file: Path | Member) -> EventFile:
    return open_event_file(file, "us" if needs_time_unit(file) else None)


def read(file: Path | Member) -> Events:
    """Return all events of a file."""
    blocks = list(opened(file).blocks())
    parts = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in ("x", "y", "t_us", "on")}
    types = [parts[name].dtype for name in parts]
    assert types == [np.uint16, np.uint16, np.int64, np.bool_]
    return Events(*(part.tolist() for part in parts.values()))


@pytest.mark.parametrize("count", [1, 21, 1024, 3002, 3001])
def test_each_way_to_write_a_chunk_of_ecf_gives_the_same_events(tmp_path: Path, count: int) -> None:
    events = random_events(np.random.default_rng(count), count, step_us=40 if count % 2 else 10_000_000)
    (tmp_path / "recording.h5").write_bytes(WRITERS["hdf5"](events))
    assert read(tmp_path / "recording.h5") == events


@pytest.mark.parametrize("suffix", sorted({*WRITERS} - {"hdf5"}))
@same_folder
@given(seed=st.integers(0, 10**6), count=st.integers(1, 300), step_us=st.sampled_from([0, 3, 100, 10_000]))
def test_every_format_gives_the_same_events(tmp_path: Path, suffix: str, seed: int, count: int, step_us: int) -> None:
    events = random_events(np.random.default_rng(seed), count, step_us)
    file = tmp_path / f"recording.{suffix}"
    file.write_bytes(WRITERS[suffix](events))
    assert read(file) == events


@EVERY
def test_a_long_recording_comes_in_blocks(tmp_path: Path, suffix: str) -> None:
    events = random_events(np.random.default_rng(1), 100_000, 20)
    file = tmp_path / f"recording.{suffix}"
    file.write_bytes(WRITERS[suffix](events))
    assert read(file) == events
    sizes = [len(block) for block in opened(file).blocks()]
    assert len(sizes) > 1
    assert max(sizes) < 1_200_000


@EVERY
def test_recordings_may_be_gzipped_and_zipped(tmp_path: Path, suffix: str) -> None:
    events = random_events(np.random.default_rng(2), 100)
    content = WRITERS[suffix](events)
    (tmp_path / f"one.{suffix}.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(f"one.{suffix}", content)
    for file in (Member(tmp_path / f"one.{suffix}.gz"), Member(tmp_path / "all.zip", f"one.{suffix}")):
        if suffix in ("npz", "hdf5"):
            with refused(DataError, file, "unpack"):
                read(file)
        else:
            assert read(file) == events
    assert is_event_file(tmp_path / f"ONE.{suffix.upper()}.GZ")
    assert not is_event_file(tmp_path / "all.zip")


@EVERY
def test_a_file_without_events_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"recording.{suffix}"
    file.write_bytes(WRITERS[suffix](Events([], [], [], [])))
    with refused(DataError, file, "no events"):
        read(file)

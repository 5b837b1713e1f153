"""The same events come out of every format, in the order of the file, on the file's own clock."""

from __future__ import annotations

import gzip
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tonic.io import read_mnist_file

from sltune.errors import DataError
from sltune.events.formats.aedat import read_aedat
from sltune.events.formats.blocks import Clock
from sltune.events.formats.event_file import Block, EventFile, is_event_file, needs_time_unit, open_event_file
from sltune.events.formats.members import Member, find_members
from tests.events.conftest import refused
from tests.events.formats.writers import FRAME_PIXELS, IMU_SAMPLES, SENSOR, WRITERS, Events, random_events

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
TONIC = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])
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


@pytest.mark.parametrize("count", [1, 3001, 3002])
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


@pytest.mark.parametrize(
    ("suffix", "bits"),
    [("bin", 23), ("dvs128.aedat", 32), ("davis240.aedat", 32), ("dat", 32), ("evt2.raw", 34), ("evt3.raw", 24)],
)
def test_times_go_on_where_the_clock_of_a_format_wraps(tmp_path: Path, suffix: str, bits: int) -> None:
    """Twice, with a step back over the first wrap, and then gaps of nearly half the clock's range."""
    end, half = 1 << bits, 1 << (bits - 1)
    t = [end - 50, end + 10, end - 20, end + 30, end + half - 100, 2 * end - 9000, 2 * end + 70]
    events = Events([1] * 7, [2] * 7, t, [True] * 7)
    file = tmp_path / f"recording.{suffix}"
    file.write_bytes(WRITERS[suffix](events))
    assert read(file) == events


@pytest.mark.parametrize("block", [1, 2, 9])
def test_a_step_of_half_the_clocks_range_is_kept_wherever_blocks_end(block: int) -> None:
    raw = np.array([5, 13, 5, 15, 1, 3, 12, 2], np.uint32)
    clock = Clock(4)
    times = [int(time) for first in range(0, len(raw), block) for time in clock.unwrap(raw[first : first + block])]
    assert times == [5, 13, 5, -1, 1, 3, -4, 2]


@pytest.mark.parametrize(
    ("suffix", "cut", "whole", "parts"),
    [
        ("npy", 5, 999, ("truncated at byte", "8 bytes follow event 999, where an event has 13")),
        ("bin", 3, 999, ("truncated at byte 4995", "2 bytes follow event 999")),
        ("dvs128.aedat", 1, 999, ("truncated at byte", "7 bytes follow event 999")),
        ("dat", 9, 998, ("truncated at byte", "7 bytes follow event 998")),
        ("evt2.raw", 2, 999, ("truncated at byte", "2 bytes follow")),
        ("evt3.raw", 1, 999, ("truncated at byte", "1 bytes follow")),
        ("aedat4", 1, 1000, ("packet at byte", "the file ends within it")),
        ("csv", 2, 0, ("p of event 999", "is empty")),
    ],
)
def test_a_file_that_is_cut_gives_its_whole_events_and_an_error(
    tmp_path: Path, suffix: str, cut: int, whole: int, parts: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(5)
    events = Events(*(rng.integers(100, size=1000).tolist() for _ in "xy"), list(range(1000)), [False] * 1000)
    file = tmp_path / f"recording.{suffix}"
    file.write_bytes(WRITERS[suffix](events)[:-cut])
    given: list[Block] = []
    with refused(DataError, file, *parts):
        given.extend(opened(file).blocks())
    assert sum(map(len, given)) == whole


def test_what_is_no_event_is_left_out_and_counted(tmp_path: Path) -> None:
    events = random_events(np.random.default_rng(6), 100)
    davis = {"triggers": 1, "pixels of frames": FRAME_PIXELS, "IMU samples": IMU_SAMPLES}
    left_out = {
        "davis240.aedat": davis,
        "davis346.aedat": davis,
        "aedat4": {"frames": 1, "IMU samples": 2},
        "evt2.raw": {"triggers": 1},
        "evt3.raw": {"triggers": 1},
        "hdf5": {"triggers": 3},
    }
    for suffix, counts in left_out.items():
        file = tmp_path / f"recording.{suffix}"
        file.write_bytes(WRITERS[suffix](events))
        recording = opened(file)
        for _ in range(2):
            assert sum(map(len, recording.blocks())) == 100
            assert recording.left_out == counts, suffix


def test_the_header_gives_the_size_of_the_sensor_where_the_format_has_one(tmp_path: Path) -> None:
    for suffix, write in WRITERS.items():
        file = tmp_path / f"recording.{suffix}"
        file.write_bytes(write(random_events(np.random.default_rng(7), 10)))
        stated = {"davis240.aedat": (180, 240), "davis346.aedat": (260, 346)}
        sensor = None if suffix in ("npy", "npz", "csv", "bin") else stated.get(suffix, SENSOR)
        assert opened(file).sensor == sensor, suffix


def test_events_outside_the_sensor_are_refused_or_where_cameras_write_them_counted(tmp_path: Path) -> None:
    height, width = SENSOR
    events = Events([0, width, 1], [0, 3, height], [1, 2, 3], [True] * 3)
    for suffix in ("dat", "aedat4", "hdf5"):
        file = tmp_path / f"recording.{suffix}"
        file.write_bytes(WRITERS[suffix](events))
        with refused(DataError, file, f"pixel x={width}, y=3 of event 1 lies outside the {width}x{height} sensor"):
            read(file)
    for suffix in ("evt2.raw", "evt3.raw"):
        file = tmp_path / f"recording.{suffix}"
        file.write_bytes(WRITERS[suffix](events))
        recording = opened(file)
        assert [block.t_us.tolist() for block in recording.blocks()] == [[1]]
        assert recording.left_out["events outside the sensor"] == 2


def test_events_before_the_first_time_are_left_out(tmp_path: Path) -> None:
    words = [1 << 28 | 5, 8 << 28 | 1, 1 << 28 | 6]
    (tmp_path / "two.raw").write_bytes(b"% evt 2.0\n" + np.array(words, "<u4").tobytes())
    words = [0, 2 << 12 | 5, 8 << 12 | 1, 6 << 12, 2 << 12 | 6]
    (tmp_path / "three.raw").write_bytes(b"% evt 3.0\n% end\n" + np.array(words, "<u2").tobytes())
    for name, x, y, t in (("two.raw", 0, 6, 64), ("three.raw", 6, 0, 4096)):
        recording = opened(tmp_path / name)
        (block,) = recording.blocks()
        assert (block.x.tolist(), block.y.tolist(), block.t_us.tolist()) == ([x], [y], [t])
        assert (recording.left_out, recording.sensor) == ({"events before the first time": 1}, None)


def test_the_unit_of_times_is_asked_for_where_the_format_leaves_it_open(tmp_path: Path) -> None:
    for suffix in WRITERS:
        file = tmp_path / f"recording.{suffix}"
        file.write_bytes(WRITERS[suffix](random_events(np.random.default_rng(8), 10)))
        assert needs_time_unit(file) == (suffix in ("npy", "npz", "csv"))
        if needs_time_unit(file):
            with refused(DataError, file, "does not say in which unit its times are", "--time-unit s, ms, us, ns"):
                open_event_file(file)
            with refused(DataError, file, "no unit 'min'"):
                open_event_file(file, "min")
        else:
            with refused(DataError, file, "defines the unit of times", "'us'"):
                open_event_file(file, "us")


def test_other_files_are_refused_by_their_names(tmp_path: Path) -> None:
    assert not is_event_file(tmp_path / "video.mp4")
    with refused(DataError, "video.mp4", "no known format", ".aedat4", ".csv"):
        open_event_file(tmp_path / "video.mp4")
    for suffix in WRITERS:
        with refused(DataError, f"absent.{suffix}", "cannot be read", "No such file"):
            read(tmp_path / f"absent.{suffix}")


def test_the_real_recording_of_a_dvs128_reads_as_by_the_decoder_of_tagged_ones(test_data: Path) -> None:
    file = test_data / "MovingDarkBox.aedat"
    if not file.is_file():
        pytest.skip("MovingDarkBox.aedat is absent")
    recording, events = read_aedat(file), read(file)
    assert events.x == (127 - (recording.address >> 1 & 127)).tolist()
    assert events.y == (127 - (recording.address >> 8)).tolist()
    assert events.t == recording.time_us.tolist()
    assert events.p == (recording.address & 1 == 0).tolist()


def test_real_samples_of_n_mnist_read_as_by_tonic(test_data: Path) -> None:
    place = test_data / "nmnist-small.zip"
    if not place.is_file():
        pytest.skip("nmnist-small.zip is absent")
    for member in [member for member in find_members(place) if member.suffix == ".bin"][::200]:
        expected = read_mnist_file(BytesIO(member.content()), TONIC, is_stream=True)
        assert read(member) == Events(*(expected[name].tolist() for name in "xytp"))

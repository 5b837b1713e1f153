"""Reading and writing AEDAT-2.0, and refusing everything else."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sltune.errors import DataError
from sltune.events.formats.aedat import encode_address, read_aedat, read_header, write_aedat
from sltune.events.formats.members import Member
from tests.events.conftest import BARE_HEADER, aedat_bytes, refused

END = "#End Of ASCII Header"
PREFERENCES = tuple(f'#   <entry key="DVS128.bias{number}" value="{number}"/>' for number in range(80))
ADDRESS = [0, 0x7FFF, 0x0123]
TIME_US = [10, 10, 35]

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@pytest.mark.parametrize(
    ("header", "end"),
    [
        pytest.param(BARE_HEADER, "\r\n", id="five bare lines"),
        pytest.param(BARE_HEADER, "\n", id="line feeds only"),
        pytest.param((*BARE_HEADER, *PREFERENCES), "\r\n", id="85 lines without an end marker"),
        pytest.param((*BARE_HEADER, *PREFERENCES, END), "\r\n", id="86 lines with an end marker"),
        pytest.param((*BARE_HEADER, "#" + 5000 * "x"), "\r\n", id="a line of 5000 characters"),
        pytest.param((*BARE_HEADER, "# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128"), "\r\n", id="names the DVS128"),
        pytest.param(("#!AER-DAT2.0 ", *BARE_HEADER[1:]), "\r\n", id="a blank after the first line"),
        pytest.param(("#!AER-DAT2.0\t  ", *BARE_HEADER[1:], END), "\n", id="blanks after the first line"),
    ],
)
def test_every_shape_of_header_leads_to_the_same_events(tmp_path: Path, header: tuple[str, ...], end: str) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes(ADDRESS, TIME_US, header, end))
    recording = read_aedat(file)
    assert recording.address.tolist() == ADDRESS
    assert recording.time_us.tolist() == TIME_US
    assert recording.header == tuple(line[1:].strip() for line in header if line != END)
    assert read_header(file) == recording.header
    assert recording.member == Member(file)


@pytest.mark.parametrize("blank", ["", " ", "\t "])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("before", [1, 3, 5, 6])
def test_blank_lines_in_a_header_are_no_events(tmp_path: Path, before: int, end: str, blank: str) -> None:
    """At the start, in between, at the end of a header without a mark, and before its mark."""
    header = [*BARE_HEADER, END] if before == 6 else [*BARE_HEADER]
    header[min(before, 5) : min(before, 5)] = [blank, blank]
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes(ADDRESS, TIME_US, header, end))
    recording = read_aedat(file)
    assert (recording.address.tolist(), recording.time_us.tolist()) == (ADDRESS, TIME_US)
    assert recording.header == tuple(line[1:].strip() for line in BARE_HEADER)


def test_a_hash_byte_inside_the_first_event_is_no_header_line(tmp_path: Path) -> None:
    """0x23 is '#': here in all bytes of the first event in which a DVS128 can have it."""
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes([0x2323, 1], [0x23232323, 0x23232324]))
    assert read_aedat(file).address.tolist() == [0x2323, 1]
    assert read_aedat(file).time_us.tolist() == [0x23232323, 0x23232324]


def test_after_the_end_marker_a_first_event_with_a_hash_is_read_as_an_event(tmp_path: Path) -> None:
    """Its address lies beyond 15 bits; that is what must be said, at the right byte, instead of a shifted body."""
    file = tmp_path / "user00_indoor.aedat"
    header = (*BARE_HEADER, END)
    file.write_bytes(aedat_bytes([0x2341000A, 1], [5, 6], header))
    start = sum(len(line) + 2 for line in header)
    with refused(DataError, file, "event 0", f"byte {start}", "0x2341000a", "DVS128"):
        read_aedat(file)


def test_times_above_2_to_the_31_are_positive(tmp_path: Path) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes([1, 2], [2**31 - 1, 2**32 - 1]))
    assert read_aedat(file).time_us.tolist() == [2147483647, 4294967295]


@pytest.mark.parametrize(
    ("raw", "unwrapped"),
    [
        pytest.param([2**32 - 2, 1], [2**32 - 2, 2**32 + 1], id="one"),
        pytest.param(
            [0, 2 * 10**9, 4 * 10**9, 1705032704, 3705032704, 1410065408],
            [0, 2 * 10**9, 4 * 10**9, 6 * 10**9, 8 * 10**9, 10 * 10**9],
            id="two",
        ),
        pytest.param([2**32 - 1, 0, 2**32 - 1, 1], [2**32 - 1, 2**32, 2**32 - 1, 2**32 + 1], id="back over it"),
        pytest.param([0, 2**32 - 1, 1], [2**32, 2**32 - 1, 2**32 + 1], id="begins behind it and steps back"),
        pytest.param([50, 40, 60], [50, 40, 60], id="none, a small step back is kept"),
    ],
)
def test_times_continue_over_the_wrap(tmp_path: Path, raw: list[int], unwrapped: list[int]) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes([0] * len(raw), raw))
    assert read_aedat(file).time_us.tolist() == unwrapped
    assert read_aedat(file).time_us.dtype == np.uint64


@same_folder
@given(
    first=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=20),
)
def test_steps_below_half_the_range_survive_any_number_of_wraps(tmp_path: Path, first: int, steps: list[int]) -> None:
    true = np.cumsum([first, *steps])
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes(np.zeros(len(true)), true))
    read = read_aedat(file).time_us.astype(np.int64)
    assert np.diff(read).tolist() == steps
    assert set((read - true) % 2**32) == {0}
    assert 0 <= read.min() < 2**32


def test_special_events_are_kept_with_their_bit(tmp_path: Path) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes([3, 0x8000, 0xFFFF], [1, 2, 3]))
    assert read_aedat(file).address.tolist() == [3, 0x8000, 0xFFFF]


@same_folder
@given(
    address=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=50),
    data=st.data(),
    comment=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip),
)
def test_what_is_written_is_read_back(tmp_path: Path, address: list[int], data: st.DataObject, comment: str) -> None:
    times = data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=len(address), max_size=len(address)))
    file = tmp_path / "user00_indoor.aedat"
    write_aedat(file, address, times, [comment])
    recording = read_aedat(file)
    assert recording.address.tolist() == address
    assert recording.time_us.tolist() == times
    assert recording.header[0] == "!AER-DAT2.0"
    assert recording.header[-1] == comment


def test_what_is_written_has_the_layout_of_the_format(tmp_path: Path) -> None:
    file = tmp_path / "user00_indoor.aedat"
    write_aedat(file, [0x0102], [2**32 + 0x03040506])
    content = file.read_bytes()
    assert content.startswith(b"#!AER-DAT2.0\r\n")
    assert content.endswith(b"#End Of ASCII Header\r\n\x00\x00\x01\x02\x03\x04\x05\x06")


def test_an_address_has_the_row_above_the_column_above_the_polarity() -> None:
    assert encode_address([3, 127], [5, 127], [1, 0]).tolist() == [3 * 256 + 5 * 2 + 1, 0x7FFE]


def test_the_real_recording_equals_a_decoding_with_struct(real_recording: Path) -> None:
    recording = read_aedat(real_recording)
    body = real_recording.read_bytes()[216:]
    address, time_us = zip(*struct.iter_unpack(">II", body), strict=True)
    assert len(recording) == 489_834
    assert len(recording.header) == 5
    assert np.array_equal(recording.address, address)
    assert np.array_equal(recording.time_us, time_us)


DAVIS_ADDRESS = (1 << 31) | (90 << 22) | (120 << 12)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param(b"#!AER-DAT1.0\r\n\x00\x01\x00\x00\x00\x02", ["AEDAT-1.0", "only AEDAT-2.0"], id="AEDAT-1.0"),
        pytest.param(b"#!AER-DAT3.1\r\n#Format: RAW\r\n", ["AEDAT-3.1", "jAER"], id="AEDAT-3.1"),
        pytest.param(b"#!AER-DAT4.0\r\n\x00\x00", ["AEDAT-4.0", "jAER"], id="AEDAT-4"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(80), ["not an AEDAT-2.0 file", "PNG"], id="a picture"),
        pytest.param(b"x", ["not an AEDAT-2.0 file", "'x'"], id="one byte"),
        pytest.param(b"#!AER-DAT2.0" + b" " * 90, ["line at byte 0 does not end"], id="no end of the first line"),
        pytest.param(b"#!AER-DAT2.0", ["header line at byte 0", "does not end"], id="the first line only, cut"),
        pytest.param(b"#!AER-DAT2.0\r\n# cut he", ["header line at byte 14", "does not end"], id="a header cut"),
        pytest.param(b"#!AER-DAT2.0\r\n# a\r\n", ["no events", "19 bytes"], id="no events"),
        pytest.param(
            aedat_bytes([1, DAVIS_ADDRESS], [0, 0]), ["event 1", "byte 223", hex(DAVIS_ADDRESS), "DAVIS"], id="DAVIS"
        ),
        pytest.param(aedat_bytes([0x10000], [0]), ["event 0", "0x10000", "15 bits"], id="one bit too many"),
        pytest.param(
            aedat_bytes([1], [0], (*BARE_HEADER, "# AEChip: eu.seebetter.ini.chips.davis.Davis240C")),
            ["eu.seebetter.ini.chips.davis.Davis240C", "only DVS128"],
            id="a header that names a DAVIS",
        ),
        pytest.param(
            aedat_bytes([1], [0], (*BARE_HEADER, "# AEChip: ch.unizh.ini.jaer.chip.cochlea.CochleaAMS1c")),
            ["CochleaAMS1c", "only DVS128"],
            id="a header that names a cochlea",
        ),
    ],
)
def test_what_is_no_dvs128_recording_is_refused(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(content)
    with refused(DataError, file, *parts):
        read_aedat(file)


def little_endian(content: bytes, start: int) -> bytes:
    """Turn the bytes of every number after the header, which ends at start."""
    return content[:start] + np.frombuffer(content[start:], ">u4").astype("<u4").tobytes()


@pytest.mark.parametrize("first_us", [0, 1_000_000, 2**31 + 5])
def test_a_little_endian_recording_is_called_that_and_no_davis(tmp_path: Path, first_us: int) -> None:
    file = tmp_path / "user00_indoor.aedat"
    address, times = np.random.default_rng(0).integers(256, 2**15, 1000), first_us + np.arange(1000) * 37
    start = sum(len(line) + 2 for line in BARE_HEADER)
    # No # comes first, which would look like a line of the header.
    address[0] = 0x0102
    for count in (2, 3, 1000):
        file.write_bytes(little_endian(aedat_bytes(address[:count], times[:count]), start))
        with pytest.raises(DataError) as caught:
            read_aedat(file)
        text = str(caught.value)
        assert text.startswith(f"{file}: its events are little-endian, while AEDAT-2.0 is big-endian; ")
        assert "numpy's type '>u4'" in text
        assert "DAVIS" not in text


def test_the_real_recording_turned_round_is_called_little_endian(tmp_path: Path, real_recording: Path) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(little_endian(real_recording.read_bytes(), start=216))
    with refused(DataError, file, "its events are little-endian"):
        read_aedat(file)


def test_a_davis_recording_is_not_called_little_endian(tmp_path: Path) -> None:
    file = tmp_path / "user00_indoor.aedat"
    rng = np.random.default_rng(0)
    address = rng.integers(0, 180, 1000) << 22 | rng.integers(0, 240, 1000) << 12 | rng.integers(0, 2, 1000) << 11
    file.write_bytes(aedat_bytes(address, np.arange(1000) * 37))
    with refused(DataError, file, "beyond the 15 bits of a DVS128 (a DAVIS or cochlea recording?)"):
        read_aedat(file)


def test_of_a_file_that_was_cut_short_the_whole_events_are_read_and_the_rest_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "user00_indoor.aedat"
    file.write_bytes(aedat_bytes([1, 2, 3], [10, 20, 30])[:-3])
    recording = read_aedat(file)
    assert (recording.address.tolist(), recording.time_us.tolist(), recording.rest_bytes) == ([1, 2], [10, 20], 5)


def test_a_file_that_cannot_be_opened_is_refused_with_the_reason(tmp_path: Path) -> None:
    empty = tmp_path / "empty.aedat"
    empty.touch()
    for file, reason in (
        (empty, "the file is empty"),
        (tmp_path / "absent.aedat", "No such file or directory"),
        (tmp_path, "is a folder, not a plain file"),
    ):
        with refused(DataError, file, "cannot be read", reason):
            read_aedat(file)


def test_a_data_error_ends_the_program_with_3(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_aedat(tmp_path / "absent.aedat")
    assert caught.value.exit_code == 3

"""What headers of recordings say wrongly, or of other formats and cameras, is refused with what is right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sltune.errors import DataError
from sltune.events.formats import hdf5 as reader
from sltune.events.formats.event_file import open_event_file
from tests.events.conftest import refused
from tests.events.formats.test_event_file import read
from tests.events.formats.writers import CD_EVENT, aedat4, davis240, dvs128, evt3, hdf5, random_events

EVENTS = random_events(np.random.default_rng(9), 200)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.raw", b"% evt 4.0\n% end\n", ("the format 'EVT4'", "EVT2 and EVT3 are read")),
        ("a.raw", b"% evt 3.0\n% format EVT21;height=720;width=1280\n% end\n", ("the format 'EVT21'",)),
        ("a.raw", b"% evt 3.0\n% geometry 1280\n% end\n", ("sensor's size as '1280x'", "WIDTHxHEIGHT")),
        ("a.raw", b"% evt 3.0\n% geometry 99999999x1\n% end\n", ("'99999999x1'",)),
        ("a.raw", b"% evt 3.0", ("header line at byte 0 does not end",)),
        ("a.raw", b"\x00" * 40, ("not with a header",)),
        ("a.dat", b"% Version 1\n% end\n\x0c\x08", ("has version 1", "version 2")),
        ("a.dat", b"% Version 2\n% end\n\x0e\x08", ("kind and size 0x0e 0x08", "kind 0x00 or 0x0c")),
        ("a.dat", b"% Version 2\n", ("kind and size none",)),
        ("a.aedat", b"#!AER-DAT3.1\r\n", ("AEDAT-3.1 is not supported",)),
        ("a.aedat", davis240(EVENTS).replace(b"DAVIS240C", b"DavisRGBW640"), ("DavisRGBW640", "DAVIS346")),
        ("a.aedat", davis240(EVENTS).replace(b"DAVIS240C", b"Davis346mini"), ("Davis346mini",)),
        ("a.aedat", dvs128(EVENTS).replace(b"DVS128", b"CochleaAMS1c"), ("CochleaAMS1c", "DVS128")),
        ("a.aedat", davis240(EVENTS).replace(b"AEChip", b"Camera"), ("event 0", "beyond the 15 bits of a DVS128")),
        ("a.aedat4", b"#!AER-DAT2.0\r\n", ("not an AEDAT-4 file", "#!AER-DAT2.0")),
        ("a.aedat4", aedat4(EVENTS)[:60], ("its header is damaged",)),
        ("a.aedat4", aedat4(EVENTS).replace(b"EVTS", b"EVTX", 1), ("no stream of events",)),
        ("a.aedat4", aedat4(EVENTS).replace(b"<dv ", b"<!d ", 1), ("its header is damaged", "declarations")),
        ("a.aedat4", aedat4(EVENTS).replace(b'"0"', b'"z"', 1), ("a stream has the number 'z'",)),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), ("is no HDF5 file, or is damaged",)),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path: Path, name: str, content: bytes, parts: tuple[str, ...]) -> None:
    (tmp_path / name).write_bytes(content)
    with refused(DataError, tmp_path / name, *parts):
        open_event_file(tmp_path / name) if b"Camera" not in content else read(tmp_path / name)


def test_a_vector_of_evt3_that_runs_beyond_every_sensor_is_left_out(tmp_path: Path) -> None:
    words = [8 << 12 | 1, 6 << 12, 0, 3 << 12 | 2040, *([4 << 12 | 1] * 8000)]
    (tmp_path / "a.raw").write_bytes(evt3(EVENTS) + np.array(words, "<u2").tobytes())
    recording = open_event_file(tmp_path / "a.raw")
    assert sum(len(block) for block in recording.blocks()) == len(EVENTS)
    assert recording.left_out["events outside the sensor"] == 8000


@pytest.mark.parametrize("options", [{"compression": "gzip", "shuffle": True}, {}])
def test_a_piece_of_hdf5_that_is_absent_is_no_piece_of_zeros(tmp_path: Path, options: dict[str, Any]) -> None:
    """The HDF5 library gives zeros for what was never written, without a word."""
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        events = opened.create_dataset("CD/events", (3000,), CD_EVENT, **options)
        if options:
            events[:10] = np.zeros(10, CD_EVENT)
    with refused(DataError, tmp_path / "a.h5", "is damaged", "3000 events"):
        read(tmp_path / "a.h5")


def test_other_filters_of_hdf5_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened.create_dataset("CD/events", data=np.zeros(300, CD_EVENT), compression="lzf")
    with refused(DataError, tmp_path / "a.h5", "HDF5 filter 32000", "ECF, gzip, shuffle are read", "write it anew"):
        open_event_file(tmp_path / "a.h5")


def test_an_hdf5_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened["events/x"] = np.zeros(3)
    with refused(DataError, tmp_path / "a.h5", "no dataset 'CD/events'"):
        open_event_file(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as opened:
        opened["CD/events"] = np.zeros((3, 4))
    with refused(DataError, tmp_path / "b.h5", "the shape [3, 4]"):
        open_event_file(tmp_path / "b.h5")


def test_damage_in_a_chunk_names_its_byte(tmp_path: Path) -> None:
    for name, options in (("ecf.h5", {}), ("gzip.h5", {"compression": "gzip", "chunks": True})):
        content = bytearray(partial(hdf5, **options)(EVENTS))
        (tmp_path / name).write_bytes(content)
        with h5py.File(tmp_path / name) as opened:
            place = opened["CD/events"].id.get_chunk_info(0).byte_offset
        content[place : place + 40] = bytes([255]) * 40
        (tmp_path / f"damaged-{name}").write_bytes(content)
        with refused(DataError, f"damaged-{name}", f"the piece at byte {place} is damaged"):
            read(tmp_path / f"damaged-{name}")


def test_a_library_that_hangs_or_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(hdf5(EVENTS))
    for number, (code, text) in enumerate([("while True: pass", "no answer after 0.5 s"), ("1 / 0", "library fails")]):
        (tmp_path / "layout.py").write_text(code)
        monkeypatch.setattr(reader, "LAYOUT", tmp_path / "layout.py")
        monkeypatch.setattr(reader, "MAX_SECONDS", 0.5)
        (tmp_path / f"{number}.h5").write_bytes(hdf5(EVENTS))
        with refused(DataError, f"{number}.h5", "is damaged", text):
            open_event_file(tmp_path / f"{number}.h5")

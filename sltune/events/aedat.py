"""AEDAT-2.0 recordings of a DVS128, read and written.

The format as jAER writes it: header lines that start with ``#`` and end in CRLF, then eight bytes an
event, a big-endian 32-bit address and a big-endian *unsigned* 32-bit time in µs, which may wrap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sltune.errors import DataError

SENSOR_SIZE = 128
SPECIAL_BIT = 0x8000
"""Set in the address of events that are no pixel's: synchronisation pulses and the like."""

EVENT = np.dtype([("address", ">u4"), ("time_us", ">u4")])
WRAP_US = 1 << 32
END_OF_HEADER = b"#End Of ASCII Header"
CONVERTERS = "jAER (File > Save as) writes AEDAT-2.0"


@dataclass(frozen=True, eq=False)
class Recording:
    """Every event of a file, in file order, special ones too, because tags count all of them.

    address: uint16 array of shape (events,), the file's low 16 bits: bit 0 polarity (0 = ON), bits 1-7
    column, bits 8-14 row, bit 15 special. time_us: uint64 array of shape (events,), unwrapped.
    header: the comment lines, without ``#``.
    """

    path: Path
    header: tuple[str, ...]
    address: NDArray[np.uint16]
    time_us: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.address)


def encode_address(row: ArrayLike, column: ArrayLike, polarity: ArrayLike) -> NDArray[np.uint16]:
    """Return DVS128 addresses for pixels in 0…127 and raw polarities (0 = ON, 1 = OFF)."""
    rows, columns, bits = (np.asarray(part, dtype=np.uint16) for part in (row, column, polarity))
    return (rows * 256 + columns * 2 + bits).astype(np.uint16)


def read_aedat(path: Path) -> Recording:
    """Read a DVS128 recording.

    Raises:
        DataError: the file is absent, empty, of another version or sensor, without events, or cut short.
    """
    raw = _map(path)
    header, start = _read_header(path, raw)
    body_bytes = len(raw) - start
    if body_bytes == 0:
        raise DataError(f"{path}: no events after the header of {start} bytes")
    if body_bytes % EVENT.itemsize:
        raise DataError(
            f"{path}: truncated: {body_bytes} bytes after the header at byte {start} are no multiple of "
            f"{EVENT.itemsize}; copy the file again from its source"
        )
    events = raw[start:].view(EVENT)
    address = events["address"].astype(np.uint32)
    _refuse_other_sensors(path, address, start)
    return Recording(Path(path), header, address.astype(np.uint16), _unwrap(events["time_us"]))


def read_header(path: Path) -> tuple[str, ...]:
    """Read only the comment lines of a recording, without ``#``.

    Raises:
        DataError: the file is absent, empty, or of another version or sensor.
    """
    return _read_header(path, _map(path))[0]


def write_aedat(path: Path, address: ArrayLike, time_us: ArrayLike, comments: Iterable[str] = ()) -> None:
    """Write events in jAER's form; times wrap at 2³² µs as the camera's do."""
    events = np.empty(len(np.asarray(address)), dtype=EVENT)
    events["address"] = address
    events["time_us"] = np.asarray(time_us, dtype=np.uint64) % WRAP_US
    lines = [
        "#!AER-DAT2.0",
        "# This is a raw AE data file - do not edit",
        "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
        "# Timestamps tick is 1 us",
        *(f"# {comment}" for comment in comments),
        END_OF_HEADER.decode(),
    ]
    with open(path, "wb") as file:
        file.write("".join(line + "\r\n" for line in lines).encode("ascii"))
        events.tofile(file)


def _map(path: Path) -> NDArray[np.uint8]:
    try:
        return np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        reason = "the file is empty" if isinstance(error, ValueError) else error.strerror
        raise DataError(f"{path}: cannot be read: {reason}") from error


def _read_header(path: Path, raw: NDArray[np.uint8]) -> tuple[tuple[str, ...], int]:
    """Return the comment lines and the offset of the first event.

    Files without an end marker stop at the first line that does not start with ``#``. An event whose
    first byte equals ``#`` would look like one more line, but its address would then lie beyond 15 bits,
    so in a file of a DVS128 the first event never starts with ``#``.
    """
    first = bytes(raw[:64]).split(b"\n")[0].rstrip(b"\r")
    if first != b"#!AER-DAT2.0":
        raise DataError(f"{path}: {_what_instead(first)}")
    lines: list[str] = []
    position = 0
    while position < len(raw) and raw[position] == ord("#"):
        line, position = _line_at(path, raw, position)
        if line.startswith(END_OF_HEADER):
            break
        lines.append(line[1:].decode("latin-1").strip())
        chip = re.search(rb"AEChip:\s*(\S*(?:davis|cochlea)\S*)", line, re.IGNORECASE)
        if chip:
            raise DataError(f"{path}: recorded by {chip[1].decode('ascii', 'replace')}; only DVS128 is supported")
    return tuple(lines), position


def _line_at(path: Path, raw: NDArray[np.uint8], start: int) -> tuple[bytes, int]:
    """Return the header line at start and the offset after it."""
    window = 256
    while True:
        piece = bytes(raw[start : start + window])
        end = piece.find(b"\n")
        if end >= 0:
            return piece[:end].rstrip(b"\r"), start + end + 1
        if start + window >= len(raw):
            raise DataError(f"{path}: the header line at byte {start} does not end")
        window *= 4


def _what_instead(first: bytes) -> str:
    version = re.match(rb"#!AER-DAT([\d.]+)", first)
    if version and version[1] != b"2.0":
        return f"AEDAT-{version[1].decode()} is not supported, only AEDAT-2.0; {CONVERTERS}"
    shown = first[:24].decode("ascii", "replace")
    return f"not an AEDAT-2.0 file: starts with {shown!r} instead of the line '#!AER-DAT2.0'"


def _refuse_other_sensors(path: Path, address: NDArray[np.uint32], start: int) -> None:
    if address.max() > 0xFFFF:
        index = int(np.argmax(address > 0xFFFF))
        raise DataError(
            f"{path}: event {index} at byte {start + index * EVENT.itemsize} has address {address[index]:#x}, beyond "
            "the 15 bits of a DVS128 (a DAVIS or cochlea recording?); only DVS128 is supported"
        )


def _unwrap(raw_us: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Continue times over 2³²: a step of more than half the range is a wrap, a smaller one back is kept."""
    time_us = raw_us.astype(np.int64)
    steps = np.diff(time_us)
    half = WRAP_US // 2
    wraps = (steps < -half).astype(np.int64) - (steps > half)
    if wraps.any():
        turns = np.concatenate([[0], np.cumsum(wraps)])
        time_us += (turns - turns.min()) * WRAP_US
    return time_us.astype(np.uint64)

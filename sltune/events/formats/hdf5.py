"""Read Prophesee's HDF5 recordings, whose events lie in the dataset CD/events, most often compressed by ECF.

``decoders/hdf5_layout.py`` finds the pieces of the dataset, in a process of its own. Here their bytes are decoded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.formats.blocks import BLOCK_BYTES, MAX_BLOCK_EVENTS, Block, EventFile, sensor_of
from sltune.events.formats.columns import ColumnsToEvents, find_fields
from sltune.events.formats.members import MAX_RECORDING_BYTES, Member
from sltune.system.files import open_plain, parse_json
from sltune.wording import excerpt

ECF, DEFLATE, SHUFFLE = 0x8ECF, 1, 2
FILTERS = {ECF: "ECF", DEFLATE: "gzip", SHUFFLE: "shuffle"}
MAX_ECF_EVENTS = (1 << 16) - 1
MAX_ITEM_BYTES = 1 << 10
MAX_SECONDS = 120
"""To find the pieces of a large recording takes less than a second; a damaged one can make the library loop."""
LAYOUT = Path(__file__).parent / "decoders" / "hdf5_layout.py"


@dataclass(frozen=True, eq=False)
class _Layout:
    """dtype: of an event. filters: what the pieces went through, in this order.

    pieces: array of shape (pieces, 4): number of events, first byte, bytes, mask of the filters that were left out.
    """

    dtype: np.dtype[Any]
    pieces: NDArray[np.int64]
    filters: tuple[int, ...]
    geometry: str
    triggers: int


def open_hdf5(member: Member) -> EventFile:
    """Return a recording in Prophesee's HDF5 layout.

    Raises:
        DataError: the file is packed, damaged, of another layout, or compressed in another way.
    """
    if member.inside or member.name != member.path.name:
        raise DataError(f"{member}: HDF5 files are not read from archives; unpack it")
    try:
        with open_plain(member.path, MAX_RECORDING_BYTES) as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        raise DataError(f"{member}: cannot be read: {error.strerror or error}") from error
    layout = _find_layout(member, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    sensor = sensor_of(member, *layout.geometry.partition("x")[::2]) if layout.geometry else None

    def read(left_out: Counter[str]) -> Iterator[Block]:
        if layout.triggers:
            left_out["triggers"] = layout.triggers
        return _read(member, layout)

    return EventFile(member, sensor, read)


@lru_cache(maxsize=256)
def _find_layout(member: Member, identity: tuple[int, ...]) -> _Layout:
    """Ask another process. identity: differs for another file in the same place."""
    command = [sys.executable, "-P", str(LAYOUT), os.path.abspath(member.path)]
    try:
        ended = subprocess.run(command, capture_output=True, check=False, timeout=MAX_SECONDS, stdin=subprocess.DEVNULL)
        if ended.returncode:
            raise ValueError("the HDF5 library fails")
        found = parse_json(ended.stdout)
        if "error" in found:
            raise DataError(f"{member}: {excerpt(found['error'])}")
        return _checked(found, identity[2])
    except subprocess.TimeoutExpired:
        raise DataError(f"{member}: is damaged: the HDF5 library has no answer after {MAX_SECONDS} s") from None
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DataError(f"{member}: is damaged: {excerpt(str(error))}") from error


def _checked(found: dict[str, Any], size: int) -> _Layout:
    """Return the layout in a file of so many bytes.

    Raises:
        ValueError, TypeError: pieces are missing, or what is said of them cannot be.
    """
    fields, shape, most = found["fields"], found["shape"], found["piece_events"]
    dtype = np.dtype(
        {
            "names": [*fields],
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": found["item_bytes"],
        }
    )
    if dtype.hasobject or dtype.itemsize > MAX_ITEM_BYTES or len(shape) != 1 or most > MAX_BLOCK_EVENTS:
        raise ValueError(f"its dataset has the shape {shape}, the type {dtype} and pieces of {most} events")
    if unknown := [number for number in found["filters"] if number not in FILTERS]:
        known = ", ".join(FILTERS.values())
        raise ValueError(f"its events went through the HDF5 filter {unknown[0]}; {known} are read, so write it anew")
    events, pieces = int(shape[0]), np.array(sorted(found["pieces"]), np.int64).reshape(-1, 4)
    starts = range(0, events, most or max(events, 1))
    # The library gives zeros for pieces that were never written.
    is_whole = len(pieces) == len(starts) and bool((pieces[:, 0] == np.arange(len(pieces)) * starts.step).all())
    if events and not (is_whole and (most or pieces[0, 2] == events * dtype.itemsize)):
        raise ValueError(f"what it holds is no {events} events")
    if (pieces[:, 1:3] < 0).any() or (pieces[:, 1:3] > size).any() or (pieces[:, 1:3].sum(axis=1) > size).any():
        raise ValueError("its pieces lie outside of the file; copy the file again")
    pieces[:, 0] = np.diff(np.append(pieces[:, 0], events))
    return _Layout(dtype, pieces[: len(starts)], tuple(found["filters"]), found["geometry"], found["triggers"])


def _read(member: Member, layout: _Layout) -> Iterator[Block]:
    convert = ColumnsToEvents(member, "us")
    names = layout.dtype.names or ()
    names = tuple(names[place] for place in find_fields(member, names))
    at = 0
    try:
        with open_plain(member.path) as file:
            for events, at, size, mask in layout.pieces.tolist():
                file.seek(at)
                if ECF in layout.filters and not mask & 1:
                    yield _decode_ecf(file.read(size), events)
                    continue
                for part in _parts(file, layout, events, size, mask):
                    yield convert.block([part[name] for name in names])
    except OSError as error:
        raise DataError(f"{member}: cannot be read: {error.strerror or error}") from error
    except (ValueError, zlib.error) as error:
        raise DataError(f"{member}: the piece at byte {at} is damaged: {excerpt(str(error))}") from error


def _parts(file: BinaryIO, layout: _Layout, events: int, size: int, mask: int) -> Iterator[NDArray[Any]]:
    """Give the events of a piece at the file's position; without filters it may be as long as the file.

    Raises:
        ValueError, zlib.error: the piece is damaged.
    """
    item = layout.dtype.itemsize
    if layout.filters:
        most = MAX_BLOCK_EVENTS * item
        content = _unpacked(file.read(size), layout, mask, most)
        yield np.frombuffer(content, layout.dtype, events)
        return
    step = BLOCK_BYTES // item
    for first in range(0, events, step):
        count = min(step, events - first)
        yield np.frombuffer(file.read(count * item), layout.dtype, count)


def _unpacked(content: bytes, layout: _Layout, mask: int, most: int) -> bytes:
    """Undo the filters of a piece, the last one first."""
    for place, number in reversed([*enumerate(layout.filters)]):
        if mask >> place & 1:
            continue
        if number == DEFLATE:
            content = zlib.decompressobj().decompress(content, most)
        elif number == SHUFFLE:
            whole = len(content) // layout.dtype.itemsize * layout.dtype.itemsize
            # First bytes of all events, then second bytes, and so on.
            content = np.frombuffer(content, np.uint8, whole).reshape(layout.dtype.itemsize, -1).T.tobytes()
    return content


def _decode_ecf(content: bytes, events: int) -> Block:
    """Return the first ``events`` events of a chunk.

    Raises:
        ValueError: it is damaged.
    """
    # numba takes a second to import, and few readers need it.
    from sltune.events.formats.decoders import kernels_ecf

    count = int.from_bytes(content[:4], "little") >> 2
    if not events <= count <= MAX_ECF_EVENTS:
        raise ValueError(f"it says that it has {count} events, and not {events}")
    block = Block.empty(count)
    end = int(kernels_ecf.ecf(np.frombuffer(content, np.uint8), block.x, block.y, block.t_us, block.on))
    if end < 0:
        raise ValueError(f"its event compression ends or breaks at byte {-1 - end} of {len(content)}")
    return block.first(events)

"""Samples in memory: a read-only view over Arrow tables, wherever these lie (a file, Ray's object store)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Addresses = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True)
class RecordingInfo:
    """Which signer and session a recording belongs to."""

    name: str
    subject: str
    session: str


class Samples:
    """The samples of some tables, in table and row order.

    label: int64 array of shape (samples,). recording: the recording's name of each sample.
    """

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self._files = [_FileView(table) for table in tables]
        self._place = [(view, row) for view in self._files for row in range(view.rows)]
        self.label = np.concatenate([np.zeros(0, np.int64), *(view.label for view in self._files)])
        self.sample_id = [name for view in self._files for name in view.text("sample_id")]
        self.recording = [name for view in self._files for name in view.text("recording")]

    def __len__(self) -> int:
        return len(self._place)

    def recordings(self) -> list[RecordingInfo]:
        """Return the recordings in file order, each once."""
        rows = (
            RecordingInfo(*row)
            for view in self._files
            for row in zip(*(view.text(name) for name in ("recording", "subject", "session")), strict=True)
        )
        return list({row.name: row for row in rows}.values())

    def indices_of(self, recordings: Sequence[str]) -> NDArray[np.int64]:
        """Return the samples of the recordings: recordings in the order given, samples in the order of the file."""
        of: dict[str, list[int]] = {}
        for index, name in enumerate(self.recording):
            of.setdefault(name, []).append(index)
        return np.array([index for name in recordings for index in of[name]], dtype=np.int64)

    def events(self, index: int) -> tuple[Addresses, NDArray[np.uint32]]:
        """Return (address, time_us) of a sample in the order of time, read-only; views where they are stored so."""
        view, row = self._place[index]
        return view.events(row)

    def phase_us(self, index: int) -> int:
        """Return how far the sample's start lies behind a full millisecond of the recording's clock."""
        view, row = self._place[index]
        return int(view.start_us[row] % np.uint64(1000))

    def duration_us(self, index: int) -> int:
        """Return the time of the sample's latest event since its start."""
        view, row = self._place[index]
        return int(view.duration_us[row])

    def last_ms(self, index: int) -> int:
        """Return the millisecond of the latest event, counted from that of the first as the predecessor does.

        Both are cut to whole milliseconds of the recording's clock before they are subtracted.
        """
        return (self.phase_us(index) + self.duration_us(index)) // 1000


class _FileView:
    """The columns of one table as flat arrays; the two long ones stay where Arrow has them."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.rows = table.num_rows
        self.label = _numbers(table, "label").astype(np.int64)
        self.start_us = _numbers(table, "start_us")
        self.duration_us = _numbers(table, "duration_us")
        self._out_of_order = _numbers(table, "backward_steps").astype(bool)
        self._address: Addresses
        self._time_us: NDArray[np.uint32]
        self._address, self._offsets = _flat_list(table, "address")
        self._time_us, _ = _flat_list(table, "time_us")
        self._sorted: dict[int, tuple[Addresses, NDArray[np.uint32]]] = {}

    def text(self, column: str) -> list[str]:
        values: list[str] = self._table[column].to_pylist()
        return values

    def events(self, row: int) -> tuple[Addresses, NDArray[np.uint32]]:
        span = slice(self._offsets[row], self._offsets[row + 1])
        address, time_us = self._address[span], self._time_us[span]
        if not self._out_of_order[row]:
            return address, time_us
        if row not in self._sorted:
            order = np.argsort(time_us, kind="stable")
            self._sorted[row] = address[order], time_us[order]
            for part in self._sorted[row]:
                part.flags.writeable = False
        return self._sorted[row]


def _numbers(table: pa.Table, column: str) -> NDArray[Any]:
    values: NDArray[Any] = table[column].combine_chunks().to_numpy(zero_copy_only=False)
    return values


def _flat_list(table: pa.Table, column: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the list column's values and offsets as read-only views; several chunks would force a copy."""
    chunks = table[column].chunks
    array = chunks[0] if len(chunks) == 1 else table[column].combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return array.values.to_numpy(zero_copy_only=True), array.offsets.to_numpy(zero_copy_only=True)

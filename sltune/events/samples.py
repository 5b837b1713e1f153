"""Samples in memory: a read-only view of Arrow tables, which may lie in files or in Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sltune.events.augmentations.events import Addresses
from sltune.events.formats.aedat import WRAP_US


@dataclass(frozen=True)
class RecordingInfo:
    """Which signer, session and official part ("" if there is none) a recording belongs to, and what samples it has.

    labels, sample_ids: of its samples, in file order.
    """

    name: str
    subject: str
    session: str
    split: str = ""
    labels: tuple[int, ...] = field(default=(), compare=False, repr=False)
    sample_ids: tuple[str, ...] = field(default=(), compare=False, repr=False)


class Columns(Protocol):
    """A table of samples: an Arrow table, or a file that reads its events when they are asked for.

    A file that does not keep its events once they are read says so: its ``keeps_events`` is False.
    """

    @property
    def num_rows(self) -> int: ...

    def __getitem__(self, column: str) -> pa.ChunkedArray: ...


class Samples:
    """The samples of several tables, in the order of tables and rows.

    label, event_count: int64 arrays of shape (samples,). sample_id, recording, session: one text per sample.
    """

    def __init__(self, tables: Sequence[Columns]) -> None:
        self._files = [_FileView(table) for table in tables]
        self._place = [(view, row) for view in self._files for row in range(view.rows)]
        self.label = self._numbers("label")
        self.event_count = self._numbers("events")
        self.sample_id = self._text("sample_id")
        self.recording = self._text("recording")
        self.session = self._text("session")

    def __len__(self) -> int:
        return len(self._place)

    def recordings(self) -> list[RecordingInfo]:
        """Return each recording once, in file order."""
        rows: dict[str, list[int]] = {}
        for index, name in enumerate(self.recording):
            rows.setdefault(name, []).append(index)
        subject, split = self._text("subject"), self._text("split")
        return [
            RecordingInfo(
                name,
                subject[own[-1]],
                self.session[own[-1]],
                split[own[-1]],
                tuple(int(self.label[index]) for index in own),
                tuple(self.sample_id[index] for index in own),
            )
            for name, own in rows.items()
        ]

    def indices_of(self, recordings: Sequence[str]) -> NDArray[np.int64]:
        """Return the indices of the samples of recordings: recordings in the given order, samples in file order."""
        of: dict[str, list[int]] = {}
        for index, name in enumerate(self.recording):
            of.setdefault(name, []).append(index)
        return np.array([index for name in recordings for index in of[name]], dtype=np.int64)

    def events(self, index: int) -> tuple[Addresses, NDArray[np.uint32]]:
        """Return (address, time_us) of a sample, read-only and sorted by time; views if they are stored sorted."""
        view, row = self._place[index]
        return view.events(row)

    def backward_steps(self, index: int) -> int:
        """Return how often, in the file, time goes backwards from one event of the sample to the next."""
        view, row = self._place[index]
        return int(view.backward_steps[row])

    def phase_us(self, index: int) -> int:
        """Return how many µs the sample starts after a full millisecond of the camera's clock.

        The clock has 32 bits, and the predecessor reads it as it is. Since 2³² is not a multiple of 1000, milliseconds
        after a wrap begin elsewhere than those of the unwrapped time.
        """
        view, row = self._place[index]
        return int(view.start_us[row]) % WRAP_US % 1000

    def start_us(self, index: int) -> int:
        """Return when the sample starts, in the recording's unwrapped µs."""
        view, row = self._place[index]
        return int(view.start_us[row])

    def duration_us(self, index: int) -> int:
        """Return the time from the start of the sample to its latest event."""
        view, row = self._place[index]
        return int(view.duration_us[row])

    def last_ms(self, index: int) -> int:
        """Return the millisecond of the latest event, counted from that of the first, as the predecessor does.

        Both times are rounded down to whole milliseconds of the camera's clock before they are subtracted. If the clock
        wraps within the sample, it is continued here, where the predecessor is left with a single frame.
        """
        return (self.phase_us(index) + self.duration_us(index)) // 1000

    def _numbers(self, column: str) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(0, np.int64), *(view.numbers(column) for view in self._files)])

    def _text(self, column: str) -> list[str]:
        return [text for view in self._files for text in view.text(column)]


class _FileView:
    """The columns of one table as flat arrays; addresses and times are not copied."""

    def __init__(self, table: Columns) -> None:
        self._table = table
        self._keeps = getattr(table, "keeps_events", True)
        self.rows = table.num_rows
        self.start_us = _numbers(table, "start_us")
        self.duration_us = _numbers(table, "duration_us")
        self.backward_steps = _numbers(table, "backward_steps")

    def numbers(self, column: str) -> NDArray[np.int64]:
        return _numbers(self._table, column).astype(np.int64)

    def text(self, column: str) -> list[str]:
        values: list[str] = self._table[column].to_pylist()
        return values

    def events(self, row: int) -> tuple[Addresses, NDArray[np.uint32]]:
        addresses, offsets = self._addresses if self._keeps else _flat_list(self._table, "address")
        times_us = self._times_us if self._keeps else _flat_list(self._table, "time_us")[0]
        span = slice(offsets[row], offsets[row + 1])
        address, time_us = addresses[span], times_us[span]
        if not self.backward_steps[row]:
            return address, time_us
        # Sorted copies are not kept, or the memory of a trial would grow with the dataset.
        order = np.argsort(time_us, kind="stable")
        address, time_us = address[order], time_us[order]
        address.flags.writeable = time_us.flags.writeable = False
        return address, time_us

    @cached_property
    def _addresses(self) -> tuple[Addresses, NDArray[np.int32]]:
        return _flat_list(self._table, "address")

    @cached_property
    def _times_us(self) -> NDArray[np.uint32]:
        return _flat_list(self._table, "time_us")[0]


def _numbers(table: Columns, column: str) -> NDArray[Any]:
    values: NDArray[Any] = table[column].combine_chunks().to_numpy(zero_copy_only=False)
    return values


def _flat_list(table: Columns, column: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return values and offsets of a list column as read-only views; several chunks have to be copied into one."""
    chunks = table[column].chunks
    array = chunks[0] if len(chunks) == 1 else table[column].combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return array.values.to_numpy(zero_copy_only=True), array.offsets.to_numpy(zero_copy_only=True)

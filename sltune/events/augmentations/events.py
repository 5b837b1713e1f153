"""The events of one crop, as augmentations see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Addresses = NDArray[np.uint16] | NDArray[np.uint32]
POLARITIES = 2


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a crop, as arrays of shape (events,), one place for each event. They cannot be changed in place.

    Times are in order unless an earlier augmentation has moved them; frames do not depend on the order. Some events may
    lie before or after the crop, so that an augmentation can move them into it.

    t_us: times in µs, int64, since the start of the crop. address: (row · width + column) · 2 + polarity, uint16 or
    uint32, from which x, y and p follow. sensor: (height, width). length_us: that of the crop.
    """

    t_us: Times
    address: Addresses
    sensor: tuple[int, int]
    length_us: int

    def __len__(self) -> int:
        return len(self.t_us)

    def __getitem__(self, chosen: Any) -> Events:
        """Return some of the events: ``events[mask]``, ``events[indices]`` or a slice."""
        return replace(self, t_us=self.t_us[chosen], address=self.address[chosen])

    @cached_property
    def x(self) -> NDArray[np.int64]:
        """Columns, from 0 at the left, int64."""
        return _fixed(self.address // POLARITIES % self.sensor[1])

    @cached_property
    def y(self) -> NDArray[np.int64]:
        """Rows, from 0 at the top of the sensor's own addresses, int64."""
        return _fixed(self.address // POLARITIES // self.sensor[1])

    @cached_property
    def p(self) -> NDArray[np.int64]:
        """Polarities as the recording has them, 0 or 1, int64."""
        return _fixed(self.address % POLARITIES)

    def replace(self, t_us: Any = None, x: Any = None, y: Any = None, p: Any = None) -> Events:
        """Return events with other times, columns, rows or polarities; those that leave the sensor are dropped.

        All four together may also have another number of events.

        Raises:
            ValueError: something is no array of whole numbers, the lengths differ, or a polarity is not 0 or 1.
        """
        given = {"t_us": t_us, "x": x, "y": y, "p": p}
        count = len(self) if any(values is None for values in given.values()) else len(t_us)
        columns = {name: _checked(name, values, count) for name, values in given.items() if values is not None}
        moved = replace(self, t_us=columns["t_us"]) if len(columns) == 1 and "t_us" in columns else None
        return moved or self._placed(**{name: columns.get(name, getattr(self, name)) for name in given})

    def _placed(self, t_us: Times, x: Times, y: Times, p: Times) -> Events:
        height, width = self.sensor
        if len(p) and not 0 <= p.min() <= p.max() < POLARITIES:
            raise ValueError(f"p must be 0 or 1, but is from {p.min()} to {p.max()}")
        address: Any = ((y * width + x) * POLARITIES + p).astype(self.address.dtype)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return replace(self, t_us=t_us[inside], address=address[inside])


def _checked(name: str, values: Any, count: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        shown = f"an array of {array.dtype} with {array.ndim} dimensions"
        raise ValueError(f"{name} must be a list of whole numbers, but is {shown}; np.rint(…).astype(int) makes some")
    if len(array) != count:
        raise ValueError(f"{name} has {len(array)} values for {count} events")
    return array.astype(np.int64)


def _fixed(values: NDArray[Any]) -> NDArray[np.int64]:
    # Signed, as x − 1 of unsigned numbers would be huge; and fixed, as a change in place would be lost.
    signed = values.astype(np.int64)
    signed.flags.writeable = False
    return signed

"""Small SL-Animals folders, written byte by byte instead of with sltune's own writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from sltune.errors import SltuneError

BARE_HEADER = (
    "#!AER-DAT2.0",
    "# This is a raw AE data file - do not edit",
    "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
    "# Timestamps tick is 1 us",
    "# created Thu Jan 01 00:00:00 CET 1970",
)
ONE_OF_EACH_SESSION = ("user00_indoor", "user18_sunlight", "user25_imse", "user35_dc")
GAP_EVENTS = 7
"""Events before the first sign and between two, which no tag covers."""

TinyFolder = Callable[..., Path]


def aedat_bytes(
    address: ArrayLike, time_us: ArrayLike, header: Sequence[str] = BARE_HEADER, end: str = "\r\n"
) -> bytes:
    """Return a recording as jAER writes it; times wrap at 2³² µs."""
    body = np.stack([np.asarray(address, np.int64), np.asarray(time_us, np.int64) % 2**32], axis=1)
    return "".join(line + end for line in header).encode() + body.astype(">u4").tobytes()


def write_tiny_recording(folder: Path, name: str, events: int, sample_ms: int, first_us: int, seed: int) -> None:
    """Write a recording of 19 signs in the order of their classes, and its tags."""
    rng = np.random.default_rng([seed, *name.encode()])
    count = 19 * (events + GAP_EVENTS)
    time_us = first_us + np.arange(count) * (1000 * sample_ms // events)
    (folder / "recordings" / f"{name}.aedat").write_bytes(aedat_bytes(rng.integers(0, 2**15, count), time_us))
    starts = [label * (events + GAP_EVENTS) + GAP_EVENTS for label in range(19)]
    rows = [f"{label},{start},{start + events}" for label, start in enumerate(starts, start=1)]
    (folder / "tags" / f"{name}.csv").write_text("\n".join(["class,startTime_ev,endTime_ev", *rows]) + "\n")


@pytest.fixture
def tiny_folder(tmp_path: Path) -> TinyFolder:
    """Write an SL-Animals folder: per name a recording of 19 signs of so many events and milliseconds each."""

    def write(
        names: Sequence[str] = ONE_OF_EACH_SESSION,
        events: int = 1000,
        sample_ms: int = 600,
        first_us: int = 0,
        seed: int = 0,
        path: str = "slanimals",
    ) -> Path:
        folder = tmp_path / path
        for part in ("recordings", "tags"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            write_tiny_recording(folder, name, events, sample_ms, first_us, seed)
        return folder

    return write


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file in a folder and below."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@contextmanager
def refused(kind: type[SltuneError], *parts: object) -> Iterator[None]:
    """Expect exactly this error with all the parts in its text, and none of Python's own words for it."""
    with pytest.raises(SltuneError) as caught:
        yield
    text = str(caught.value)
    assert type(caught.value) is kind
    assert [str(part) for part in parts if str(part) not in text] == [], text
    assert "None" not in text
    assert "Errno" not in text

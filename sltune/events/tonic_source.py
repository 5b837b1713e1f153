"""Datasets that Tonic can read, as sources; the only module that imports tonic."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from sltune.errors import DataError
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.store import Sample, file_sha256

NMNIST_SENSOR = (34, 34)
DIGITS = tuple("0123456789")
SHARD_BYTES = 64 << 20
BYTES_PER_EVENT = 5


def open_nmnist_folder(folder: Path) -> Source:
    """Return the source for a folder of N-MNIST files, ``[NMNIST/][Train/]<digit>/<id>.bin``, complete or not.

    There are no signers in it, so every sample is its own recording and its own subject.

    Raises:
        DataError: no folder named by a digit holds a .bin file.
    """
    roots = (folder / part for part in (".", "Train", "NMNIST", "NMNIST/Train"))
    root = next((path for path in roots if any((path / digit).is_dir() for digit in DIGITS)), None)
    files = [file for digit in DIGITS for file in sorted((root / digit).glob("*.bin"))] if root else []
    if not files:
        raise DataError(f"{folder}: holds no N-MNIST samples (folders 0 to 9 with .bin files)")
    shards = _shards(files)
    return Source(
        name="N-MNIST",
        synthetic=False,
        sensor=NMNIST_SENSOR,
        classes=DIGITS,
        files=tuple(_shard(number, files) for number, files in enumerate(shards)),
    )


def read_nmnist(file: Path) -> Sample:
    """Read one N-MNIST sample; rows are y, columns x, as the digit is seen.

    Raises:
        DataError: the file is absent, cut short, without events, or has a pixel outside the sensor.
    """
    from tonic.io import events_struct, read_mnist_file

    size = _size(file)
    if size == 0 or size % BYTES_PER_EVENT:
        raise DataError(f"{file}: truncated: {size} bytes are no positive multiple of {BYTES_PER_EVENT}")
    events = read_mnist_file(str(file), dtype=events_struct)
    if not len(events):
        raise DataError(f"{file}: holds no pixel event, only marks of the clock's overflow")
    height, width = NMNIST_SENSOR
    outside = (events["x"] >= width) | (events["y"] >= height)
    if outside.any():
        first = events[np.argmax(outside)]
        raise DataError(f"{file}: pixel x={first['x']}, y={first['y']} lies outside the {width}x{height} sensor")
    row, column = events["y"].astype(np.uint16), events["x"].astype(np.uint16)
    time_us = events["t"].astype(np.uint64)
    digit = int(file.parent.name)
    name = f"{file.parent.name}-{file.stem}"
    return Sample(
        sample_id=name,
        recording=name,
        subject=name,
        session="",
        label=digit,
        gesture=DIGITS[digit],
        start_us=int(time_us.min()),
        address=((row * width + column) * 2 + events["p"]).astype(np.uint16),
        time_us=(time_us - time_us.min()).astype(np.uint32),
    )


def _size(file: Path) -> int:
    if not file.is_file():
        raise DataError(f"{file}: cannot be read: no such file")
    return file.stat().st_size


def _shards(files: list[Path]) -> list[list[Path]]:
    shards: list[list[Path]] = [[]]
    filled = 0
    for file in files:
        size = _size(file)
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(file)
        filled += size
    return shards


def _sha256(files: list[Path]) -> str:
    """Hash the bytes and the names, because the folder's name is the label."""
    lines = (f"{file.parent.name}/{file.name} {file_sha256(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _shard(number: int, files: list[Path]) -> SourceFile:
    def load() -> tuple[list[Sample], list[Finding]]:
        samples, findings = [], []
        for file in files:
            try:
                samples.append(read_nmnist(file))
            except DataError as error:
                findings.append(Finding(str(file), str(error).removeprefix(f"{file}: "), is_error=True))
        return samples, findings

    return SourceFile(f"shard-{number:04d}", lambda: _sha256(files), load)

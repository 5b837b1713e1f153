"""A dataset and a configuration small enough to train with in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sltune.events.source import Source, SourceFile
from sltune.events.store import Sample, encode_samples
from sltune.settings.configuration import Configuration
from sltune.system.files import write_whole

SENSOR = (16, 16)
CLASSES = ("left", "right")
SIGNERS = 8


def sample(signer: int, row: int, events: int) -> Sample:
    """A sample whose events lie in the left or the right half of the sensor, by its class."""
    rng = np.random.default_rng([signer, row])
    label = row % 2
    column = rng.integers(0, 8, events) + 8 * label
    address = (rng.integers(0, 16, events) * 16 + column) * 2 + rng.integers(0, 2, events)
    time_us = np.sort(rng.integers(0, 200_000, events))
    return Sample(
        sample_id=f"user{signer:02d}_indoor_{row + 1:02d}",
        recording=f"user{signer:02d}_indoor",
        subject=f"user{signer:02d}",
        session="S3",
        label=label,
        gesture=CLASSES[label],
        start_us=1_000_000 * row + int(time_us[0]),
        address=address.astype(np.uint16),
        time_us=(time_us - time_us[0]).astype(np.uint32),
    )


def write_samples(file: Path, samples: Sequence[Sample], sensor: tuple[int, int], metadata: Mapping[str, str]) -> None:
    """Write a sample file as the import does."""
    write_whole(file, encode_samples(samples, sensor, metadata))


def source(samples: int = 6, events: int = 400) -> Source:
    """Eight signers with some samples each."""

    def file(signer: int) -> SourceFile:
        name = f"user{signer:02d}_indoor"
        return SourceFile(name, lambda: name, lambda: ([sample(signer, row, events) for row in range(samples)], []))

    return Source("two sides", True, SENSOR, CLASSES, tuple(file(signer) for signer in range(SIGNERS)))


def quick(**settings: object) -> Configuration:
    """A configuration that trains in a second or two; settings are dotted keys."""
    values: dict[str, dict[str, object]] = {
        "sampling": {"time_bin_ms": 20, "train_crop": "start", "train_crop_ms": 200, "eval_crop_ms": "train"},
        "network": {"name": "nmnist-mlp2"},
        "training": {"epochs": 2},
    }
    for key, value in settings.items():
        section, name = key.split("__")
        values.setdefault(section, {})[name] = value
    return Configuration.model_validate(values)


def table_of(events: int) -> pa.Table:
    """A dataset of one sample with so many events, as it lies in memory."""
    address = np.random.default_rng(0).integers(0, 1 << 15, events).astype(np.uint16)
    sample = Sample("x", "x", "x", "S1", 0, "x", 0, address, np.arange(events, dtype=np.uint32))
    return pq.read_table(pa.BufferReader(encode_samples([sample], (128, 128), {}))).combine_chunks()

"""Readers give what other programs give: Expelliarmus for Prophesee's formats, Tonic, aedat, h5py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aedat
import expelliarmus
import h5py
import numpy as np
import pytest
from tonic.io import read_davis_346, read_mnist_file

from tests.events.formats.test_event_file import TONIC, read
from tests.events.formats.writers import WRITERS, Events, aedat4, davis346, evt3, hdf5, random_events


def columns(array: Any, polarity: str = "p") -> Events:
    names = ("x", "y", "t", polarity)
    x, y, t, p = (np.asarray(array[name]).astype(np.int64).tolist() for name in names)
    return Events(x, y, t, [value == 1 for value in p])


def by_aedat(file: Path) -> Events:
    packets = [packet["events"] for packet in aedat.Decoder(file) if "events" in packet]
    return columns(np.concatenate(packets), "on" if "on" in packets[0].dtype.names else "p")


def by_h5py(file: Path) -> Events:
    with h5py.File(file) as opened:
        return columns(opened["CD/events"][:])


@pytest.mark.parametrize(
    ("step_us", "suffix", "write", "decode"),
    [
        (1000, "dat", WRITERS["dat"], lambda file: columns(expelliarmus.Wizard("dat").read(file))),
        (1000, "raw", WRITERS["evt2.raw"], lambda file: columns(expelliarmus.Wizard("evt2").read(file))),
        # Expelliarmus 1.1.12 adds 4096 µs to all times beyond 4096 µs.
        (1, "raw", partial(evt3, with_trigger=False), lambda file: columns(expelliarmus.Wizard("evt3").read(file))),
        (1000, "bin", WRITERS["bin"], lambda file: columns(read_mnist_file(str(file), TONIC))),
        (1000, "aedat", partial(davis346, with_others=False), lambda file: columns(read_davis_346(str(file))[2])),
        (1000, "aedat4", partial(aedat4, compression=0, with_others=False), by_aedat),
        (1000, "aedat4", partial(aedat4, compression=1, with_others=False), by_aedat),
        (1000, "aedat4", partial(aedat4, compression=3, with_others=False), by_aedat),
        (1000, "h5", partial(hdf5, chunks=None), by_h5py),
        (1000, "h5", partial(hdf5, chunks=(100,), compression="gzip", shuffle=True), by_h5py),
    ],
    ids=["dat", "evt2", "evt3", "bin", "davis346", "aedat4", "lz4", "zstd", "h5", "gzip"],
)
def test_another_program_reads_the_same(
    tmp_path: Path, step_us: int, suffix: str, write: Callable[[Events], bytes], decode: Callable[[Path], Events]
) -> None:
    events = random_events(np.random.default_rng(3), 3000, step_us)
    file = tmp_path / f"recording.{suffix}"
    file.write_bytes(write(events))
    assert decode(file) == events
    assert read(file) == events

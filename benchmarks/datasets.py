"""Datasets that benchmarks make for themselves; what they import is not needed before."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def synthetic_data(folder: Path, recordings: int) -> Path:
    """Return a dataset of simulated recordings, which stays below the folder."""
    # Here, since they need pydantic, and a measured process does not.
    from sltune.events.importing import import_source
    from sltune.events.sources.slanimals.source import open_slanimals
    from sltune.events.synthetic.recordings import write_dataset

    write_dataset(folder / "source", recordings, signers="similar")
    import_source(open_slanimals(folder / "source"), folder / "data")
    return folder / "data"


def trivial_data(folder: Path, side: int = 16, signers: int = 8) -> Path:
    """Return a dataset on which training takes no time: from each signer a sample of 50 events of each of two classes.

    Args:
        side: of the sensor, in pixels.
    """
    from sltune.events.importing import import_source
    from sltune.events.source import Source, SourceFile
    from sltune.events.store import Sample

    def samples(signer: int) -> list[Sample]:
        rng = np.random.default_rng(signer)
        made = []
        for label in range(2):
            address = rng.integers(0, 2 * side * side, 50).astype(np.uint16)
            time_us = np.arange(50, dtype=np.uint32) * 4000
            name = f"user{signer:02d}_indoor"
            made.append(Sample(f"{name}_{label + 1:02d}", name, name[:6], "S3", label, str(label), 0, address, time_us))
        return made

    def file(signer: int) -> SourceFile:
        name = f"user{signer:02d}_indoor"
        return SourceFile(name, lambda: name, lambda: (samples(signer), []))

    source = Source("trivial", True, (side, side), ("0", "1"), tuple(map(file, range(signers))))
    import_source(source, folder / "data")
    return folder / "data"

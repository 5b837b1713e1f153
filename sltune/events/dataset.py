"""A dataset on disk, open for reading; events are read, and their files checked, only when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, read_manifest
from sltune.events.sample_file import SampleFile
from sltune.events.samples import Samples


@dataclass(frozen=True)
class Dataset:
    """What the manifest says, and all samples in its order."""

    root: Path
    manifest: Manifest
    samples: Samples


def open_dataset(root: Path) -> Dataset:
    """Open a dataset; a file's events stay in memory once they are read.

    Raises:
        DataError: the folder is no dataset, or a file of it is absent, damaged or not what the manifest says; events
            that are, are found when they are read.
    """
    manifest = read_manifest(root)
    samples = Samples([SampleFile(root, file, manifest) for file in manifest.files])
    if len(set(samples.sample_id)) < len(samples):
        raise DataError(f"{root / MANIFEST}: is damaged (two of its files have a sample of the same name); {HINT}")
    return Dataset(root, manifest, samples)

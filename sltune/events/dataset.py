"""A dataset on disk, open for reading; events are read, and their files checked, only when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sltune.events.samples import Samples
from sltune.events.store import Manifest, SampleFile, read_manifest


@dataclass(frozen=True)
class Dataset:
    """What the manifest says, and all samples in its order."""

    root: Path
    manifest: Manifest
    samples: Samples


def open_dataset(root: Path) -> Dataset:
    """Open a dataset; a file's events stay in memory once they are read.

    Raises:
        DataError: the folder is no dataset, or a file of it is absent or damaged; damaged events are found when read.
    """
    manifest = read_manifest(root)
    return Dataset(root, manifest, Samples([SampleFile(root / file.file, file.sha256) for file in manifest.files]))

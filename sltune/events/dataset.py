"""A dataset on disk, open for reading; events are read, and their files checked, only when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, read_manifest
from sltune.events.samples import Samples
from sltune.events.store import SampleFile


@dataclass(frozen=True)
class Dataset:
    """What the manifest says, and all samples in its order."""

    root: Path
    manifest: Manifest
    samples: Samples


def open_dataset(root: Path) -> Dataset:
    """Open a dataset; a file's events stay in memory once they are read.

    Raises:
        DataError: the folder is no dataset, or a file of it is absent or damaged, or the manifest
            names fewer classes than there are; damaged events are found when read.
    """
    manifest = read_manifest(root)
    samples = Samples([SampleFile(root / file.file, file.sha256) for file in manifest.files])
    if (samples.label >= len(manifest.classes)).any():
        text = f"names {len(manifest.classes)} classes, but there is a sample of class {samples.label.max() + 1}"
        raise DataError(f"{root / MANIFEST}: is damaged ({text}); {HINT}")
    return Dataset(root, manifest, samples)

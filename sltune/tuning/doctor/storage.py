"""Where results, checkpoints and the dataset lie: whether there is room, and whether they can be written and read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import UsageError
from sltune.events.manifest import Manifest
from sltune.tuning.doctor.findings import Finding, graded, size
from sltune.tuning.trial.checkpoints import Checkpoints

MIN_FREE_BYTES, ENOUGH_BYTES = 64 << 20, 2 << 30
"""Below the one a run of some trials fails; below the other a search does."""
MIN_FREE_FILES, ENOUGH_FILES = 1000, 100_000
"""A trial has some ten files."""


@dataclass(frozen=True)
class Places:
    """What a run would read and write.

    results: the folder of runs. checkpoints: a folder or URI; None for the run folder. data: the dataset, if any.
    """

    results: Path
    checkpoints: str | None = None
    data: Path | None = None


def examine_storage(places: Places) -> Iterator[Finding]:
    """Give what is found of results and checkpoints, on the machine that calls it."""
    yield from examine_folder("results", places.results)
    if places.checkpoints is not None:
        yield examine_checkpoints(places.checkpoints)
        if "://" not in places.checkpoints:
            yield from examine_folder("checkpoints", Path(places.checkpoints))


def examine_folder(subject: str, folder: Path) -> Iterator[Finding]:
    """Give what is found of a folder that a run writes to, or of the one in which it would make it."""
    there = next((place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()), Path("/"))
    try:
        # A file of a byte, since an empty one fits on a full disk.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        text = f"{there}: cannot be written: {error.strerror or error}"
        yield Finding("broken", subject, text, "make room, or name a folder that can be written: --results FOLDER")
        return
    free, system = shutil.disk_usage(there).free, os.statvfs(there)
    # File systems without a fixed number of inodes say 0 of 0.
    files = system.f_favail if system.f_files else ENOUGH_FILES
    text = f"{there}: {size(free)} and {files if system.f_files else 'any number of'} files are free"
    broken = free < MIN_FREE_BYTES or files < MIN_FREE_FILES
    yield graded(
        subject, text, "make room, or name another folder", broken, free < ENOUGH_BYTES or files < ENOUGH_FILES
    )


def examine_checkpoints(place: str) -> Finding:
    """Say whether checkpoints can be written at a place from here."""
    try:
        Checkpoints(0, place, ".doctor").check()
    except UsageError as error:
        advice = "every node must be able to write there; mount it, or leave --checkpoints out"
        return Finding("broken", "checkpoints", str(error), advice)
    return Finding("ok", "checkpoints", f"{place} can be written")


def examine_data(data: Path, manifest: Manifest) -> Finding:
    """Say whether all files of a dataset are there."""
    missing = [stored.file for stored in manifest.files if not os.access(data / stored.file, os.R_OK)]
    if missing:
        text = f"{data}: {len(missing)} of {len(manifest.files)} files cannot be read, such as {missing[0]}"
        return Finding("broken", "data", text, "copy the dataset anew, or import it again")
    return Finding("ok", "data", f"{data}: {len(manifest.files)} files, {manifest.events:,} events")

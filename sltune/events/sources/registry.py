"""The kinds of sources that ``--source`` takes, each entered here once with what opens it and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sltune.errors import UsageError
from sltune.events.orientation import Orientation
from sltune.extensions.code import is_reference

if TYPE_CHECKING:
    from sltune.events.source import Source


@dataclass(frozen=True)
class ImportOptions:
    """Which source is imported, and how.

    kind: the value of --source: one of KINDS, KIND:NAME, or a reader of the user's. root, group_by, sensor, time_unit:
    the values of these flags, each for the kinds that take it. orientation: None for what the source says.
    """

    kind: str
    root: Path | None = None
    group_by: str | None = None
    sensor: str | None = None
    time_unit: str | None = None
    downsample: int = 1
    orientation: Orientation | None = None
    strict: bool = False
    skip_bad: bool = False
    replace: bool = False
    address: str | None = None
    quiet: bool = False


# Each imports its source only when called: the command line reads this module for its help, which should be instant.
def _open_slanimals(name: str, place: Path, options: ImportOptions) -> Source:
    from sltune.events.sources.slanimals.source import open_slanimals

    return open_slanimals(place)


def _open_nmnist_folder(name: str, place: Path, options: ImportOptions) -> Source:
    from sltune.events.sources.tonic.source import open_nmnist_folder

    return open_nmnist_folder(place)


def _open_tonic(name: str, place: Path, options: ImportOptions) -> Source:
    from sltune.events.sources.tonic.source import open_tonic

    return open_tonic(name, place, options.group_by)


def _open_table(name: str, place: Path, options: ImportOptions) -> Source:
    from sltune.events.sources.listed import open_table

    return open_table(place, options)


def _open_folders(name: str, place: Path, options: ImportOptions) -> Source:
    from sltune.events.sources.listed import open_folders

    return open_folders(place, options)


def _open_own(name: str, place: Path, options: ImportOptions) -> Source:
    from sltune.events.sources.own import open_own

    return open_own(name, place)


@dataclass(frozen=True)
class SourceKind:
    """A kind of source.

    open: takes the name after the colon ("" if the kind has none), the place, and the options of the import.
    shown: how a user writes the kind after --source. about: what it reads, for the help.
    flags: the flags that this kind takes. place: what the user has to name, for an error.
    is_at_root: whether --root may name the place itself.
    """

    open: Callable[[str, Path, ImportOptions], Source]
    shown: str
    about: str
    flags: tuple[str, ...] = ()
    place: str = "SRC, the place of the recordings"
    is_at_root: bool = False


OF_FILES = ("--group-by", "--sensor", "--time-unit")
"""Flags of sources whose files may be of any format."""

KINDS: Mapping[str, SourceKind] = {
    "slanimals": SourceKind(_open_slanimals, "slanimals", "recordings and tags of SL-Animals-DVS"),
    "table": SourceKind(
        _open_table,
        "table",
        "recordings that a CSV or Parquet file lists",
        flags=("--root", *OF_FILES),
        place="SRC, the CSV or Parquet file that lists the recordings",
    ),
    "folders": SourceKind(_open_folders, "folders", "recordings in folders named by class", flags=OF_FILES),
    "nmnist-folder": SourceKind(_open_nmnist_folder, "nmnist-folder", "digits 0 to 9 of .bin files"),
    "tonic": SourceKind(
        _open_tonic,
        "tonic:NAME",
        "a dataset that Tonic reads",
        flags=("--root", "--group-by"),
        place="--root DIR, the folder below which Tonic finds its data",
        is_at_root=True,
    ),
}
OWN = SourceKind(_open_own, "FILE.py:NAME", "a reader of yours")
DEFAULT = "slanimals"
FLAGS = {"--root": "root", "--group-by": "group_by", "--sensor": "sensor", "--time-unit": "time_unit"}
"""Flags that only some kinds take, and the options that they set."""


def source_help() -> str:
    """Return what --source takes."""
    *first, last = (f"{kind.shown} ({kind.about})" for kind in (*KINDS.values(), OWN))
    return f"{', '.join(first)} or {last}."


def open_source(options: ImportOptions, place: Path | None) -> Source:
    """Return the source that a user names.

    Args:
        place: SRC, where the source lies; None if the user named none.

    Raises:
        UsageError: there is no such kind, or the options do not go together.
        DataError: there is no such source at the place.
    """
    wanted = options.kind
    key, colon, name = wanted.partition(":")
    kind = KINDS.get(key, OWN if is_reference(wanted) else None)
    if kind is OWN:
        name = wanted
    if kind is None or bool(colon) != (":" in kind.shown):
        *first, last = (each.shown for each in (*KINDS.values(), OWN))
        raise UsageError(f"--source must be {', '.join(first)} or {last}, but got {wanted!r}")
    for flag, option in FLAGS.items():
        if getattr(options, option) is not None and flag not in kind.flags:
            takers = " or ".join(each.shown for each in KINDS.values() if flag in each.flags)
            raise UsageError(f"{flag} goes with --source {takers} only, not with {wanted}")
    there = (options.root if kind.is_at_root else None) or place
    if there is None:
        raise UsageError(f"--source {wanted} needs {kind.place}")
    return kind.open(name, there, options)

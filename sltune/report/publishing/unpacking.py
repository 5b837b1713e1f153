"""Read archives of runs, which may come from a stranger."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from sltune.errors import DataError
from sltune.events.formats.archives import UNPACKING_ERRORS, Archive
from sltune.system.files import max_unpacked_bytes
from sltune.wording import excerpt

SUFFIX = ".zip"
MAX_FILES = 1_000_000
"""As many as the trials of the largest run; each takes a block of the disk, even if it is empty."""


def is_archive(path: Path) -> bool:
    """Say whether a path names an archive and not a run folder."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


@contextmanager
def unpacked(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give run folders as they are, and for each archive a folder with its run, which lasts as long as the block.

    Raises:
        DataError: a file is no archive of a run, is damaged, or holds what none of sltune's does.
    """
    if not any(map(is_archive, paths)):
        yield list(paths)
        return
    with TemporaryDirectory(prefix="sltune-") as place:
        # The archive's name tells apart two runs of the same name.
        places = (Path(place) / str(number) / path.stem for number, path in enumerate(paths))
        yield [_unpack(path, at) if is_archive(path) else path for path, at in zip(paths, places, strict=True)]


def _unpack(path: Path, place: Path) -> Path:
    try:
        archive = Archive(path)
        with archive.file:
            names = archive.names()
            _check(archive, names)
            for name in names:
                _unpack_file(archive, name, place)
    except OSError as error:
        raise DataError(f"{path}: cannot be unpacked: {error.strerror or error}") from error
    except UNPACKING_ERRORS as error:
        raise DataError(f"{path}: cannot be unpacked: {excerpt(str(error))}") from error
    return place / PurePosixPath(names[0]).parts[0]


def _check(archive: Archive, names: Sequence[str]) -> None:
    tops = {PurePosixPath(name).parts[0] for name in names if len(PurePosixPath(name).parts) > 1}
    if len(tops) != 1 or f"{next(iter(tops))}/run.json" not in names:
        raise DataError(f"{archive.path}: is no archive of a run: has not one folder with a run.json in it")
    if links := archive.links():
        raise DataError(
            f"{archive.path}: holds {excerpt(repr(links[0]))}, a link or device, which sltune does not write"
        )
    if len(names) > MAX_FILES:
        raise DataError(f"{archive.path}: holds {len(names):,} files, more than the {MAX_FILES:,} that a run may have")
    found, most = archive.unpacked_bytes(), max_unpacked_bytes(archive.size)
    if found > most:
        sizes = f"{found / 1e6:,.0f} MB, more than the {most / 1e6:,.0f} MB that are plausible for its size"
        raise DataError(f"{archive.path}: would unpack to {sizes}; unpack it yourself if you trust it")


def _unpack_file(archive: Archive, name: str, place: Path) -> None:
    file = place / PurePosixPath(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    # "x": two names in the archive may mean the same file.
    with archive.open(name) as content, file.open("xb") as into:
        shutil.copyfileobj(content, into)

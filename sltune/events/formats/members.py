"""Find and read files that are plain, gzipped, or members of zip archives."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from sltune.errors import DataError
from sltune.events.formats.archives import UNPACKING_ERRORS, open_archive
from sltune.system.files import max_unpacked_bytes, open_plain, sibling
from sltune.wording import excerpt, printable

# Half a thousand million events: twice the whole of SL-Animals-DVS.
MAX_RECORDING_BYTES = 4 << 30
GZIPPED = ".gz"
PIECE_BYTES = 1 << 18
# Suffixes of archives that are not looked into; a zip archive is not if it lies within another one.
PACKED = {".rar", ".7z", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".bz2", ".xz", ".zst", ".zip"}
# Operating systems put these beside a user's files; compared in lower case.
SYSTEM_NAMES = {"__macosx", "lost+found", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"}


@dataclass(frozen=True, order=True)
class Member:
    """A file on disk, or a member of a zip archive on disk. inside: its name in the archive; "" for the file itself."""

    path: Path
    inside: str = ""

    def __str__(self) -> str:
        return printable(f"{self.path}/{self.inside}" if self.inside else str(self.path))

    @classmethod
    def of(cls, file: Path | Member) -> Member:
        """Return a path as a member; a member is returned as it is."""
        return file if isinstance(file, Member) else cls(Path(file))

    @property
    def name(self) -> str:
        """The file's name without the folders and without ``.gz``."""
        # Some programs on Windows write backslashes into archives.
        name = PurePosixPath(self.inside.replace("\\", "/") or self.path.name).name
        return name[: -len(GZIPPED)] if name.lower().endswith(GZIPPED) else name

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The name's last suffix, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def size(self) -> int:
        """Bytes on disk; 0 where there is nothing."""
        try:
            return open_archive(self.path).packed_bytes(self.inside) if self.inside else self.path.stat().st_size
        except (OSError, DataError):
            return 0

    def content(self, at_most: int | None = None, max_bytes: int = MAX_RECORDING_BYTES) -> bytes:
        """Return the bytes, unpacked, or only the first ``at_most``; other arguments and errors as for ``pieces``."""
        content, left = bytearray(), at_most
        for piece in self.pieces(max_bytes):
            content += piece[:left]
            if at_most is not None and (left := at_most - len(content)) <= 0:
                break
        return bytes(content)

    def pieces(self, max_bytes: int = MAX_RECORDING_BYTES) -> Iterator[memoryview]:
        """Give the bytes, unpacked, in pieces; each piece is overwritten by the next.

        Args:
            max_bytes: how many bytes the file may have, packed and unpacked.

        Raises:
            DataError: the file is not a plain file, cannot be read, is damaged, changes meanwhile, has more bytes, or
                unpacks to implausibly many.
        """
        # The file is not mapped into memory: the system kills a process whose mapped file becomes shorter.
        buffer = memoryview(bytearray(PIECE_BYTES))
        try:
            with self._opened(max_bytes) as (file, disk, most):
                before, given = os.fstat(disk.fileno()), 0
                while count := file.readinto(buffer):
                    given += count
                    if given > most:
                        most_mb = f"{most / 1e6:,.0f} MB"
                        raise DataError(f"{self}: unpacks to more than {most_mb}; no recording or tag file does")
                    yield buffer[:count]
                after = os.fstat(disk.fileno())
        except OSError as error:
            raise DataError(f"{self}: cannot be read: {error.strerror or error}") from error
        except UNPACKING_ERRORS as error:
            raise DataError(f"{self}: cannot be unpacked: {excerpt(str(error))}") from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise DataError(f"{self}: changed while it was read; import again when it is no longer being copied")

    @contextmanager
    def _opened(self, max_bytes: int) -> Iterator[tuple[Any, BinaryIO, int]]:
        """Give what the bytes are read from, the file on disk, and how many bytes may come at most."""
        if self.inside:
            archive = open_archive(self.path)
            most = min(max_bytes, max_unpacked_bytes(archive.packed_bytes(self.inside)))
            with archive.open(self.inside) as file:
                if not self.inside.lower().endswith(GZIPPED):
                    yield file, archive.file, most
                    return
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked, archive.file, most
            return
        with open_plain(self.path, max_bytes) as disk:
            if not self.path.name.lower().endswith(GZIPPED):
                yield disk, disk, max_bytes
                return
            with gzip.GzipFile(fileobj=disk) as unpacked:
                yield unpacked, disk, min(max_bytes, max_unpacked_bytes(os.fstat(disk.fileno()).st_size))


def find_members(place: Path) -> list[Member]:
    """Return all files in a folder and below it, or in a zip archive, in the order of their paths.

    Members of zip archives in the folder are included, and links to folders are followed. Hidden files and those of
    operating systems are skipped, with all that lies below them.

    Raises:
        DataError: an archive or folder cannot be read.
    """
    try:
        found = _in_archive(place) if place.is_file() else _in_folder(place)
        # Strings compare ten times as fast as paths.
        return sorted(found, key=lambda member: (str(member.path), member.inside))
    except OSError as error:
        where = printable(os.fsdecode(error.filename or place))
        near = sibling(place) if not place.exists() else ""
        raise DataError(f"{where}: cannot be read: {error.strerror or error}{near}") from error


def sha256_of(*members: Member) -> str:
    """Hash the content of members, one after the other.

    Raises:
        DataError: one cannot be read.
    """
    hasher = hashlib.sha256()
    for member in members:
        for piece in member.pieces():
            hasher.update(piece)
    return hasher.hexdigest()


def _in_folder(top: Path) -> Iterator[Member]:
    folders, links, seen = [top], list[Path](), set[tuple[int, int]]()
    # Links come last: a folder that also lies below the top is then named by its own path.
    while folders or links:
        folder = (folders or links).pop()
        status = folder.stat()
        # Links may lead round in a circle, or to a place that has been searched.
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for file in folder.iterdir():
            if _is_skipped(file.name):
                continue
            if file.is_dir():
                (links if file.is_symlink() else folders).append(file)
            elif file.suffix.lower() == ".zip":
                yield from _in_archive(file)
            else:
                # A broken link is kept, so that reading it reports it.
                yield Member(file)


def _in_archive(archive: Path) -> Iterator[Member]:
    try:
        names = open_archive(archive).names()
    except OSError as error:
        raise DataError(f"{Member(archive)}: cannot be read: {error.strerror or error}") from error
    for name in names:
        parts = re.split(r"[/\\]", name)
        # A name that ends in a slash is a folder.
        if parts[-1] and not any(map(_is_skipped, parts)):
            yield Member(archive, name)


def _is_skipped(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM_NAMES

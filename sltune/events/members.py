"""Files to read, wherever they lie: plain, gzipped, or members of zip archives."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.wording import printable

# Real recordings shrink to a half or a third. What grows beyond this would fill the memory.
MOST_EXPANSION = 100
ALWAYS_ALLOWED_BYTES = 64 << 20
GZIPPED = ".gz"
PACKED = {".rar", ".7z", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".bz2", ".xz", ".zst", ".zip"}
"""Suffixes of archives that are not looked into; of zip archives, those within another archive."""
SYSTEM_NAMES = {
    *("__macosx", "lost+found", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"),
}
"""What operating systems put beside the files of a user, in lower case; hidden files begin with a dot."""

_UNPACKING_ERRORS = (EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, order=True)
class Member:
    """A file on disk, or one within a zip archive on disk. inside: its name there, "" where path is the file itself."""

    path: Path
    inside: str = ""

    def __str__(self) -> str:
        return printable(f"{self.path}/{self.inside}" if self.inside else str(self.path))

    @classmethod
    def of(cls, file: Path | Member) -> Member:
        """Return the file itself where it is a path."""
        return file if isinstance(file, Member) else cls(Path(file))

    @property
    def name(self) -> str:
        """The file's name without the folders and without ``.gz``."""
        # Some programs for Windows write its backslashes into archives.
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
            if not self.inside:
                return self.path.stat().st_size
            with zipfile.ZipFile(self.path) as archive:
                return archive.getinfo(self.inside).compress_size
        except (OSError, KeyError, *_UNPACKING_ERRORS):
            return 0

    def content(self, at_most: int | None = None) -> NDArray[np.uint8]:
        """Return the bytes: mapped where the file is plain, else unpacked into memory.

        Args:
            at_most: unpack no more than so many bytes from the start; what is mapped costs nothing and comes whole.

        Raises:
            DataError: the file cannot be read, is damaged, or unpacks to implausibly much.
        """
        try:
            mode = self.path.stat().st_mode
            # To open a named pipe would wait for ever.
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise DataError(f"{self}: cannot be read: is no regular file")
            if self.inside:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.inside) as file:
                    return self._unpack(file, archive.getinfo(self.inside).compress_size, at_most)
            if self.path.name.lower().endswith(GZIPPED):
                with gzip.open(self.path) as file:
                    return self._unpack(file, self.path.stat().st_size, at_most)
            if self.path.stat().st_size == 0:
                return np.empty(0, np.uint8)
            return np.memmap(self.path, dtype=np.uint8, mode="r")
        except OSError as error:
            raise DataError(f"{self}: cannot be read: {error.strerror or error}") from error
        except KeyError as error:
            raise DataError(f"{self}: cannot be read: the archive has no such member") from error
        except _UNPACKING_ERRORS as error:
            raise DataError(f"{self}: cannot be unpacked: {error}") from error

    def _unpack(self, file: gzip.GzipFile | IO[bytes], packed_bytes: int, at_most: int | None) -> NDArray[np.uint8]:
        if at_most is not None:
            return np.frombuffer(file.read(at_most), dtype=np.uint8)
        most = max(ALWAYS_ALLOWED_BYTES, MOST_EXPANSION * packed_bytes)
        content = file.read(most + 1)
        if len(content) > most:
            raise DataError(f"{self}: unpacks to more than {MOST_EXPANSION} times its size; no recording does")
        return np.frombuffer(content, dtype=np.uint8)


def find_members(place: Path) -> list[Member]:
    """Return all files in a folder and below it, or in one zip archive, in the order of their paths.

    Zip archives in the folder are looked into, links to folders are followed. Hidden files and those of operating
    systems are passed over, with all that lies below them.

    Raises:
        DataError: an archive or folder cannot be read.
    """
    try:
        return sorted(_in_archive(place) if place.is_file() else _in_folder(place))
    except OSError as error:
        where = printable(os.fsdecode(error.filename or place))
        raise DataError(f"{where}: cannot be read: {error.strerror or error}") from error


def sha256_of(*members: Member) -> str:
    """Hash the content of members, one after the other.

    Raises:
        DataError: one cannot be read.
    """
    hasher = hashlib.sha256()
    for member in members:
        hasher.update(member.content().data)
    return hasher.hexdigest()


def _in_folder(top: Path) -> Iterator[Member]:
    folders, links, seen = [top], list[Path](), set[tuple[int, int]]()
    # Links come last, so that a folder is named by its own path where that lies below the top, too.
    while folders or links:
        folder = (folders or links).pop()
        status = folder.stat()
        # Links may lead round in a circle, or to a place that has been searched.
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for file in folder.iterdir():
            if _is_passed_over(file.name):
                continue
            if file.is_dir():
                (links if file.is_symlink() else folders).append(file)
            elif file.suffix.lower() == ".zip" and file.is_file():
                yield from _in_archive(file)
            # A link to nowhere is a file that cannot be read, and must not be passed over.
            else:
                yield Member(file)


def _in_archive(archive: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
    except _UNPACKING_ERRORS as error:
        raise DataError(f"{Member(archive)}: is no zip archive, or a damaged one: {error}") from error
    for name in names:
        parts = re.split(r"[/\\]", name)
        # With a slash at the end it is a folder.
        if parts[-1] and not any(map(_is_passed_over, parts)):
            yield Member(archive, name)


def _is_passed_over(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM_NAMES

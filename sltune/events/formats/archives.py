"""Read zip archives in place; the list of members is checked, and read only once."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import IO

from sltune.errors import DataError
from sltune.system.files import open_plain
from sltune.wording import printable

# zipfile and gzip raise these for damage, besides OSError.
UNPACKING_ERRORS = (
    *(EOFError, NotImplementedError, RuntimeError, ValueError, struct.error),
    *(zipfile.BadZipFile, zlib.error),
)
# With these, zipfile unpacks no more than it is asked for; bzip2 may give 20,000 times what it reads.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
OTHER_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA"}
ENCRYPTED = 1

# To read the directory of an archive of 3000 recordings takes 30 ms, and each recording is asked for several times.
MAX_OPEN_ARCHIVES = 8
_LOCK = Lock()


class Archive:
    """A zip archive, open for reading; threads may read from it at once.

    Raises:
        DataError: it is not a zip archive, is damaged, or names files that no archive should.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_plain(path)
        try:
            self._zip = zipfile.ZipFile(self.file)
        except UNPACKING_ERRORS as error:
            raise DataError(f"{path}: is not a zip archive, or is damaged: {error}") from error
        self.size = os.fstat(self.file.fileno()).st_size
        self._entries = {entry.filename: entry for entry in self._zip.infolist()}
        self._check()

    def names(self) -> list[str]:
        """Return the names of the files in it."""
        return [name for name in self._entries if not name.endswith("/")]

    def packed_bytes(self, name: str) -> int:
        """Return how many bytes a file takes in the archive.

        Raises:
            DataError: there is no such file.
        """
        return self._entry(name).compress_size

    def unpacked_bytes(self) -> int:
        """Return how many bytes all files say that they have; reading one gives no more."""
        return sum(entry.file_size for entry in self._entries.values())

    def links(self) -> list[str]:
        """Return the names of what is no plain file: links and devices, which archives of Unix may hold."""
        kinds = ((name, stat.S_IFMT(entry.external_attr >> 16)) for name, entry in self._entries.items())
        return [name for name, kind in kinds if kind not in (0, stat.S_IFREG, stat.S_IFDIR)]

    def open(self, name: str) -> IO[bytes]:
        """Open a file in the archive for reading.

        Raises:
            DataError: there is none, it is encrypted, or packed in a way that cannot be read.
            OSError, or one of UNPACKING_ERRORS: it is damaged.
        """
        entry = self._entry(name)
        if entry.flag_bits & ENCRYPTED:
            raise DataError(f"{self.path}/{name}: is encrypted; unpack the archive")
        if entry.compress_type not in METHODS:
            method = OTHER_METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            raise DataError(f"{self.path}/{name}: is packed by {method}, and only deflate is read; unpack the archive")
        return self._zip.open(entry)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._entries[name]
        except KeyError:
            raise DataError(f"{self.path}/{name}: cannot be read: the archive has no such member") from None

    def _check(self) -> None:
        entries = self._zip.infolist()
        for entry in entries:
            # Windows has other separators; zipfile makes them slashes there and keeps them here.
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or printable(entry.filename) != entry.filename:
                text = f"names a file {printable(entry.filename)!r}, which no archive should"
                raise DataError(f"{self.path}: {text}; unpack it yourself if you trust it")
        if len(self._entries) < len(entries):
            names = [entry.filename for entry in entries]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{self.path}: holds {twice!r} twice; unpack it and keep the right one")
        # Members that share their bytes could make one archive unpack to any size.
        if sum(entry.compress_size for entry in entries) > self.size:
            raise DataError(f"{self.path}: is a damaged zip archive: its members would have more bytes than it has")


def open_archive(path: Path) -> Archive:
    """Return the archive at a path, which stays open for the next call.

    Raises:
        DataError, OSError: as Archive.
    """
    status = path.stat()
    # Without the lock, two threads would each read the directory of a large archive.
    with _LOCK:
        return _open(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(MAX_OPEN_ARCHIVES)
def _open(path: Path, identity: tuple[int, ...]) -> Archive:
    """Open an archive. identity: differs for another file in its place, which is then opened anew."""
    return Archive(path)

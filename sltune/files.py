"""Files that appear whole or not at all, whatever kills the writer; and files of strangers."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sltune.errors import UsageError

MAX_TEXT_BYTES = 64 << 20
"""No text file of ours comes near this size; a record of a large dataset has a few hundred kilobytes."""


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, it takes the file's name at once, or vanishes on an error.

    Raises:
        UsageError: the file cannot be written (a full disk, no permission); says why.
    """
    # The target of a link is replaced, not the link; and what is no file, such as a device, not at all.
    file = file.resolve() if file.is_symlink() else file
    try:
        if file.exists() and not file.is_file() and not file.is_dir():
            raise UsageError(f"{file}: cannot be written: is a device, not a file")
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error


def write_whole(file: Path, content: str | bytes | memoryview) -> None:
    """Write a text or bytes as ``whole_file`` does.

    Raises:
        UsageError: the file cannot be written.
    """
    with whole_file(file) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def open_plain(file: Path, max_bytes: int | None = None) -> BinaryIO:
    """Open a file that may come from a stranger, for reading as bytes.

    Args:
        max_bytes: the largest size that such a file may have; None for any.

    Raises:
        OSError: it cannot be opened, is no plain file (a named pipe would hang the reader, and a device could feed it
            for ever), or is larger; its ``strerror`` reads as the reason in a message.
    """
    # Without O_NONBLOCK the call itself would wait for somebody to write into a named pipe.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise OSError(errno.EINVAL, f"is {kind}, not a plain file", str(file))
        if max_bytes is not None and status.st_size > max_bytes:
            text = (
                f"has {status.st_size / 1e6:,.0f} MB, more than the {max_bytes / 1e6:,.0f} MB that such a file may have"
            )
            raise OSError(errno.EFBIG, text, str(file))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of a file that may come from a stranger; raises as ``open_plain`` does."""
    with open_plain(file, max_bytes) as handle:
        # The file may grow meanwhile.
        return handle.read(max_bytes)


def parse_json(content: bytes | str) -> Any:
    """Return what a JSON text of a stranger says.

    Raises:
        ValueError: it is no JSON. NaN and Infinity, which JSON does not have, and text that is nested too deep count
            as such.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def is_unicode(name: str) -> bool:
    """Say whether a file's name is UTF-8; where it is not, Python's text of it cannot be written anywhere."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

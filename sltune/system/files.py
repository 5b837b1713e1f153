"""Files that appear whole or not at all, whatever kills the writer; and files of strangers."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sltune.errors import UsageError

MAX_TEXT_BYTES = 64 << 20
"""No text file of ours comes near this size; a record of a large dataset has a few hundred kilobytes."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def whole_file(file: Path, inside: Path | None = None) -> Iterator[BinaryIO]:
    """Give a file to write to; on leaving, it takes the place at once, or vanishes on an error.

    A link of that name is replaced and never followed; where a user names a file, see ``named_by_user``.

    Args:
        inside: a folder that exists and that the file lies in. Below it no link is followed either, so that a folder
            that somebody has handed on cannot lead out of itself. None where all but the name is the user's own.

    Raises:
        UsageError: the file cannot be written (a full disk, no permission, a link on the way); says why.
    """
    try:
        with open_folder(file.parent, inside) as folder:
            if _is_special(file.name, folder):
                raise UsageError(f"{file}: cannot be written: is a device, not a file")
            name = f".{file.name}.{secrets.token_hex(4)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            # With the permissions that the user's umask gives to new files.
            with os.fdopen(os.open(name, flags, 0o666, dir_fd=folder), "wb") as handle:
                try:
                    yield handle
                    handle.flush()
                    os.fsync(handle.fileno())
                    os.replace(name, file.name, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=folder)
                    raise
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error


def write_whole(file: Path, content: str | bytes | memoryview, inside: Path | None = None) -> None:
    """Write a text or bytes as ``whole_file`` does.

    Raises:
        UsageError: the file cannot be written.
    """
    with whole_file(file, inside) as handle:
        handle.write(content.encode() if isinstance(content, str) else content)


def named_by_user(file: Path) -> Path:
    """Return the file that is meant where a user names one to write: that to which a link of his leads."""
    return file.resolve() if file.is_symlink() else file


@contextmanager
def open_folder(folder: Path, inside: Path | None = None) -> Iterator[int]:
    """Open a folder, which is made where it is missing, and give its descriptor.

    Args:
        inside: a folder that exists, below which no link is followed; None where every link may be.

    Raises:
        UsageError: there is a link on the way, or ``inside`` is gone.
        OSError: it cannot be opened or made.
    """
    if inside is None:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, _FOLDER)
    else:
        descriptor = _open_below(folder.relative_to(inside).parts, inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_below(parts: Sequence[str], inside: Path) -> int:
    path = inside
    if ".." in parts:
        raise UsageError(f"{inside.joinpath(*parts)}: lies outside of {inside}")
    try:
        descriptor = os.open(inside, _FOLDER)
    except FileNotFoundError as error:
        raise UsageError(f"{inside}: is gone; it was deleted, moved or unmounted") from error
    for part in parts:
        path /= part
        try:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            if path.is_symlink():
                text = f"{path}: is a link, through which nothing is written, as it leads out of {inside}"
                raise UsageError(f"{text}; put a folder in its place") from error
            raise
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def open_own(file: Path, flags: int, folder: int) -> int:
    """Open a file of ours that is changed in place, in a folder that is open; return its descriptor.

    Raises:
        UsageError: it is no plain file but, say, a link, which would lead to a file of somebody else.
        OSError: it cannot be opened.
    """
    try:
        # Without O_NONBLOCK the call itself would wait for somebody at the other end of a named pipe.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(file.name, flags, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(f"{file}: is a link, which sltune does not make; remove it") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{file}: is no plain file; remove it")
    return descriptor


def append_whole(file: Path, text: str, inside: Path | None = None) -> None:
    """Add a text to the end of a file of ours that exists.

    Raises:
        UsageError: it cannot be written, or is a link.
    """
    try:
        with open_folder(file.parent, inside) as folder:
            descriptor = open_own(file, os.O_WRONLY | os.O_APPEND, folder)
            with os.fdopen(descriptor, "ab") as handle:
                handle.write(text.encode())
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error


def remove(file: Path, inside: Path | None = None) -> None:
    """Remove a file of ours, if it is there; raises as ``write_whole`` does."""
    try:
        with open_folder(file.parent, inside) as folder, suppress(FileNotFoundError):
            os.unlink(file.name, dir_fd=folder)
    except OSError as error:
        raise UsageError(f"{file}: cannot be removed: {error.strerror or error}") from error


def _is_special(name: str, folder: int) -> bool:
    """Say whether there is something that is neither file, folder nor link."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


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

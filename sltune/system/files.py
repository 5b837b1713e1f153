"""Write files so that they appear whole or not at all, and read files that may come from a stranger."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sltune.errors import UsageError
from sltune.wording import suggestion

MAX_TEXT_BYTES = 64 << 20
"""The largest text file of ours, a record of a large dataset, has a few hundred kilobytes."""
MAX_EXPANSION = 100
"""Recordings and sample files shrink to a half or a third; what claims to grow beyond this would fill the memory."""
ALWAYS_ALLOWED_BYTES = 64 << 20
"""Small files may shrink further than that, and fill no memory even so."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def _errors_named(file: Path, what: str) -> Iterator[None]:
    """Turn an OSError within the block into a UsageError that names the file, what cannot be done with it, and why."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{file}: cannot be {what}: {error.strerror or error}") from error


@contextmanager
def whole_file(file: Path, inside: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, which replaces ``file`` when the block ends and is deleted on an error.

    A link of that name is replaced and never followed; for a file that a user names, see ``named_by_user``.

    Args:
        inside: an existing folder that contains the file. No link below it is followed, so that a run folder from
            somebody else cannot make us write outside of it. None if the user chose the whole path.

    Raises:
        UsageError: the file cannot be written (a full disk, no permission, a link on the way); says why.
    """
    with _errors_named(file, "written"), open_folder(file.parent, inside) as folder:
        if _is_special(file.name, folder):
            raise UsageError(f"{file}: cannot be written: is a device, not a file")
        name = f".{file.name}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        # 0o666 less the user's umask: the permissions of any new file.
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


def write_whole(file: Path, content: str | bytes | memoryview, inside: Path | None = None) -> None:
    """Write a text or bytes; arguments and errors are those of ``whole_file``."""
    with whole_file(file, inside) as handle:
        handle.write(content.encode() if isinstance(content, str) else content)


def named_by_user(file: Path) -> Path:
    """Return the file to write for a path that a user has given: where it is a link, the file behind it."""
    return file.resolve() if file.is_symlink() else file


@contextmanager
def open_folder(folder: Path, inside: Path | None = None) -> Iterator[int]:
    """Open a folder, made if it is missing, and give its descriptor.

    Args:
        inside: an existing folder, below which no link is followed; None to follow every link.

    Raises:
        UsageError: there is a link on the way, or ``inside`` is gone.
        OSError: the folder cannot be opened or made.
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
    """Open a file of ours to change it in place, and return its descriptor.

    Args:
        folder: descriptor of the folder in which it lies.

    Raises:
        UsageError: it is not a plain file; a link, for example, could lead to somebody else's file.
        OSError: it cannot be opened.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for somebody at its other end.
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


def append_whole(file: Path, content: str | bytes, inside: Path | None = None, create: bool = False) -> None:
    """Add a text or bytes to the end of a file of ours.

    Args:
        inside: as for ``whole_file``.
        create: make the file if it is missing, which is an error otherwise.

    Raises:
        UsageError: it cannot be written, or is a link.
    """
    with (
        _errors_named(file, "written"),
        open_folder(file.parent, inside) as folder,
        os.fdopen(open_own(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT * create, folder), "ab") as handle,
    ):
        handle.write(content.encode() if isinstance(content, str) else content)


def remove(file: Path, inside: Path | None = None) -> None:
    """Remove a file of ours, if it exists; raises what ``write_whole`` raises."""
    with _errors_named(file, "removed"), open_folder(file.parent, inside) as folder, suppress(FileNotFoundError):
        os.unlink(file.name, dir_fd=folder)


def _is_special(name: str, folder: int) -> bool:
    """Say whether this name is taken by a device, pipe or socket."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def open_plain(file: Path, max_bytes: int | None = None) -> BufferedReader:
    """Open a file that may come from a stranger, to read its bytes.

    Args:
        max_bytes: the largest size that such a file may have; None for any size.

    Raises:
        OSError: the file cannot be opened, is larger, or is not a plain file: a named pipe would block the reader, and
            a device could go on for ever. ``strerror`` gives the reason in words fit for a message.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for somebody to write into it.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise OSError(errno.EINVAL, f"is {kind}, not a plain file", str(file))
        if max_bytes is not None and status.st_size > max_bytes:
            size, largest = f"{status.st_size / 1e6:,.0f} MB", f"{max_bytes / 1e6:,.0f} MB"
            raise OSError(errno.EFBIG, f"has {size}, more than the {largest} that such a file may have", str(file))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of a file that may come from a stranger; raises what ``open_plain`` raises."""
    with open_plain(file, max_bytes) as handle:
        # The file may have grown since its size was read.
        return handle.read(max_bytes)


def max_unpacked_bytes(packed: int) -> int:
    """Return how many bytes a packed file may unpack to; the size that it claims cannot be trusted."""
    return max(ALWAYS_ALLOWED_BYTES, MAX_EXPANSION * packed)


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON text that may come from a stranger.

    Raises:
        ValueError: the text is not JSON, is nested too deep, or contains NaN or Infinity, which JSON does not have.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in JSON")


def is_unicode(name: str) -> bool:
    """Say whether a file's name is UTF-8; Python cannot write the text of any other name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def sibling(path: Path) -> str:
    """Return a hint at what was meant by a path that leads nowhere: something of a similar name beside it."""
    try:
        return suggestion(path.name, sorted(os.listdir(path.parent)))
    except OSError:
        return ""

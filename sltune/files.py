"""Files that appear whole or not at all, whatever kills the writer; files of strangers; and locks on folders."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sltune.errors import UsageError

MAX_TEXT_BYTES = 64 << 20
"""No text file of ours comes near this size; a record of a large dataset has a few hundred kilobytes."""

LOCK_TABLE = Path("/proc/locks")
"""Where Linux lists the locks that processes hold."""


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


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the folder of a lock file for this process; the lock ends with the process, however that ends.

    Raises:
        UsageError: another process has it, or it cannot be written.
    """
    descriptor = _take_lock(file)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            os.unlink(file)
        os.close(descriptor)


def _take_lock(file: Path) -> int:
    """Open the file, locked; once more where its holder has removed it in between."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"{file.parent}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            pid, host = _holder(file)
            os.close(descriptor)
            busy = isinstance(error, BlockingIOError)
            where = f" on {host}" if host not in ("", socket.gethostname()) else ""
            reason = f"in use by process {pid}{where}" if busy else f"cannot be locked: {error.strerror}"
            raise UsageError(f"{file.parent}: {reason}") from error
        os.close(descriptor)


def is_locked(file: Path) -> bool:
    """Say whether a process of this machine holds the lock, without touching it.

    Even a brief attempt to take it could make a process fail that wants it at that moment, so the kernel's table of
    locks is read. What processes of other machines hold cannot be known; see locked_on.
    """
    try:
        status, table = file.stat(), LOCK_TABLE.read_text(encoding="utf-8")
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    for pid, number, inode in re.findall(r"^\d+: FLOCK +\w+ +WRITE (\d+) (\w+:\w+):(\d+) ", table, re.MULTILINE):
        # Some file systems (btrfs, overlays) show another device there; then the holder's number has to agree.
        if int(inode) == status.st_ino and (number == device or pid == _holder(file)[0]):
            return True
    return False


def locked_on(file: Path) -> str:
    """Return the machine on which the lock was taken last; "" where its holder has given it back, or says none."""
    return _holder(file)[1]


def seems_held(file: Path) -> bool:
    """Say whether a process has a lock file's folder; of another machine's, only the name that it has left tells."""
    return is_locked(file) or locked_on(file) not in ("", socket.gethostname())


def _holder(file: Path) -> tuple[str, str]:
    """Return process and machine that a lock file names."""
    with suppress(OSError):
        pid, _, host = file.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
        return pid or "?", host
    return "?", ""

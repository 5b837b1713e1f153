"""Files that appear whole or not at all, whatever kills the writer, and locks on folders."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sltune.errors import UsageError


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, it takes the file's name at once, or vanishes on an error.

    Raises:
        UsageError: the file cannot be written (a full disk, no permission); says why.
    """
    try:
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
        os.write(descriptor, str(os.getpid()).encode())
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
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "?"
            os.close(descriptor)
            busy = isinstance(error, BlockingIOError)
            reason = f"in use by process {holder}" if busy else f"cannot be locked: {error.strerror}"
            raise UsageError(f"{file.parent}: {reason}") from error
        os.close(descriptor)

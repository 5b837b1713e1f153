"""Locks on folders: one process at a time writes a run or a dataset.

The kernel's lock is on the folder itself, which no clean-up takes away while somebody works in it, and on a file in it,
``.lock``. The file tells which process on which machine has the folder, and it is what a file server (NFS) lets the
other machines know of, since it keeps locks of folders to one machine.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sltune.errors import UsageError
from sltune.system.files import open_own, read_plain
from sltune.wording import printable

LOCK = ".lock"
"""Name of the lock file in its folder."""

MAX_NOTE_BYTES = 1 << 10
"""A process number and a machine's name, of at most 255 bytes, take less."""

BEAT_S = 60.0
"""How often the holder of a lock gives a sign of life."""

DEAD_S = 300.0
"""After so long without one, a holder on another machine counts as dead; clocks and file servers may lag a little."""

LOCK_TABLE = Path("/proc/locks")
"""Where Linux lists the locks that processes hold."""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the folder of a lock file for this process; the lock ends with the process, however that ends.

    Raises:
        UsageError: another process has it, or it cannot be written.
    """
    folder = _lock_folder(file)
    try:
        descriptor = _lock_file(file, folder)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {socket.gethostname()} {time.time():.0f}".encode())
            with _beating(descriptor):
                yield
        finally:
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), os.stat(file.name, dir_fd=folder, follow_symlinks=False)):
                    os.unlink(file.name, dir_fd=folder)
            os.close(descriptor)
    finally:
        os.close(folder)


@contextmanager
def _beating(descriptor: int) -> Iterator[None]:
    """Keep the time of a lock file new within the block, which tells other machines that its holder lives."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            # A file server may be away for a while.
            with suppress(OSError):
                os.utime(descriptor)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # Or it could touch what gets the descriptor's number next.
        thread.join()


def _lock_folder(file: Path) -> int:
    """Open the folder, locked where its file system can do that; once more where it was replaced in between."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise UsageError(f"{file.parent}: cannot be written: {error.strerror}") from error
        try:
            with suppress(FileNotFoundError):
                _flock(descriptor, file)
                if os.path.samestat(os.fstat(descriptor), file.parent.stat()):
                    return descriptor
        except UsageError:
            os.close(descriptor)
            raise
        except OSError:
            # Some file systems lock files alone, and the lock file follows.
            return descriptor
        os.close(descriptor)


def _lock_file(file: Path, folder: int) -> int:
    """Open the lock file, locked; once more where its holder has removed it in between."""
    while True:
        try:
            # Of a stranger's folder, it may be a link to a file that would lose its content.
            descriptor = open_own(file, os.O_RDWR | os.O_CREAT, folder)
        except OSError as error:
            raise UsageError(f"{file.parent}: cannot be written: {error.strerror}") from error
        try:
            with suppress(FileNotFoundError):
                _flock(descriptor, file)
                status = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
                if os.path.samestat(os.fstat(descriptor), status):
                    if status.st_nlink == 1:
                        return descriptor
                    # It has another name, elsewhere: what has that name shall keep its content.
                    os.unlink(file.name, dir_fd=folder)
        except UsageError:
            os.close(descriptor)
            raise
        except OSError as error:
            os.close(descriptor)
            raise UsageError(f"{file.parent}: cannot be locked: {error.strerror}") from error
        os.close(descriptor)


def _flock(descriptor: int, file: Path) -> None:
    """Take the lock of an open file or folder.

    Raises:
        UsageError: another process has it.
        OSError: the file system cannot lock it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid, host = _holder(file)
        where = f" on {host}" if host not in ("", socket.gethostname()) else ""
        who = f"process {pid}{where}" if pid else "another process"
        raise UsageError(f"{file.parent}: in use by {who}") from error


def is_locked(file: Path) -> bool:
    """Say whether a process of this machine holds the lock, without touching it.

    Even a brief attempt to take it could make a process fail that wants it at that moment, so the kernel's table of
    locks is read. What processes of other machines hold, only their signs of life tell; see seems_held.
    """
    return bool(_local_holder(file))


def locked_on(file: Path) -> str:
    """Return the machine on which the lock was taken last; "" where its holder has given it back, or says none."""
    return _note(file)[1]


def held_since(file: Path) -> float:
    """Return when the lock was taken last, in Unix seconds.

    Raises:
        OSError: there is no lock file.
    """
    begun = _note(file)[2]
    # Older versions wrote none, and left the file's time alone.
    return float(begun) if begun else file.stat().st_mtime


def seems_held(file: Path) -> bool:
    """Say whether a process has a lock file's folder; one of another machine has it while it gives signs of life.

    Older versions gave none: they count as alive.
    """
    if is_locked(file):
        return True
    _, host, begun = _note(file)
    if host in ("", socket.gethostname()):
        return False
    with suppress(OSError):
        return not begun or time.time() - file.stat().st_mtime < DEAD_S
    return False


def _holder(file: Path) -> tuple[str, str]:
    """Return process and machine that have the folder, as far as they are known."""
    pid, host, _ = _note(file)
    return (pid, host) if pid else (_local_holder(file), "")


def _local_holder(file: Path) -> str:
    """Return the number of the process of this machine that holds the folder or the file; "" where none does."""
    try:
        table = LOCK_TABLE.read_text(encoding="utf-8")
    except OSError:
        return ""
    held = re.findall(r"^\d+: FLOCK +\w+ +WRITE (\d+) (\w+:\w+):(\d+) ", table, re.MULTILINE)
    for path in (file, file.parent):
        with suppress(OSError):
            status = path.stat()
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
            for pid, number, inode in held:
                # Some file systems (btrfs, overlays) show another device there; then the holder's number has to agree.
                if int(inode) == status.st_ino and (number == device or pid == _note(file)[0]):
                    return str(pid)
    return ""


def _note(file: Path) -> tuple[str, str, str]:
    """Return process and machine that a lock file names, and since when, in Unix seconds; "" for what it does not."""
    with suppress(OSError):
        words = printable(read_plain(file, MAX_NOTE_BYTES).decode(errors="replace").strip()).split(" ")
        pid, host, begun = [*words, "", "", ""][:3]
        return pid, host, begun if begun.isdecimal() and begun.isascii() else ""
    return "", "", ""

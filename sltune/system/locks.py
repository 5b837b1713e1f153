"""Locks on folders: one process at a time writes a run or a dataset.

The kernel locks (flock) the folder itself and a file in it, ``.lock``. The lock on the folder survives a clean-up that
deletes hidden files. The file names the process and the machine that hold the lock, and a file server (NFS) shows
its lock to other machines, while the lock on the folder is known to one machine only.

``fcntl.F_OFD_GETLK`` cannot tell who holds such a lock: it does not see locks of flock, has no process number for those
that it sees, and folders can only be locked by flock. ``/proc/locks`` tells.
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
from typing import NamedTuple

from sltune.errors import InUse, UsageError
from sltune.system.files import open_own, read_plain
from sltune.wording import printable

LOCK = ".lock"
"""Name of the lock file in its folder."""

MAX_NOTE_BYTES = 1 << 10
"""A process number, a time and a machine's name of at most 255 bytes take less."""

HEARTBEAT_S = 60.0
"""How often the holder renews the time of the lock file."""

MAX_SILENCE_S = 300.0
"""A holder on another machine that is silent for longer counts as dead. Clocks and file servers may lag a little."""

LOCK_TABLE = Path("/proc/locks")
"""Linux lists here the locks that processes hold."""


class _Note(NamedTuple):
    """What a lock file says: process, machine, and when the lock was taken, in Unix seconds; "" if it does not say."""

    pid: str = ""
    host: str = ""
    since: str = ""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the folder of a lock file for this process. The lock ends with the process, even if that is killed.

    Raises:
        InUse: another process holds the folder.
        UsageError: the folder cannot be written.
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
    """Renew the time of a lock file during the block, which tells other machines that the holder is alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_S):
            # A file server may be out of reach for a while.
            with suppress(OSError):
                os.utime(descriptor)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # Otherwise the thread could touch the next file that is opened with this descriptor's number.
        thread.join()


def _lock_folder(file: Path) -> int:
    """Open the folder and lock it if its file system can; try again if the folder was replaced meanwhile."""
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
            # Some file systems can only lock files; the lock file comes next.
            return descriptor
        os.close(descriptor)


def _lock_file(file: Path, folder: int) -> int:
    """Open the lock file and lock it; try again if its holder removed it meanwhile."""
    while True:
        try:
            # In a folder from a stranger it may be a link, and its target would lose its content.
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
                    # A hard link: the file also has another name, under which it must keep its content.
                    os.unlink(file.name, dir_fd=folder)
        except UsageError:
            os.close(descriptor)
            raise
        except OSError as error:
            os.close(descriptor)
            raise UsageError(f"{file.parent}: cannot be locked: {error.strerror}") from error
        os.close(descriptor)


def _flock(descriptor: int, file: Path) -> None:
    """Lock an open file or folder.

    Raises:
        InUse: another process holds the lock.
        OSError: the file system cannot lock it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        note = _note(file)
        pid = note.pid or _local_holder(file)
        where = f" on {note.host}" if note.host not in ("", socket.gethostname()) else ""
        who = f"process {pid}{where}" if pid else "another process"
        raise InUse(f"{file.parent}: in use by {who}") from error


def is_locked(file: Path) -> bool:
    """Say whether a process of this machine holds the lock; for other machines see ``seems_held``.

    The kernel's table of locks is read. To try the lock, however briefly, could make another process fail to take it.
    """
    return bool(_local_holder(file))


def locked_on(file: Path) -> str:
    """Return the machine on which the lock was last taken; "" if it was given back, or the machine is not known."""
    return _note(file).host


def held_since(file: Path) -> float:
    """Return when the lock was last taken, in Unix seconds.

    Raises:
        OSError: there is no lock file.
    """
    since = _note(file).since
    # Older versions wrote no time, and did not renew that of the file.
    return float(since) if since else file.stat().st_mtime


def seems_held(file: Path) -> bool:
    """Say whether a process holds a lock file's folder; on another machine, whether it has lately given a sign of life.

    Older versions gave no signs of life, so they count as alive.
    """
    if is_locked(file):
        return True
    note = _note(file)
    if note.host in ("", socket.gethostname()):
        return False
    with suppress(OSError):
        return not note.since or time.time() - file.stat().st_mtime < MAX_SILENCE_S
    return False


def _local_holder(file: Path) -> str:
    """Return the number of the process of this machine that holds the folder or the file; "" if none does."""
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
                # On some file systems (btrfs, overlays) the table shows another device; then the process must agree.
                if int(inode) == status.st_ino and (number == device or pid == _note(file).pid):
                    return str(pid)
    return ""


def _note(file: Path) -> _Note:
    with suppress(OSError):
        words = printable(read_plain(file, MAX_NOTE_BYTES).decode(errors="replace").strip()).split(" ")
        pid, host, since = [*words, "", "", ""][:3]
        return _Note(pid, host, since if since.isdecimal() and since.isascii() else "")
    return _Note()

"""A Ray of our own on this machine: for one command and its user alone, without a door to the network."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from sltune.errors import SltuneError, UsageError
from sltune.system.limits import usable_bytes, usable_cpus
from sltune.system.supervisor import note_scratch
from sltune.tuning.cluster.resources import STORE_HEADROOM
from sltune.tuning.cluster.signals import own_sigterm, without_signals

START_S = 60.0
"""More than lies between making a folder and locking it."""
MAX_SOCKET_BYTES = 103
"""What macOS allows the path of a socket (man 4 unix); Linux allows 107."""
SOCKET = "r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""A longest path of Ray's sockets below the folder that it is given."""
PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
"""Paths that Ray hands on whole: others it cannot encode, or takes apart at spaces."""
PREFIX, INNER = "sltune-", "r"
"""How the name of a private folder begins (eight letters and digits follow), and the folder in it that Ray is given."""
MIN_FREE_BYTES = 64 << 20
"""What Ray's logs take in hours."""


@contextmanager
def local_ray(store_bytes: int, options: Mapping[str, Any]) -> Iterator[None]:
    """Start Ray on this machine, on the CPUs that this process may use, and stop it at the end of the block.

    Args:
        store_bytes: what the dataset takes in the object store; more than there is of memory is not tried.
        options: further arguments of ray.init.

    Raises:
        UsageError: there is no folder for Ray's sockets, or less memory than Ray needs.
        SltuneError: Ray did not start.
    """
    limit = usable_bytes()
    # Of data that do not fit into memory, trials read the files.
    store_bytes = STORE_HEADROOM + (store_bytes if limit is None or store_bytes + STORE_HEADROOM <= limit else 0)
    if limit is not None and store_bytes > limit:
        text = f"Ray needs {store_bytes / 1e6:.0f} MB of memory, but this job may use {limit / 1e6:.0f} MB"
        raise UsageError(f"{text}; ask for more memory")
    with private_folder() as folder:
        try:
            _start(folder, store_bytes, options)
            yield
        finally:
            # Also where Ctrl-C came while it started, which is heard only afterwards.
            with without_signals(ending=True):
                ray.shutdown()


def _start(folder: Path, store_bytes: int, options: Mapping[str, Any]) -> None:
    try:
        with own_sigterm(), without_signals():
            ray.init(
                address="local",
                num_cpus=usable_cpus(),
                include_dashboard=False,
                object_store_memory=store_bytes,
                # A folder below the private one, since Ray opens its own to everybody.
                _temp_dir=str(folder / INNER),
                **options,
            )
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SltuneError(f"Ray did not start on this machine: {reason}") from error


def is_private(folder: str) -> bool:
    """Say whether a folder of Ray's is one that local_ray has given it: that Ray belongs to a single command."""
    path = Path(folder)
    return path.name == INNER and path.parent.name.startswith(PREFIX)


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give a new folder that only this user can enter, and whose path is short enough for Ray; it goes at the end.

    Raises:
        UsageError: there is no place for one; says what is wrong with each, and which variable names another.
    """
    folder = _new_folder()
    note_scratch(str(folder))
    # It ends with this process, and no other one inherits it.
    lock = _take(folder)
    try:
        _delete_leftovers(folder.parent)
        yield folder
    finally:
        with without_signals(ending=True):
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _take(folder: Path) -> int:
    """Lock a folder; return its descriptor, which holds the lock. Raises an OSError if another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _delete_leftovers(place: Path) -> None:
    """Delete the folders of commands that were killed together with their supervisors."""
    for folder in place.glob(f"{PREFIX}{'[a-z0-9_]' * 8}"):
        with suppress(OSError):
            # Folders of others stay, and so do those that their commands have not come to lock.
            if folder.stat().st_uid == os.geteuid() and time.time() - folder.stat().st_mtime > START_S:
                lock = _take(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _new_folder() -> Path:
    reasons = []
    for place in _places():
        try:
            _check(place)
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        except OSError as error:
            reasons.append(f"{place}: {error.strerror}")
    text = "there is no folder for the sockets and logs of Ray; set TMPDIR to a folder that can be written, whose path"
    raise UsageError(
        f"{text} has at most {_max_path_bytes()} bytes of letters, digits and ./_+- ({'; '.join(reasons)})"
    )


def _places() -> list[Path]:
    """Return where the folder may lie, the user's choice first."""
    chosen = [Path(os.environ[name]).absolute() for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)]
    return list(dict.fromkeys([*chosen, *map(Path, ("/tmp", "/var/tmp", "/dev/shm"))]))


def _check(place: Path) -> None:
    """Raise an OSError if Ray's folder cannot lie at a place."""
    if not PLAIN.fullmatch(str(place)):
        raise OSError(errno.EINVAL, "has characters that Ray cannot take in a path")
    if len(str(place)) > _max_path_bytes():
        raise OSError(errno.ENAMETOOLONG, f"is longer than {_max_path_bytes()} bytes")
    mode = place.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        # Others could put a folder of theirs in the place of ours.
        raise OSError(errno.EPERM, "everybody may rename what lies there")
    if shutil.disk_usage(place).free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _max_path_bytes() -> int:
    return MAX_SOCKET_BYTES - len(f"/{PREFIX}12345678/{SOCKET}")

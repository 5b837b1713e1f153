"""Locks on folders: who has them, seen from this and other processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sltune.errors import UsageError
from sltune.system import locks
from sltune.system.locks import held_since, is_locked, locked, locked_on, seems_held
from tests.tuning.clusters import wait_for


@contextmanager
def another_holds(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock until it is told to go, or killed."""
    code = "import sys; from pathlib import Path; from sltune.system.locks import locked\n"
    code += "with locked(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process


def test_a_lock_is_seen_while_its_holder_lives_and_not_after(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    assert not is_locked(file)
    with another_holds(file):
        assert is_locked(file)
        assert locked_on(file) == socket.gethostname()
    assert not file.exists()
    assert not is_locked(file)
    assert locked_on(file) == ""
    with another_holds(file) as process:
        process.send_signal(signal.SIGKILL)
    assert file.exists()
    assert not is_locked(file)
    assert locked_on(file) == socket.gethostname()


def test_looking_at_a_lock_never_keeps_another_from_taking_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks must not open the file with a lock of any kind."""
    file = tmp_path / ".lock"
    file.write_text("1 elsewhere")
    before = file.stat()
    monkeypatch.setattr(locks.fcntl, "flock", lambda *_: pytest.fail("took a lock"))
    assert not is_locked(file)
    assert locked_on(file) == "elsewhere"
    assert (file.stat().st_mtime_ns, file.read_text()) == (before.st_mtime_ns, "1 elsewhere")


def test_where_the_kernel_shows_another_device_the_holders_number_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, table = tmp_path / ".lock", tmp_path / "locks"
    monkeypatch.setattr(locks, "LOCK_TABLE", table)
    with locked(file):
        inode = file.stat().st_ino
        table.write_text(f"1: FLOCK  ADVISORY  WRITE {os.getpid()} ff:ff:{inode} 0 EOF\n")
        assert is_locked(file)
        table.write_text(f"1: FLOCK  ADVISORY  WRITE {os.getpid() + 1} ff:ff:{inode} 0 EOF\n")
        assert not is_locked(file)
        folder = tmp_path.stat().st_ino
        table.write_text(f"1: FLOCK  ADVISORY  WRITE {os.getpid()} ff:ff:{folder} 0 EOF\n")
        assert is_locked(file)
        # Another file, another kind of lock, and one that only waits.
        others = [f"FLOCK  ADVISORY  WRITE {os.getpid()} ff:ff:{inode + 1}"]
        others += [f"POSIX  ADVISORY  WRITE {os.getpid()} ff:ff:{inode}", f"-> FLOCK  ADVISORY  WRITE 1 ff:ff:{inode}"]
        table.write_text("".join(f"1: {other} 0 EOF\n" for other in others))
        assert not is_locked(file)
        table.unlink()
        assert not is_locked(file)


def test_a_lock_of_another_machine_is_told_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".lock"
    with another_holds(file) as process:
        monkeypatch.setattr(socket, "gethostname", lambda: "here")
        with pytest.raises(UsageError, match=f"in use by process {process.pid} on "), locked(file):
            pass


def test_a_removed_lock_file_lets_nobody_in(tmp_path: Path) -> None:
    """A clean-up may take hidden or empty files; the one that has the folder still has it, and is still seen."""
    file = tmp_path / "run" / ".lock"
    with another_holds(file) as process:
        file.unlink()
        assert is_locked(file)
        assert seems_held(file)
        with pytest.raises(UsageError, match=f"run: in use by process {process.pid}$"), locked(file):
            pass
        assert not file.exists()
        # Neither under another name of the folder.
        file.parent.rename(tmp_path / "renamed")
        with pytest.raises(UsageError, match="renamed: in use by"), locked(tmp_path / "renamed" / ".lock"):
            pass
    with locked(tmp_path / "renamed" / ".lock"):
        assert locked_on(tmp_path / "renamed" / ".lock") == socket.gethostname()


def test_whoever_leaves_takes_no_lock_file_of_another_away(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with locked(file):
        file.unlink()
        file.write_text("1 elsewhere")
    assert file.read_text() == "1 elsewhere"


def test_a_process_of_an_older_version_is_heeded(tmp_path: Path) -> None:
    """It locks the lock file alone."""
    file = tmp_path / ".lock"
    file.write_text(f"77 {socket.gethostname()}")
    with open(file, "r+") as held:
        locks.fcntl.flock(held, locks.fcntl.LOCK_EX)
        assert is_locked(file)
        with pytest.raises(UsageError, match=r"in use by process 77$"), locked(file):
            pass


def test_where_folders_cannot_be_locked_the_lock_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = locks.fcntl.flock

    def files_alone(descriptor: int, operation: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", files_alone)
    with locked(tmp_path / ".lock"):
        assert is_locked(tmp_path / ".lock")
        with pytest.raises(UsageError, match=f"in use by process {os.getpid()}$"), locked(tmp_path / ".lock"):
            pass


def test_a_lock_file_that_is_a_link_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    mine, run = tmp_path / "mine", tmp_path / "run"
    mine.write_text("kept")
    run.mkdir()
    (run / ".lock").symlink_to(mine)
    with pytest.raises(UsageError, match=r"\.lock: is a link, which sltune does not make; remove it"):
        locked(run / ".lock").__enter__()
    (run / ".lock").unlink()
    # Copies of runs may share their files, as those of cp -al do.
    os.link(mine, run / ".lock")
    with locked(run / ".lock"):
        assert locked_on(run / ".lock") == socket.gethostname()
    assert mine.read_text() == "kept"
    os.mkfifo(run / ".lock")
    assert not is_locked(run / ".lock")
    assert locked_on(run / ".lock") == ""
    with pytest.raises(UsageError, match="is no plain file"):
        locked(run / ".lock").__enter__()


def test_a_lock_file_cannot_move_the_cursor_of_who_looks(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1 here\x1b[2Jhost")
    assert locked_on(tmp_path / ".lock") == "here\\x1b[2Jhost"


@pytest.mark.parametrize(("silent_s", "alive"), [(10, True), (240, True), (400, False)])
def test_a_holder_on_another_machine_counts_as_dead_after_minutes_without_a_sign(
    tmp_path: Path, silent_s: float, alive: bool
) -> None:
    file = tmp_path / ".lock"
    file.write_text("1 elsewhere 1700000000")
    os.utime(file, (0, time.time() - silent_s))
    assert seems_held(file) == alive
    assert held_since(file) == 1700000000


def test_a_holder_of_an_older_version_that_gives_no_signs_counts_as_alive(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    file.write_text("1 elsewhere")
    os.utime(file, (0, 1600000000))
    assert seems_held(file)
    assert held_since(file) == 1600000000


def test_who_holds_a_lock_gives_signs_of_life_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.01)
    file = tmp_path / ".lock"
    with locked(file):
        since = held_since(file)
        os.utime(file, (0, 0))
        wait_for(lambda: file.stat().st_mtime > time.time() - 60)
        assert held_since(file) == since
        assert time.time() - since < 60
        assert locked_on(file) == socket.gethostname()

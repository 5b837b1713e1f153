"""The last word of a command: real processes that end in every way, and what is said of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import pytest

from tests.tuning.clusters import wait_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="no supervisor on this system"),
]

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from sltune.system import supervisor

def ask(*_):
    with Path({asked!r}).open("a") as file:
        file.write("asked ")

def command():
    supervisor.note_run("sltune resume results/run")
    signal.signal(signal.SIGINT, ask)
{handlers}
    Path({ready!r}).touch()
{body}

# Started under nohup or in the background, these tests ignore some.
for number in supervisor.ENDING:
    signal.signal(number, signal.SIG_DFL)
supervisor.LEAVE_S = 0.5
{before}
supervisor.supervised(command)
"""
WAIT = "end = time.monotonic() + 60\nwhile time.monotonic() < end: time.sleep(0.01)"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[], int]:
    """Return what counts how often Ctrl-C has reached the command."""
    file = tmp_path / "asked"
    return lambda: len(file.read_text().split()) if file.exists() else 0


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return what starts a command; handlers run before it is ready, before in the supervisor."""

    def start(body: str, handlers: str = "", before: str = "", stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        ready = tmp_path / "ready"
        ready.unlink(missing_ok=True)
        body, handlers = (indent(lines, "    ") for lines in (body, handlers))
        files = {"ready": str(ready), "asked": str(tmp_path / "asked")}
        script = SCRIPT.format(body=body, handlers=handlers, before=before, **files)
        process = subprocess.Popen([sys.executable, "-c", script], text=True, start_new_session=True, stderr=stderr)
        wait_for(ready.exists)
        return process

    return start


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize(
    ("body", "exit_code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(4)", 4, ""),
        ("sys.exit('no')", 1, "no\n"),
        # As Ray's core may do while Python ends.
        ("import atexit; atexit.register(os.abort); sys.exit(3)", 3, ""),
    ],
)
def test_a_command_that_left_its_word_ends_as_it_said(start: Start, body: str, exit_code: int, said: str) -> None:
    assert outcome(start(body)) == (exit_code, said)


THREAD = "import atexit, threading\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"


def test_a_command_ends_even_if_a_thread_of_the_users_goes_on(start: Start, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    process = start(f"{THREAD}atexit.register(Path({str(tidied)!r}).touch)\nsys.exit(3)")
    process.communicate(timeout=30)
    assert (process.returncode, tidied.exists()) == (3, True)
    process = start(f"{THREAD}1 / 0")
    assert "ZeroDivisionError" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


def test_a_bug_keeps_its_trace(start: Start) -> None:
    exit_code, said = outcome(start("1 / 0"))
    assert exit_code == 1
    assert said.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("body", "exit_code", "reason"),
    [
        ("os._exit(1)", 1, "ended by Ray (exit code 1), as when its cluster is gone, or by code of yours"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "ended by SIGKILL, perhaps for want of memory"),
        ("os.abort()", 134, "ended by SIGABRT"),
    ],
)
def test_a_command_that_dies_without_a_word_is_told_how_to_go_on(
    start: Start, body: str, exit_code: int, reason: str
) -> None:
    told = f"{reason}; go on with: sltune resume results/run"
    assert outcome(start(body)) == (exit_code, f"sltune: {told}\n")
    code, line = outcome(start(body, handlers="supervisor.note_form(as_json=True)"))
    assert (code, json.loads(line)) == (exit_code, {"event": "error", "text": told, "exit_code": exit_code})


def test_sigterm_reaches_the_command_and_ends_it(start: Start) -> None:
    process = start(WAIT)
    process.terminate()
    assert outcome(process) == (130, "sltune: interrupted; go on with: sltune resume results/run\n")


def test_a_command_that_does_not_heed_sigterm_is_killed(start: Start) -> None:
    process = start(WAIT, handlers="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    began = time.monotonic()
    process.terminate()
    assert outcome(process)[0] == 130
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
@pytest.mark.parametrize("to_all", [False, True], ids=["to the supervisor", "to both"])
def test_other_signals_that_end_a_process_end_the_command_with_a_word(start: Start, name: str, to_all: bool) -> None:
    process = start(WAIT)
    number = signal.Signals[name]
    (os.killpg if to_all else os.kill)(process.pid, number)
    told = f"sltune: ended by {name}; go on with: sltune resume results/run\n"
    assert outcome(process) == (128 + number, told)


def test_a_signal_that_the_command_ignores_goes_by(start: Start) -> None:
    process = start("time.sleep(0.5)", before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    os.killpg(process.pid, signal.SIGHUP)
    assert outcome(process) == (0, "")


def test_a_second_signal_that_breaks_off_the_end_of_a_first_still_counts_as_an_interruption(start: Start) -> None:
    """As when a process sends SIGINT to the group, and it comes from there and from the supervisor."""
    process = start(WAIT, handlers="signal.signal(signal.SIGINT, lambda *_: sys.exit(1))")
    os.killpg(process.pid, signal.SIGINT)
    assert outcome(process) == (130, "sltune: interrupted; go on with: sltune resume results/run\n")


def test_ctrl_c_while_python_ends_takes_back_no_word_and_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    """Where Python waits for an exit handler, Ctrl-C ends it without a trace of where it was."""
    folder, ending = tmp_path / "scratch", tmp_path / "ending"
    wait = f"Path({str(ending)!r}).touch(); time.sleep(60)"
    handler = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    note = f"import atexit\nPath({str(folder)!r}).mkdir()\nsupervisor.note_scratch({str(folder)!r})"
    process = start(f"{note}\natexit.register(exec, {wait!r}, globals())\nsys.exit(4)", handlers=handler)
    wait_for(ending.exists)
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (4, "")
    assert not folder.exists()


@pytest.mark.parametrize("closed", [(0,), (2,), (1, 2), (0, 1, 2)])
def test_closed_streams_are_none_of_its_pipes(start: Start, closed: tuple[int, ...]) -> None:
    """A process that it starts finds something behind each stream, and what is written there goes nowhere."""
    script = "import os; [os.fstat(number) for number in range(3)]; os.write(2, b'heard'); print('heard')"
    run = f"sys.exit(subprocess.run([sys.executable, '-c', {script!r}]).returncode)"
    body = f"import subprocess\nprint('said', file=sys.stderr)\n{run}"
    before = "\n".join(f"os.close({number}); sys.{('stdin', 'stdout', 'stderr')[number]} = None" for number in closed)
    process = start(body, before=before)
    exit_code, errors = outcome(process)
    assert exit_code == 0
    assert errors == ("" if 2 in closed else "said\nheard")


def test_a_signal_to_all_that_kills_the_command_first_counts_as_an_interruption(start: Start) -> None:
    process = start("os._exit(1)", before="supervisor.LATE_S = 30")
    time.sleep(0.3)
    process.terminate()
    assert outcome(process)[0] == 130


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Give the two ends of a terminal: the user's and the command's."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_ctrl_c_sent_to_the_supervisor_reaches_the_command(start: Start, asked: Callable[[], int]) -> None:
    process = start(WAIT)
    for number in range(1, 3):
        process.send_signal(signal.SIGINT)
        wait_for(lambda number=number: asked() == number)  # type: ignore[misc]
    process.terminate()
    outcome(process)
    assert asked() == 2


def test_ctrl_c_of_a_terminal_reaches_the_command_once(
    start: Start, asked: Callable[[], int], terminal: tuple[int, int]
) -> None:
    user, ours = terminal
    # The first terminal that the leader of a session opens becomes the session's.
    process = start(WAIT, before=f"os.open({os.ttyname(ours)!r}, os.O_RDWR)")
    assert os.tcgetpgrp(user) == process.pid
    for number in range(1, 3):
        os.write(user, b"\x03")
        wait_for(lambda number=number: asked() == number)  # type: ignore[misc]
    process.terminate()
    outcome(process)
    assert asked() == 2


def test_a_terminal_that_is_gone_ends_the_command(start: Start) -> None:
    user, ours = pty.openpty()
    process = start(WAIT, before=f"os.open({os.ttyname(ours)!r}, os.O_RDWR)")
    os.close(ours)
    os.close(user)
    assert outcome(process)[0] == 128 + signal.SIGHUP


def test_a_command_dies_with_its_supervisor(start: Start) -> None:
    process = start(WAIT)
    process.kill()
    # The command, which waits for twice as long, holds the stream open while it lives.
    assert outcome(process) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("body", ["os._exit(1)", "sys.exit(4)"], ids=["without a word", "with its word"])
def test_what_a_command_did_not_come_to_delete_is_deleted(start: Start, tmp_path: Path, body: str) -> None:
    folders = [tmp_path / "of Ray", tmp_path / "of Tune"]
    for folder in folders:
        (folder / "run").mkdir(parents=True)
    notes = "".join(f"supervisor.note_scratch({str(folder)!r})\n" for folder in folders)
    assert outcome(start(f"{notes}{body}"))[0] in (1, 4)
    assert [folder.exists() for folder in folders] == [body == "sys.exit(4)"] * 2


def test_after_a_death_a_terminal_shows_its_cursor_again(start: Start, terminal: tuple[int, int]) -> None:
    user, ours = terminal
    process = start("os._exit(1)", stderr=ours)
    assert process.wait(timeout=30) == 1
    assert os.read(user, 1000).startswith(b"\x1b[?25hsltune: ended by Ray")


def test_under_a_parent_that_ignores_the_end_of_children_it_ends_as_the_command(start: Start) -> None:
    process = start("sys.exit(4)", before="signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    assert outcome(process)[0] == 4


def test_outside_of_a_supervisor_notes_go_nowhere() -> None:
    from sltune.system.supervisor import note_run

    note_run("sltune resume results/run")

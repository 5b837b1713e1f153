"""The last word of a command: a process that waits for it says how to go on, where it ends without saying so itself.

Ray ends its driver with _exit() once Ray's own processes have died, as when a batch system sends SIGTERM to everything
at once; the system kills what wants too much memory; a library may crash. Nothing in the process itself can answer.

    supervisor ── hands signals on ──► command
               ◄─ run begun, exit code ──┘        (a pipe; if the exit code never came, the supervisor speaks)
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from sltune.errors import Interrupted
from sltune.wording import printable_lines

LEAVE_S = 10.0
"""How long a command may take to end after SIGTERM; batch systems kill after 30 s or so."""
LATE_S = 0.5
"""How much later than the command's death a signal to all processes may arrive here."""
CLEAR_S = 10.0
"""For how long the deletion of a folder is tried; Ray's processes notice the death of their driver within 2 s or so."""
DELETE_AGAIN_S = 0.1
"""How long to wait between two tries to delete a folder: short beside CLEAR_S, and no load."""
ABSENT_LOOKS = 3
"""How often in a row a folder must be found absent: a process that had a file open may still make it anew."""
STOPPING = {signal.SIGINT, signal.SIGTERM}
"""Signals by which people and batch systems ask a command to end."""
OTHERS = {"SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGALRM", "SIGVTALRM", "SIGPROF"}
ENDING = STOPPING | {number for number in signal.Signals if number.name in OTHERS}
"""Signals by which terminals, batch systems and limits end a process."""
HEARD = {*ENDING, signal.SIGCHLD}
SIGNALLED = 128
"""Shells add this to the number of the signal that ended a command."""
SI_KERNEL = 0x80
"""si_code of a signal that no process sent (man 2 sigaction), such as Ctrl-C, which reaches the whole process group."""
PR_SET_PDEATHSIG = 1
"""The number of this option in man 2 prctl."""
SHOW_CURSOR = b"\x1b[?25h"

_supervisor: int | None = None


def note_form(as_json: bool) -> None:
    """Tell the supervisor, if there is one, whether the last word shall be a line of JSON."""
    _note({"as_json": as_json})


def note_run(resume_command: str) -> None:
    """Tell the supervisor, if there is one, how to go on with the run that this command works on."""
    _note({"resume_command": resume_command})


def note_scratch(folder: str) -> None:
    """Tell the supervisor, if there is one, what to delete should this command not come to it."""
    _note({"scratch": [folder]})


def last_word(reason: str, resume_command: str) -> str:
    """Return why a command ends and, if there is a run, how to go on with it."""
    return f"{reason}; go on with: {resume_command}" if resume_command else reason


def error_line(text: str, exit_code: int, as_json: bool) -> str:
    """Return the line on stderr that says why a command ends."""
    if as_json:
        return json.dumps({"event": "error", "text": text, "exit_code": exit_code})
    return f"sltune: {printable_lines(text)}"


def supervised(command: Callable[[], Any]) -> None:
    """Run a command in a child process and end with its exit code; where it left no word, say how to go on.

    Where the system cannot tell who sent a signal, as on macOS, the command runs in this process, alone.

    Raises:
        SystemExit: if the command ended without a word, with 130 where SIGINT or SIGTERM came, else 128 plus the
            number of the signal that ended it, else 1.
    """
    if not hasattr(signal, "sigtimedwait"):
        command()
        return
    _open_streams()
    reader, writer = os.pipe()
    # If the one who started us ignores it, the child's end would leave nothing to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        end_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _run(command, writer)
        return
    os.close(writer)
    _end_as(child, reader)


def _end_as(child: int, reader: int) -> NoReturn:
    status, stopped = _wait(child)
    notes = _read_notes(reader)
    # A second signal while Python ends makes its exit code 1, with no word said.
    answered = "exit_code" in notes and not (stopped and notes["exit_code"] == 1)
    if status < 0 or not answered:
        for folder in notes["scratch"]:
            _delete(folder)
    if answered:
        sys.exit(notes["exit_code"])
    exit_code, reason = _explain(status, stopped or signal.sigtimedwait(STOPPING, LATE_S) is not None)
    text = last_word(reason, notes.get("resume_command", ""))
    _say(error_line(text, exit_code, notes.get("as_json", False)))
    sys.exit(exit_code)


def _delete(folder: str) -> None:
    """Delete the folder of a private Ray whose command has died.

    Ray's processes notice that late on a busy machine, and write there again until they do. They are ended first.
    """
    deadline = time.monotonic() + CLEAR_S
    absent = 0
    while absent < ABSENT_LOOKS and time.monotonic() < deadline:
        for process in _processes_of(folder):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(DELETE_AGAIN_S)
        absent = 0 if os.path.exists(folder) else absent + 1


def _processes_of(folder: str) -> list[int]:
    """Return the processes whose command line names a folder; its random name is that of no other."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        # Processes end meanwhile, and those of other users cannot be read.
        with suppress(OSError, ValueError), open(f"/proc/{int(entry)}/cmdline", "rb") as file:
            if folder.encode() in file.read() and int(entry) != os.getpid():
                found.append(int(entry))
    return found


def _explain(status: int, stopped: bool) -> tuple[int, str]:
    """Return the exit code for a command that left no word, and the reason for its end."""
    if stopped:
        return Interrupted.exit_code, "interrupted"
    if status >= 0:
        return 1, f"ended by Ray (exit code {status}), as when its cluster is gone, or by code of yours"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    memory = ", perhaps for want of memory" if status == -signal.SIGKILL else ""
    return SIGNALLED - status, f"ended by {name}{memory}"


def _open_streams() -> None:
    """Put something behind standard streams that are closed: no pipe shall take their numbers, and Ray needs them."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        try:
            os.fstat(number)
        except OSError:
            # The system takes the lowest number that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(number, mode))


def _run(command: Callable[[], Any], pipe: int) -> None:
    """Run the command, and note its exit code however Python ends it."""
    global _supervisor  # noqa: PLW0603
    _supervisor = pipe
    exit_code: Any = 1
    try:
        command()
        exit_code = 0
    except SystemExit as end:
        # As Python has it: None is success, and text is printed as the reason of a failure.
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _die_of_ctrl_c()
        _note({"exit_code": exit_code})
        _end_despite_threads(exit_code)


def _die_of_ctrl_c() -> None:
    """Have Ctrl-C end this process at once, and print nothing: Python only prints what a handler raises while it ends.

    A signal may also arrive while its handler is exchanged. Python then calls the new one, or complains where that is
    no function. So a function comes first, and then the system's own default, which C code in a wait cannot put off.
    """
    exchanged = False
    while not exchanged:
        # The old handler, called for a signal that came before, may raise anything.
        with suppress(BaseException):
            signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            exchanged = True
    ctypes.CDLL(None).signal(signal.SIGINT, None)


def _end_despite_threads(exit_code: Any) -> None:
    """End this process if threads that a user's code has begun go on, for which Python would wait for ever."""
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        return
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_code)


def end_with(parent: int) -> None:
    """Have the system kill this process when its parent dies, even of SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _note(facts: dict[str, Any]) -> None:
    if _supervisor is not None:
        os.write(_supervisor, json.dumps(facts).encode() + b"\n")


def _read_notes(reader: int) -> dict[str, Any]:
    """Return what the command noted: of each kind the latest, and all folders to delete."""
    # Processes that the command left behind may hold the other end open.
    os.set_blocking(reader, False)
    text = b""
    with suppress(BlockingIOError):
        while part := os.read(reader, 1 << 16):
            text += part
    notes: dict[str, Any] = {"scratch": []}
    for line in text.splitlines():
        note = json.loads(line)
        notes["scratch"] += note.pop("scratch", [])
        notes.update(note)
    return notes


def _wait(child: int) -> tuple[int, bool]:
    """Hand signals on until the child has ended; kill it if SIGTERM does not end it in time.

    Returns:
        its exit code, or minus the number of the signal that ended it, and whether SIGINT or SIGTERM came.
    """
    stopped, deadline = False, None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        heard = signal.sigwaitinfo(HEARD) if left is None else signal.sigtimedwait(HEARD, left)
        if heard is None:
            deadline = None
            os.kill(child, signal.SIGKILL)
        elif heard.si_signo in ENDING:
            stopped = stopped or heard.si_signo in STOPPING
            # The terminal's Ctrl-C has reached the child already, and a second one would mean impatience. That the
            # terminal is gone, only the leader of its session may have been told.
            if heard.si_code != SI_KERNEL or heard.si_signo == signal.SIGHUP:
                os.kill(child, heard.si_signo)
            if heard.si_signo == signal.SIGTERM:
                deadline = deadline or time.monotonic() + LEAVE_S
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status), stopped


def _say(line: str) -> None:
    with suppress(OSError):
        if os.isatty(2):
            # The board hides it, and had no time to show it again.
            os.write(2, SHOW_CURSOR)
        os.write(2, f"{line}\n".encode())

"""The last word of a command: a process that waits for it says how to go on, where it ends without saying so itself.

Ray ends its driver with _exit() once Ray's own processes have died, as when a batch system sends SIGTERM to everything
at once; the system kills what wants too much memory; a library may crash. Nothing in the process itself can answer.

    attendant ── hands signals on ──► command
              ◄─ run begun, exit code ──┘        (a pipe; if the exit code never came, the attendant speaks)
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LEAVE_S = 10.0
"""How long a command may take to end after SIGTERM; batch systems kill after 30 s or so."""
LATE_S = 0.5
"""A command may die of the signal to all processes so long before that signal arrives here."""
STOPPING = {signal.SIGINT, signal.SIGTERM}
HEARD = {*STOPPING, signal.SIGCHLD}
SIGNALLED, INTERRUPTED = 128, 130
SI_KERNEL = 0x80
"""si_code of a signal that no process sent (man 2 sigaction): Ctrl-C, which reaches the whole process group."""
PR_SET_PDEATHSIG = 1
"""Of man 2 prctl."""
SHOW_CURSOR = b"\x1b[?25h"

_attendant: int | None = None


def note_run(folder: object, as_json: bool = False) -> None:
    """Tell the attendant, if there is one, how this command can be gone on with.

    Args:
        folder: of the run, for ``sltune resume``.
        as_json: whether the last word shall be a line of JSON.
    """
    _note({"run": str(folder), "as_json": as_json})


def attended(command: Callable[[], Any]) -> None:
    """Run a command in a child process and end with its exit code; where it left no word, say how to go on.

    Where the system cannot tell who sent a signal, as on macOS, the command runs in this process, alone.

    Raises:
        SystemExit: if the command ended without a word, with 130 where SIGINT or SIGTERM came, else 128 plus the
            number of the signal that ended it, else 1.
    """
    if not hasattr(signal, "sigtimedwait"):
        command()
        return
    reader, writer = os.pipe()
    # If the one who started us ignores it, the child's end would leave nothing to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _run(command, writer)
        return
    os.close(writer)
    status, stopped = _wait(child)
    notes = _read_notes(reader)
    if "exit_code" in notes:
        sys.exit(notes["exit_code"])
    if stopped or signal.sigtimedwait(STOPPING, LATE_S):
        exit_code, reason = INTERRUPTED, "interrupted"
    elif status < 0:
        memory = ", perhaps for want of memory" if status == -signal.SIGKILL else ""
        exit_code, reason = SIGNALLED - status, f"ended by {signal.Signals(-status).name}{memory}"
    else:
        exit_code, reason = 1, f"ended by Ray (exit code {status}), as when its cluster is gone"
    _say(f"{reason}; go on with: sltune resume {notes['run']}" if "run" in notes else reason, exit_code, notes)
    sys.exit(exit_code)


def _run(command: Callable[[], Any], pipe: int) -> None:
    """Run the command, and note its exit code however Python ends it."""
    global _attendant  # noqa: PLW0603
    _attendant = pipe
    exit_code: Any = 1
    try:
        command()
        exit_code = 0
    except SystemExit as end:
        # As Python has it: None is success, and text is printed as the reason of a failure.
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _note({"exit_code": exit_code})


def _end_with(parent: int) -> None:
    """Have the system kill this process when its parent dies, even of SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _note(facts: dict[str, Any]) -> None:
    if _attendant is not None:
        os.write(_attendant, json.dumps(facts).encode() + b"\n")


def _read_notes(reader: int) -> dict[str, Any]:
    """Return what the command noted, of each kind the latest."""
    # Processes that the command left behind may hold the other end open.
    os.set_blocking(reader, False)
    text = b""
    with suppress(BlockingIOError):
        while part := os.read(reader, 1 << 16):
            text += part
    notes: dict[str, Any] = {}
    for line in text.splitlines():
        notes.update(json.loads(line))
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
        elif heard.si_signo in STOPPING:
            stopped = True
            # The terminal's Ctrl-C has reached the child already; a second one would mean impatience.
            if heard.si_code != SI_KERNEL:
                os.kill(child, heard.si_signo)
            if heard.si_signo == signal.SIGTERM:
                deadline = deadline or time.monotonic() + LEAVE_S
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status), stopped


def _say(text: str, exit_code: int, notes: dict[str, Any]) -> None:
    if notes.get("as_json"):
        line = json.dumps({"event": "error", "text": text, "exit_code": exit_code})
    else:
        line = f"sltune: {text}"
    with suppress(OSError):
        if os.isatty(sys.stderr.fileno()):
            # The board hides it, and had no time to show it again.
            os.write(sys.stderr.fileno(), SHOW_CURSOR)
        print(line, file=sys.stderr, flush=True)

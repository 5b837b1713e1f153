"""Work in a process of its own: a crash, an endless loop or exit() in a user's code ends nothing else."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from sltune.system.supervisor import end_with

MAX_TRACE_BYTES = 1 << 16
"""As much as a pipe holds; a trace has at most a hundred lines for each thread."""

Say = Callable[[Any], None]


@dataclass(frozen=True)
class CutShort:
    """Why work ended before its time. trace: where all threads were when its time was over, "" if it ended by itself.

    exit_code: that of the process; minus the number of the signal that ended it.
    """

    trace: str
    exit_code: int


def run_apart(work: Callable[..., None], arguments: tuple[object, ...], silent_s: float) -> Iterator[Any]:
    """Give what a function says in a process of its own, and last of all a CutShort if it did not come to its end.

    What it prints on stdout is dropped. The process is ended with this one, or with this generator.

    Args:
        work: a function of a module, called with one that says things, and with the arguments.
        silent_s: for how many seconds it may say nothing.
    """
    context = multiprocessing.get_context("spawn")
    (results, say), (trace, tracing) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, arguments, silent_s, say, tracing), daemon=True)
    process.start()
    # Only the process itself holds the other ends now, so that its end is seen.
    say.close()
    tracing.close()
    try:
        while (item := results.recv()) is not None:
            yield item
    except EOFError:
        process.join()
        text = os.read(trace.fileno(), MAX_TRACE_BYTES).decode(errors="replace")
        yield CutShort(text, process.exitcode or 0)
    finally:
        process.kill()
        process.join()
        process.close()


def _work(
    work: Callable[..., None], arguments: tuple[object, ...], silent_s: float, results: Connection, trace: Connection
) -> None:
    end_with(os.getppid())
    # The process that started this one hears Ctrl-C, too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def watch() -> None:
        # A thread of C's, which no loop of the user's can keep from its work.
        faulthandler.dump_traceback_later(silent_s, exit=True, file=trace.fileno())

    def say(item: object) -> None:
        results.send(item)
        watch()

    watch()
    work(say, *arguments)
    faulthandler.cancel_dump_traceback_later()
    results.send(None)

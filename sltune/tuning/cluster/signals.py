"""Ctrl-C and SIGTERM around Ray, which has handlers of its own and does not bear signals at any moment."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

import ray

from sltune.errors import Interrupted
from sltune.system.supervisor import STOPPING

RAY_CHECK_S = 0.1
"""Time between two looks at whether Ray has died."""

_set_handler = signal.signal


@contextmanager
def answering(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Answer signals so within the block, whatever else is made of them there; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: _set_handler(name, handler) for name, handler in handlers.items()}
    try:
        yield
    finally:
        for name, handler in before.items():
            _set_handler(name, handler)


@contextmanager
def without_signals(ending: bool = False) -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back for the seconds in which they would leave half of Ray running, or crash it.

    Args:
        ending: whether the command ends anyway, so that a signal has nothing more to say.

    Raises:
        KeyboardInterrupt: one came.
    """
    caught: list[int] = []
    with answering(dict.fromkeys(STOPPING, lambda number, _: caught.append(number))):
        yield
    if caught and not ending:
        raise KeyboardInterrupt


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep Ray from answering SIGTERM while it starts: it would leave by an exception at any point, or lose the signal.

    Outside of without_signals, SIGTERM is taken as Ctrl-C.

    Raises:
        KeyboardInterrupt: it came meanwhile.
    """

    def keep(number: int, handler: Any) -> Any:
        return signal.getsignal(number) if number == signal.SIGTERM else _set_handler(number, handler)

    with answering({signal.SIGTERM: signal.default_int_handler}):
        signal.signal = keep  # type: ignore[assignment]
        try:
            yield
        finally:
            signal.signal = _set_handler


@contextmanager
def orderly_end() -> Iterator[None]:
    """Take the first SIGTERM, by which batch systems end jobs, as Ctrl-C; Ray would answer it with a crash."""
    asked, over = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        # Sent to the process and to its group, it comes twice, which shall not look like impatience.
        if not asked.is_set():
            asked.set()
            # Shells have their background jobs ignore Ctrl-C.
            if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)

    Thread(target=_leave_with_ray, args=(asked, over), daemon=True).start()
    try:
        with answering({signal.SIGTERM: end}):
            yield
    finally:
        over.set()
        asked.set()


def _leave_with_ray(asked: threading.Event, over: threading.Event) -> None:
    """Once SIGTERM has come, end the process if a Ray that it started has died, for which it would wait in vain.

    To leave at any moment loses nothing: a run goes on from its files, locks end with their process, and the
    supervisor, where there is one, has the last word.
    """
    asked.wait()
    node = ray._private.worker._global_node
    while node is not None and not over.wait(RAY_CHECK_S):
        if node.dead_processes():
            os._exit(Interrupted.exit_code)

"""What a call from Python shows while it works: a board in a notebook or on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from sltune.progress.display import REFRESHES_PER_SECOND, Boards, Display, Snapshot

WIDTH, HEIGHT = 110, 30
"""Columns and lines of a board in a notebook, which has no size of its own."""
CODE = '<pre style="line-height: 1.2">{code}</pre>'

_log = logging.getLogger("sltune")


def in_notebook() -> bool:
    """Say whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def display_for_call(progress: bool) -> Display:
    """Return where a call's messages and progress go; without progress, messages go to the logger "sltune"."""
    if not progress:
        return _LoggedDisplay(Console(quiet=True), "quiet")
    if in_notebook():
        return _NotebookDisplay(console_for_call(), "live")
    console = console_for_call()
    return Display(console, "live" if console.is_terminal else "lines")


def console_for_call(progress: bool = True) -> Console:
    """Return where lines go: in a notebook below the cell, elsewhere to stderr, and nowhere without progress."""
    if not progress:
        return Console(quiet=True)
    # Rich would write HTML into notebooks, a block for each line.
    return (
        Console(width=WIDTH, emoji=False, force_jupyter=False) if in_notebook() else Console(stderr=True, emoji=False)
    )


@contextmanager
def notebook_live(picture: Callable[[], RenderableType]) -> Iterator[None]:
    """Keep what the function returns below the notebook's cell within the block, drawn twice a second in a thread."""
    from IPython.display import HTML, display

    handle, over = display(HTML(_as_html(picture())), display_id=True), threading.Event()

    def draw() -> None:
        while not over.wait(1 / REFRESHES_PER_SECOND):
            handle.update(HTML(_as_html(picture())))

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        handle.update(HTML(_as_html(picture())))


def _as_html(picture: RenderableType) -> str:
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, height=HEIGHT, force_terminal=True, force_jupyter=False
    )
    console.print(picture)
    return console.export_html(inline_styles=True, code_format=CODE)


class _NotebookDisplay(Display):
    """Keeps boards below the notebook's cell."""

    def boards(self, runs: Sequence[Snapshot], auto_refresh: bool = True) -> AbstractContextManager[Live | None]:
        return notebook_live(lambda: Boards(runs))


class _LoggedDisplay(Display):
    """Shows nothing: what a user should know in every mode is logged."""

    def show(self, event: Mapping[str, Any], text: str) -> None:
        _log.info(text)

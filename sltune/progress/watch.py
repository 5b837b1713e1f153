"""The board of runs that other processes train, on a terminal; elsewhere a line for each thing that happens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from sltune.progress.board import STATES, render
from sltune.progress.follow import Follower
from sltune.progress.messages import News, to_json
from sltune.report.analysis.runs import each_once
from sltune.runs.folder import RunFolder
from sltune.wording import printable

SECONDS_BETWEEN_LOOKS = 1.0
# A look may take this share of the time at most: a slow file server has others to serve.
MOST_LOOKING = 0.2
# Title, header, one row, and what stands below.
LEAST_LINES = 8


def watch(paths: Sequence[Path], console: Console, mode: str) -> None:
    """Follow runs until all are over; a folder given twice counts once.

    Args:
        mode: "live", "lines" or "json".

    Raises:
        DataError: a folder is no run folder, or a file in it is foreign, broken or of a newer schema.
    """
    followers = [Follower(RunFolder(path)) for path in each_once(paths)]
    if mode == "live":
        with Live(_Drawing(followers), console=console, auto_refresh=False) as live:
            for _ in _looks(followers):
                # Also where nothing has happened, since time passes.
                live.refresh()
        return
    for news in _looks(followers):
        for follower, one in news:
            run = follower.name if len(followers) > 1 else ""
            _print(console, one.json(run) if mode == "json" else one.words(run))
    for follower in followers:
        _print(console, _end(follower, mode))


def _looks(followers: Sequence[Follower]) -> Iterator[list[tuple[Follower, News]]]:
    """Give what has happened to the runs, look after look, until they are over."""
    while True:
        started = time.monotonic()
        yield [(follower, news) for follower in followers for news in follower.look()]
        if all(follower.over for follower in followers):
            return
        looked = time.monotonic() - started
        time.sleep(max(SECONDS_BETWEEN_LOOKS, looked / MOST_LOOKING - looked))


def _end(follower: Follower, mode: str) -> str:
    """Say how many trials ended in which way."""
    counts = follower.standings.board(1).counts
    ended = {state: counts[state] for state in STATES if counts.get(state)}
    if mode == "json":
        return to_json({"event": "end", "run": follower.name, "trials": ended})
    return f"{follower.name} is over: " + (
        ", ".join(f"{count} {state}" for state, count in ended.items()) or "no trial"
    )


def _print(console: Console, line: str) -> None:
    console.print(printable(line), highlight=False, markup=False, emoji=False, soft_wrap=True)


class _Drawing:
    """The boards as rich draws them, one below the other."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        # The cursor has a line of its own below.
        height = options.size.height - 1
        boards = [follower.standings.board(height, list(follower.facts())) for follower in self._followers]
        whole = [render(board, options.max_width, height, options.ascii_only) for board in boards]
        wanted = [text.plain.count("\n") + 1 for text in whole]
        for board, text, wants, lines in zip(boards, whole, wanted, shared(wanted, height), strict=True):
            yield text if wants <= lines else render(board, options.max_width, lines, options.ascii_only)


def shared(wanted: Sequence[int], lines: int) -> list[int]:
    """Return how many lines of a terminal each board gets: what the small ones leave, the large ones share."""
    given = [0] * len(wanted)
    for left, place in zip(range(len(wanted), 0, -1), sorted(range(len(wanted)), key=wanted.__getitem__), strict=True):
        given[place] = min(wanted[place], max(LEAST_LINES, lines // left))
        lines -= given[place]
    return given

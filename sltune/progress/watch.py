"""Runs that other processes train, shown until they are over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sltune.progress.board import STATES
from sltune.progress.display import Display
from sltune.progress.follow import Follower
from sltune.progress.messages import Message
from sltune.report.analysis.runs import each_once
from sltune.runs.folder import RunFolder
from sltune.system.locks import seems_held

SECONDS_BETWEEN_LOOKS = 1.0
"""An epoch seldom takes less, so that a look finds something new."""
MAX_LOOKING = 0.2
"""Share of the time that looks may take: a slow file server has others to serve."""


def watch(paths: Sequence[Path], display: Display) -> None:
    """Follow runs until all are over, also those that have yet to begin; a folder given twice counts once.

    Raises:
        DataError: a folder is no run folder, or a file in it is foreign, broken or of a newer schema.
    """
    folders = [RunFolder(path) for path in each_once(paths)]
    for folder in folders:
        _await(folder, display)
    followers = [Follower(folder) for folder in folders]
    # Drawn between two looks, while nothing changes.
    with display.boards([follower.board for follower in followers], auto_refresh=False) as boards:
        for happened in _looks(followers):
            for follower, messages in happened:
                display.tell(*messages, run=follower.name if len(followers) > 1 else "")
            if boards is not None:
                # Also where nothing has happened, since time passes.
                boards.refresh()
    for follower in followers:
        counts = follower.state.board(1).counts
        ended = {state: counts[state] for state in STATES if counts.get(state)}
        text = ", ".join(f"{count} {state}" for state, count in ended.items()) or "no trial"
        display.log({"event": "end", "run": follower.name, "trials": ended}, f"{follower.name} is over: {text}")


def _await(folder: RunFolder, display: Display) -> None:
    """Wait until a run is described, where one may be about to begin there."""
    text = f"waiting for {folder.root} to begin"
    with display.line() as say:
        while not folder.run_json.exists() and _may_begin(folder):
            if text:
                say(text)
                display.log({"event": "waiting", "run": str(folder.root)}, text)
            text = ""
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _may_begin(folder: RunFolder) -> bool:
    """Say whether a run may begin in a folder: it is not there yet, it is empty, or a process has it."""
    return (
        not folder.root.exists() or seems_held(folder.lock) or (folder.root.is_dir() and not any(folder.root.iterdir()))
    )


def _looks(followers: Sequence[Follower]) -> Iterator[list[tuple[Follower, Sequence[Message]]]]:
    """Give what has happened to the runs, look after look, until they are over."""
    while True:
        started = time.monotonic()
        yield [(follower, [*follower.look()]) for follower in followers]
        if all(follower.over for follower in followers):
            return
        looked = time.monotonic() - started
        time.sleep(max(SECONDS_BETWEEN_LOOKS, looked / MAX_LOOKING - looked))

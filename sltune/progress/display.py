"""What a person sees of runs while they go on: boards on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from sltune.progress.board import Board, render
from sltune.progress.messages import Message, epoch_ended, goes_again, started, to_json, trial_ended
from sltune.progress.state import RunState
from sltune.runs.epochs import EpochRow
from sltune.runs.plan import Plan
from sltune.runs.record import Record, TrialKey
from sltune.wording import printable_lines

REFRESHES_PER_SECOND = 2
MIN_LINES = 8
"""Lines that a board needs: title, header, one row, and what stands below the grid."""

Snapshot = Callable[[int], Board]
"""Returns the board of a run as it is now, for a terminal with this number of lines."""


@dataclass(frozen=True)
class Display:
    """Where messages and progress go, and in which form.

    mode: "live" (boards on a terminal), "lines", "json" (one object a line) or "quiet" (no progress).
    """

    console: Console
    mode: str

    def say(self, text: str) -> None:
        """Say what a user should know in every mode."""
        self.show({"event": "message", "text": text}, text)

    def inform(self, text: str) -> None:
        """Say what belongs to the progress."""
        if self.mode != "quiet":
            self.say(text)

    def announce(self, folder: str, resume: str) -> None:
        """Say how to go on with a run, before the first trial: some deaths leave no time to say it."""
        self.show({"event": "run", "folder": folder, "resume": resume}, f"to go on after any interruption: {resume}")

    def log(self, event: Mapping[str, Any], text: str) -> None:
        """Say what has happened, where lines are asked for; a board shows it by itself."""
        if self.mode in ("lines", "json"):
            self.show(event, text)

    def tell(self, *messages: Message, run: str = "") -> None:
        """Log what has happened to trials; run: the name of their run, where several are shown."""
        if self.mode == "json":
            self._print([to_json(message.event(run)) for message in messages])
        elif self.mode == "lines":
            self._print([printable_lines(message.words(run)) for message in messages])

    def show(self, event: Mapping[str, Any], text: str) -> None:
        """Print the event for a machine, or the text for a person."""
        self._print([to_json(event) if self.mode == "json" else printable_lines(text)])

    def _print(self, lines: Sequence[str]) -> None:
        # All at once, since each call costs more than a line. Rich would take [x] for markup and :x: for an emoji.
        if lines:
            self.console.print("\n".join(lines), highlight=False, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def line(self) -> Iterator[Callable[[str], None]]:
        """Keep a line on a terminal within the block, and give what replaces it; other modes show nothing of it."""
        if self.mode != "live":
            yield lambda text: None
            return
        with self.console.status("") as status:
            yield lambda text: status.update(Text(printable_lines(text)))

    def boards(self, runs: Sequence[Snapshot], auto_refresh: bool = True) -> AbstractContextManager[Live | None]:
        """Keep the boards of runs on a terminal within the block; nothing in other modes.

        Args:
            auto_refresh: draw them twice a second, in a thread; otherwise the caller refreshes them.
        """
        if self.mode != "live":
            return nullcontext()
        rate = REFRESHES_PER_SECOND
        return Live(Boards(runs), console=self.console, auto_refresh=auto_refresh, refresh_per_second=rate)


class Progress:
    """Follows the trials of a run in its own process.

    Args:
        earlier: the configurations that there are, each with the records of its trials that have ended.
        per_trial: what each trial has of a node, such as "1 CPU a trial".
    """

    def __init__(self, display: Display, plan: Plan, earlier: Mapping[str, Iterable[Record]], per_trial: str) -> None:
        self._display, self._plan, self._per_trial = display, plan, per_trial
        self._state = RunState(plan)
        for config_id, records in earlier.items():
            self._state.add(config_id)
            for record in records:
                self._state.end(record)
        # The board is drawn in a thread of its own.
        self._lock = threading.Lock()
        self._note = self._wait = ""
        self._started = time.monotonic()

    def on_screen(self) -> AbstractContextManager[object]:
        """Keep the board on the terminal, if there is one, within the block."""
        return self._display.boards([self.board])

    def start(self, key: TrialKey, epochs: int) -> None:
        """Show that a trial has a worker, and its largest number of epochs."""
        with self._lock:
            self._state.begin(key, epochs)
            self._wait = ""
        self._display.tell(started(key))

    def again(self, key: TrialKey, reason: str) -> None:
        """Show that a trial runs once more, and why."""
        message = goes_again(key, reason)
        with self._lock:
            self._state.wait(key)
            self._note = message.words()
        self._display.tell(message)

    def waits(self, text: str) -> None:
        """Show what trials wait for while none has a worker."""
        with self._lock:
            self._wait = text
        self._display.log({"event": "waiting", "text": text}, text)

    def say(self, text: str) -> None:
        """Show what concerns the whole run."""
        with self._lock:
            self._note = text
        self._display.say(text)

    def epochs(self, key: TrialKey, rows: Sequence[EpochRow]) -> None:
        """Show the metrics of epochs that have ended."""
        messages = list[Message]()
        with self._lock:
            for row in rows:
                news = self._state.advance(key, row)
                messages += [epoch_ended(key, row, self._state.cell(key).epochs), *news]
        self._display.tell(*messages)

    def finish(self, record: Record, states: Mapping[TrialKey, str]) -> None:
        """Show how a trial ended; states: of all trials of its configuration, of which that may prune others."""
        message = trial_ended(record, self._plan.shows_test)
        with self._lock:
            news = self._state.end(record)
            for key, state in states.items():
                if state == "pruned" and key != record.key:
                    self._state.prune(key)
            if record.went_wrong:
                self._note = message.words()
        self._display.tell(message, *news)

    def board(self, lines: int) -> Board:
        """Return the board as it is at the moment."""
        with self._lock:
            return self._state.board(lines, list(self._facts()))

    def _facts(self) -> Iterator[tuple[str, ...]]:
        yield (*self._state.times(time.monotonic() - self._started), self._per_trial)
        for text in filter(None, (self._wait, self._note)):
            yield (text,)


class Boards:
    """The boards of runs, one below the other, as rich draws them: each time as large as the terminal is then."""

    def __init__(self, runs: Sequence[Snapshot]) -> None:
        self._runs = runs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        # The cursor has a line of its own below.
        height = options.size.height - 1
        boards = [run(height) for run in self._runs]
        whole = [render(board, options.max_width, height, options.ascii_only) for board in boards]
        wanted = [text.plain.count("\n") + 1 for text in whole]
        for board, text, wants, lines in zip(boards, whole, wanted, shared(wanted, height), strict=True):
            yield text if wants <= lines else render(board, options.max_width, lines, options.ascii_only)


def shared(wanted: Sequence[int], lines: int) -> list[int]:
    """Return how many lines of a terminal each board gets: small ones what they want, large ones equal parts."""
    given = [0] * len(wanted)
    for left, place in zip(range(len(wanted), 0, -1), sorted(range(len(wanted)), key=wanted.__getitem__), strict=True):
        given[place] = min(wanted[place], max(MIN_LINES, lines // left))
        lines -= given[place]
    return given

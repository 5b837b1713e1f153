"""What a person sees while a run goes on: the board on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from sltune.progress.board import render
from sltune.progress.messages import News, epoch_ended, goes_again, started, to_json, trial_ended
from sltune.progress.state import Standings
from sltune.runs.record import Record, TrialKey
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.cluster.resources import Share

REFRESHES_PER_SECOND = 2


class Progress:
    """Follows the trials of a run.

    Args:
        mode: "live", "lines", "json" or "quiet".
        share: what each trial has of a node.
    """

    def __init__(self, console: Console, mode: str, campaign: Campaign, share: Share) -> None:
        self._console, self._mode = console, mode
        self._campaign, self._share = campaign, share
        self._standings = Standings(campaign.plan())
        for candidate in campaign.candidates.values():
            self._standings.add(candidate.config_id)
            for record in candidate.records.values():
                self._standings.end(record)
        # The board is drawn in a thread of its own.
        self._lock = threading.Lock()
        self._note = self._wait = ""
        self._started = time.monotonic()
        self._live = (
            Live(_Drawing(self), console=console, refresh_per_second=REFRESHES_PER_SECOND) if mode == "live" else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.refresh()
            self._live.stop()

    def start(self, key: TrialKey) -> None:
        """Show that a trial has a worker."""
        epochs = self._campaign.candidates[key.config_id].configuration.training.epochs
        with self._lock:
            self._standings.begin(key, epochs)
            self._wait = ""
        self._tell(started(key))

    def again(self, key: TrialKey, reason: str) -> None:
        """Show that a trial runs once more, and why."""
        news = goes_again(key, reason)
        with self._lock:
            self._standings.wait(key)
            self._note = news.words()
        self._tell(news)

    def waits(self, text: str) -> None:
        """Show what trials wait for while none has a worker."""
        with self._lock:
            self._wait = text
        self._print(to_json({"event": "waiting", "text": text}) if self._mode == "json" else text)

    def epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        """Show an epoch's metrics."""
        with self._lock:
            self._standings.advance(key, row)
            epochs = self._standings.cell(key).epochs
        self._tell(epoch_ended(key, row, epochs))

    def finish(self, record: Record) -> None:
        """Show how a trial ended, and what that did to others of its configuration."""
        news = trial_ended(record, self._campaign.shows_test)
        states = self._campaign.candidates[record.config_id].states()
        with self._lock:
            self._standings.end(record)
            for key, state in states.items():
                if state == "pruned" and key != record.key:
                    self._standings.prune(key)
            if record.status in ("failed", "diverged"):
                self._note = news.words()
        self._tell(news)

    def board(self, width: int, height: int, ascii_only: bool = False) -> Text:
        """Return the board as it is at the moment."""
        with self._lock:
            board = self._standings.board(height, list(self._facts()))
        return render(board, width, height, ascii_only)

    def _facts(self) -> Iterator[tuple[str, ...]]:
        gpus = self._share.gpus
        per_trial = f"{gpus:g} GPU a trial" if gpus else f"{self._share.cpus:g} CPU a trial"
        yield (*self._standings.times(time.monotonic() - self._started), per_trial)
        for text in filter(None, (self._wait, self._note)):
            yield (text,)

    def _tell(self, news: News) -> None:
        self._print(news.json() if self._mode == "json" else news.words())

    def _print(self, line: str) -> None:
        if self._mode in ("lines", "json"):
            # Without emoji, or ":x:" in an error's text would become one.
            self._console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)


class _Drawing:
    """The board as rich draws it: anew at each refresh, as large as the terminal is then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        # The cursor has a line of its own below.
        yield self._progress.board(options.max_width, options.size.height - 1, options.ascii_only)

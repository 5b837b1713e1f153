"""What a person sees while a run goes on: a live table on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sltune.record import Record, TrialKey

SHOWN_TRIALS = 20
_PARTS = {"test": "test", "val": "validation"}


class Progress:
    """Follows the trials of a run.

    mode: "live", "lines", "json" or "quiet". states: of all trials at the start, "waiting" or how they ended earlier.
    headline: says how far the run is. shows_test: whether test accuracies are shown as trials end.
    """

    def __init__(
        self,
        console: Console,
        mode: str,
        states: Mapping[TrialKey, str],
        headline: Callable[[], str] = str,
        shows_test: bool = True,
    ) -> None:
        self._console = console
        self._mode = mode
        self._rows: dict[TrialKey, dict[str, str]] = {key: {"state": state} for key, state in states.items()}
        self._headline, self._part = headline, "test" if shows_test else "val"
        self._epochs: dict[TrialKey, int] = {}
        self._started = time.monotonic()
        self._live = Live(console=console, refresh_per_second=2, get_renderable=self.table) if mode == "live" else None

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

    def start(self, key: TrialKey, epochs: int) -> None:
        """Show that a trial has a worker."""
        self._epochs[key] = epochs
        self._show(key, {"state": "running"}, f"{key.name}  started", {"event": "start"})

    def again(self, key: TrialKey, reason: str) -> None:
        """Show that a trial runs once more, and why."""
        self._show(key, {"state": "waiting"}, f"{key.name}  {reason}", {"event": "again", "reason": reason})

    def epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        """Show an epoch's metrics."""
        part = "val" if "val_accuracy" in row else "test"
        accuracy = f"{100 * row[f'{part}_accuracy']:.1f}"
        speed = f"{row['samples_per_second']:.0f}"
        cells = {"epoch": f"{row['epoch']}/{self._epochs.get(key, '?')}", part: accuracy, "samples/s": speed}
        text = f"{key.name}  epoch {cells['epoch']}  {part} accuracy {accuracy} %  {speed} samples/s"
        self._show(key, cells, text, {"event": "epoch", **row})

    def finish(self, record: Record, others: Mapping[TrialKey, str]) -> None:
        """Show how a trial ended, and what that did to others of its configuration."""
        metrics = record.metrics
        cells: dict[str, str] = {"state": record.status}
        text = f"{record.key.name}  {record.status}"
        if metrics:
            cells[self._part] = f"{100 * metrics[f'{self._part}_accuracy']:.1f}"
            text += f"  {_PARTS[self._part]} accuracy {cells[self._part]} %"
        elif record.error:
            text += f": {record.error.strip().splitlines()[-1]}"
        self._epochs.pop(record.key, None)
        for key, state in others.items():
            self._rows.setdefault(key, {}).setdefault("state", state)
            if state == "pruned":
                self._rows[key]["state"] = state
        self._show(record.key, cells, text, {"event": "finish", "status": record.status, "metrics": metrics})

    def table(self) -> Table:
        """Return the live table: what runs, what has just ended, and how much is left."""
        elapsed = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - self._started))
        table = Table(caption=f"{self._headline()}; {elapsed} elapsed", caption_justify="left")
        columns = ["state", "epoch", "val", "test", "samples/s"]
        table.add_column("trial", no_wrap=True)
        for column in columns:
            table.add_column(column + (" %" if column in ("val", "test") else ""), justify="right", no_wrap=True)
        active = [item for item in self._rows.items() if item[1]["state"] != "waiting"][-SHOWN_TRIALS:]
        for key, row in active or list(self._rows.items())[:SHOWN_TRIALS]:
            table.add_row(key.name, *(row.get(column, "") for column in columns))
        return table

    def _show(self, key: TrialKey, cells: Mapping[str, str], text: str, event: Mapping[str, object]) -> None:
        # What was heard of last stands last, so that a short table shows what goes on.
        self._rows[key] = {**self._rows.pop(key, {}), **cells}
        if self._live:
            self._live.refresh()
        elif self._mode == "lines":
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        elif self._mode == "json":
            line = json.dumps({"trial": key.name, **event})
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

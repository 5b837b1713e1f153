"""When the rows of epochs travel to the driver: many in one message where epochs are short."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

SECONDS_BETWEEN_MESSAGES = 1.0
"""The least time between two messages of a trial: each costs the driver about as much as all rows that it can hold."""


class UnsentRows:
    """The rows of a trial's epochs that the driver does not have yet.

    Nothing runs beside the training, so rows wait for the end of the epoch that is under way when they become due.
    """

    def __init__(self) -> None:
        self._rows: list[Mapping[str, float]] = []
        self._sent = time.monotonic()

    def add(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Add the rows of epochs that have ended."""
        self._rows += rows

    @property
    def are_due(self) -> bool:
        """Whether the last message, or the beginning of the trial, is long enough ago."""
        return time.monotonic() - self._sent >= SECONDS_BETWEEN_MESSAGES

    def take(self) -> tuple[Mapping[str, float], ...]:
        """Return all rows, which travel now."""
        rows, self._rows = tuple(self._rows), []
        self._sent = time.monotonic()
        return rows

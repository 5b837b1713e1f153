"""When the rows of epochs travel to the driver: many in one message where epochs are short."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

SECONDS_BETWEEN_MESSAGES = 1.0
"""The least time between two messages of a trial: each costs the driver about as much as all rows that it can hold."""


PATIENCE = 3.0
"""A trial trains so much longer than it waited for the driver, so that a busy one gets fewer and larger messages."""
MAX_SECONDS = 30.0
"""Rows wait no longer than this even where the driver is busy, and then for the end of an epoch."""


class UnsentRows:
    """The rows of a trial's epochs that the driver does not have yet.

    Nothing runs beside the training, so rows wait for the end of the epoch that is under way when they become due.
    """

    def __init__(self) -> None:
        self._rows: list[Mapping[str, float]] = []
        self._sent = self._begun = time.monotonic()

    def begin(self) -> None:
        """Take note that the driver has what was sent, and asks for more."""
        self._begun = time.monotonic()

    def add(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Add the rows of epochs that have ended."""
        self._rows += rows

    @property
    def are_due(self) -> bool:
        """Whether the last message, or the beginning of the trial, is long enough ago."""
        now, waited = time.monotonic(), self._begun - self._sent
        is_soon = now - self._sent < SECONDS_BETWEEN_MESSAGES
        return not is_soon and now - self._begun >= min(PATIENCE * waited, MAX_SECONDS)

    def take(self) -> tuple[Mapping[str, float], ...]:
        """Return all rows, which travel now."""
        rows, self._rows = tuple(self._rows), []
        self._sent = time.monotonic()
        return rows

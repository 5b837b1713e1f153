"""The event files that TensorBoard reads, as bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter


def opening(step: int) -> list[Event]:
    """Return how a file begins that replaces what earlier files in its folder have from a step on."""
    return [Event(file_version="brain.Event:2"), Event(step=step, session_log=SessionLog(status=SessionLog.START))]


def encoded(events: Iterable[Event]) -> bytes:
    """Return events as they stand in a file."""
    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in events:
        writer.write(event.SerializeToString())
    return content.getvalue()

"""Standard streams that drop what they cannot write: a reader that goes away must not end a training."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Dropping(io.FileIO):
    """A stream that drops what it cannot write because of an error of a given type."""

    def __init__(self, descriptor: int, errors: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._errors = errors

    def write(self, data: Buffer) -> int:
        try:
            written = super().write(data)
        except self._errors:
            written = None
        # A stream that would block also returns None.
        return memoryview(data).nbytes if written is None else written


def drop_errors(name: Literal["stdout", "stderr"], errors: type[OSError] = OSError) -> None:
    """Let a standard stream drop what it cannot write, whoever writes to it: progress, warnings or logs.

    Args:
        errors: the type of errors that are ignored; others are raised.
    """
    stream = getattr(sys, name)
    if not isinstance(stream, io.TextIOWrapper):
        return
    try:
        raw = _Dropping(stream.fileno(), errors)
    except OSError:
        return
    lines = stream.line_buffering
    new = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=lines)
    setattr(sys, name, new)

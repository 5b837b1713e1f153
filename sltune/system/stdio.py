"""Standard streams whose reader may go away while a command works: what they say is worth less than the work."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Dropping(io.FileIO):
    """A stream that drops what it cannot write because of some errors."""

    def __init__(self, descriptor: int, errors: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._errors = errors

    def write(self, data: Buffer) -> int:
        try:
            written = super().write(data)
        except self._errors:
            written = None
        # None is also what a stream gives that would block.
        return memoryview(data).nbytes if written is None else written


def drop_errors(name: Literal["stdout", "stderr"], errors: type[OSError] = OSError) -> None:
    """Have a standard stream drop what it cannot write, where anything below may write to it: progress, warnings, logs.

    Args:
        errors: which errors count; others are raised as before.
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

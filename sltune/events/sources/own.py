"""Datasets that a user's own reader describes: ``--source reader.py:open_source``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sltune.events.source import Finding, Source, SourceFile
from sltune.events.store import Sample
from sltune.extensions.calls import name_of
from sltune.extensions.code import Code, collect
from sltune.extensions.kinds import READER, made_by, named, require

_OPENED: dict[tuple[str, str, Path], Source] = {}


@dataclass(frozen=True)
class _Reader:
    """A user's reader and its place. It may travel to another process, which opens the source there."""

    text: str
    place: Path
    code: Code

    def source(self) -> Source:
        """Return what the reader makes, once in a process."""
        key = (self.code.digest, self.text, self.place)
        if key not in _OPENED:
            source = made_by(self.text, named(READER, self.text, self.code), self.place)
            require(self.text, source, Source, "sltune.events.source.Source")
            _OPENED[key] = source
        return _OPENED[key]

    def sha256(self, name: str) -> str:
        # A reader that has changed may make other samples of the same file.
        return hashlib.sha256(f"{self._file(name).sha256()} {self.code.digest}".encode()).hexdigest()

    def load(self, name: str) -> tuple[list[Sample], list[Finding]]:
        return self._file(name).load()

    def _file(self, name: str) -> SourceFile:
        return next(file for file in self.source().files if file.name == name)


def open_own(text: str, place: Path) -> Source:
    """Return the source that a user's reader makes of a place; its file is looked for in the current folder.

    Raises:
        CodeError: the reader cannot be found, imported or called, or makes no Source; names the user's line.
    """
    reader = _Reader(text, place, collect([name_of(text)], [Path()]))
    # Another call may find other files there.
    _OPENED.clear()
    source = reader.source()
    files = [
        replace(file, sha256=partial(reader.sha256, file.name), load=partial(reader.load, file.name))
        for file in source.files
    ]
    return replace(source, files=tuple(files))

"""What a report leaves out, since it may be published: the folders and hosts of the machines of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sltune.runs.info import RunInfo
from sltune.runs.record import Record

PLACES = ("--address", "--study-storage", "--checkpoints")
"""Options whose values are private: hosts, databases and folders."""
OMITTED = "..."

_URL = re.compile(r"\b([A-Za-z][\w+.-]*://)[^\s'\"]+")
_PATH = re.compile(r"(?<![\w.~/:<-])~?(?:/[^\s/'\"`:;,()\[\]{}<>|]+)*/([^\s/'\"`:;,()\[\]{}<>|]+)/?")


@dataclass(frozen=True)
class Sharing:
    """Makes texts of a run fit to be published.

    hosts: names of its machines. folders: those that hold the run and its data; their names may contain blanks.
    """

    hosts: frozenset[str]
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: RunInfo, records: Iterable[Record], folder: Path) -> Sharing:
        """Return the Sharing of a run."""
        found = {info.host, *(record.device.host or "" for record in records)}
        hosts = {name for host in found for name in (host, host.partition(".")[0])} - {"", "localhost"}
        above = {str(path.parent) for path in (folder.absolute(), Path(info.dataset.path)) if path.is_absolute()}
        return cls(frozenset(hosts), tuple(sorted(above - {"/"}, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """Return a text in which only the last name of each path is left, and no host."""
        for folder in self.folders:
            text = text.replace(f"{folder}/", "")
        text = _PATH.sub(r"\1", _URL.sub(rf"\1{OMITTED}", text))
        for host in sorted(self.hosts, key=len, reverse=True):
            text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "a host", text)
        return text

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command without private values."""
        return [*(["sltune"] if command else []), *self._arguments(command[1:])]

    def _arguments(self, arguments: Sequence[str]) -> Iterator[str]:
        is_place = False
        for argument in arguments:
            option, equals, value = argument.partition("=")
            if is_place:
                yield OMITTED
            elif option in PLACES and equals:
                yield f"{option}={OMITTED}"
            elif Path(argument).is_absolute():
                yield Path(argument).name
            elif Path(value).is_absolute():
                yield f"{option}={Path(value).name}"
            else:
                yield self.text(argument)
            is_place = argument in PLACES

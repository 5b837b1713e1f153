"""What an archive leaves out, since strangers will read it: paths, and the names of machines and people.

A report only shows texts that sltune has written (``runs/sharing.py``). An archive holds whole files, also users' own.
"""

from __future__ import annotations

import getpass
import io
import os
import platform
import pwd
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sltune.report.analysis.runs import Run
from sltune.runs.info import RunInfo
from sltune.runs.metrics import METRICS, Metrics
from sltune.runs.record import Record
from sltune.runs.sharing import Sharing
from sltune.settings.configuration import DEFAULTS, tables_of
from sltune.settings.search import Search

MIN_NAME_LENGTH = 3
"""Shorter names of users are also names of sessions, layers and variables. They vanish with the paths around them."""
NOBODY = {"", "localhost", "root", "user", "admin", "ubuntu", "runner", "nobody", "jovyan", "data", "shared"}
"""Names that say nothing about a machine or a person."""
LOOPBACK = ("127.", "0.0.0.0")

_OWNER = re.compile(r"[\\/](?:home|Users)[\\/]+([^\s\\/'\"`:;,()\[\]{}<>|]+)")
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
# Python 3.12 takes f-strings apart; earlier versions have no such token.
_TEXT_TOKENS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True)
class Anonymous:
    """Replaces what is private in the texts of a run.

    sharing: takes the paths. names: of machines and users, each with what stands in its place: the same everywhere, so
    that machines can still be counted. kept: names that are left, as they are words of sltune's files.
    """

    sharing: Sharing
    names: dict[str, str]
    kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, runs: Sequence[Run], texts: Iterable[str]) -> Anonymous:
        """Return what is private in some runs, the first of which holds the others, and in the texts of their files."""
        hosts = [*(run.info.host for run in runs), *(one.device.host or "" for run in runs for one in run.records)]
        users = {*_users_here(runs[0].folder), *(found for text in texts for found in _OWNER.findall(text))}
        kept = (users | set(hosts)) & _words()
        people = sorted(name for name in users - kept - NOBODY if len(name) >= MIN_NAME_LENGTH)
        names = {name: f"user{number}" for number, name in enumerate(people, start=1)}
        for number, host in enumerate(dict.fromkeys([*hosts, platform.node()]), start=1):
            names |= dict.fromkeys({host, host.partition(".")[0]} - kept - NOBODY - names.keys(), f"host{number}")
        folders = dict.fromkeys(folder for run in runs for folder in run.sharing.folders)
        return cls(Sharing(frozenset(), tuple(folders)), names, tuple(sorted(kept)))

    def text(self, text: str) -> str:
        """Return a text without paths, of which the last names are left, and without names."""
        return self.name(_ADDRESS.sub(_without_address, self.sharing.text(text)))

    def name(self, text: str) -> str:
        """Return a text, such as the name of a file, without names of machines and users."""
        return self._pattern.sub(lambda found: self._places[found[0].lower()], text) if self.names else text

    def value(self, value: Any) -> Any:
        """Return a value of a JSON file without what is private, whether it stands in a value or in a key."""
        match value:
            case str():
                # A path as a whole may have blanks, at which the path in a sentence ends.
                return self.text(Path(value).name if value.startswith("/") and "\n" not in value else value)
            case list():
                return [self.value(one) for one in value]
            case dict():
                return {self.text(key): self.value(one) for key, one in value.items()}
        return value

    def code(self, source: str) -> str:
        """Return Python code without paths in its strings and comments, and without names.

        Elsewhere, what looks like a path is a division.
        """
        lines = source.splitlines(keepends=True)
        with suppress(tokenize.TokenError, SyntaxError):
            found = list(tokenize.generate_tokens(io.StringIO(source).readline))
            for token in reversed([token for token in found if token.type in _TEXT_TOKENS]):
                (first, start), (last, end) = token.start, token.end
                text = "".join(lines[first - 1 : last])
                stop = len(text) - len(lines[last - 1]) + end
                lines[first - 1 : last] = [text[:start] + self.text(text[start:stop]) + text[stop:]]
            return self.name("".join(lines))
        return self.text(source)

    def info(self, info: RunInfo) -> dict[str, Any]:
        """Return what ``run.json`` says of a run, without the places where it lay and what was typed of them."""
        study = info.study.model_copy(update={"storage": None, "named": None}) if info.study else None
        code = info.code.model_copy(update={"origin": ""}) if info.code else None
        command = tuple(self.sharing.command(info.command))
        told = info.model_copy(update={"command": command, "checkpoints": None, "study": study, "code": code})
        values: dict[str, Any] = self.value(told.model_dump(mode="json", by_alias=True, exclude_none=True))
        return values

    @cached_property
    def _places(self) -> dict[str, str]:
        return {name.lower(): place for name, place in self.names.items()}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Names stand beside digits, hyphens and underscores, too, as in alice_data; within a word they are another one.
        ends = {True: r"(?![^\W_])", False: r"(?![^\W\d_])"}
        names = sorted(self.names, key=len, reverse=True)
        parts = (rf"(?<![^\W\d_]){re.escape(name)}{ends[name[-1].isdigit()]}" for name in names)
        return re.compile("|".join(parts), re.IGNORECASE)


def _without_address(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith(LOOPBACK) else "an address"


def _users_here(folder: Path) -> Iterator[str]:
    """Give what the user of this process and the owner of a folder are called."""
    # A container may have no entry for its user.
    with suppress(KeyError, OSError):
        yield getpass.getuser()
    for uid in (os.geteuid(), folder.stat().st_uid):
        with suppress(KeyError):
            yield pwd.getpwuid(uid).pw_name
    with suppress(RuntimeError):
        yield Path.home().name


def _words() -> set[str]:
    """Return the words of which sltune's own files consist, such as "max", which is also somebody's name."""
    fields = [*METRICS, *Metrics.model_fields, *Record.model_fields, *RunInfo.model_fields, *Search.model_fields]
    return set(re.findall("[a-z]+", f"{fields} {tables_of(DEFAULTS)} evaluate tune nested done failed diverged pruned"))

"""Find the recordings of SL-Animals-DVS and their tag files anywhere below a folder or in an archive."""

from __future__ import annotations

import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sltune.errors import DataError
from sltune.events.formats.members import GZIPPED, PACKED, Member, find_members, sha256_of
from sltune.events.source import Finding
from sltune.events.sources.slanimals.tags import recording_name
from sltune.system.files import is_unicode
from sltune.wording import first_of, printable

SESSIONS = {"imse": "S1", "dc": "S2", "indoor": "S3", "sunlight": "S4"}
NAME = re.compile(r"(user[0-9]+)_(" + "|".join(SESSIONS) + ")")
RECORDING, TAGS = ".aedat", ".csv"
WHAT_IS_NEEDED = (
    "name the folder or zip archive that holds the recordings, userNN_SESSION.aedat, and their tag files, "
    "userNN_SESSION.csv; the folders in it may have any names. Your own recordings need --source table or folders"
)
# An error shows this many problems, and this many folders of what there is instead.
MAX_SHOWN = 20


@dataclass(frozen=True)
class Pair:
    """A recording and its tag file; of several files with the same name, the first is read and the others are copies.

    name: the name of the recording, such as ``user00_indoor``.
    """

    name: str
    recordings: tuple[Member, ...]
    tag_files: tuple[Member, ...]

    @property
    def recording(self) -> Member:
        return self.recordings[0]

    @property
    def tag_file(self) -> Member:
        return self.tag_files[0]


def find_pairs(place: Path) -> tuple[list[Pair], list[Finding]]:
    """Return the recordings with their tag files, in the order of their names, and findings on files not used.

    Files belong together if their names without suffixes are the same in lower case.

    Raises:
        DataError: there are no recordings or no tag files, or a recording has no tags or a name without signer and
            session; says what there is instead.
    """
    if place.is_file() and place.suffix.lower() != ".zip" and not zipfile.is_zipfile(place):
        raise DataError(f"{printable(str(place))}: is {_kind(Member(place))}; {WHAT_IS_NEEDED}")
    members = find_members(place)
    by_suffix = defaultdict[str, list[Member]](list)
    for member in members:
        by_suffix[member.suffix].append(member)
    recordings, tag_files = _by_name(by_suffix[RECORDING]), _by_name(by_suffix[TAGS])
    unopened = [archive for suffix in sorted(PACKED) for archive in by_suffix[suffix] if not _is_unpacked(archive)]
    if problems := _problems(place, recordings, tag_files):
        raise DataError("\n".join([*first_of(problems, MAX_SHOWN), *_what_there_is(place, members, unopened)]))
    findings = [
        Finding(str(tag), "has no recording and is left out")
        # A table of any other name may lie there for another purpose.
        for name, tags in tag_files.items() if name not in recordings and NAME.fullmatch(name) for tag in tags
    ] + [
        Finding(str(member), f"is {_kind(member)} that is not looked into; unpack it if something is missing")
        for member in unopened
    ]  # fmt: skip
    return [Pair(name, recordings[name], tag_files[name]) for name in sorted(recordings)], findings


def sha256_of_pair(pair: Pair) -> str:
    """Hash the content of a recording and its tags.

    Raises:
        DataError: one of the files or copies cannot be read, or a copy has other content.
    """
    for first, *copies in (pair.recordings, pair.tag_files):
        sha256 = sha256_of(first) if copies else ""
        for copy in copies:
            if sha256_of(copy) != sha256:
                raise DataError(f"{first}: is not the same as {copy}; keep the one that is right")
    return sha256_of(pair.recording, pair.tag_file)


def _by_name(members: Iterable[Member]) -> dict[str, tuple[Member, ...]]:
    """Return files by the name of their recording, unpacked files before packed ones.

    Raises:
        DataError: a name is not UTF-8.
    """
    found = defaultdict[str, list[Member]](list)
    for member in members:
        if not is_unicode(f"{member.path}{member.inside}"):
            raise DataError(f"{member}: its name is not UTF-8; rename it")
        found[recording_name(member)].append(member)
    return {name: tuple(sorted(files, key=_is_packed)) for name, files in found.items()}


def _is_packed(member: Member) -> bool:
    return member.inside != "" or member.path.suffix.lower() == GZIPPED


def _problems(
    place: Path, recordings: dict[str, tuple[Member, ...]], tag_files: dict[str, tuple[Member, ...]]
) -> list[str]:
    lacking = [suffix for suffix, found in ((RECORDING, recordings), (TAGS, tag_files)) if not found]
    if lacking:
        return [f"{printable(str(place))}: holds no {' and no '.join(lacking)} file; {WHAT_IS_NEEDED}"]
    problems = []
    for name, files in sorted(recordings.items()):
        if not NAME.fullmatch(name):
            text = f"name is not userNN_SESSION with SESSION one of {', '.join(SESSIONS)}"
            problems += [f"{file}: {text}" for file in files]
        elif name not in tag_files:
            problems.append(f"{files[0]}: no tag file {name}{TAGS}")
    return problems


def _what_there_is(place: Path, members: Sequence[Member], unopened: Sequence[Member]) -> list[str]:
    """Return lines that say which folders hold how many files, and which archives should be unpacked."""
    count = Counter[tuple[str, str]]()
    for member in members:
        folder = PurePosixPath(f"{member.path}/{member.inside}").parent if member.inside else member.path.parent
        count[str(folder.relative_to(place)), member.suffix or "without a suffix"] += 1
    lines = [f"{printable(folder)}: {number} {suffix}" for (folder, suffix), number in sorted(count.items())]
    shown = (f"  {line}" for line in first_of(lines, MAX_SHOWN))
    listed = [f"{printable(str(place))} holds:", *shown] if lines else []
    return [*listed, *(f"{member}: is {_kind(member)}; unpack it" for member in unopened[:MAX_SHOWN])]


def _is_unpacked(archive: Member) -> bool:
    """Return whether a folder with the archive's name lies beside it, as unpacking makes one."""
    return not archive.inside and (archive.path.parent / archive.stem).is_dir()


def _kind(member: Member) -> str:
    if member.suffix in PACKED:
        within = " within another archive" if member.inside else ""
        return f"a {member.suffix} archive{within}"
    return "a single file"

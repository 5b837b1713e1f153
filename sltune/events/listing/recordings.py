"""Name listed samples and their recordings, and divide them into sample files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil

from sltune.events.formats.event_file import needs_time_unit
from sltune.events.formats.members import Member
from sltune.events.listing.cutting import Piece, Wanted, load_pieces, sha256_of_pieces
from sltune.events.listing.rows import Cut, Row
from sltune.events.listing.shards import SHARD_BYTES
from sltune.events.source import SourceFile

PART_BYTES = 128 << 20
"""The samples of a larger file may not fit into memory at once. It is decoded once for each part of so many bytes."""
RECORDING = "recording"
MAX_FILE_NAME_CHARACTERS = 60
"""A name of a file may have 255 bytes; letters of some scripts have four."""
WHOLE = Cut(-(1 << 63), 1 << 63, is_time=False)

Facts = tuple[str, str, str]
"""Subject, session and part of the dataset: what a recording has one of."""


@dataclass(frozen=True)
class Part:
    """Rows of a file that are read together, so that all their events fit into memory. size: its share of the bytes."""

    member: Member
    size: int
    rows: list[tuple[Row, Facts]]
    is_first: bool


def by_file(rows: Iterable[Row]) -> dict[Member, list[Row]]:
    """Return rows by their files, in the order in which these are first listed."""
    found: dict[Member, list[Row]] = {}
    for row in rows:
        found.setdefault(row.member, []).append(row)
    return found


def with_names(rows: Sequence[Row]) -> list[Row]:
    """Return rows by their files, each with a sample id, and with the name of its file among its fields.

    A file is called by its path, a sample by its file and, if the file has several, its place among them.
    """
    files = by_file(rows)
    names = different(_file_name(own[0]) for own in files.values())
    named, proposed = list[Row](), list[str]()
    for name, own in zip(names, files.values(), strict=True):
        digits = max(2, len(str(len(own))))
        for number, row in enumerate(own, start=1):
            named.append(replace(row, fields={RECORDING: name, **row.fields}))
            if not row.sample_id:
                proposed.append(name if len(own) == 1 else f"{name}_{number:0{digits}d}")
    chosen = iter(different(proposed, (row.sample_id for row in rows)))
    return [row if row.sample_id else replace(row, sample_id=next(chosen)) for row in named]


def different(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names of which no two are the same, and none is taken: the second of a name ends in -2."""
    seen, result = set(taken), list[str]()
    for name in names:
        result.append(next(text for text in _numbered(name) if text not in seen))
        seen.add(result[-1])
    return result


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _file_name(row: Row) -> str:
    """Return what a file is called: its path without suffixes, with hyphens between folders."""
    folder = row.path.rpartition("/")[0]
    return "-".join(filter(None, [*folder.split("/"), row.member.stem]))


def parts_of(rows: Sequence[Row], subjects: Sequence[str]) -> list[Part]:
    """Return parts of files in the order of the files; subjects: one for each row, as ``with_names`` returns them."""
    of_file: dict[Member, list[tuple[Row, Facts]]] = {}
    for row, subject in zip(rows, subjects, strict=True):
        of_file.setdefault(row.member, []).append((row, (subject, row.session, row.split)))
    parts = list[Part]()
    for member, own in of_file.items():
        count = min(len(own), ceil(member.size / PART_BYTES)) or 1
        # A part is decoded up to its last sample.
        in_order = sorted(own, key=lambda pair: pair[0].cut or WHOLE) if count > 1 else own
        edges = [len(own) * number // count for number in range(count + 1)]
        parts += [Part(member, member.size // count, in_order[a:b], is_first=a == 0) for a, b in pairwise(edges)]
    return parts


def source_files(
    parts: Sequence[Part], classes: Sequence[str], sensor: tuple[int, int], time_unit: str | None
) -> tuple[SourceFile, ...]:
    """Return sample files, each of one large part or of several small ones."""
    pieces = _pieces(parts, classes, time_unit)
    shards, filled = list[list[Piece]](), list[int]()
    for part, piece in zip(parts, pieces, strict=True):
        if not shards or filled[-1] + part.size > SHARD_BYTES:
            shards.append([])
            filled.append(0)
        shards[-1].append(piece)
        filled[-1] += part.size
    recordings = [tuple(dict.fromkeys(one.recording for piece in shard for one in piece.wanted)) for shard in shards]
    return tuple(
        SourceFile(name, partial(sha256_of_pieces, shard, sensor), partial(load_pieces, shard, sensor), size, own)
        for name, shard, size, own in zip(
            different(_safe(own[0]) for own in recordings), shards, filled, recordings, strict=True
        )
    )


def _pieces(parts: Sequence[Part], classes: Sequence[str], time_unit: str | None) -> Iterator[Piece]:
    """Give what is to be cut out of each part.

    A recording is of one subject, session and part of the dataset: where the rows of a file differ in these, each
    combination is a recording of its own.
    """
    label = {name: number for number, name in enumerate(classes)}
    groups = [_by_facts(part) for part in parts]
    names = iter(different(_recording_name(facts, own) for own in groups for facts in own))
    for part, own in zip(parts, groups, strict=True):
        recording = {facts: next(names) for facts in own}
        wanted = tuple(
            Wanted(row.place, row.sample_id, recording[facts], *facts, label[row.label], row.label, row.cut)
            for row, facts in part.rows
        )
        yield Piece(part.member, time_unit if needs_time_unit(part.member) else None, wanted, part.is_first)


def _by_facts(part: Part) -> dict[Facts, list[Row]]:
    groups: dict[Facts, list[Row]] = {}
    for row, facts in part.rows:
        groups.setdefault(facts, []).append(row)
    return groups


def _recording_name(facts: Facts, groups: Mapping[Facts, Sequence[Row]]) -> str:
    first, *others = groups[facts]
    if len(groups) > 1 and not others:
        return first.sample_id
    told = [value for place, value in enumerate(facts) if value and len({other[place] for other in groups}) > 1]
    return "-".join([first.fields[RECORDING], *told])


def _safe(name: str) -> str:
    """Return a name that a file may have everywhere."""
    return re.sub(r"[^\w.+=@-]+|^\.", "_", name)[:MAX_FILE_NAME_CHARACTERS]

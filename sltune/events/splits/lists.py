"""Splits by lists: trainlist1.txt, vallist1.txt, testlist1.txt …, as a run has them in its folder ``splits``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.parts import SHARED, Fold, by_subject, shared_subject
from sltune.system.files import read_plain
from sltune.wording import excerpt, suggestion

FIRST = "trainlist1.txt"
COMMENT = "#"
MAX_LISTS = 1000
"""As many as there may be folds."""


@dataclass(frozen=True)
class Names:
    """What the lines of a list may name: recordings, subjects, and samples with the recording that holds each."""

    recordings: Mapping[str, RecordingInfo]
    subjects: Mapping[str, Sequence[RecordingInfo]]
    samples: Mapping[str, RecordingInfo]

    @classmethod
    def of(cls, recordings: Sequence[RecordingInfo]) -> Names:
        samples = {sample: recording for recording in recordings for sample in recording.sample_ids}
        return cls({one.name: one for one in recordings}, by_subject(recordings), samples)


@dataclass(frozen=True)
class PartList:
    """One list: the names of its lines, with their numbers."""

    place: str
    lines: tuple[tuple[int, str], ...]

    def where(self, line: int) -> str:
        return f"{self.place}: line {line}"

    def recordings(self, names: Names) -> dict[str, int]:
        """Return the names of the listed recordings, each with the line that lists it.

        Raises:
            DataError: a line names nothing of the dataset, or only some samples of a recording are listed.
        """
        found: dict[str, int] = {}
        listed: dict[str, dict[str, int]] = {}
        for line, name in self.lines:
            if name in names.recordings:
                found.setdefault(name, line)
            elif name in names.subjects:
                for recording in names.subjects[name]:
                    found.setdefault(recording.name, line)
            elif name in names.samples:
                listed.setdefault(names.samples[name].name, {})[name] = line
            else:
                hint = suggestion(name, names.recordings)
                text = f"{excerpt(repr(name))} is no recording, subject or sample of the dataset"
                raise DataError(f"{self.where(line)}: {text}{hint}")
        for name, samples in listed.items():
            others = [one for one in names.recordings[name].sample_ids if one not in samples]
            sample, line = next(iter(samples.items()))
            if others and name not in found:
                text = f"{sample} is listed without {others[0]} of the same recording, {name}"
                raise DataError(f"{self.where(line)}: {text}; a recording is in one part only, so list all of it")
            found.setdefault(name, line)
        return found


@dataclass(frozen=True)
class Lists:
    """The lists of a folder. folds: for each the lists of its parts, train, test and maybe val.

    texts: the content of every file, by its name.
    """

    texts: Mapping[str, str]
    folds: tuple[Mapping[str, PartList], ...]

    def fold_of(self, number: int, chosen: Sequence[RecordingInfo], names: Names) -> Fold:
        """Return a fold, in file order; recordings that are in none of its lists are in no part.

        Args:
            chosen: the recordings of the sessions that are used. names: those of the whole dataset.

        Raises:
            DataError: a list is wrong; names file and line.
        """
        lists = self.folds[number]
        found = {part: one.recordings(names) for part, one in lists.items()}
        training, test, val = found["train"] | found.get("val", {}), found["test"], found.get("val")
        for part in ("train", "val"):
            if twice := next((name for name in test if name in found.get(part, {})), None):
                place = lists[part].where(found[part][twice])
                raise DataError(f"{lists['test'].where(test[twice])}: {twice} is also in the {part} part, {place}")
        parts = {part: [one for one in chosen if one.name in found[part]] for part in found}
        for part, recordings in parts.items():
            if not recordings:
                sessions = " of the sessions that are used" if found[part] else ""
                raise DataError(f"{lists[part].place}: lists no recording{sessions}")
        parts["train"] = [one for one in parts["train"] if val is None or one.name not in val]
        if not parts["train"]:
            raise DataError(f"{lists['train'].place}: lists nobody beside the validation part")
        _refuse_shared(lists, found, parts)
        return Fold([one for one in chosen if one.name in training], parts["test"], parts.get("val"))


def read_lists(folder: Path) -> Lists:
    """Read the lists of a folder.

    Raises:
        DataError: a list is missing or cannot be read.
    """
    return parse_lists(folder, {file.name: _read(file) for file in sorted(_files(folder))})


def parse_lists(folder: Path, texts: Mapping[str, str]) -> Lists:
    """Return the lists with these texts, by the names of their files, as read_lists does."""
    numbers = range(1, sum(name.startswith("trainlist") for name in texts) + 1)
    if not 1 <= len(numbers) <= MAX_LISTS:
        text = f"has {len(numbers)} training lists, but there must be 1 to {MAX_LISTS}: {FIRST}, …"
        raise DataError(f"{folder}: {text}, each with its test list: testlist1.txt, …")
    wanted = {f"{part}list{number}.txt" for part in ("train", "test") for number in numbers}
    if missing := sorted(wanted - texts.keys()):
        raise DataError(f"{folder}: {missing[0]} is missing; lists are counted from 1, and each fold has both")
    if odd := sorted(texts.keys() - wanted - {f"vallist{number}.txt" for number in numbers}):
        raise DataError(f"{folder / odd[0]}: belongs to no training list; remove it, or add that")
    folds = tuple(
        {
            part: PartList(str(folder / name), tuple(_lines(texts[name])))
            for part in ("train", "val", "test")
            if (name := f"{part}list{number}.txt") in texts
        }
        for number in numbers
    )
    return Lists(texts, folds)


def _refuse_shared(
    lists: Mapping[str, PartList],
    found: Mapping[str, Mapping[str, int]],
    parts: Mapping[str, Sequence[RecordingInfo]],
) -> None:
    """Raise a DataError if a subject is in two parts."""
    for first, second in (("train", "test"), ("val", "test"), ("train", "val")):
        if shared := shared_subject(parts.get(first, ()), parts.get(second, ())):
            one, other = (recording.name for recording in shared)
            where, also = lists[second].where(found[second][other]), lists[first].where(found[first][one])
            text = f"{where}: subject {shared[0].subject} ({other}) is also in the {first} part ({one}), {also}"
            raise DataError(f"{text}; {SHARED}")


def find_lists(name: str, beside: Sequence[Path]) -> Path:
    """Return the folder of the lists that a setting names: lists that come with sltune, or a folder.

    Args:
        beside: the folders in which a relative path is looked for.

    Raises:
        DataError: there is no such folder.
    """
    shipped = _shipped()
    places = [*([shipped / name] if re.fullmatch(r"[\w-]+", name) else []), *(folder / name for folder in beside)]
    for place in places:
        if (place / FIRST).exists():
            return place
    known = ", ".join(sorted(path.parent.name for path in shipped.glob(f"*/{FIRST}")))
    text = f"holds no {FIRST}, and no lists of that name come with sltune; those that do: {known}"
    raise DataError(f"evaluation.split_lists = {excerpt(name)}: {text}")


def _shipped() -> Path:
    """Return where lists that come with sltune lie: beside this module in a wheel, at the top of a source tree."""
    beside = Path(__file__).with_name("split_lists")
    return beside if beside.is_dir() else Path(__file__).parents[3] / "split_lists"


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from (file for file in folder.iterdir() if re.fullmatch(r"(train|val|test)list[0-9]+\.txt", file.name))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _read(file: Path) -> str:
    try:
        return read_plain(file).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{file}: line {line}: byte {error.object[error.start]:#04x} is not UTF-8") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip()
        if name and not name.startswith(COMMENT):
            yield number, name

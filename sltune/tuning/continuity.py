"""Whether a run that goes on is still the one that was begun: the same space, the same data, the same folds."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from sltune.errors import DataError, UsageError
from sltune.events.manifest import MANIFEST, Manifest
from sltune.events.splits.lists import Lists
from sltune.events.splits.parts import Split
from sltune.extensions.code import MAX_FILE_BYTES, Code
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, RunInfo, read_info, resume_command
from sltune.runs.plan import Step, steps_of
from sltune.runs.record import DatasetInfo, Record
from sltune.settings.configuration import in_order
from sltune.settings.domains import show_domain
from sltune.settings.sections import Evaluation
from sltune.settings.space import Space, parse_space
from sltune.system.files import read_plain
from sltune.system.places import PRIVATE, Database
from sltune.system.remote import AnyPath, path_or_uri
from sltune.tuning.campaign.strategy import RESTORE
from sltune.wording import as_toml, first_of

BUDGETS = ("trials", "max_hours", "max_device_hours")
"""Settings of a search that may be changed in its space.toml at any time."""

MAX_SHOWN_DIFFERENCES = 5
"""Another space may differ in every setting; the first few say enough."""


def dataset_of(folder: RunFolder, info: RunInfo, moved_to: AnyPath | None) -> AnyPath:
    """Return where the dataset of a run lies; moved_to: None for where it lay when the run began.

    Raises:
        DataError: it is not there any more; says how to name the place where it is.
    """
    if moved_to is not None:
        return moved_to
    data = path_or_uri(info.dataset.path)
    if isinstance(data, Path) and not (data / MANIFEST).exists():
        text = f"the dataset of {folder.root} is not there any more; name the place where it is now"
        raise DataError(f"{data}: {text}: {resume_command(folder)} --data DATA")
    return data


def refuse_other_dataset(data: AnyPath, folder: RunFolder, facts: DatasetPlace, manifest: Manifest) -> None:
    """Make sure that a dataset is the one of a run; what older versions did not write cannot be compared.

    Raises:
        DataError: it is another; names what differs.
    """
    names = {"recording_order": "order of recordings (from which folds are drawn)"}
    differing = [names.get(name, name) for name in facts.differences(manifest)]
    if differing:
        raise DataError(f"{data}: is not the dataset of {folder.root}; these differ: {', '.join(differing)}")


def refuse_unnamed_places(folder: RunFolder, info: RunInfo, database: Database | None, checkpoints: str | None) -> None:
    """Make sure that the user knows of every place outside of a run's folder to which a command would write.

    Whoever hands on a run folder could name any in its ``run.json``.

    Args:
        database, checkpoints: those that the user has named now.

    Raises:
        UsageError: there are others; says which, and the options that name them.
    """
    unnamed = info.outer_places(folder)
    if database is not None:
        unnamed.pop("--study-storage", None)
    if checkpoints is not None:
        unnamed.pop("--checkpoints", None)
    if not unnamed:
        return
    words, options = [], []
    for option, value in unnamed.items():
        address = info.study.storage if info.study and option == "--study-storage" else value
        words.append(f"the {'study' if option == '--study-storage' else 'checkpoints'} at {address}")
        options += [option, value or str(address)]
    text = f"{folder.run_json}: names what lies outside of the run's folder: {' and '.join(words)}"
    private = f" (if it takes a password: the whole URL {PRIVATE})" if "--study-storage" in unnamed else ""
    raise UsageError(f"{text}; to have this command write there, add {shlex.join(options)}{private}")


def refuse_other_space(folder: RunFolder, space: Space) -> None:
    """Make sure that ``space.toml`` still says what the run began with.

    A search may have other budgets, and an evaluation more seeds.

    Raises:
        DataError: it does not; names what differs.
    """
    info = read_info(folder)
    if info.space is not None:
        found = list(_differences(parse_space(info.space, str(folder.run_json)), space, info.kind == "evaluate"))
        if found:
            text = "; ".join(first_of(found, MAX_SHOWN_DIFFERENCES))
            raise DataError(f"{folder.space_toml}: is not what the run began with: {text}; {RESTORE}")
    # Which is all that older versions wrote of it.
    steps = steps_of(space.evaluation)
    planned = info.steps or [(key.seed, key.fold) for key in info.planned(folder)]
    seeds = {seed for seed, _ in planned}
    kept = [step for step in steps if step[0] in seeds] if info.kind == "evaluate" else steps
    if set(planned) != set(kept):
        text = f"{_extent(steps)}, but the run was planned with {_extent(planned)}"
        raise DataError(f"{folder.space_toml}: has {text}; {RESTORE}")


def refuse_other_code(folder: RunFolder, info: RunInfo, code: Code) -> None:
    """Make sure that the user's code is still what a run began with, in its own copy and where it came from.

    Raises:
        UsageError: the files from which it was copied, or installed modules, are other ones now; says which.
        DataError: the copy is not what the run began with.
    """
    begun = info.code
    if begun is None:
        if code.digest:
            raise DataError(f"{folder.run_json}: does not say with which code the run began; {RESTORE}")
        return
    again = "put it back, or begin a new run: what a run compares must be trained by the same code"
    for name, digest in begun.modules.items():
        if code.modules.get(name) != digest:
            raise UsageError(f"{folder.root}: {name} is another version than the run began with; {again}")
    if code.digest != begun.digest:
        raise DataError(f"{folder.code}: is not the code that the run began with; {RESTORE}")
    for name, text in code.files.items():
        file = Path(begun.origin) / name
        # The run may have moved to where the files are not, and needs them no more.
        with suppress(OSError):
            now = read_plain(file, MAX_FILE_BYTES).decode(errors="replace")
            if now != text:
                lines = zip_longest(text.splitlines(), now.splitlines())
                line = next((number for number, (old, new) in enumerate(lines, start=1) if old != new), 1)
                reason = f"has changed since the run began, from line {line} on; its earlier text is"
                raise UsageError(f"{file}: {reason} {folder.code / name}; {again}")


def _differences(before: Space, after: Space, may_grow: bool) -> Iterator[str]:
    for key in in_order({*before.keys, *after.keys}):
        if key == "evaluation.seeds" and may_grow and set(before.evaluation.seeds) <= set(after.evaluation.seeds):
            continue
        old, new = _value(before, key), _value(after, key)
        if old != new:
            yield f"{key} = {new} instead of {old}"
    if before.domains:
        first, second = before.required_search().model_dump(), after.required_search().model_dump()
        for name in first:
            if name not in BUDGETS and first[name] != second[name]:
                yield f"search.{name} = {as_toml(second[name])} instead of {as_toml(first[name])}"
        if before.first != after.first:
            yield "other configurations in search.first"


def _value(space: Space, key: str) -> str:
    if key not in space.keys:
        return "nothing"
    return as_toml(space.settings[key]) if key in space.settings else show_domain(space.domains[key])


def _extent(steps: Sequence[Step]) -> str:
    """Say how many folds and which seeds trials are of."""
    return f"{len({fold for _, fold in steps})} folds of the seeds {sorted({seed for seed, _ in steps})}"


def refuse_other_splits(records: Iterable[Record], splits: Mapping[Step, Split]) -> None:
    """Make sure that trials that have ended had the parts that the others will have.

    Raises:
        DataError: one had others.
    """
    for record in records:
        split = splits.get((record.seed, record.fold))
        if record.splits and split is not None:
            for name, part in (("train", split.train), ("val", split.val), ("test", split.test)):
                if tuple(record.splits.get(name, ())) != part:
                    text = f"the record of {record.key.name} has another {name} part than its fold would have now"
                    raise DataError(f"{text}: the data or their order have changed; {RESTORE}")


def checked_records(folder: RunFolder, dataset: DatasetInfo, evaluation: Evaluation) -> list[Record]:
    """Return the records of a run, which must be of its data, and of folds that test each recording once.

    Official parts need not test all recordings, and lists may test them as they like.

    Raises:
        DataError: one is of other data, or two of different splits; names the trials.
    """
    records = folder.records()
    for record in records:
        if record.dataset != dataset:
            text = f"the record of {record.key.name} is of other data ({record.dataset.name})"
            raise DataError(f"{folder.trials}: {text}; remove its folder to run it again")
    if evaluation.split not in ("official", "list"):
        _refuse_mixed_folds(records, evaluation.folds)
    return records


def _refuse_mixed_folds(records: Iterable[Record], folds: int) -> None:
    trials: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        if record.splits.get("test"):
            trials[record.config_id, record.seed].append(record)
    for alike in trials.values():
        tested: dict[str, Record] = {}
        everything = {name for part in alike[0].splits.values() for name in part}
        for record in alike:
            for name in record.splits["test"]:
                if name in tested:
                    text = f"{tested[name].key.name} and {record.key.name} are both tested on {name}"
                    raise DataError(f"{text}: they are no folds of one split; train them in a new run")
                tested[name] = record
        if len(alike) == folds and everything != tested.keys():
            name = min(everything.symmetric_difference(tested))
            text = f"{name} is not in exactly one test part of {alike[0].config_id} with seed {alike[0].seed}"
            raise DataError(f"{text}: its records are no folds of one split; train them in a new run")


def copy_lists(lists: Lists | None, folder: RunFolder) -> None:
    """Copy the lists by which a run splits, so that it does not depend on where they came from."""
    texts = lists.texts if lists else {}
    # A start that was killed may have left others there.
    for file in folder.split_lists.glob("*.txt"):
        if file.name not in texts:
            folder.remove(file)
    for name, text in texts.items():
        folder.write(folder.split_lists / name, text)


def export_folds(folder: RunFolder, recordings: tuple[str, ...], splits: Mapping[Step, Split]) -> None:
    """Write the fold lists as text, as the predecessor does: trainlist1.txt … with validation still among them."""
    for (seed, fold), split in splits.items():
        training = {*split.train, *split.val}
        lists = {"train": tuple(name for name in recordings if name in training), "test": split.test}
        if split.val:
            lists["val"] = split.val
        for part, names in lists.items():
            file = folder.splits / f"seed{seed}" / f"{part}list{fold + 1}.txt"
            text = "".join(f"{name}\n" for name in names)
            if _read_list(file) not in (None, text):
                raise DataError(f"{file}: lists other recordings than this fold would have now; {RESTORE}")
            folder.write(file, text)


def _read_list(file: Path) -> str | None:
    """Return the text of a fold list; None where there is none."""
    try:
        return read_plain(file).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error

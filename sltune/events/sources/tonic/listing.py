"""List the samples of a Tonic dataset without reading them, and read one of them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError, UsageError
from sltune.events.listing.shards import Item, check_bin
from sltune.events.manifest import MAX_CLASSES, file_size
from sltune.events.store import file_sha256

Target = int | str
TARGETS = (int, np.integer, str)


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """One sample as its dataset lists it.

    dataset: reads this sample if its data and targets are only this content and target.
    path: the sample's file, relative to the dataset's root; "" if the sample has no file of its own.
    folder: the folder of this file, relative to that of the dataset's part.
    fields: what else the dataset lists for each sample, such as its user.
    """

    dataset: Any
    content: Any
    target: Target
    sample_id: str
    path: str
    folder: str
    fields: Mapping[str, Any]


def list_part(dataset: Any, prefix: str, root: Path) -> list[Entry]:
    """List the samples of a dataset by their paths below root, so that the order is the same on every machine.

    Args:
        prefix: what the ids begin with, such as ``train-``.

    Raises:
        UsageError: the dataset lists no data or no targets, or its targets are not classes.
    """
    count = len(dataset)
    columns = {
        name: column for name, column in vars(dataset).items() if isinstance(column, list) and len(column) == count
    }
    _check(type(dataset).__name__, columns)
    data, targets = columns.pop("data"), columns.pop("targets")
    targets = [str(target) if isinstance(target, str) else int(target) for target in targets]
    # The shell goes to other processes with every shard; with the full lists it would be large.
    shell = copy.copy(dataset)
    for name in ("data", "targets", *columns):
        setattr(shell, name, [])
    folder = Path(dataset.location_on_system, dataset.folder_name)
    is_files = all(isinstance(content, str) for content in data)
    paths = [_below(Path(content), root) if is_files else "" for content in data]
    inside = [Path(_below(Path(content), folder) if is_files else "-") for content in data]
    # Tonic sorts the files of a class, but not the classes: without paths, they are ordered by target.
    order = sorted(range(count), key=lambda index: (paths[index], str(targets[index]), index))
    ids = ["-".join(path.with_suffix("").parts) for path in inside]
    if not is_files or len(set(ids)) < count:
        for place, index in enumerate(order):
            ids[index] = f"{place:0{len(str(count))}d}"
    return [
        Entry(
            dataset=shell,
            content=data[index],
            target=targets[index],
            sample_id=prefix + ids[index],
            path=paths[index],
            folder=inside[index].parent.as_posix() if is_files else "",
            fields={name: column[index] for name, column in columns.items()},
        )
        for index in order
    ]


def name_classes(declared: object, targets: Sequence[Target]) -> tuple[tuple[str, ...], list[int], bool]:
    """Return the names of the classes, each sample's index into them, and whether the names are the declared ones.

    Args:
        declared: names in the order of their indices, or a mapping from names to indices. Anything else is ignored, as
            are names that do not fit the targets; the classes are then the distinct targets, sorted.

    Raises:
        DataError: there are more classes than labels.
    """
    names = _declared(declared)
    if names and all(isinstance(target, int) and 0 <= target < len(names) for target in targets):
        labels = [int(target) for target in targets]
    elif names and set(targets) <= set(names):
        labels = [names.index(str(target)) for target in targets]
    else:
        distinct = sorted(set(targets), key=lambda target: (isinstance(target, str), target))
        index_of = {target: index for index, target in enumerate(distinct)}
        labels = [index_of[target] for target in targets]
        names = ()
    is_declared = bool(names)
    names = names or tuple(map(str, distinct))
    if len(names) > MAX_CLASSES:
        raise DataError(f"{len(names)} classes, {names[0]} to {names[-1]}; at most {MAX_CLASSES} can be stored")
    return names, labels, is_declared


def item_of(entry: Entry, root: Path, subject: str, label: int, gesture: str) -> Item:
    """Return a listed sample as an item, which the dataset itself decodes."""
    file = root / entry.path if entry.path else None
    place = str(file) if file else f"{entry.dataset.location_on_system} sample {entry.sample_id}"
    return Item(
        place=place,
        sample_id=entry.sample_id,
        subject=subject,
        label=label,
        gesture=gesture,
        size=file_size(file) if file else entry.content.nbytes,
        read=partial(_read, entry, place),
        sha256=partial(file_sha256, file) if file else partial(_array_sha256, entry.content),
    )


def in_words(error: BaseException) -> str:
    """Return an exception of another library in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _read(entry: Entry, place: str) -> NDArray[np.void]:
    if entry.path.endswith(".bin"):
        check_bin(Path(place))
    dataset = copy.copy(entry.dataset)
    dataset.data, dataset.targets = [entry.content], [entry.target]
    try:
        # Without this, Tonic would silently convert a time that is NaN to some whole number.
        with np.errstate(invalid="raise"):
            events, target = dataset[0]
    except ModuleNotFoundError as error:
        raise DataError(f"{place}: cannot be read without the package {error.name}, which is not installed") from error
    except Exception as error:
        raise DataError(f"{place}: Tonic cannot read it: {in_words(error)}") from error
    if not isinstance(target, TARGETS) or target != entry.target:
        raise DataError(f"{place}: Tonic lists it as {entry.target}, but reads {type(target).__name__} {target}")
    read: NDArray[np.void] = events
    return read


def _array_sha256(events: NDArray[Any]) -> str:
    hasher = hashlib.sha256(f"{events.dtype.descr} {events.shape}".encode())
    hasher.update(events.tobytes())
    return hasher.hexdigest()


def _declared(classes: object) -> tuple[str, ...]:
    if isinstance(classes, dict):
        names = sorted(classes, key=lambda name: classes[name])
        return tuple(map(str, names)) if [classes[name] for name in names] == list(range(len(names))) else ()
    return tuple(map(str, classes)) if isinstance(classes, list | tuple) else ()


def _check(name: str, columns: Mapping[str, Sequence[Any]]) -> None:
    if not {"data", "targets"} <= columns.keys():
        raise UsageError(f"tonic:{name}: cannot be imported: it lists no class for each of its samples")
    odd = _other_than(columns["targets"], TARGETS)
    if odd is not None:
        raise UsageError(f"tonic:{name}: cannot be imported: its targets are {odd}, not one class a sample")
    odd = _other_than(columns["data"], (str, np.ndarray))
    if odd is not None:
        raise UsageError(f"tonic:{name}: cannot be imported: its samples are {odd}, neither files nor arrays")


def _other_than(values: Iterable[object], kinds: tuple[type, ...]) -> str | None:
    return next((type(value).__name__ for value in values if not isinstance(value, kinds)), None)


def _below(file: Path, folder: Path) -> str:
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()

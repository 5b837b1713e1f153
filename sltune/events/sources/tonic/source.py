"""Datasets that Tonic can read, as sources; the only module that imports tonic."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError, UsageError
from sltune.events.formats.columns import FIELDS
from sltune.events.listing.grouping import group, say_alone
from sltune.events.listing.shards import Item, check_bin, find_sensor, pack, read_sample
from sltune.events.manifest import file_size
from sltune.events.plausible import DurationLimits
from sltune.events.source import Finding, Source
from sltune.events.sources.tonic.listing import item_of, list_part, name_classes
from sltune.events.sources.tonic.offline import open_parts
from sltune.events.store import Sample, file_sha256
from sltune.wording import suggestion

NMNIST_SENSOR = (34, 34)
# The sensor moves three times for 0.1 s each: 0.29 to 0.34 s in all. A single movement may have been cut out.
NMNIST_LIMITS = DurationLimits(100_000, 1_000_000, "a sample of N-MNIST lasts about 0.3 s")
DIGITS = tuple("0123456789")
# Only the data of these sets, many gigabytes, would show that their labels are no classes.
UNLABELLED = {
    "EBSSA": "boxes around satellites",
    "NERDD": "boxes around drones",
    "ThreeET_Eyetracking": "positions of a pupil",
    "VPR": "positions along a drive",
}


def open_nmnist_folder(folder: Path) -> Source:
    """Return the source for a folder of N-MNIST files, ``[NMNIST/][Train/]<digit>/<id>.bin``, complete or not.

    N-MNIST has no signers, so every sample is its own recording and its own subject. If ``Test`` lies beside ``Train``,
    both are read, as the official parts.

    Raises:
        DataError: no folder named by a digit holds a .bin file.
    """
    roots = (folder / part for part in (".", "Train", "NMNIST", "NMNIST/Train"))
    root = next((path for path in roots if any((path / digit).is_dir() for digit in DIGITS)), None)
    files = _digits(root) if root else []
    if root is None or not files:
        raise DataError(f"{folder}: holds no N-MNIST samples (folders 0 to 9 with .bin files)")
    tested = _digits(root.with_name("Test")) if root.name == "Train" and root != folder else []
    items = [_nmnist_item(file, "train" if tested else "") for file in files]
    # Both parts count their files from 1, so that ids would meet.
    items += [_nmnist_item(file, "test", "test-") for file in tested]
    return Source(
        name="N-MNIST",
        synthetic=False,
        sensor=NMNIST_SENSOR,
        classes=DIGITS,
        files=pack(items, NMNIST_SENSOR, NMNIST_LIMITS),
    )


def read_nmnist(file: Path) -> Sample:
    """Read one N-MNIST sample; rows are y, columns x, as the digit is seen.

    Raises:
        DataError: the file is absent, cut short, without events, or has a pixel outside the sensor.
    """
    return read_sample(_nmnist_item(file), NMNIST_SENSOR)


def open_tonic(name: str, root: Path, group_by: str | None = None) -> Source:
    """Return the source for a dataset of ``tonic.datasets`` whose data lie below root, where Tonic expects them.

    If a set has a training and a test part, those that are there are read; the ids of samples then begin with
    ``train-`` and ``test-``, and where both are there, they are its official parts. Each sample is a recording. If
    Tonic states no sensor, all events are read to find it.

    Args:
        name: the name of the class, such as ``DVSGesture``.
        root: what Tonic calls ``save_to``; most sets lie in root/NAME.
        group_by: what the samples of a subject have in common: a field of the dataset such as ``users``, ``folder``, or
            ``path:REGEX``. None: the user if the dataset knows users, else each sample is its own subject.

    Raises:
        UsageError: Tonic has no such dataset, or the dataset lacks x, y, t, p or a class for each sample, or it does
            not offer group_by.
        DataError: there are no samples, Tonic cannot list them, or there are more than 256 classes.
    """
    root = root.expanduser()
    kind = _dataset(name)
    parts, findings = open_parts(kind, root)
    listed = {prefix: list_part(dataset, prefix, root) for prefix, dataset in parts}
    entries = [entry for part in listed.values() for entry in part]
    # A part alone keeps the fingerprint that it had before parts were known.
    splits = [prefix.removesuffix("-") if len(listed) > 1 else "" for prefix in listed for _ in listed[prefix]]
    declared = getattr(kind, "classes", None)
    classes, labels, is_declared = name_classes(declared, [entry.target for entry in entries])
    subjects, alone = group(entries, labels, group_by)
    items = [
        replace(item_of(entry, root, subject, label, classes[label]), split=split)
        for entry, subject, label, split in zip(entries, subjects, labels, splits, strict=True)
    ]
    sensor = find_sensor(items) if kind.sensor_size is None else (int(kind.sensor_size[1]), int(kind.sensor_size[0]))
    odd = []
    if declared and not is_declared:
        odd.append(f"Tonic's classes do not fit its targets, {classes[0]} to {classes[-1]}")
    if alone:
        odd.append(say_alone([classes[label] for label in alone]))
    if kind.sensor_size is None:
        odd.append(f"Tonic states no sensor; {sensor[1]}x{sensor[0]} pixels hold all events")
    findings += [Finding(f"tonic:{name}", text) for text in odd]
    return Source(name, False, sensor, classes, pack(items, sensor), tuple(findings))


def _digits(root: Path) -> list[Path]:
    return [file for digit in DIGITS for file in sorted((root / digit).glob("*.bin"))]


def _nmnist_item(file: Path, split: str = "", prefix: str = "") -> Item:
    name = f"{prefix}{file.parent.name}-{file.stem}"
    return Item(
        place=str(file),
        sample_id=name,
        subject=name,
        label=int(file.parent.name),
        gesture=file.parent.name,
        size=file_size(file),
        read=partial(_read_bin, file),
        sha256=partial(file_sha256, file),
        split=split,
    )


def _read_bin(file: Path) -> NDArray[np.void]:
    from tonic.io import events_struct, read_mnist_file

    check_bin(file)
    events: NDArray[np.void] = read_mnist_file(str(file), dtype=events_struct)
    if not len(events):
        raise DataError(f"{file}: holds no pixel event, only marks of the clock's overflow")
    return events


def _dataset(name: str) -> Any:
    """Return Tonic's class of this name.

    Raises:
        UsageError: there is none, or it cannot be imported; says why, and names the classes that can.
    """
    import tonic.datasets

    kinds, absent = dict[str, Any](), dict[str, str]()
    for module in pkgutil.iter_modules(tonic.datasets.__path__):
        try:
            members = vars(importlib.import_module(f"tonic.datasets.{module.name}"))
        except ImportError as error:
            absent[module.name] = error.name or str(error)
            continue
        kinds |= {key: kind for key, kind in members.items() if _is_dataset(kind, members["__name__"])}
    if name in kinds and not (reason := _reason_against(kinds[name])):
        return kinds[name]
    usable = [key for key, kind in kinds.items() if not _reason_against(kind)]
    if name in kinds:
        text = f"cannot be imported: {reason}"
    elif name.lower() in absent:
        text = f"cannot be imported without the package {absent[name.lower()]}, which is not installed"
    else:
        text = f"Tonic {tonic.__version__} has no such dataset{suggestion(name, kinds)}"
    raise UsageError(f"tonic:{name}: {text}; those that can be imported: {', '.join(sorted(usable))}")


def _is_dataset(kind: object, module: str) -> bool:
    return inspect.isclass(kind) and kind.__module__ == module and hasattr(kind, "__getitem__")


def _reason_against(kind: Any) -> str:
    """Return why a dataset cannot be imported as events with a class for each sample; "" if it can."""
    fields = getattr(getattr(kind, "dtype", None), "names", None) or ()
    lacking = [field for field in FIELDS if field not in fields]
    if lacking:
        return f"its events have no {' and no '.join(lacking)}, so they are no event camera's"
    if kind.__name__ in UNLABELLED:
        return f"its labels are {UNLABELLED[kind.__name__]}, not one class a sample"
    parameters = list(inspect.signature(kind).parameters.values())
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    if needed != ["save_to"]:
        return f"it is read by {' and '.join(needed[1:]) or needed[0]} and has no class for each sample"
    return "" if hasattr(kind, "sensor_size") else "it states no sensor"

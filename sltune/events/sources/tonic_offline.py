"""Tonic's datasets over what is on disk. Their constructors download and unpack what they miss; here they may not."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from sltune.errors import DataError
from sltune.events.source import Finding
from sltune.events.sources.tonic_listing import in_words

PARTS = {"train": True, "test": False}
NO_DOWNLOAD = "sltune downloads and unpacks nothing"


def open_parts(kind: Any, root: Path) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """Return the parts that are there, each after the prefix of its samples' ids, and what is odd about them.

    Raises:
        DataError: there are none.
    """
    has_parts = "train" in inspect.signature(kind).parameters
    options = {f"{name}-": {"train": value} for name, value in PARTS.items()} if has_parts else {"": {}}
    opened, places = [], []
    for prefix, option in options.items():
        dataset, place = _open(kind, root, option)
        places.append(place)
        if dataset is not None:
            opened.append((prefix, dataset))
    if not opened:
        hint = "; --root is the folder above it" if root.name == kind.__name__ else ""
        text = f"no samples of {kind.__name__}; looked in {' and '.join(dict.fromkeys(places))}; {NO_DOWNLOAD}{hint}"
        raise DataError(f"{root}: {text}")
    findings = [
        Finding(place, f"holds no samples of the {prefix.removesuffix('-')} part")
        for prefix, place in zip(options, places, strict=True)
        if prefix not in dict(opened)
    ]
    for _, dataset in opened:
        if not kind._check_exists(dataset):
            text = f"Tonic's own check calls this incomplete; it holds {len(dataset)} samples"
            findings.append(Finding(str(_folder(dataset)), text))
    return opened, findings


def _open(kind: Any, root: Path, option: dict[str, bool]) -> tuple[Any, str]:
    """Return a part of a dataset, None where it has no samples, and the place where it was looked for.

    Raises:
        DataError: Tonic cannot list the samples that are there, or would open something that is no plain file.
    """
    place = str(root / kind.__name__)
    if not root.is_dir():
        return None, str(root)
    _refuse_special(place)
    try:
        dataset = _offline(kind)(str(root), **option)
    except FileNotFoundError as error:
        return None, str(error.filename or place)
    except DataError:
        raise
    # SystemExit: some of Tonic's datasets end the process.
    except (Exception, SystemExit) as error:
        raise DataError(f"{place}: Tonic cannot list the samples: {in_words(error)}; {NO_DOWNLOAD}") from error
    return dataset if len(dataset) else None, str(_folder(dataset))


def _refuse_special(folder: str) -> None:
    """Refuse named pipes, which Tonic would wait at, and devices, which it would read for ever."""
    for path, _, names in os.walk(folder):
        for entry in (Path(path, name) for name in names):
            if not entry.is_file() and entry.exists():
                raise DataError(f"{entry}: is a device, pipe or socket, not a plain file; remove it")


def _offline(kind: Any) -> Any:
    """Return a class that takes its data as they are. It has the same name, of which Tonic makes its paths."""
    taken_as_is = {
        "_check_exists": lambda self: True,
        # Archives are often deleted after they were unpacked.
        "_is_file_present": lambda self: True,
        "download": _download,
        "_download_all": _download_all,
    }
    return type(kind.__name__, (kind,), taken_as_is)


def _download(dataset: Any) -> None:
    raise DataError(f"{_folder(dataset)}: Tonic wants to download it; {NO_DOWNLOAD}")


def _download_all(dataset: Any) -> None:
    """Only look for what POKERDVS131 would download without asking whether it is there."""
    absent = [name for name in dataset.files if not Path(dataset.location, name).is_file()]
    if absent:
        raise DataError(f"{dataset.location}: holds no {', '.join(absent)}; {NO_DOWNLOAD}")


def _folder(dataset: Any) -> Path:
    return Path(dataset.location_on_system, dataset.folder_name)

"""Open Tonic's datasets on what is on disk, and keep their constructors from downloading and unpacking the rest."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from sltune.errors import DataError
from sltune.events.source import Finding
from sltune.events.sources.tonic.listing import in_words

PARTS = {"train": True, "test": False}
NO_DOWNLOAD = "sltune downloads and unpacks nothing"


def open_parts(kind: Any, root: Path) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """Return each part that is there, as the prefix of its samples' ids and the dataset, and what is odd.

    Raises:
        DataError: there is none.
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
    """Return a part of a dataset, or None if it has no samples, and the place where it was looked for.

    Raises:
        DataError: Tonic cannot list the samples that are there, or would open something that is not a plain file.
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
    # Some of Tonic's datasets end the process, by SystemExit.
    except (Exception, SystemExit) as error:
        raise DataError(f"{place}: Tonic cannot list the samples: {in_words(error)}; {NO_DOWNLOAD}") from error
    return dataset if len(dataset) else None, str(_folder(dataset))


def _refuse_special(folder: str) -> None:
    """Refuse named pipes, which would block Tonic, and devices, which it would read for ever."""
    for path, _, names in os.walk(folder):
        for entry in (Path(path, name) for name in names):
            if not entry.is_file() and entry.exists():
                raise DataError(f"{entry}: is a device, pipe or socket, not a plain file; remove it")


def _offline(kind: Any) -> Any:
    """Return a subclass that takes its data as they are, with the same name, as Tonic derives paths from the name."""
    taken_as_is = {
        "_check_exists": lambda self: True,
        # People often delete archives after unpacking them.
        "_is_file_present": lambda self: True,
        "download": _download,
        "_download_all": _download_all,
    }
    return type(kind.__name__, (kind,), taken_as_is)


def _download(dataset: Any) -> None:
    raise DataError(f"{_folder(dataset)}: Tonic wants to download it; {NO_DOWNLOAD}")


def _download_all(dataset: Any) -> None:
    """Check for the files that POKERDVS131 would download even if they were there."""
    absent = [name for name in dataset.files if not Path(dataset.location, name).is_file()]
    if absent:
        raise DataError(f"{dataset.location}: holds no {', '.join(absent)}; {NO_DOWNLOAD}")


def _folder(dataset: Any) -> Path:
    return Path(dataset.location_on_system, dataset.folder_name)

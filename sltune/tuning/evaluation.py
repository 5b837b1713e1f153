"""The main job: one fixed configuration over folds and seeds, from a dataset to a run folder full of records."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from sltune import __version__
from sltune.config import Configuration
from sltune.errors import DataError, Interrupted, NothingRan, SomeTrialsFailed, UsageError
from sltune.events.folds import Split
from sltune.events.manifest import Manifest, read_manifest
from sltune.events.samples import Samples
from sltune.files import locked, write_whole
from sltune.record import DatasetInfo, RunFolder, TrialKey
from sltune.space import Space
from sltune.tuning.campaign import Campaign, plan, write_run_info
from sltune.tuning.cluster import Request, check_fraction, connected, data_bytes, put_dataset, share_for, slots
from sltune.tuning.executor import Placement, execute
from sltune.tuning.job import Job, split_of, starting_weights
from sltune.tuning.progress import Progress
from sltune.tuning.trial import SharedData


@dataclass(frozen=True)
class Display:
    """Where and how progress is shown; see Progress for the modes."""

    console: Console
    mode: str


def start_evaluation(space: Space, data: Path, folder: RunFolder, request: Request, display: Display) -> None:
    """Evaluate a fixed configuration in a new run folder.

    Raises:
        ConfigError: the space searches something.
        UsageError: the run exists, or no node can run such trials.
        DataError: the dataset cannot be read or has too few signers.
        SomeTrialsFailed, NothingRan: by how many trials have a result.
        Interrupted: the user stopped the run.
    """
    configuration = space.configuration()
    manifest = read_manifest(data)
    planned = plan(configuration)
    _refuse_existing(folder)
    with _ready(configuration, planned, data, manifest, request) as ready, locked(folder.lock):
        # Once more, since another process may have begun it while Ray started.
        _refuse_existing(folder)
        write_whole(folder.space_toml, space.to_toml())
        write_run_info(folder, planned, _facts(folder, data, manifest))
        campaign = Campaign(folder, configuration, _dataset_info(manifest), planned)
        _run(campaign, ready, display)
    _judge(campaign)


def resume_evaluation(
    space: Space, folder: RunFolder, data: Path | None, request: Request, display: Display, retry_failed: bool = False
) -> None:
    """Go on with a run: finished trials are kept, the others are trained; raises as start_evaluation does.

    Args:
        data: where the dataset lies now; None for where it lay when the run began.
    """
    try:
        facts = folder.info()["dataset"]
        data, fingerprint = data or Path(facts["path"]), facts["fingerprint"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder.run_json}: does not name the dataset ({error}); not written by sltune") from error
    manifest = read_manifest(data)
    if manifest.fingerprint != fingerprint:
        raise DataError(f"{data}: is not the dataset of {folder.root}: the fingerprints differ")
    configuration = space.configuration()
    planned = folder.planned()
    with locked(folder.lock):
        campaign = Campaign(folder, configuration, _dataset_info(manifest), planned, retry_failed)
        if campaign.left:
            with _ready(configuration, planned, data, manifest, request) as ready:
                _run(campaign, ready, display)
    _judge(campaign)


def _refuse_existing(folder: RunFolder) -> None:
    if folder.run_json.exists():
        raise UsageError(f"{folder.root}: this run exists; go on with it by: sltune resume {folder.root}")


@dataclass(frozen=True)
class _Ready:
    """All that trials need, checked: the data in the object store, the parts of each trial, and a place to run."""

    shared: SharedData
    splits: Mapping[TrialKey, Split]
    recordings: tuple[str, ...]
    placement: Placement


@contextmanager
def _ready(
    configuration: Configuration, planned: Sequence[TrialKey], data: Path, manifest: Manifest, request: Request
) -> Iterator[_Ready]:
    """Connect, and refuse what cannot work before anything is written."""
    check_fraction(request.gpus_per_trial or 0)
    with connected(request, data_bytes(manifest)):
        share = share_for(request, len(planned))
        weights = _put_weights(configuration, planned, manifest)
        tables = put_dataset(data, manifest)
        recordings = Samples(ray.get(tables)).recordings()
        yield _Ready(
            SharedData(tables, weights, manifest.sensor, len(manifest.classes)),
            {key: split_of(configuration, recordings, key.fold, key.seed) for key in planned},
            tuple(recording.name for recording in recordings),
            Placement(share, slots(share, request), request.device),
        )


def _put_weights(configuration: Configuration, planned: Sequence[TrialKey], manifest: Manifest) -> dict[int, Any]:
    """Check that each fold's network can be made, and put the weights that it starts from into the object store."""
    references = {}
    for key in {key.fold: key for key in planned}.values():
        weights = starting_weights(configuration, key.fold)
        Job(key, configuration, manifest.sensor, len(manifest.classes), weights).network()
        if weights is not None:
            references[key.fold] = ray.put(weights)
    return references


def _run(campaign: Campaign, ready: _Ready, display: Display) -> None:
    _export_folds(campaign.folder, ready)
    epochs = campaign.configuration.training.epochs
    with Progress(display.console, display.mode, campaign.states(), epochs) as progress:
        execute(campaign, ready.shared, ready.placement, progress)


def _judge(campaign: Campaign) -> None:
    """Raise what the run's end calls for."""
    folder = campaign.folder.root
    if campaign.left:
        raise Interrupted(f"{campaign.left} trials are left; go on with: sltune resume {folder}")
    bad = [record for record in campaign.records.values() if record.status != "done"]
    if not bad:
        return
    lines = [f"{record.key.name}: {record.status}: {record.error.strip().splitlines()[-1]}" for record in bad]
    lines.append(f"see error.txt in {folder}/trials/…; try again with: sltune resume {folder} --retry-failed")
    raise (NothingRan if len(bad) == len(campaign.records) else SomeTrialsFailed)("\n".join(lines))


def _export_folds(folder: RunFolder, ready: _Ready) -> None:
    """Write the fold lists as text, as the predecessor does: trainlist1.txt … with validation still among them."""
    for key, split in ready.splits.items():
        training = {*split.train, *split.val}
        lists = {"train": tuple(name for name in ready.recordings if name in training), "test": split.test}
        if split.val:
            lists["val"] = split.val
        for part, names in lists.items():
            file = folder.splits / f"seed{key.seed}" / f"{part}list{key.fold + 1}.txt"
            write_whole(file, "".join(f"{name}\n" for name in names))


def _dataset_info(manifest: Manifest) -> DatasetInfo:
    return DatasetInfo(
        name=manifest.name, synthetic=manifest.synthetic, fingerprint=manifest.fingerprint, classes=manifest.classes
    )


def _facts(folder: RunFolder, data: Path, manifest: Manifest) -> Mapping[str, Any]:
    packages = ("torch", "ray", "numpy", "pyarrow", "scikit-learn", "tonic")
    return {
        "name": folder.root.name,
        "kind": "evaluate",
        "command": sys.argv,
        "dataset": {**_dataset_info(manifest).model_dump(), "path": str(data.resolve())},
        "versions": {"sltune": __version__, **{name: importlib.metadata.version(name) for name in packages}},
        "python": platform.python_version(),
        "host": platform.node(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the source tree that sltune runs from; None where it is installed."""
    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").exists() or shutil.which("git") is None:
        return None
    result = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None

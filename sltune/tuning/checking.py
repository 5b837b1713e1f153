"""What can be refused of a run before Ray starts, for commands whose work another machine will do later."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from sltune.events.dataset import open_dataset
from sltune.events.manifest import read_manifest
from sltune.events.splits.split import lists_of, split_of
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info, run_name
from sltune.runs.plan import steps_of
from sltune.runs.record import DatasetInfo
from sltune.runs.results import Criteria
from sltune.system.remote import AnyPath
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import (
    checked_records,
    dataset_of,
    refuse_other_code,
    refuse_other_dataset,
    refuse_other_space,
)
from sltune.tuning.preparation import Kind, checked_manifest
from sltune.tuning.resuming import Changes, unchecked_space
from sltune.tuning.trial.job import MAX_PROBES, made_networks


def check_start(kind: Kind, data: AnyPath, folder: RunFolder, request: Request, display: Display) -> None:
    """Refuse a new run as ``preparation.start`` does, but for what only the nodes can tell; nothing is written.

    Raises:
        UsageError: the run exists, or a network cannot be made.
        DataError: the dataset or weights cannot be read, or there are too few signers.
    """
    manifest = checked_manifest(kind, data, folder, display.say)
    request.checkpoints_of(run_name(folder))
    recordings, space = open_dataset(data).samples.recordings(), kind.space
    probes = list(islice(space.probes(), MAX_PROBES))
    for _ in made_networks(probes, manifest, space.code, Criteria.of(space.search).costs):
        pass
    lists = lists_of(space)
    for seed, fold in steps_of(space.evaluation):
        split_of(probes[0], recordings, fold, seed, kind.outer_fold, lists)


def check_resumption(run: Path, moved_to: AnyPath | None, request: Request, changes: Changes) -> None:
    """Refuse to go on with a run as ``resuming.resume_run`` does, but for what only the nodes can tell.

    Args:
        moved_to: where the dataset lies now; None for where it lay when the run began.

    Raises:
        UsageError: the changes do not suit the run, or a place outside of its folder has to be named again.
        DataError: the run or its dataset cannot be read, or they do not belong together.
    """
    folder = RunFolder(run)
    info = read_info(folder)
    space = unchecked_space(folder, info, request, changes)
    data = dataset_of(folder, info, moved_to)
    manifest = read_manifest(data)
    refuse_other_dataset(data, folder, info.dataset, manifest)
    refuse_other_space(folder, space)
    refuse_other_code(folder, info, space.code)
    checked_records(folder, DatasetInfo.of(manifest), space.evaluation)

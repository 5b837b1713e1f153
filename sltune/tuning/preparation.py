"""What comes before the first trial: everything checked, Ray connected, the data in its object store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ray

from sltune.errors import DataError, Interrupted
from sltune.events.manifest import Manifest, read_manifest
from sltune.events.samples import Samples
from sltune.progress.display import Display, Progress
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, resume_command
from sltune.runs.plan import Step
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space
from sltune.system.files import read_plain
from sltune.system.supervisor import last_word, note_run
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.cluster.connection import connected
from sltune.tuning.cluster.joining import described
from sltune.tuning.cluster.nodes import Nodes
from sltune.tuning.cluster.objects import data_bytes, put_dataset
from sltune.tuning.cluster.resources import Request, Share, check_fraction, share_for, slots
from sltune.tuning.continuity import RESTORE, refuse_other_dataset, refuse_other_splits
from sltune.tuning.execution.callbacks import Placement
from sltune.tuning.execution.executor import execute
from sltune.tuning.execution.worker import SharedData
from sltune.tuning.trial.job import Job, split_of, starting_weights

# Of larger products of choices a part is tried; a network that cannot be made then fails its own trial.
MOST_PROBES = 32


@dataclass(frozen=True)
class Ready:
    """All that trials need, checked: the data in the object store, their names, and a place to run.

    notes: what a user should know before anything is trained.
    """

    shared: SharedData
    recordings: tuple[str, ...]
    placement: Placement
    notes: tuple[str, ...] = ()


@contextmanager
def prepared(
    space: Space, steps: Sequence[Step], data: Path, run: str, request: Request, display: Display
) -> Iterator[Ready]:
    """Connect, and refuse what cannot work before anything is written.

    Raises:
        UsageError: no node can run such trials, or a network cannot be made.
        DataError: the dataset or weights cannot be read, or it has too few signers.
    """
    check_fraction(request.gpus_per_trial or 0)
    checkpoints = request.checkpoints_of(run)
    checkpoints.check()
    manifest = read_manifest(data)
    with connected(request.address, data_bytes(manifest)):
        if request.address:
            display.inform(described())
        nodes = Nodes(display.say)
        there = nodes.first()
        share = share_for(request, _most_at_once(space, steps), there)
        probes = list(islice(space.probes(), MOST_PROBES))
        weights, notes = _put_weights(probes, manifest)
        tables = put_dataset(data, manifest, there)
        recordings = Samples(ray.get(tables)).recordings()
        splits = {(seed, fold): split_of(probes[0], recordings, fold, seed) for seed, fold in steps}
        sensor, classes = manifest.sensor, len(manifest.classes)
        shared = SharedData(
            tables, weights, splits, sensor, classes, manifest.fingerprint, request.device, checkpoints, request.details
        )
        yield Ready(
            shared,
            tuple(recording.name for recording in recordings),
            Placement(share, lambda: slots(share, request, nodes.usable()), nodes.selector, 60 * request.hang_minutes),
            notes,
        )


def _most_at_once(space: Space, steps: Sequence[Step]) -> int:
    """Return how many trials a run may have at once: of a search, each configuration has one."""
    return space.search.trials if space.domains and space.search else len(steps)


def run_trials(campaign: Campaign, ready: Ready, display: Display) -> None:
    """Write the fold lists, and run every trial of a campaign.

    Raises:
        Interrupted: a second Ctrl-C came before the first had ended the trials; the caller takes note of the first.
    """
    command = resume_command(campaign.folder)
    note_run(command)
    display.announce(str(campaign.folder.root), command)
    for note in ready.notes:
        display.say(note)
    refuse_other_splits(campaign.records, ready.shared.splits)
    _export_folds(campaign.folder, ready)
    earlier = {config_id: candidate.records.values() for config_id, candidate in campaign.candidates.items()}
    progress = Progress(display, campaign.plan(), earlier, _per_trial(ready.placement.share))
    try:
        with progress.on_screen():
            execute(campaign, ready.shared, ready.placement, progress)
    except KeyboardInterrupt:
        raise interrupted(campaign) from None


def _per_trial(share: Share) -> str:
    return f"{share.gpus:g} GPU a trial" if share.gpus else f"{share.cpus:g} CPU a trial"


def interrupted(campaign: Campaign) -> Interrupted:
    """Return the error that says how to go on."""
    return Interrupted(last_word(campaign.progress(), resume_command(campaign.folder)))


def _put_weights(probes: Sequence[Configuration], manifest: Manifest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Check that each network can be made, and put the weights that it starts from into the object store, by path.

    Also returns what to say of them: of files that differ only by fold, it is said once.
    """
    references, notes = {}, dict[str, str]()
    for configuration in probes:
        # Without weights all folds have the same network.
        folds = range(configuration.evaluation.folds if configuration.network.weights else 1)
        for fold in folds:
            weights = starting_weights(configuration, fold)
            key = TrialKey("c0000", 0, fold)
            job = Job(key, configuration, manifest.sensor, len(manifest.classes), weights)
            _, note = job.network_and_note()
            if weights is not None:
                references[configuration.network.weights_for(fold)] = ray.put(weights)
                if note:
                    notes.setdefault(configuration.network.weights, note)
    return references, tuple(notes.values())


def _export_folds(folder: RunFolder, ready: Ready) -> None:
    """Write the fold lists as text, as the predecessor does: trainlist1.txt … with validation still among them."""
    for (seed, fold), split in ready.shared.splits.items():
        training = {*split.train, *split.val}
        lists = {"train": tuple(name for name in ready.recordings if name in training), "test": split.test}
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


def dataset_of(folder: RunFolder, info: RunInfo, moved_to: Path | None) -> tuple[Path, Manifest]:
    """Return where the dataset of a run lies, and its manifest.

    Args:
        moved_to: where it lies now; None for where it lay when the run began.

    Raises:
        DataError: it cannot be read, or is another.
    """
    data = moved_to or Path(info.dataset.path)
    manifest = read_manifest(data)
    refuse_other_dataset(data, folder, info.dataset, manifest)
    return data, manifest

"""The life of a run, the same for evaluate, tune and resume: checked, begun or taken up, trained, and concluded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from sltune.errors import DataError, Interrupted
from sltune.events.dataset import data_bytes
from sltune.events.manifest import Manifest, read_manifest
from sltune.events.splits.parts import Split
from sltune.events.splits.split import lists_of
from sltune.progress.display import Display, Progress
from sltune.runs.folder import RunFolder
from sltune.runs.info import (
    DatasetPlace,
    RunInfo,
    new_info,
    read_info,
    refuse_existing,
    remember,
    resume_command,
    run_name,
    write_info,
)
from sltune.runs.places import CodeInfo, StudyPlace, copy_code
from sltune.runs.plan import Step, steps_of
from sltune.runs.record import DatasetInfo, Record
from sltune.settings.space import Space
from sltune.system.locks import locked
from sltune.system.places import Database, lies_in
from sltune.system.remote import AnyPath
from sltune.system.supervisor import last_word, note_run
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.strategy import RESTORE
from sltune.tuning.cluster.connection import connected
from sltune.tuning.cluster.joining import described
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import (
    checked_records,
    copy_lists,
    dataset_of,
    export_folds,
    refuse_other_code,
    refuse_other_dataset,
    refuse_other_space,
    refuse_other_splits,
)
from sltune.tuning.execution.weights import KeptWeights

if TYPE_CHECKING:
    from sltune.tuning.execution.executor import Executor


class Kind(Protocol):
    """What is particular to a kind of run: to the evaluation of one configuration, or to a search.

    space: what is run. database: where the study is; None where there is none, or where it is in the run folder.
    outer_fold: that of a nested search whose test signers are left out; None where nobody is. is_nested: whether this
    is the nested search itself. keeps_weights: whose stay in the run folder where the user does not say.
    """

    space: Space
    database: Database | None
    outer_fold: int | None
    is_nested: bool
    keeps_weights: str

    @property
    def at_once(self) -> int:
        """How many trials may run at the same time, at most: they share the GPUs that there are."""

    def check(self, dataset: DatasetInfo, say: Callable[[str], None]) -> None:
        """Read what a new run takes from elsewhere, before Ray starts and anything is written.

        Raises:
            UsageError, DataError: it cannot be used.
        """

    def begin(self, folder: RunFolder, splits: Mapping[Step, Split]) -> StudyPlace | None:
        """Write what a new run needs beside its ``run.json``; return what that says of its study."""

    def take_up(self, folder: RunFolder, info: RunInfo) -> None:
        """Open what ``begin`` has written."""

    def campaign(self, folder: RunFolder, dataset: DatasetInfo, records: Sequence[Record] | None = None) -> Campaign:
        """Return the run's campaign, after ``begin`` or ``take_up``; records: as for Campaign."""

    def conclude(self, campaign: Campaign, data: AnyPath, say: Callable[[str], None]) -> None:
        """Say what a campaign has found that has ended or was stopped.

        Raises:
            Interrupted: it was stopped.
            SomeTrialsFailed, NothingRan: by how many trials have a result.
        """


def start(kind: Kind, data: AnyPath, folder: RunFolder, request: Request, display: Display) -> None:
    """Run a kind of run in a new folder; raises what its ``conclude`` raises, too.

    Raises:
        UsageError: the run exists, no node can run such trials, or a network cannot be made.
        DataError: the dataset or weights cannot be read, or there are too few signers.
        Interrupted: the user stopped the run.
    """
    with begun(kind, data, folder, request, display) as (executor, dataset):
        campaign = kind.campaign(folder, dataset)
        _run(campaign, executor, display, kind.outer_fold)
        kind.conclude(campaign, data, display.say)


@contextmanager
def begun(
    kind: Kind, data: AnyPath, folder: RunFolder, request: Request, display: Display
) -> Iterator[tuple[Executor, DatasetInfo]]:
    """Begin a run in a new folder, once everything is checked that it needs, and hold it for the block.

    Raises:
        UsageError, DataError: as start does.
    """
    manifest = checked_manifest(kind, data, folder, display.say)
    dataset, space = DatasetInfo.of(manifest), kind.space
    request = replace(request, keep_weights=request.keep_weights or kind.keeps_weights)
    with _executor(kind, data, manifest, run_name(folder), request, display) as executor, locked(folder.lock):
        # Once more, since another process may have begun it while Ray started.
        refuse_existing(folder)
        folder.write(folder.space_toml, space.to_toml())
        copy_code(space.code, folder.code, inside=folder.root)
        copy_lists(lists_of(space), folder)
        study = kind.begin(folder, executor.shared.splits)
        place, steps = DatasetPlace.at(data, manifest), steps_of(space.evaluation)
        info = new_info(folder, space.to_toml(), place, executor.shared.checkpoints, steps, study)
        nested = {"kind": "nested", "winners": ()} if kind.is_nested else {"outer_fold": kind.outer_fold}
        more = {"code": CodeInfo.of(space.code), "keep_weights": request.keep_weights}
        write_info(folder, info.model_copy(update={**nested, **more}))
        _announce(folder, display)
        yield executor, dataset


def checked_manifest(kind: Kind, data: AnyPath, folder: RunFolder, say: Callable[[str], None]) -> Manifest:
    """Return the manifest of a new run's dataset, once all is checked that needs no Ray; raises as start does."""
    refuse_existing(folder)
    manifest = read_manifest(data)
    kind.check(DatasetInfo.of(manifest), say)
    _check_code(kind.space)
    return manifest


def resume(kind: Kind, folder: RunFolder, moved_to: AnyPath | None, request: Request, display: Display) -> None:
    """Go on with a run: trials that have ended are kept, the others are trained; raises as start does.

    Args:
        moved_to: where the dataset lies now; None for where it lay when the run began.
    """
    info = read_info(folder)
    data = dataset_of(folder, info, moved_to)
    manifest = read_manifest(data)
    refuse_other_dataset(data, folder, info.dataset, manifest)
    dataset = DatasetInfo.of(manifest)
    place = info.checkpoints.place if info.checkpoints else None
    if request.checkpoints is None and place is not None and lies_in(place, folder.root):
        # Where they were; another place has to be named anew.
        request = replace(request, checkpoints=place)
    with locked(folder.lock):
        if info.outer_fold != kind.outer_fold:
            text = f"{folder.run_json}: 'outer_fold' is {info.outer_fold} instead of {kind.outer_fold}"
            raise DataError(f"{text}: it has seen other signers; {RESTORE}")
        refuse_other_space(folder, kind.space)
        refuse_other_code(folder, info, kind.space.code)
        records = checked_records(folder, dataset, kind.space.evaluation)
        kind.take_up(folder, info)
        keep = request.keep_weights or info.keep_weights
        request = replace(request, keep_weights=keep)
        remember(folder, request.checkpoints_of(run_name(folder)), keep, kind.database)
        campaign = kind.campaign(folder, dataset, records)
        _catch_up(campaign, keep)
        if not campaign.finished:
            _check_code(kind.space)
            _announce(folder, display)
            with _executor(kind, data, manifest, campaign.name, request, display) as executor:
                _run(campaign, executor, display, kind.outer_fold)
        kind.conclude(campaign, data, display.say)


def _catch_up(campaign: Campaign, keep: str) -> None:
    """Write the curves and delete the weights for which a process that was killed had no time."""
    from sltune.progress.mean_curves import update_mean_curves

    KeptWeights(campaign, keep).catch_up()
    for candidate in campaign.candidates.values():
        update_mean_curves(campaign.folder, candidate.config_id, candidate.records.values(), candidate.is_over)


@contextmanager
def _executor(
    kind: Kind, data: AnyPath, manifest: Manifest, run: str, request: Request, display: Display
) -> Iterator[Executor]:
    """Connect to Ray, and refuse what cannot work before anything is written."""
    # Not by a thread while Ray starts, which would save two seconds or so: a thread that had ended was once
    # found to own the import lock of CPython 3.11, for which Ray's start then waited for ever.
    from sltune.tuning.execution.executor import Executor

    with connected(request.address, data_bytes(manifest)):
        if request.address:
            display.inform(described())
        yield Executor(kind, data, manifest, request, run, display.say)


def _check_code(space: Space) -> None:
    """Refuse code of the user's that cannot work, before Ray starts; what it needs brings torch."""
    if space.own():
        import_module("sltune.tuning.own_code").refuse_unusable(space)


def _announce(folder: RunFolder, display: Display) -> None:
    """Say how to go on with a run as soon as its ``run.json`` is as it should be: some deaths leave no time for it."""
    command = resume_command(folder)
    note_run(command)
    display.announce(str(folder.root), command)


def _run(campaign: Campaign, executor: Executor, display: Display, outer_fold: int | None) -> None:
    """Write the fold lists, run every trial of a campaign, and test baselines on the same folds.

    Args:
        outer_fold: as in Kind.

    Raises:
        Interrupted: a second Ctrl-C came before the first had ended the trials; the caller takes note of the first.
    """
    for note in executor.notes:
        display.say(note)
    splits = executor.shared.splits
    refuse_other_splits(campaign.records, splits)
    export_folds(campaign.folder, executor.recordings, splits)
    earlier = {config_id: candidate.records.values() for config_id, candidate in campaign.candidates.items()}
    try:
        executor.measure_packing(display.say)
        cpus, gpus = executor.request.cpus, executor.request.gpus
        per_trial = f"{gpus:g} GPU a trial" if gpus else f"{cpus:g} CPU a trial"
        progress = Progress(display, campaign.plan, earlier, per_trial)
        with progress.on_screen():
            executor.run(campaign, progress)
        # A search within a nested one must not touch the test part of its outer fold.
        if executor.request.baselines and campaign.finished and outer_fold is None:
            _add_baselines(campaign, executor, display.say)
    except KeyboardInterrupt:
        raise interrupted(campaign) from None


def _add_baselines(campaign: Campaign, executor: Executor, say: Callable[[str], None]) -> None:
    from sltune.tuning.baselines import add_baselines

    shared = executor.shared
    try:
        add_baselines(campaign.folder, executor.samples, shared.sensor, shared.splits, shared.fingerprint)
    except MemoryError:
        # The results are there, and are not to be lost for something beside them.
        say("the baselines took more memory than there is, and are left out; --no-baselines does not try them")


def interrupted(campaign: Campaign) -> Interrupted:
    """Return the error that says how to go on."""
    return Interrupted(last_word(campaign.progress(), resume_command(campaign.folder)))

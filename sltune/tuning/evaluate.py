"""The main job: one fixed configuration over folds and seeds, from a dataset to a run folder full of records."""

from __future__ import annotations

from pathlib import Path

from sltune.errors import NothingRan, SomeTrialsFailed
from sltune.events.manifest import read_manifest
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.runs.info import (
    DatasetPlace,
    new_info,
    read_info,
    refuse_existing,
    remember_places,
    resume_command,
    run_name,
    write_info,
)
from sltune.runs.plan import trials_of
from sltune.runs.record import DatasetInfo, Record
from sltune.settings.space import Space
from sltune.system.locks import locked
from sltune.tuning.campaign.campaign import Campaign, evaluation_campaign
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import refuse_foreign_records, refuse_other_space
from sltune.tuning.preparation import dataset_of, interrupted, prepared, run_trials
from sltune.wording import first_of

# Of many failures alike the first few say enough.
SHOWN_FAILURES = 10


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
    planned = trials_of(configuration)
    refuse_existing(folder)
    steps = [(key.seed, key.fold) for key in planned]
    with prepared(space, steps, data, run_name(folder), request, display) as ready, locked(folder.lock):
        # Once more, since another process may have begun it while Ray started.
        refuse_existing(folder)
        folder.write(folder.space_toml, space.to_toml())
        dataset = DatasetPlace.at(data, manifest)
        checkpoints = request.checkpoints_of(run_name(folder))
        write_info(folder, new_info(folder, space.to_toml(), dataset, checkpoints, steps))
        campaign = evaluation_campaign(folder, configuration, DatasetInfo.of(manifest), planned)
        run_trials(campaign, ready, display)
    _judge(campaign)


def resume_evaluation(
    space: Space, folder: RunFolder, data: Path | None, request: Request, display: Display, retry_failed: bool = False
) -> None:
    """Go on with a run: finished trials are kept, the others are trained; raises as start_evaluation does.

    Args:
        data: where the dataset lies now; None for where it lay when the run began.
    """
    info = read_info(folder)
    data, manifest = dataset_of(folder, info, data)
    configuration = space.configuration()
    planned = info.planned(folder)
    with locked(folder.lock):
        refuse_other_space(folder, space)
        refuse_foreign_records(folder, DatasetInfo.of(manifest), space.evaluation.folds)
        remember_places(folder, request.checkpoints_of(run_name(folder)))
        campaign = evaluation_campaign(folder, configuration, DatasetInfo.of(manifest), planned, retry_failed)
        if not campaign.finished:
            with prepared(space, campaign.steps, data, campaign.name, request, display) as ready:
                run_trials(campaign, ready, display)
    _judge(campaign)


def _judge(campaign: Campaign) -> None:
    """Raise what the run's end calls for."""
    if not campaign.finished:
        raise interrupted(campaign)
    bad = [record for record in campaign.records if record.status != "done"]
    if bad:
        raise (NothingRan if len(bad) == len(campaign.records) else SomeTrialsFailed)(failures(bad, campaign.folder))


def failures(records: list[Record], folder: RunFolder) -> str:
    """Say which trials failed and why, and how to try them again."""
    lines = first_of([f"{record.key.name}: {record.status}: {record.reason}" for record in records], SHOWN_FAILURES)
    lines.append(f"see error.txt in {folder.trials}/…; try again with: {resume_command(folder)} --retry-failed")
    return "\n".join(lines)

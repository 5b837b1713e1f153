"""A search, from a space and a dataset to a run folder: start it, go on with it, say what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.storages import BaseStorage

from sltune.errors import DataError, NothingRan, SomeTrialsFailed, UsageError
from sltune.events.manifest import read_manifest
from sltune.progress.display import Display
from sltune.runs.commands import confirmation
from sltune.runs.folder import RunFolder
from sltune.runs.info import (
    DatasetPlace,
    RunInfo,
    StudyPlace,
    new_info,
    read_info,
    refuse_existing,
    remember_places,
    resume_command,
    run_name,
    write_info,
)
from sltune.runs.places import Database
from sltune.runs.plan import steps_of
from sltune.runs.record import DatasetInfo, Record
from sltune.runs.results import Criteria
from sltune.settings.space import Space
from sltune.system.locks import locked
from sltune.tuning.campaign.campaign import Candidate
from sltune.tuning.campaign.search import SearchCampaign, verdict_of
from sltune.tuning.campaign.storage import open_storage
from sltune.tuning.campaign.study import SearchStudy
from sltune.tuning.campaign.winner import write_best
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import refuse_foreign_records, refuse_other_space, refuse_other_splits
from sltune.tuning.evaluate import failures
from sltune.tuning.preparation import dataset_of, interrupted, prepared, run_trials


@dataclass(frozen=True)
class Start:
    """How a search begins.

    earlier: a run whose configurations the sampler knows from the start. study_storage: a database for the study; None
    for a journal in the run folder.
    """

    earlier: RunFolder | None = None
    study_storage: Database | None = None


@dataclass(frozen=True)
class Continuation:
    """How a search goes on.

    trials: how many configurations it shall have from now on; None for as many as before. retry_failed: run
    configurations again of which a trial failed. study_storage: the database of a study that does not lie in the run
    folder.
    """

    trials: int | None = None
    retry_failed: bool = False
    study_storage: Database | None = None


def start_search(space: Space, data: Path, folder: RunFolder, request: Request, display: Display, start: Start) -> None:
    """Search a space in a new run folder.

    Raises:
        ConfigError: nothing is searched.
        UsageError, DataError, Interrupted: as start_evaluation does.
        SomeTrialsFailed: some trials failed. NothingRan: no configuration was completed.
    """
    search = space.required_search()
    manifest = read_manifest(data)
    steps = steps_of(space.evaluation)
    refuse_existing(folder)
    known = list(_from_run(start.earlier, space, DatasetInfo.of(manifest), display.say)) if start.earlier else []
    with prepared(space, steps, data, run_name(folder), request, display) as ready, locked(folder.lock):
        refuse_existing(folder)
        folder.write(folder.space_toml, space.to_toml())
        # Without run.json there is no run: the journal is what a process left that died right here.
        folder.remove(folder.study_journal)
        name = run_name(folder)
        database = start.study_storage
        storage = open_storage(folder.study_journal, database)
        study = SearchStudy(storage, name, space, search, new=True)
        if study.trials and database is not None:
            raise UsageError(f"--study-storage {database.address}: has a study named {name}; choose another --run")
        for source, candidate in known:
            refuse_other_splits(candidate.records.values(), ready.shared.splits)
            values = space.active(candidate.configuration.settings())
            study.learn(source, values, verdict_of(candidate, search))
        # Read anew, so that what was learned counts from the start as it does after a restart.
        study = SearchStudy(storage, name, space, search)
        checkpoints, place = request.checkpoints_of(name), StudyPlace.of(name, database)
        write_info(
            folder, new_info(folder, space.to_toml(), DatasetPlace.at(data, manifest), checkpoints, steps, place)
        )
        campaign = SearchCampaign(folder, DatasetInfo.of(manifest), space, search, study)
        run_trials(campaign, ready, display)
        _conclude(campaign, data, display.say)


def resume_search(
    space: Space, folder: RunFolder, data: Path | None, request: Request, display: Display, how: Continuation
) -> None:
    """Go on with a search; raises as start_search does.

    Args:
        data: where the dataset lies now; None for where it lay when the run began.
    """
    search = space.required_search()
    info = read_info(folder)
    data, manifest = dataset_of(folder, info, data)
    with locked(folder.lock):
        refuse_other_space(folder, space)
        refuse_foreign_records(folder, DatasetInfo.of(manifest), space.evaluation.folds)
        storage, name = _storage_of(folder, info, how.study_storage)
        study = SearchStudy(storage, name, space, search)
        if how.trials is not None and how.trials != search.trials:
            if how.trials < study.asked:
                raise UsageError(f"--trials {how.trials}: the search has {study.asked} configurations already")
            search = search.model_copy(update={"trials": how.trials})
            space = replace(space, search=search)
            folder.write(folder.space_toml, space.to_toml())
            study = SearchStudy(storage, name, space, search)
        remember_places(folder, request.checkpoints_of(run_name(folder)), how.study_storage)
        campaign = SearchCampaign(folder, DatasetInfo.of(manifest), space, search, study, how.retry_failed)
        if not campaign.finished:
            with prepared(space, campaign.steps, data, campaign.name, request, display) as ready:
                run_trials(campaign, ready, display)
        _conclude(campaign, data, display.say)


def _storage_of(folder: RunFolder, info: RunInfo, named: Database | None) -> tuple[BaseStorage, str]:
    """Return where the study of a run lies, and its name there."""
    if info.study is None:
        raise DataError(f"{folder.run_json}: does not name the study; not written by sltune tune")
    if info.study.storage is not None:
        if named is None:
            raise UsageError(f"{folder.root}: the study is in a database, which --study-storage has to name")
        return open_storage(folder.study_journal, named), info.study.name
    if not folder.study_journal.exists():
        raise DataError(f"{folder.study_journal}: is missing; restore it, or search in a new run")
    return open_storage(folder.study_journal), info.study.name


def _from_run(
    earlier: RunFolder, space: Space, dataset: DatasetInfo, say: Callable[[str], None]
) -> Iterator[tuple[str, Candidate]]:
    """Give the configurations of a run that are points of this space, judged on the same data, folds and seeds.

    Raises:
        UsageError: there is none.
    """
    read_info(earlier)
    found: dict[str, list[Record]] = {}
    for record in earlier.records():
        found.setdefault(record.config_id, []).append(record)
    reasons: Counter[str] = Counter()
    used = 0
    for config_id, records in found.items():
        candidate, reason = _as_candidate(config_id, records, space, dataset)
        if candidate is None:
            reasons[reason] += 1
            continue
        candidate.take(records, lambda _: False, earlier.space_toml)
        result = candidate.result
        if result.state != "complete" or result.val_accuracy is None or result.synaptic_ops is None:
            reasons["not every trial has a result"] += 1
            continue
        used += 1
        yield f"{run_name(earlier)}/{config_id}", candidate
    for reason, count in reasons.items():
        say(f"--from {earlier.root}: {count} of {len(found)} configurations left aside: {reason}")
    if not used:
        raise UsageError(f"--from {earlier.root}: has no configuration that this search can learn from")
    say(f"--from {earlier.root}: learned from {used} configurations")


def _as_candidate(
    config_id: str, records: list[Record], space: Space, dataset: DatasetInfo
) -> tuple[Candidate | None, str]:
    """Return an earlier configuration as a point of the space, or why it is none."""
    if any(record.dataset != dataset for record in records):
        return None, "another dataset"
    configuration = records[0].configuration()
    settings = configuration.settings()
    for key, value in space.settings.items():
        if settings[key] != value:
            return None, f"{key} is not the same"
    for key, value in space.active(settings).items():
        if not space.domains[key].contains(value):
            return None, f"{key} is not among the values searched"
    if space.configuration(space.active(settings)) != configuration:
        return None, "a value that is not searched there has not its default"
    return Candidate(config_id, configuration, steps_of(space.evaluation)), ""


def _conclude(campaign: SearchCampaign, data: Path, say: Callable[[str], None]) -> None:
    """Write the winner, say how to confirm it, and raise what the search's end calls for."""
    folder = campaign.folder
    results, criteria = campaign.results, Criteria.of(campaign.search)
    best = criteria.best(results)
    if best is not None:
        write_best(campaign, best)
    if not campaign.finished:
        raise interrupted(campaign)
    for line in _summary(campaign):
        say(line)
    failed = [record for record in campaign.records if record.status == "failed"]
    if best is None:
        is_any = any(result.state == "complete" for result in results)
        reason = "no configuration keeps the constraints" if is_any else "no configuration was completed"
        raise NothingRan("\n".join([reason, *([failures(failed, folder)] if failed else [])]))
    if len(campaign.search.objectives) > 1:
        say("Pareto front: " + ", ".join(result.config_id for result in criteria.front(results)))
    say(f"best by validation: {best.config_id}, written to {folder.best_toml}")
    seeds = {seed for seed, _ in campaign.steps}
    weights = campaign.candidates[best.config_id].configuration.network.weights
    outside = weights if Path(weights).is_absolute() else ""
    command = confirmation(campaign.folder.best_toml, str(data), campaign.name, seeds, outside)
    say(f"confirm it with fresh seeds: {command}")
    if failed:
        raise SomeTrialsFailed(failures(failed, folder))


def _summary(campaign: SearchCampaign) -> Iterator[str]:
    states = Counter(result.state for result in campaign.results)
    trained = sum(record.was_trained for record in campaign.records)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    full = len(campaign.candidates) * len(campaign.steps)
    yield f"{len(campaign.candidates)} configurations: {counts}; {trained} trainings of {full} in full cross-validation"
    if campaign.spent:
        more = f"raise it in {campaign.folder.space_toml}, then: {resume_command(campaign.folder)}"
        yield f"ended before search.trials = {campaign.search.trials}, as {campaign.spent} is spent; {more}"

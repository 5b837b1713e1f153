"""A search, from a space and a dataset to a run folder: what tells it from an evaluation, and what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from optuna.storages import BaseStorage

from sltune.errors import DataError, NothingRan, SomeTrialsFailed, UsageError
from sltune.events.splits.parts import Split
from sltune.runs.commands import confirmation, nested_command, nested_cost, selected
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, read_info, run_name, write_info
from sltune.runs.places import StudyPlace, copied_code
from sltune.runs.plan import Step, search_plan, steps_of
from sltune.runs.record import DatasetInfo, Record, latest_of
from sltune.runs.results import Criteria, Result
from sltune.settings.domains import is_idle
from sltune.settings.space import Space
from sltune.system.places import Database
from sltune.system.remote import AnyPath
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.promotion import strategy_of
from sltune.tuning.campaign.search import verdict_of
from sltune.tuning.campaign.storage import open_storage
from sltune.tuning.campaign.strategy import Candidate
from sltune.tuning.campaign.study import SearchStudy
from sltune.tuning.campaign.study_checks import RESTORE_STUDY
from sltune.tuning.continuity import refuse_other_splits
from sltune.tuning.evaluate import failures
from sltune.tuning.preparation import interrupted
from sltune.tuning.winner import rivals, summary, write_best


class Tune:
    """What is particular to a search.

    Args:
        database: where the study is; None for a journal in the run folder.
        earlier: a run whose configurations a new search knows from the start.
        budgets: new values of search.trials and search.trainings for a search that goes on.
        retry_failed: run configurations once more of which a trial failed.
        outer_fold: that of a nested search, whose test signers this search must not see.

    Raises:
        ConfigError: nothing is searched.
    """

    is_nested = False
    keeps_weights = "best"

    def __init__(
        self,
        space: Space,
        database: Database | None = None,
        earlier: RunFolder | None = None,
        budgets: Mapping[str, int] | None = None,
        retry_failed: bool = False,
        outer_fold: int | None = None,
    ) -> None:
        self.space, self.database, self.outer_fold = space, database, outer_fold
        self._search = space.required_search()
        self._earlier, self._retry_failed = earlier, retry_failed
        self._budgets = budgets or {}
        self._known: list[tuple[str, Candidate]] = []

    @property
    def at_once(self) -> int:
        """Each configuration has one trial at a time."""
        return self._search.most_configurations

    def check(self, dataset: DatasetInfo, say: Callable[[str], None]) -> None:
        """Read what is known from an earlier run.

        Raises:
            UsageError: there is nothing to learn from it.
            DataError: its folder is no run folder.
        """
        if self._earlier is not None:
            self._known = list(_from_run(self._earlier, self.space, dataset, say))

    def begin(self, folder: RunFolder, splits: Mapping[Step, Split]) -> StudyPlace:
        """Make the study, with what is known from an earlier run.

        Raises:
            UsageError: the database has a study of that name.
            DataError: the earlier run had other folds.
        """
        # Without run.json there is no run: the journal is what a process left that died right here.
        folder.remove(folder.study_journal)
        name = run_name(folder)
        storage = open_storage(folder.study_journal, self.database)
        study = SearchStudy(storage, name, self.space, self._search, new=True)
        if study.trials and self.database is not None:
            text = f"--study-storage {self.database.address}: has a study named {name}"
            raise UsageError(f"{text}; choose another --run")
        for source, candidate in self._known:
            refuse_other_splits(candidate.records.values(), splits)
            values = self.space.active(candidate.configuration.settings())
            study.learn(source, values, verdict_of(candidate, self._search))
        # Read anew, so that what was learned counts from the start as it does after a restart.
        self._study = SearchStudy(storage, name, self.space, self._search)
        return StudyPlace.of(name, self.database)

    def take_up(self, folder: RunFolder, info: RunInfo) -> None:
        """Open the study; write the total number of configurations, if it has changed.

        Raises:
            UsageError: there are more configurations already, or the study is in a database that nobody has named.
            DataError: the study is missing or broken.
        """
        storage, name = _storage_of(folder, info, self.database)
        self._study = SearchStudy(storage, name, self.space, self._search)
        if all(getattr(self._search, name) == number for name, number in self._budgets.items()):
            return
        trials, trained = self._budgets.get("trials", 0), sum(record.was_trained for record in folder.records())
        if 0 < trials < self._study.asked:
            raise UsageError(f"--trials {trials}: the search has {self._study.asked} configurations already")
        if self._budgets.get("trainings", trained) < trained:
            raise UsageError(f"--trainings {self._budgets['trainings']}: the search has {trained} already")
        self._search = self._search.model_copy(update=self._budgets)
        write_info(folder, info.model_copy(update={"ended": False}))
        self.space = replace(self.space, search=self._search)
        folder.write(folder.space_toml, self.space.to_toml())
        self._study = SearchStudy(storage, name, self.space, self._search)

    def campaign(self, folder: RunFolder, dataset: DatasetInfo, records: Sequence[Record] | None = None) -> Campaign:
        plan = search_plan(run_name(folder), self.space, self._search, steps_of(self.space.evaluation))
        self._strategy = strategy_of(folder, self.space, self._search, self._study, self._retry_failed)
        return Campaign(folder, dataset, plan, self._strategy, records)

    def conclude(self, campaign: Campaign, data: AnyPath, say: Callable[[str], None]) -> None:
        folder, results, criteria = campaign.folder, campaign.results, campaign.plan.criteria
        best = criteria.best(results)
        if best is not None:
            write_best(campaign, best)
        if not campaign.finished:
            raise interrupted(campaign)
        self._strategy.close(campaign.candidates.values())
        write_info(folder, read_info(folder).model_copy(update={"ended": True}))
        spent = "" if self.outer_fold is not None else self._strategy.spent
        for line in [*summary(campaign, spent), *rivals(campaign, best)]:
            say(line)
        failed = [record for record in campaign.records if record.status == "failed"]
        if best is None:
            is_any = any(result.state == "complete" for result in results)
            reason = "no configuration keeps the constraints" if is_any else "no configuration was completed"
            raise NothingRan("\n".join([reason, *([failures(failed, folder)] if failed else [])]))
        if len(self._search.objectives) > 1:
            say("Pareto front: " + ", ".join(result.config_id for result in criteria.front(results)))
        say(f"best by validation: {best.config_id}, written to {folder.best_toml}")
        if self.outer_fold is None:
            for line in self._next_steps(campaign, best, str(data)):
                say(line)
        if failed:
            raise SomeTrialsFailed(failures(failed, folder))

    def _next_steps(self, campaign: Campaign, best: Result, data: str) -> Iterator[str]:
        """Say what the winner's test mean is worth, and which commands measure it better."""
        weights = campaign.candidates[best.config_id].configuration.network.weights
        outside = weights if Path(weights).is_absolute() else ""
        seeds = {seed for seed, _ in campaign.steps}
        command = confirmation(campaign.folder.best_toml, data, campaign.name, seeds, outside)
        yield f"confirm it with fresh seeds: {command}"
        if len(campaign.candidates) > 1:
            evaluation = self.space.evaluation
            yield f"{best.config_id}: {selected(len(campaign.candidates), evaluation.folds == 1)}"
            if not evaluation.draws_folds:
                return
            trained = [record.seconds for record in campaign.records if record.was_trained]
            command = nested_command(campaign.folder.space_toml, data, campaign.name, evaluation)
            yield f"a nested search gives an unbiased figure: {nested_cost(trained, campaign.steps)}: {command}"


def _storage_of(folder: RunFolder, info: RunInfo, named: Database | None) -> tuple[BaseStorage, str]:
    """Return where the study of a run lies, and its name there."""
    if info.study is None:
        raise DataError(f"{folder.run_json}: does not name the study; not written by sltune tune")
    if info.study.storage is not None:
        if named is None:
            raise UsageError(f"{folder.root}: the study is in a database, which --study-storage has to name")
        return open_storage(folder.study_journal, named), info.study.name
    if not folder.study_journal.exists():
        raise DataError(f"{folder.study_journal}: is missing; {RESTORE_STUDY}")
    return open_storage(folder.study_journal), info.study.name


def _from_run(
    earlier: RunFolder, space: Space, dataset: DatasetInfo, say: Callable[[str], None]
) -> Iterator[tuple[str, Candidate]]:
    """Give the configurations of a run that are points of this space, judged on the same data, folds and seeds.

    Raises:
        UsageError: there is none.
    """
    info = read_info(earlier)
    if info.is_nested or info.outer_fold is not None:
        text = "belongs to a nested search, in which no configuration was judged on the folds of this one"
        raise UsageError(f"--from {earlier.root}: {text}; name another run")
    if other := copied_code(earlier.code, info.code).differing(space.code):
        text = f"was trained with another text of {', '.join(other)}, so that its results say nothing of this search"
        raise UsageError(f"--from {earlier.root}: {text}; name another run, or use its code: {earlier.code}")
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
        candidate.take(records, earlier.space_toml)
        result = candidate.result
        costs = map(result.cost, Criteria.of(space.search).costs)
        if result.state != "complete" or result.val_accuracy is None or None in costs:
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
    configuration = latest_of(records).configuration()
    settings = configuration.settings()
    for key, value in space.settings.items():
        if settings.get(key) != value:
            return None, f"{key} is not the same"
    for key, domain in space.domains.items():
        if key not in settings and not is_idle(domain, {**space.settings, **settings}):
            return None, f"{key} has no value there"
    for key, value in space.active(settings).items():
        if not space.domains[key].contains(value):
            return None, f"{key} is not among the values searched"
    if space.configuration(space.active(settings)) != configuration:
        return None, "a value that is not searched there has not its default"
    return Candidate(config_id, configuration, steps_of(space.evaluation)), ""

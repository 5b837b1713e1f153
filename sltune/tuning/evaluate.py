"""The main job: one fixed configuration over folds and seeds, from a dataset to a run folder full of records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sltune.errors import NothingRan, SomeTrialsFailed
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, resume_command, write_info
from sltune.runs.plan import trials_of
from sltune.runs.record import DatasetInfo, Record
from sltune.settings.space import Space
from sltune.system.places import Database
from sltune.system.remote import AnyPath
from sltune.tuning.campaign.campaign import Campaign, evaluation_campaign
from sltune.tuning.preparation import interrupted
from sltune.wording import first_of

MAX_SHOWN_FAILURES = 10
"""Trials often fail alike; the first few say enough."""


class Evaluate:
    """What is particular to the evaluation of one configuration.

    Args:
        retry_failed: run trials that failed or diverged once more.
        folds: the folds to train now; None for all. The trials of the others are left for later.

    Raises:
        ConfigError: the space searches something.
    """

    database: Database | None = None
    outer_fold: int | None = None
    is_nested = False
    keeps_weights = "all"

    def __init__(self, space: Space, retry_failed: bool = False, folds: Collection[int] | None = None) -> None:
        self.space = space
        self._configuration, self._retry_failed, self._folds = space.configuration(), retry_failed, folds
        self._planned = trials_of(self._configuration)

    @property
    def at_once(self) -> int:
        return len(self._planned)

    def check(self, *_: object) -> None:
        """Nothing: it takes nothing from another run."""

    def begin(self, *_: object) -> None:
        """Nothing: ``run.json`` says it all."""

    def take_up(self, folder: RunFolder, info: RunInfo) -> None:
        """Plan the trials of the run, and those of seeds that its space has by now and ``run.json`` does not name."""
        planned = info.planned(folder)
        added = [key for key in self._planned if key not in set(planned)]
        self._planned = [*planned, *added]
        if added:
            space = self.space.to_toml()
            # The space first: resume adds what it finds there, so a run that is killed between the two files grows on.
            folder.write(folder.space_toml, space)
            names = tuple(key.name for key in self._planned)
            write_info(folder, info.model_copy(update={"trials": names, "space": space}))

    def campaign(self, folder: RunFolder, dataset: DatasetInfo, records: Sequence[Record] | None = None) -> Campaign:
        now = [key for key in self._planned if self._folds is None or key.fold in self._folds]
        return evaluation_campaign(folder, self._configuration, dataset, now, self._retry_failed, records)

    def conclude(self, campaign: Campaign, data: AnyPath, say: Callable[[str], None]) -> None:
        conclude_evaluation(campaign)
        left = len(set(self._planned) - {record.key for record in campaign.folder.records()})
        if left:
            say(f"trials of other folds that are left: {left}; train them by: {resume_command(campaign.folder)}")


def conclude_evaluation(campaign: Campaign) -> None:
    """Say which trials of a campaign that has ended or was stopped have no result; raises as a kind of run does."""
    if not campaign.finished:
        raise interrupted(campaign)
    bad = [record for record in campaign.records if record.status != "done"]
    if bad:
        error = NothingRan if len(bad) == len(campaign.records) else SomeTrialsFailed
        raise error(failures(bad, campaign.folder))


def failures(records: Sequence[Record], folder: RunFolder) -> str:
    """Say which trials failed and why, and how to try them again."""
    lines = first_of([f"{record.key.name}: {record.status}: {record.reason}" for record in records], MAX_SHOWN_FAILURES)
    lines.append(f"see error.txt in {folder.trials}/…; try again with: {resume_command(folder)} --retry-failed")
    if folder.code.exists():
        lines.append(f"if your code must be changed, begin a new run, as this one keeps its copy, {folder.code}")
    return "\n".join(lines)

"""A nested search: a search in each outer fold, which never sees the fold's test signers, and a test of its winner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any

from sltune.errors import DataError, Interrupted, NothingRan, SomeTrialsFailed, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.samples import RecordingInfo
from sltune.events.splits.folds import min_nested_signers
from sltune.events.splits.parts import select_sessions
from sltune.events.splits.split import split_of
from sltune.progress.display import Display
from sltune.runs.folder import MAX_NAME_BYTES, RunFolder, is_run_name
from sltune.runs.info import RunInfo, read_info, resume_command, run_name, write_info
from sltune.runs.plan import Step, nested_plan, nested_trainings, steps_of
from sltune.runs.record import DatasetInfo, Record, TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space, load_space
from sltune.system.places import Database
from sltune.system.remote import AnyPath
from sltune.system.supervisor import last_word
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.strategy import RESTORE, Candidate, Everything
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import dataset_of, refuse_unnamed_places
from sltune.tuning.evaluate import conclude_evaluation
from sltune.tuning.preparation import begun, resume, start
from sltune.tuning.tune import Tune
from sltune.wording import first_of

MAX_SHOWN_FAILURES = 10
"""Trials often fail alike; the first few say enough."""


def start_nested(space: Space, data: AnyPath, folder: RunFolder, request: Request, display: Display) -> None:
    """Run a nested search in a new folder.

    Raises:
        SltuneError: as preparation.start does, and as Nested.check says.
    """
    nested = Nested(space, data, folder, request, display)
    with begun(nested, data, folder, request, display):
        # All is checked and written now. Searches and outer trials connect to Ray one after the other, each with the
        # data to itself.
        pass
    resume(nested, folder, data, request, display)


def resume_nested(
    folder: RunFolder, moved_to: AnyPath | None, request: Request, display: Display, retry_failed: bool = False
) -> None:
    """Go on with a nested search.

    Args:
        moved_to: where the dataset lies now; None for where it lay when the run began.
        retry_failed: train trials once more that failed, but not those of searches that have a winner.

    Raises:
        SltuneError: as preparation.resume does.
    """
    data = dataset_of(folder, read_info(folder), moved_to)
    nested = Nested(load_space(folder.space_toml), data, folder, request, display, retry_failed)
    resume(nested, folder, data, request, display)


class Nested:
    """What is particular to a nested search: before its trials, which test the winners, come the searches for them.

    Args:
        data: where the dataset lies now. retry_failed: as resume_nested has it.

    Raises:
        ConfigError: nothing is searched.
    """

    database: Database | None = None
    outer_fold: int | None = None
    is_nested = True
    keeps_weights = "best"

    def __init__(
        self,
        space: Space,
        data: AnyPath,
        folder: RunFolder,
        request: Request,
        display: Display,
        retry_failed: bool = False,
    ) -> None:
        self.space, self._search = space, space.required_search()
        self._data, self._folder, self._request, self._display = data, folder, request, display
        self._retry_failed = retry_failed
        self._evaluation = space.evaluation
        self._probe = next(space.probes())

    @property
    def at_once(self) -> int:
        return len(steps_of(self._evaluation))

    def check(self, dataset: DatasetInfo, say: Callable[[str], None]) -> None:
        """Refuse what would let a search see test signers, or leaves it too few, and say what this takes.

        Raises:
            UsageError: seeds have folds of their own, weights belong to single folds, or the run's name is too long.
            DataError: there are too few signers.
        """
        for problem in self._problems():
            raise UsageError(f"a nested search is not possible: {problem}")
        folds, seeds = self._evaluation.folds, len(self._evaluation.seeds)
        self._refuse_too_few()
        each = self._search.most_trainings(folds * seeds)
        trainings = nested_trainings(each, folds, seeds)
        say(f"nested search: {folds} searches of at most {each:,} trainings, {trainings:,} in all")

    def _refuse_too_few(self) -> None:
        folds = self._evaluation.folds
        if self._evaluation.split != "folds":
            # How many subjects it takes depends on their samples.
            for outer_fold, (seed, fold) in product(range(folds), steps_of(self._evaluation)):
                split_of(self._probe, self._recordings, fold, seed, outer_fold)
            return
        signers = len({one.subject for one in select_sessions(self._recordings, self._evaluation.sessions)})
        needed = min_nested_signers(folds, self._evaluation.val_fraction)
        if signers < needed:
            text = f"{folds} outer folds, each with a search over {folds} folds of the other subjects"
            raise DataError(f"{text}, need at least {needed} subjects, but the dataset has {signers}")

    def _problems(self) -> Iterator[str]:
        evaluation, settings = self._evaluation, self.space.settings
        if not evaluation.draws_folds:
            one_fold = "a plain search is enough, as nobody on whom it validates is tested"
            why = one_fold if evaluation.folds == 1 else "its folds cannot be drawn anew without the subjects of one"
            yield f'evaluation.split = "{evaluation.split}": {why}; leave --nested out, or set split = "folds"'
            return
        if len({evaluation.split_seed_for(seed) for seed in evaluation.seeds}) > 1:
            text = f"each of evaluation.seeds = {list(evaluation.seeds)} draws folds of its own"
            yield f"{text}; let them share one set of outer folds: --set evaluation.split_seed={evaluation.seeds[0]}"
        named = "network.weights" in settings
        weights = [settings["network.weights"]] if named else self.space.domains["network.weights"].extremes()
        if any("{fold" in str(path) for path in weights):
            yield "network.weights names a file for each fold, but the searches have other folds; name one for all"
        if not is_run_name(f"{run_name(self._folder)}-outer-{evaluation.folds - 1}"):
            yield f"with -outer-0 behind it, the name of the run has more than {MAX_NAME_BYTES} bytes; choose another"

    @cached_property
    def _recordings(self) -> list[RecordingInfo]:
        return open_dataset(self._data).samples.recordings()

    def begin(self, *_: object) -> None:
        """Nothing: ``run.json`` says it all."""

    def take_up(self, folder: RunFolder, info: RunInfo) -> None:
        """Search in each outer fold that has no winner yet, which is then written down, and never chosen anew.

        Raises:
            NothingRan: a search has no winner.
            DataError: a search has seen a test signer of its outer fold.
        """
        # Also searches that have not begun keep what the run was to keep.
        self._request = replace(self._request, keep_weights=self._request.keep_weights or info.keep_weights)
        winners = info.winners or ()
        for fold in range(len(winners), self._evaluation.folds):
            winners = (*winners, self._winner_of(fold))
            write_info(folder, read_info(folder).model_copy(update={"winners": winners}))
        self._chosen = {fold: self._configuration(fold, winners[fold]) for fold in range(self._evaluation.folds)}

    def _winner_of(self, fold: int) -> str:
        """Begin the search of an outer fold, or go on with it; return the configuration that it has chosen."""
        inner, display = self._folder.outer(fold), self._display
        # Beside the run's own copy of the user's code, which may have changed elsewhere since the first fold.
        space = replace(self.space, folder=self._folder.root)
        search = Tune(space, retry_failed=self._retry_failed, outer_fold=fold)
        display.inform(
            f"outer fold {fold} of {self._evaluation.folds}: search without its test signers, in {inner.root}"
        )
        try:
            # No link may lead elsewhere.
            self._folder.make(inner.root)
            if inner.run_json.exists():
                refuse_unnamed_places(inner, read_info(inner), None, self._request.checkpoints)
                resume(search, inner, self._data, self._request, display)
            else:
                start(search, self._data, inner, self._request, display)
        except SomeTrialsFailed:
            """Named at the end, when all is known."""
        except NothingRan as error:
            raise NothingRan(f"outer fold {fold} has no winner to test: {error}") from error
        except KeyboardInterrupt:
            # While Ray starts, say.
            raise Interrupted(last_word("interrupted", resume_command(self._folder))) from None
        winner = read_info(inner).best
        assert winner is not None, "a search without a winner raises NothingRan"
        return winner

    def _configuration(self, fold: int, winner: str) -> Configuration:
        """Return the configuration that an outer fold has chosen, having made sure that its signers are still unseen.

        Raises:
            DataError: a trial of the search has seen one, or the winner's records are missing.
        """
        inner, steps = self._folder.outer(fold), steps_of(self._evaluation)
        tested = {name for seed, _ in steps for name in split_of(self._probe, self._recordings, fold, seed).test}
        records = inner.records()
        for record in records:
            if seen := tested.intersection(name for part in record.splits.values() for name in part):
                text = f"{record.key.name} has seen {min(seen)}, which outer fold {fold} tests"
                raise DataError(f"{inner.trials}: {text}; {RESTORE}")
        for record in records:
            if record.config_id == winner:
                return record.configuration()
        raise DataError(f"{inner.trials}: has no record of {winner}, which outer fold {fold} has chosen; {RESTORE}")

    def campaign(self, folder: RunFolder, dataset: DatasetInfo, records: Sequence[Record] | None = None) -> Campaign:
        steps = steps_of(self._evaluation)
        candidate = ChosenByFold(self._chosen, steps)
        strategy = Everything(candidate, self._retry_failed, folder.space_toml)
        return Campaign(folder, dataset, nested_plan(run_name(folder), self.space, steps), strategy, records)

    def conclude(self, campaign: Campaign, data: AnyPath, say: Callable[[str], None]) -> None:
        conclude_evaluation(campaign)
        folds = range(self._evaluation.folds)
        failed = [
            f"outer-{fold}/{record.key.name}: {record.status}: {record.reason}"
            for fold in folds
            for record in self._folder.outer(fold).records()
            if record.status == "failed"
        ]
        if failed:
            text = "these trials of its searches failed, so that their configurations could not be chosen"
            raise SomeTrialsFailed("\n".join([f"{text}:", *first_of(failed, MAX_SHOWN_FAILURES)]))


class ChosenByFold(Candidate):
    """The outer trials as those of one candidate, whose configuration is another one in each fold."""

    def __init__(self, chosen: Mapping[int, Configuration], steps: Sequence[Step]) -> None:
        super().__init__("c0000", chosen[0], steps)
        self._chosen = chosen

    def configuration_of(self, key: TrialKey) -> Configuration:
        return self._chosen[key.fold]

    def settings_of(self, key: TrialKey) -> dict[str, Any]:
        # A record of a fold that the run does not have is none of this candidate.
        return self._chosen[key.fold].model_dump(mode="json") if key.fold in self._chosen else {}

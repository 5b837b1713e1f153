"""The Optuna study of a search: proposes configurations, remembers what came of them, survives any kill."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from sltune.errors import CodeError, DataError, SltuneError
from sltune.extensions.code import is_reference
from sltune.extensions.importing import describe_error
from sltune.runs.metrics import METRICS
from sltune.settings.distributions import as_parameter, distribution_of
from sltune.settings.domains import is_idle
from sltune.settings.search import Search
from sltune.settings.space import Space
from sltune.settings.types import Value
from sltune.tuning.campaign.proposals import draw, grid, recall
from sltune.tuning.campaign.samplers import make_sampler
from sltune.tuning.campaign.storage import Standing, StandingsStorage, place_of, writing
from sltune.tuning.campaign.study_checks import FROM, RESTORE_STUDY, RETRY_OF, check_attributes, check_trials

DIRECTIONS: Mapping[str, Literal["maximize", "minimize"]] = {
    name: "maximize" if metric.better == "high" else "minimize" for name, metric in METRICS.items() if metric.better
}
PAUSED = "paused"
"""User attribute of a trial of which more trainings would have been possible: what it has had."""
DECISION = "training "
"""User attributes of a study with a lag begin with it; the number of the decision follows."""


@dataclass(frozen=True)
class Proposal:
    """A configuration to try. number: Optuna's number of the trial. values: what was drawn for the domains."""

    number: int
    values: Mapping[str, Value]

    @property
    def config_id(self) -> str:
        return config_id(self.number)


@dataclass(frozen=True)
class Verdict:
    """What came of a configuration.

    scores: validation accuracy by the number of the step. objectives: one value each, only where complete.
    constraints: values that must not exceed 0.
    """

    state: TrialState
    scores: Mapping[int, float]
    objectives: Sequence[float] = ()
    constraints: Mapping[str, float] | None = None


def config_id(number: int) -> str:
    """Return what a configuration is called in file names and tables."""
    return f"c{number:04d}"


class SearchStudy:
    """Asks and tells; every proposal is a function of (search.seed, number of the ask, what was finished before)."""

    def __init__(self, storage: BaseStorage, name: str, space: Space, search: Search, new: bool = False) -> None:
        """Open the study of a name.

        Args:
            new: make it if there is none yet.

        Raises:
            DataError: there is none, or it is of another space, or holds what sltune does not write.
            UsageError: the storage cannot be read or written.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._search = space, search
        place = place_of(storage, name)
        directions = [DIRECTIONS[objective] for objective in search.objectives]
        with writing():
            try:
                self._study = (
                    optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
                    if new
                    else optuna.load_study(storage=storage, study_name=name)
                )
            except KeyError as error:
                raise DataError(f"the study {name} is missing; {RESTORE_STUDY}") from error
            self._seen = StandingsStorage(storage)
            self._study = optuna.Study(name, self._seen)  # type: ignore[arg-type]
            trials = self._trials_of(place)
        self.trials: dict[int, FrozenTrial] = {trial.number: trial for trial in trials}
        """What the storage held when the study was opened."""
        stored = [direction.name.lower() for direction in self._study.directions]
        check_trials(place, stored, directions, trials, space, self._has_own_sampler)
        self._own = [trial for trial in self.trials.values() if not trial.user_attrs.keys() & {RETRY_OF, FROM}]
        self.asked = len(self._own)
        """How many configurations have been proposed; copies and those of earlier runs are not counted."""
        self._open: dict[int, Trial] = {}
        self._points = (point for point in grid(space) if point not in space.first)
        self._grid: list[Mapping[str, Value]] = []

    def _trials_of(self, place: str) -> list[FrozenTrial]:
        try:
            if not self._has_own_sampler:
                check_attributes(place, self._study._storage.get_study_system_attrs(self._study._study_id))
            return self._study.get_trials(deepcopy=False)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
            # Only Optuna reads the rows of a database, so that sltune cannot check them before.
            raise DataError(f"{place}: is broken: {type(error).__name__}: {error}; {RESTORE_STUDY}") from error

    @property
    def _has_own_sampler(self) -> bool:
        return is_reference(self._search.sampler)

    @property
    def exhausted(self) -> bool:
        """Whether a grid has no more points to propose."""
        return self._search.sampler == "grid" and self._wanted(self.asked) is None

    def finished(self) -> Iterator[tuple[Proposal, TrialState]]:
        """Give the proposals that were finished before the study was opened, with their states."""
        for trial in self._own:
            if trial.state.is_finished():
                yield Proposal(trial.number, recall(trial.params, self._space)), trial.state

    def adopt(self, standings: Callable[[], Mapping[int, Standing]] = dict) -> Iterator[Proposal]:
        """Give the proposals that a killed process has left open, with the values that it drew.

        standings: as for ask; called only where values are still to be drawn.
        """
        for place, trial in enumerate(self._own):
            if not trial.state.is_finished():
                with _quiet(), writing():
                    self._study.sampler = self._sampler(trial.number, place)
                    adopted = Trial(self._study, trial._trial_id)
                    if self._lacks_values(trial):
                        self._show(standings())
                        self._skip_drawn(adopted, trial)
                    proposal = self._drawn(partial(self._begin, adopted))
                    self._seen.show({})
                yield proposal

    def ask(self, standings: Mapping[int, Standing] | None = None) -> Proposal | None:
        """Return another proposal; None when a grid has no more points.

        Args:
            standings: what the sampler is to see of trials, by their numbers, other than what the study was told.
        """
        if self.exhausted:
            return None
        with _quiet(), writing():
            self._study.sampler = self._sampler(self._show(standings or {}), self.asked)
            proposal = self._drawn(lambda: self._begin(self._study.ask()))
            self._seen.show({})
        self.asked += 1
        return proposal

    def _show(self, standings: Mapping[int, Standing]) -> int:
        """Let the sampler see trials as they stand; return how many trials there are."""
        trials = self._study.get_trials(deepcopy=False)
        # What has come to another end is seen once.
        copies = [trial.number for trial in trials if standings and RETRY_OF in trial.user_attrs]
        self._seen.show({**standings, **dict.fromkeys(copies, Standing(TrialState.FAIL))})
        return len(trials)

    def _lacks_values(self, trial: FrozenTrial) -> bool:
        """Say whether a process was killed before it had drawn all values of a trial."""
        drawn = recall(trial.params, self._space)
        settings = {**self._space.settings, **drawn}
        return any(key not in drawn and not is_idle(domain, settings) for key, domain in self._space.domains.items())

    def _skip_drawn(self, adopted: Trial, trial: FrozenTrial) -> None:
        """Bring the sampler to where it was after the values that a killed process had drawn of an ask."""
        for name, distribution in trial.distributions.items():
            if name not in adopted.relative_params and not distribution.single():
                self._study.sampler.sample_independent(self._study, trial, name, distribution)

    def _drawn(self, draw: Callable[[], Proposal]) -> Proposal:
        """Let the sampler draw values; where a user's fails, name their line."""
        try:
            return draw()
        except (SltuneError, OSError, optuna.exceptions.StorageInternalError):
            raise
        except Exception as error:
            if not self._has_own_sampler:
                raise
            raise CodeError(f"search.sampler = {self._search.sampler}: failed: {describe_error(error)}") from error

    def _begin(self, trial: Trial) -> Proposal:
        proposal = Proposal(trial.number, draw(trial, self._space))
        self._open[trial.number] = trial
        return proposal

    def tell(self, number: int, verdict: Verdict) -> None:
        """End a proposal. What it has reported is kept with it whatever the state."""
        with writing():
            self._tell(self._open.pop(number), verdict)

    def _tell(self, trial: Trial, verdict: Verdict) -> None:
        # A process that died within this very function may have left some of it.
        reported = self._study._storage.get_trial(trial._trial_id).intermediate_values
        if len(self._search.objectives) == 1:
            for step, score in verdict.scores.items():
                if step not in reported:
                    trial.report(score, step)
        for name, value in (verdict.constraints or {}).items():
            if name not in trial.constraints:
                trial.set_constraint(name, value)
        values = list(verdict.objectives) if verdict.state == TrialState.COMPLETE else None
        with _quiet():
            self._study.tell(trial, values, verdict.state)

    def note(self, number: int, step: int, score: float) -> None:
        """Show one result of a proposal that is open; what comes of it is told later."""
        if number in self._open and len(self._search.objectives) == 1:
            with writing():
                self._open[number].report(score, step)

    def pause(self, number: int, verdict: Verdict, reason: str) -> None:
        """End a proposal that more trainings may promote yet; Optuna, which has no such state, calls it pruned."""
        with writing():
            trial = self._open.pop(number)
            trial.set_user_attr(PAUSED, reason)
            self._tell(trial, verdict)

    def decide(self, number: int, training: str) -> None:
        """Note which training the decision of a number was for."""
        with writing():
            self._study.set_user_attr(f"{DECISION}{number}", training)

    def decisions(self) -> list[str]:
        """Return the trainings that were decided on, in order.

        Raises:
            DataError: one is missing, or is no text.
        """
        noted = {key: value for key, value in self._study.user_attrs.items() if key.startswith(DECISION)}
        found = [noted.get(f"{DECISION}{number}") for number in range(len(noted))]
        if not all(isinstance(training, str) for training in found):
            raise DataError(f"the study {self._study.study_name}: its decisions are incomplete; {RESTORE_STUDY}")
        return found  # type: ignore[return-value]

    def tell_again(self, number: int, values: Mapping[str, Value], verdict: Verdict) -> None:
        """Add a copy of a finished proposal whose trials ran once more and came to another end."""
        self._add(values, verdict, {RETRY_OF: config_id(number)})

    def learn(self, source: str, values: Mapping[str, Value], verdict: Verdict) -> None:
        """Add a configuration of an earlier run; source says of which."""
        self._add(values, verdict, {FROM: source})

    def _add(self, values: Mapping[str, Value], verdict: Verdict, attributes: Mapping[str, str]) -> None:
        trial = optuna.trial.create_trial(
            state=verdict.state,
            values=list(verdict.objectives) or None,
            params={key: as_parameter(value) for key, value in values.items()},
            distributions={key: distribution_of(self._space.domains[key]) for key in values},
            user_attrs=dict(attributes),
            intermediate_values=dict(verdict.scores) if len(self._search.objectives) == 1 else {},
            constraints=dict(verdict.constraints) if verdict.constraints else None,
        )
        with writing():
            self._study.add_trial(trial)

    def _wanted(self, place: int) -> Mapping[str, Value] | None:
        """Return the values that the space prescribes for an ask: those to try first, then the points of a grid."""
        if place < len(self._space.first):
            return self._space.first[place]
        if self._search.sampler != "grid":
            return {}
        index = place - len(self._space.first)
        self._grid += islice(self._points, max(0, index + 1 - len(self._grid)))
        return self._grid[index] if index < len(self._grid) else None

    def _sampler(self, number: int, place: int) -> BaseSampler:
        """Return the sampler for one ask; a new one each time, as one seed would propose the same after a restart."""
        seed = int(np.random.SeedSequence([self._search.seed, number]).generate_state(1)[0])
        wanted = {key: as_parameter(value) for key, value in (self._wanted(place) or {}).items()}
        with _quiet():
            sampler = make_sampler(self._search.sampler, seed, self._space.domains, self._space.code)
            return PartialFixedSampler(wanted, sampler) if wanted else sampler


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from warning of experimental features, which we use on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield

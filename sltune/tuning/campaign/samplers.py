"""The samplers of searches. Each is made anew for every ask, from a seed and the domains of the space.

CMA-ES is one of our own without a memory: its optimizer is rebuilt from what was told, for every ask. Optuna's sampler
keeps its optimizer pickled among the attributes of trials and unpickles it at the next ask, so that whoever hands on a
journal, or can write to the database, could run anything. Here an attribute of a trial is only the number of the
generation that it was drawn for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from cmaes import CMA
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sltune.extensions.calls import given_to
from sltune.extensions.code import Code
from sltune.extensions.kinds import KINDS, made_by, named, require
from sltune.settings.distributions import distribution_of
from sltune.settings.domains import Domain

GENERATION = "cma:generation"
"""System attribute of trials; Optuna's sampler calls it the same, so that searches of earlier versions go on."""
SIGMA = 1 / 6
"""First standard deviation in a unit interval, as Optuna has it: three of them reach from the middle to an end."""
RESAMPLINGS = 10
"""How often, for each dimension, a point outside the bounds is drawn again before it is moved to the bounds."""


def make_sampler(name: str, seed: int, domains: Mapping[str, Domain], code: Code) -> BaseSampler:
    """Return the sampler for one ask.

    Args:
        code: the user's, for a sampler of theirs, which is called with seed and domains where it takes them.

    Raises:
        CodeError: a user's sampler cannot be made.
    """
    factory = named(KINDS["search.sampler"], name, code)
    sampler = made_by(name, factory, **given_to(factory, seed=seed, domains=domains))
    require(name, sampler, BaseSampler, "optuna.samplers.BaseSampler")
    return sampler  # type: ignore[no-any-return]


def tpe(seed: int, domains: Mapping[str, Domain]) -> BaseSampler:
    # Groups let values that are searched under conditions be drawn jointly, too.
    return TPESampler(seed=seed, group=any(domain.when for domain in domains.values()))


def random(seed: int) -> BaseSampler:
    return RandomSampler(seed)


def gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


def cmaes(seed: int, domains: Mapping[str, Domain]) -> BaseSampler:
    # What only some trials have is no dimension of one distribution.
    return CmaSampler(seed, {key: distribution_of(domain) for key, domain in domains.items() if not domain.when})


class CmaSampler(BaseSampler):
    """Draws numbers with CMA-ES (Hansen 2016, arXiv:1604.00772), and everything else at random.

    A proposal is a function of the seed and of the completed trials with the generations that they were drawn for.

    Args:
        seed: of this ask alone.
        distributions: what every trial has a value of; those that are no range of numbers are drawn at random.
    """

    def __init__(self, seed: int, distributions: Mapping[str, BaseDistribution]) -> None:
        self._seed = seed
        self._ranges = {
            key: distribution
            for key, distribution in distributions.items()
            if isinstance(distribution, FloatDistribution | IntDistribution) and not distribution.single()
        }
        self._random = RandomSampler(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._ranges)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        optimizer = self._rebuilt(study)
        point = optimizer.ask()
        drawn = {key: _from_unit(x, one) for x, (key, one) in zip(point, self._ranges.items(), strict=True)}
        # A trial of which some values were prescribed is no sample of the generation's distribution.
        if search_space.keys() == self._ranges.keys():
            study._storage.set_trial_system_attr(trial._trial_id, GENERATION, optimizer.generation)
        return {key: drawn[key] for key in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _rebuilt(self, study: Study) -> CMA:
        """Return the optimizer after all generations of which enough trials are complete."""
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        optimizer = self._new()
        generations = defaultdict[object, list[tuple[np.ndarray, float]]](list)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            label = trial.system_attrs.get(GENERATION)
            if type(label) is int and trial.value is not None and self._ranges.keys() <= trial.params.keys():
                generations[label].append((self._to_unit(trial.params), sign * trial.value))
        size = optimizer.population_size
        while len(solutions := generations[optimizer.generation]) >= size:
            optimizer.tell(solutions[:size])
        return optimizer

    def _new(self) -> CMA:
        count = len(self._ranges)
        bounds = np.tile([0.0, 1.0], (count, 1))
        return CMA(np.full(count, 0.5), SIGMA, bounds, n_max_resampling=RESAMPLINGS * count, seed=self._seed)

    def _to_unit(self, values: Mapping[str, Any]) -> np.ndarray:
        return np.array([_to_unit(values[key], distribution) for key, distribution in self._ranges.items()])


def _limits(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Return the ends of a range on its scale; every value of a stepped one is the middle of an interval of its own."""
    half = 0.0 if distribution.step is None else distribution.step / 2
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def _to_unit(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    low, high = _limits(distribution)
    return ((math.log(value) if distribution.log else value) - low) / (high - low)


def _from_unit(x: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Return the value of the distribution that is next to a place in the unit interval."""
    low, high = _limits(distribution)
    value = low + float(x) * (high - low)
    value = math.exp(value) if distribution.log else value
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value

"""CMA-ES draws values of its ranges only, and its optimizer is a function of what was told."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from cmaes import CMA
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import PartialFixedSampler
from optuna.trial import TrialState

from sltune.tuning.campaign.samplers import GENERATION, CmaSampler, _from_unit, _to_unit

RANGES = [
    FloatDistribution(-3.0, 5.0),
    FloatDistribution(0.0, 0.9, step=0.1),
    FloatDistribution(1e-5, 1e-1, log=True),
    IntDistribution(3, 11, step=4),
    IntDistribution(1, 300, log=True),
    IntDistribution(0, 2**53),
]
SPACE = {"x": FloatDistribution(0.0, 1.0), "y": IntDistribution(0, 40), "kind": CategoricalDistribution(["a", "b"])}


def sampler(seed: int) -> CmaSampler:
    return CmaSampler(seed, SPACE)


def grow(study: optuna.Study, trials: int, state: TrialState = TrialState.COMPLETE) -> None:
    """Ask and tell; the summit is at x = 0.8, y = 10."""
    for _ in range(trials):
        study.sampler = sampler(len(study.trials))
        trial = study.ask(SPACE)
        value = -((trial.params["x"] - 0.8) ** 2) - ((trial.params["y"] - 10) / 40) ** 2
        study.tell(trial, value if state == TrialState.COMPLETE else None, state)


def labels(study: optuna.Study) -> list[object]:
    return [trial.system_attrs.get(GENERATION) for trial in study.get_trials()]


@given(st.sampled_from(RANGES), st.floats(0.0, 1.0))
def test_every_place_in_the_unit_interval_is_a_value_of_the_range(
    distribution: FloatDistribution | IntDistribution, x: float
) -> None:
    value = _from_unit(x, distribution)
    assert type(value) is (int if isinstance(distribution, IntDistribution) else float)
    assert distribution._contains(distribution.to_internal_repr(value))
    again = _from_unit(_to_unit(value, distribution), distribution)
    assert math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9)


def test_the_values_of_a_stepped_range_have_intervals_of_one_length() -> None:
    # 3, 7 and 11: thirds of the unit interval.
    values = [_from_unit(x, IntDistribution(3, 11, step=4)) for x in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)]
    assert values == [3, 3, 7, 7, 11, 11]


def test_a_generation_ends_when_enough_of_its_trials_are_complete() -> None:
    study = optuna.create_study(direction="maximize")
    # Two dimensions: 4 + floor(3 ln 2) = 6 trials a generation.
    grow(study, 5)
    grow(study, 3, TrialState.PRUNED)
    grow(study, 8)
    assert labels(study) == [0] * 9 + [1] * 6 + [2]


def test_the_optimizer_is_that_of_a_loop_which_was_never_interrupted() -> None:
    study = optuna.create_study(direction="maximize")
    grow(study, 14)
    told = [(np.array([t.params["x"], (t.params["y"] + 0.5) / 41]), -t.values[0]) for t in study.trials]
    optimizer = CMA(np.array([0.5, 0.5]), 1 / 6, np.array([[0.0, 1.0]] * 2), n_max_resampling=20, seed=99)
    for generation in (told[:6], told[6:12]):
        optimizer.tell(list(generation))
    x, y = optimizer.ask()
    study.sampler = sampler(99)
    drawn = study.ask(SPACE).params
    assert drawn["x"] == pytest.approx(x, abs=1e-12)
    assert drawn["y"] == min(40, int(y * 41))


def test_it_finds_the_summit() -> None:
    study = optuna.create_study(direction="maximize")
    grow(study, 120)
    assert study.best_value > -1e-3


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_trial_with_prescribed_values_belongs_to_no_generation() -> None:
    study = optuna.create_study(direction="maximize")
    study.sampler = PartialFixedSampler({"x": 0.25}, sampler(0))
    trial = study.ask(SPACE)
    assert trial.params["x"] == 0.25
    study.tell(trial, 1.0)
    grow(study, 1)
    assert labels(study) == [None, 0]


@pytest.mark.parametrize("label", [True, "0", [0], -1, 10**30, {"0": 0}, None, 0.0])
def test_labels_that_are_no_generation_are_left_aside(label: object) -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(7):
        attributes = {GENERATION: label}
        params = {"x": 0.5, "y": 1, "kind": "a"}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=dict(SPACE), value=0.0, system_attrs=attributes)
        )
    grow(study, 1)
    assert labels(study)[-1] == 0

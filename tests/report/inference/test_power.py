"""What a pilot tells of variances, and how many seeds, folds or signers a difference needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.power import TTestPower

from sltune.report.inference.power import Components, Design, components, drawn, needs, power
from sltune.report.inference.two_way import Cells, two_way_error

PILOT = Design(59, 4, 1)


def crossed(values: np.ndarray) -> Cells:
    """Every unit (column) tested in every training (row)."""
    trainings, units = np.indices(values.shape)
    return Cells(values.ravel(), np.full(values.size, 1 / values.size), units.ravel(), trainings.ravel())


def assigned(design: Design, stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    units = np.tile(np.arange(design.units), design.seeds)
    folds = [stream.permutation(np.arange(design.units) % design.folds) for _ in range(design.seeds)]
    return units, np.concatenate([fold + design.folds * seed for seed, fold in enumerate(folds)])


def simulated(found: Components, design: Design, number: int, stream: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Normal differences of many experiments, shape (number, values), with their units and trainings."""
    units, trainings = assigned(design, stream)
    values = stream.normal(0, np.sqrt(found.units), (number, design.units))[:, units]
    values += stream.normal(0, np.sqrt(found.trainings), (number, design.trainings))[:, trainings]
    return values + stream.normal(0, np.sqrt(found.rest), values.shape), units, trainings


def simulated_power(found: Components, design: Design, difference: float, number: int = 4000) -> float:
    values, units, trainings = simulated(found, design, number, np.random.default_rng(3))
    weights = 1 / np.bincount(trainings)[trainings] / design.trainings
    error, df = two_way_error(values + difference, weights, units, trainings)
    return float(np.mean(np.abs((values + difference) @ weights) > stats.t.ppf(0.975, df) * error))


def test_variances_by_hand() -> None:
    # Half the squared differences: of a unit (2 + 8) / 2 = 5, of a training (0.5 + 4.5) / 2 = 2.5, of neither
    # (12.5 + 0.5) / 2 = 6.5. Units 6.5 − 5, trainings 6.5 − 2.5, rest what is left of 6.5.
    found = components(crossed(np.array([[1.0, 2.0], [3.0, 6.0]])))
    assert (found.units, found.trainings, found.rest) == pytest.approx((1.5, 4.0, 1.0))


def test_variances_are_those_of_a_mixed_model() -> None:
    # With all units in all trainings, restricted maximum likelihood gives the moments' estimates.
    stream = np.random.default_rng(5)
    values = stream.normal(0, 3, (1, 12)) + stream.normal(0, 4, (8, 1)) + stream.normal(0, 5, (8, 12))
    found = components(crossed(values))
    trainings, units = np.indices(values.shape)
    frame = pd.DataFrame({"y": values.ravel(), "unit": units.ravel(), "training": trainings.ravel(), "all": 1})
    parts = {"unit": "0 + C(unit)", "training": "0 + C(training)"}
    model = smf.mixedlm("y ~ 1", frame, groups="all", vc_formula=parts).fit(reml=True)
    expected = dict(zip(model.model.exog_vc.names, model.vcomp, strict=True))
    assert found.units == pytest.approx(expected["unit"], rel=0.01)
    assert found.trainings == pytest.approx(expected["training"], rel=0.01)
    assert found.rest == pytest.approx(model.scale, rel=0.01)


def test_with_one_seed_signers_and_rest_cannot_be_told_apart() -> None:
    stream = np.random.default_rng(0)
    values, units, trainings = simulated(Components(9.0, 0.0, 16.0), Design(400, 4, 1), 1, stream)
    found = components(Cells(values[0], np.full(400, 1 / 400), units, trainings))
    assert found.rest == 0
    assert float(found.units) == pytest.approx(25, rel=0.3)
    with pytest.raises(ValueError, match="a pilot needs two trainings"):
        components(Cells(np.array([1.0, 2.0]), np.full(2, 0.5), np.arange(2), np.zeros(2, dtype=np.intp)))


@pytest.mark.parametrize(("units", "std", "difference"), [(12, 6.0, 3.0), (59, 10.0, 3.0), (30, 5.0, 5.0)])
def test_power_is_that_of_statsmodels(units: int, std: float, difference: float) -> None:
    # One signer left out at a time: the t-test of so many values.
    expected = TTestPower().power(difference / std, units, 0.05)
    assert power(Components(std**2, 0.0, 0.0), Design(units, units, 1), difference) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("found", "design"),
    [
        (Components(20.0, 8.0, 81.0), Design(59, 4, 3)),
        (Components(100.0, 8.0, 81.0), Design(59, 4, 5)),
        (Components(20.0, 8.0, 81.0), Design(59, 4, 1)),
        (Components(20.0, 36.0, 81.0), Design(24, 4, 5)),
        (Components(20.0, 8.0, 81.0), Design(59, 1, 3)),
        (Components(20.0, 2.0, 81.0), Design(59, 1, 3)),
    ],
)
def test_power_is_what_simulated_experiments_find(found: Components, design: Design) -> None:
    assert power(found, design, 3.0) == pytest.approx(simulated_power(found, design, 3.0), abs=0.05)


def test_what_is_needed_is_the_first_that_has_the_power() -> None:
    found = Components(4.0, 1.0, 81.0)
    answer = needs(found, PILOT, 3.0, 0.8)
    for seeds in range(1, 30):
        if power(found, Design(59, 4, seeds), 3.0) >= 0.8:
            break
    assert answer["seeds"].number == seeds
    assert answer["units"].number is not None
    assert power(found, Design(answer["units"].number, 4, 1), 3.0) >= 0.8
    assert answer["units"].number > 59
    for need in answer.values():
        low, number, high = (10**9 if one is None else one for one in (need.low, need.number, need.high))
        assert low <= number <= high


def test_what_one_fold_needs_is_the_first_number_of_seeds_that_has_the_power() -> None:
    found, pilot = Components(4.0, 4.0, 81.0), Design(59, 1, 3)
    need = needs(found, pilot, 5.0, 0.8)["seeds"]
    assert need.number is not None
    assert need.low is not None
    assert need.low <= need.number
    assert simulated_power(found, Design(59, 1, need.number), 5.0) == pytest.approx(0.85, abs=0.09)
    assert simulated_power(found, Design(59, 1, need.number - 1), 5.0) < 0.82


def test_where_signers_differ_no_number_of_seeds_will_do() -> None:
    # 20 points between 59 signers are an error of 2.6 points, however often they are tested.
    answer = needs(Components(400.0, 0.0, 10.0), Design(59, 4, 2), 3.0, 0.8)
    assert answer["seeds"].number is None
    assert answer["units"].number is None or answer["units"].number > 300


def test_drawn_variances_lie_round_those_of_the_pilot() -> None:
    found = Components(20.0, 8.0, 81.0)
    possible = drawn(found, Design(59, 4, 3))
    for name, expected in (("units", 20.0), ("trainings", 8.0), ("rest", 81.0)):
        assert np.median(getattr(possible, name)) == pytest.approx(expected, rel=0.2)
    assert np.std(np.log(possible.rest)) < np.std(np.log(possible.trainings + 1e-9))


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [Design(24, 4, 2), Design(59, 4, 3), Design(59, 10, 2), Design(59, 1, 5), Design(59, 1, 3), Design(24, 1, 2)],
)
@pytest.mark.parametrize(
    "found", [Components(20.0, 8.0, 81.0), Components(100.0, 2.0, 81.0), Components(9.0, 36.0, 150.0)]
)
def test_power_is_what_simulated_experiments_find_over_a_range(found: Components, design: Design) -> None:
    for difference in (2.0, 3.0, 5.0, 8.0):
        expected = simulated_power(found, design, difference, 10_000)
        assert power(found, design, difference) == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_the_interval_of_what_is_needed_holds_the_truth() -> None:
    truth, pilot = Components(20.0, 8.0, 81.0), Design(59, 4, 3)
    right = needs(truth, pilot, 3.0, 0.8)["seeds"].number
    values, units, trainings = simulated(truth, pilot, 200, np.random.default_rng(8))
    weights = 1 / np.bincount(trainings)[trainings] / pilot.trainings
    answers = [needs(components(Cells(one, weights, units, trainings)), pilot, 3.0, 0.8)["seeds"] for one in values]
    held = [(one.low or 10**9) <= (right or 10**9) <= (one.high or 10**9) for one in answers]
    assert np.mean(held) > 0.9

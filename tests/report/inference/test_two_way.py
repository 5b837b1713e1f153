"""Means and differences over signers and trainings: worked examples, and statsmodels and baycomp as oracles."""

from __future__ import annotations

import math

import baycomp
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from sltune.report.inference.statistics import paired_test
from sltune.report.inference.two_way import (
    Score,
    Scores,
    cells,
    difference,
    estimate,
    of_splits,
    paired_cells,
    unit_of,
)


def scores(percents: list[list[int | None]]) -> Scores:
    """Rows are trainings, columns are signers: how many of 100 samples were right; None where one was not tested."""
    return {
        (place, 0): {f"s{signer}": Score(right, 100) for signer, right in enumerate(row) if right is not None}
        for place, row in enumerate(percents)
    }


def random_scores(seed: int, signers: int = 15, folds: int = 3, seeds: int = 3, base: float = 0.6) -> Scores:
    """Signers of 4 to 20 samples, each tested once with every seed, in folds that each seed draws anew."""
    rng = np.random.default_rng(seed)
    samples = np.random.default_rng(9).integers(4, 20, signers)
    found: dict[tuple[int, int], dict[str, Score]] = {}
    for number in range(seeds):
        order = np.random.default_rng(number).permutation(signers)
        for fold, part in enumerate(np.array_split(order, folds)):
            found[fold, number] = {
                f"s{signer}": Score(int(rng.binomial(samples[signer], base)), int(samples[signer])) for signer in part
            }
    return found


def test_the_error_of_crossed_signers_and_trainings_by_hand() -> None:
    # Mean 30; residuals / 4: −5, −2.5 and 0, 7.5. By training −7.5, 7.5: 112.5 · 2 = 225. By signer −5, 5: 50 · 2 =
    # 100.
    # Alone 25 + 6.25 + 0 + 56.25 = 87.5, times 4/3 = 116.67.
    # 225 + 100 − 116.67 is below the 225 of trainings.
    one = estimate(cells(scores([[10, 20], [30, 60]])), "signers")
    assert one is not None
    assert (one.value, one.error, one.df) == (pytest.approx(30), pytest.approx(15), 1)
    assert (one.units, one.trainings, one.over) == (2, 2, "new signers and new trainings")
    assert one.interval is not None
    assert one.interval.high == pytest.approx(30 + 12.7062 * 15, abs=1e-2)


def test_signers_tested_once_are_nested_in_trainings() -> None:
    # The means of the trainings are 20 and 60: the t-test of two values.
    one = estimate(cells(scores([[10, 30, None], [None, None, 60]])), "signers")
    assert one is not None
    assert (one.value, one.error, one.df) == (pytest.approx(40), pytest.approx(20), 1)


def test_trainings_that_test_one_signer_each_are_nested_in_signers() -> None:
    # Leaving out one of three signers, with two seeds: 20, 40 and 90 are what the signers reach.
    left_out: Scores = {
        (fold, seed): {f"s{fold}": Score(right + 10 * seed, 100)}
        for fold, right in enumerate((15, 35, 85))
        for seed in (0, 1)
    }
    one = estimate(cells(left_out), "signers")
    assert one is not None
    assert (one.value, one.df) == (pytest.approx(50), 2)
    assert one.error == pytest.approx(np.std([20, 40, 90], ddof=1) / math.sqrt(3))


def test_one_training_or_one_signer_says_nothing_of_others() -> None:
    alone = estimate(cells(scores([[10, 20, 60]])), "signers")
    assert alone is not None
    assert (alone.over, alone.df) == ("new signers, for this one training", 2)
    assert alone.error == pytest.approx(stats.sem([10, 20, 60]))
    again = estimate(cells(scores([[10], [20], [60]])), "signers")
    assert again is not None
    assert (again.over, again.error, again.df) == ("new trainings, for this one of the signers", alone.error, 2)
    assert estimate(cells(scores([[10]])), "signers") is None


def test_a_training_counts_as_a_training_and_a_sample_as_a_sample() -> None:
    # 9 of 10 and 1 of 2 samples: 10 of 12; the other training has 0 of 3.
    found = cells({(0, 0): {"a": Score(9, 10), "b": Score(1, 2)}, (1, 0): {"c": Score(0, 3)}})
    assert found.mean == pytest.approx((100 * 10 / 12 + 0) / 2)
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_variance_is_that_of_statsmodels(seed: int) -> None:
    first, second = random_scores(seed), random_scores(seed + 100)
    found = paired_cells(first, second)
    one = difference(found, "signers")
    assert one is not None
    model = sm.WLS(found.values, np.ones(len(found.values)), found.weights)
    both, *each = [
        float(model.fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0])
        for groups in (np.column_stack([found.units, found.trainings]), found.units, found.trainings)
    ]
    assert one.value == pytest.approx(float(model.fit().params[0]))
    assert one.error == pytest.approx(np.nanmax([both, *each]))
    assert (one.units, one.trainings, one.df) == (15, 9, 8)
    assert one.p == pytest.approx(2 * stats.t.sf(abs(one.value / one.error), 8))


def test_identical_results_have_no_interval_and_no_p() -> None:
    one = difference(paired_cells(random_scores(1), random_scores(1)), "signers")
    assert one is not None
    assert (one.value, one.interval, one.p, one.p_better) == (0, None, None, None)


def test_probabilities_of_more_than_the_region_of_equivalence_by_hand() -> None:
    # Signers' differences 0, 2 and 4 in one training: mean 2, error 2/√3, df 2.
    # P(> 1) = P(t < √3/2) and P(< −1) = P(t < −3√3/2).
    one = difference(paired_cells(scores([[10, 20, 60]]), scores([[10, 22, 64]])), "signers")
    assert one is not None
    assert (one.value, one.df, one.equivalence) == (pytest.approx(2), 2, 1)
    # With 2 degrees of freedom, P(t < x) = 1/2 + x / (2 √(2 + x²)).
    assert one.p_better == pytest.approx(0.5 + 0.8660254 / (2 * math.sqrt(2.75)))
    assert one.p_worse == pytest.approx(0.5 - 2.5980762 / (2 * math.sqrt(8.75)))


@pytest.mark.parametrize("equivalence", [0.5, 1.0, 3.0])
def test_where_no_record_names_signers_probabilities_are_those_of_baycomp(equivalence: float) -> None:
    first = np.array([61.0, 65.0, 58.0, 70.0, 66.0, 61.0, 63.0, 68.0])
    second = first + np.array([1.0, 3.0, -2.0, 4.0, 2.0, 0.5, 3.0, 1.0])
    # Two runs of four folds: a test part is a third of the training part.
    one = of_splits(paired_test((second - first).tolist(), 1 / 3), equivalence)
    assert one is not None
    expected = baycomp.two_on_single(first, second, rope=equivalence, runs=2)
    assert (one.p_worse, one.p_better) == pytest.approx((expected[0], expected[2]))
    assert (one.over, one.units, one.trainings, one.df) == ("new splits", 0, 8, 7)


def test_units_are_called_what_they_are() -> None:
    assert unit_of(scores([[10, 20]]), "SL-Animals-DVS") == "signers"
    assert unit_of(scores([[10, 20]]), "DVS128-Gesture") == "subjects"
    assert unit_of({(0, 0): {"a": Score(1, 1), "b": Score(0, 1)}}, "N-MNIST") == "samples"

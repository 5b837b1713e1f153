"""Statistics against worked examples, scipy and an independent enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sltune.report.inference.statistics import corrected_error, holm, mean_interval, paired_test

differences = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=10)


def test_the_interval_of_a_mean_by_hand() -> None:
    # 50, 60, 70, 80 on 4 folds: s² = 500/3; (1/4 + 1/3) · 500/3 = 97.22…, root 9.8601; t(3, 0.975) = 3.182446.
    interval = mean_interval([50, 60, 70, 80], 1 / 3)
    assert interval is not None
    assert interval.low == pytest.approx(65 - 3.182446 * 9.860133, abs=1e-4)
    assert interval.high == pytest.approx(65 + 3.182446 * 9.860133, abs=1e-4)


def test_the_correction_is_the_published_one() -> None:
    # Nadeau and Bengio 2003, equation 10, with n2/n1 = 1/9 as Bouckaert and Frank 2004 use it for 10 folds:
    # σ² = 1 and 100 resamples give √(0.01 + 0.1111) = 0.348.
    values = np.concatenate([np.ones(50), -np.ones(50)]) * math.sqrt(99 / 100)
    assert corrected_error(values.tolist(), 1 / 9) == pytest.approx(0.34801, abs=1e-5)


def test_a_paired_test_by_hand() -> None:
    # 1, 2, 3, 4: mean 2.5, s² = 5/3, error √((1/4 + 1/3) · 5/3) = 0.98601, t = 2.53546 with 3 degrees of freedom.
    result = paired_test([1, 2, 3, 4], 1 / 3)
    assert (result.n, result.difference) == (4, 2.5)
    assert result.p == pytest.approx(2 * stats.t.sf(2.535463, 3), abs=1e-6)
    assert result.effect == pytest.approx(2.5 / math.sqrt(5 / 3))
    # All of one sign: 2 of 16 assignments are as extreme, and no four pairs can give less.
    assert result.wilcoxon_p == result.least_wilcoxon_p == 0.125


@given(differences)
def test_without_overlap_it_is_the_paired_t_test(values: list[float]) -> None:
    result = paired_test(values, 0)
    if result.p is not None:
        assert result.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-12)
    else:
        assert len(set(values)) == 1


@given(differences, st.floats(0.01, 1))
def test_overlap_never_makes_a_difference_surer(values: list[float], ratio: float) -> None:
    plain, corrected = paired_test(values, 0), paired_test(values, ratio)
    if plain.p is not None and corrected.p is not None:
        assert corrected.p >= plain.p
    opposite = paired_test([-value for value in values], ratio)
    assert opposite.difference == -corrected.difference
    assert opposite.wilcoxon_p == corrected.wilcoxon_p


@given(differences)
def test_the_signed_rank_test_counts_assignments_of_signs(values: list[float]) -> None:
    found = [value for value in values if value]
    p = paired_test(values, 0.3).wilcoxon_p
    if not found:
        assert p is None
        return
    ranks = stats.rankdata(np.abs(found))
    observed = abs(sum(np.sign(found) * ranks))
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=len(found))]
    assert p == pytest.approx(np.mean([total >= observed - 1e-9 for total in sums]))


def test_many_pairs_agree_with_scipy() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, 50)
    for count in (20, 50):
        exact = stats.wilcoxon(values[:count], method="exact").pvalue
        assert paired_test(values[:count].tolist(), 0.3).wilcoxon_p == pytest.approx(exact, rel=1e-9)


def test_what_too_few_pairs_allow_to_say() -> None:
    one = paired_test([5.0], 0.3)
    assert (one.interval, one.p, one.effect, one.wilcoxon_p, one.least_wilcoxon_p) == (None, None, None, 1.0, 1.0)
    same = paired_test([0.0, 0.0], 0.3)
    assert (same.p, same.wilcoxon_p) == (None, None)
    # Without spread a t-test would claim certainty.
    assert paired_test([2.0, 2.0, 2.0], 0.3).p is None
    with pytest.raises(ValueError, match="at least one pair"):
        paired_test([], 0.3)


def test_holm_on_a_worked_example() -> None:
    # 0.005 · 4, 0.01 · 3, 0.03 · 2, and 0.04 · 1, which may not be less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []

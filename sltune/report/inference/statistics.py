"""Statistics of cross-validation, whose values are not independent: their training sets overlap.

Variance and tests are corrected after Nadeau and Bengio (2003), "Inference for the generalization error", Machine
Learning 52, equation 10: the variance of a mean over n resamples is (1/n + n_test/n_train) · s², not s²/n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
# Up to so many pairs, the signed-rank test counts all signs. Unlike scipy's it is then exact with ties, too.
MAX_EXACT_PAIRS = 50


@dataclass(frozen=True)
class Interval:
    """Bounds, in the unit of the values."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """What n paired differences say.

    difference: their mean. interval: of 95 %, corrected; None where they have no spread. effect: Cohen's d_z, the mean
    over the standard deviation. p: of the corrected resampled t-test. wilcoxon_p: of the signed-rank test. Both are
    two-sided, and None where the differences do not allow them.
    """

    n: int
    difference: float
    interval: Interval | None
    effect: float | None
    p: float | None
    wilcoxon_p: float | None

    @property
    def least_wilcoxon_p(self) -> float:
        """The smallest p that a signed-rank test of so many pairs can give: all differences of one sign."""
        return min(1.0, 2.0 ** (1 - self.n))


def corrected_error(values: Sequence[float], test_ratio: float) -> float:
    """Return the standard error of the mean of resampled values, of which there must be two.

    Args:
        test_ratio: size of the test set over that of the training set.
    """
    return math.sqrt((1 / len(values) + test_ratio) * float(np.var(values, ddof=1)))


def mean_interval(values: Sequence[float], test_ratio: float) -> Interval | None:
    """Return the 95 % interval of a cross-validated mean; None for fewer than two values, or if all are alike."""
    if len(values) < 2 or _all_alike(values):
        return None
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * corrected_error(values, test_ratio)
    mean = float(np.mean(values))
    return Interval(mean - reach, mean + reach)


def paired_test(differences: Sequence[float], test_ratio: float) -> PairedTest:
    """Test whether the mean of paired differences is other than zero.

    Raises:
        ValueError: there is no difference.
    """
    if not differences:
        raise ValueError("a paired test needs at least one pair")
    mean, interval = float(np.mean(differences)), mean_interval(differences, test_ratio)
    p = effect = None
    if interval is not None:
        t = mean / corrected_error(differences, test_ratio)
        p = float(2 * stats.t.sf(abs(t), len(differences) - 1))
        effect = mean / float(np.std(differences, ddof=1))
    return PairedTest(len(differences), mean, interval, effect, p, _wilcoxon(differences))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _wilcoxon(differences: Sequence[float]) -> float | None:
    # Differences that are equal but for rounding must share a rank.
    values = np.round(differences, 9)
    values = values[values != 0]
    if not len(values):
        return None
    if len(values) > MAX_EXACT_PAIRS:
        return float(stats.wilcoxon(values).pvalue)
    # Twice the ranks are whole numbers, in ties too.
    ranks = np.round(2 * stats.rankdata(np.abs(values))).astype(int)
    return _share_as_extreme(ranks, abs(int(np.sum(np.sign(values) * ranks))))


def _share_as_extreme(ranks: NDArray[np.int_], observed: int) -> float:
    """Return the share of all assignments of signs whose sum of signed ranks is as far from zero as the observed."""
    total = int(ranks.sum())
    # Entry k: the share of assignments in which the positive ranks sum to k.
    shares = np.zeros(total + 1)
    shares[0] = 1
    for rank in ranks:
        shifted = np.zeros_like(shares)
        shifted[rank:] = shares[: total + 1 - rank]
        shares = (shares + shifted) / 2
    return float(shares[np.abs(2 * np.arange(total + 1) - total) >= observed].sum())


def _all_alike(values: Sequence[float]) -> bool:
    return float(np.ptp(values)) <= 1e-9 * max(1.0, float(np.max(np.abs(values))))

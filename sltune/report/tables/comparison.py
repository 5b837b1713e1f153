"""Comparisons and the optimism of selection, as cells of text and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sltune.report.analysis.comparison import Comparison, Optimism
from sltune.report.inference.statistics import PairedTest
from sltune.report.tables.grid import NONE, Grid, bounds, percent

SIGNIFICANT = 0.05
# More comparisons are easier to read in the table than in sentences.
MAX_IN_WORDS = 3
TESTS = (
    "p: two-sided t-test on paired differences, corrected for overlapping training sets (Nadeau & Bengio 2003); "
    "p ranks: Wilcoxon's signed-rank test, which is not corrected; d: mean difference over its standard deviation"
)


def comparison_grid(compared: Sequence[Comparison]) -> Grid:
    """Return a line for each comparison."""
    several = len(compared) > 1
    header = ("first", "second", "difference", "95 % interval", "p", *["p Holm"] * several, "p ranks", "d", "n")
    title = "Second minus first, in points, on the folds and seeds that they share"
    return Grid(title, header, tuple(_comparison_line(one, several) for one in compared), 2)


def optimism_grid(found: Sequence[Optimism]) -> Grid:
    """Return a line for each selected accuracy."""
    header = ("run", "selected by", "accuracy", "unselected", "difference", "n")
    lines = tuple(
        (one.group.label, one.by, percent(one.selected), percent(one.unselected), f"{one.difference:+.2f}", str(one.n))
        for one in found
    )
    return Grid("Optimism of selection", header, lines, 2)


def comparison_notes(compared: Sequence[Comparison]) -> Iterator[str]:
    """Say what the tests are and what they show, and where there are too few values to show anything."""
    tested = [one.test for one in compared if one.test]
    if len(compared) <= MAX_IN_WORDS:
        yield from map(_in_words, compared)
    else:
        for reason in dict.fromkeys(one.reason for one in compared if one.reason):
            yield f"Not compared, {sum(one.reason == reason for one in compared)} pairs: {reason}"
    if tested:
        number = sum(one.p_holm is not None for one in compared)
        yield TESTS + (f"; p Holm: p corrected for {number} comparisons" if number > 1 else "")
    for n in sorted({test.n for test in tested if test.least_wilcoxon_p > SIGNIFICANT}):
        least = next(test.least_wilcoxon_p for test in tested if test.n == n)
        yield f"With n = {n} the signed-rank test cannot give p < {least:.3g}: too few pairs to show a difference"


def _comparison_line(one: Comparison, several: bool) -> tuple[str, ...]:
    test = one.test
    if test is None:
        return (one.first.label, one.second.label, *[NONE] * (5 + several), "0")
    effect = NONE if test.effect is None else f"{test.effect:.2f}"
    ps = (_p_value(test.p), *[_p_value(one.p_holm)] * several, _p_value(test.wilcoxon_p))
    difference = (f"{test.difference:+.2f}", bounds(test.interval))
    return (one.first.label, one.second.label, *difference, *ps, effect, str(test.n))


def _in_words(one: Comparison) -> str:
    names = f"{one.second.label} against {one.first.label}"
    if one.test is None:
        return f"{names}: not compared, {one.reason}"
    return f"{names}: {one.test.difference:+.2f} points, {_verdict(one.test, one.p_holm)}"


def _verdict(test: PairedTest, p: float | None) -> str:
    if test.n < 2:
        return "of a single pair, which tells nothing about chance"
    if p is None or test.interval is None:
        return "the same in every pair, so that no test applies"
    if p < SIGNIFICANT:
        return f"more than chance explains at 5 % ({_p(p)})"
    words = f"which can be chance ({_p(p)})"
    # If p is corrected for other comparisons, the interval does not belong to it.
    if p != test.p:
        return words
    return (
        f"{words}; with n = {test.n}, only more than ±{test.interval.high - test.difference:.2f} could be told from it"
    )


def _p_value(p: float | None) -> str:
    """Return a p value as papers print it."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _p(p: float) -> str:
    return f"p {_p_value(p)}" if p < 0.001 else f"p = {_p_value(p)}"

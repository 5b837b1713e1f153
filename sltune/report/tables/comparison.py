"""Comparisons and the optimism of selection, as cells of text and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sltune.report.analysis.comparison import Comparison, Optimism
from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.report.inference.two_way import Estimate
from sltune.report.tables.grid import NONE, Grid, bounds, percent

SIGNIFICANT = 0.05
# More comparisons are easier to read in the table than in sentences.
MAX_IN_WORDS = 3
CLUSTERED = "clustered by both (Cameron, Gelbach & Miller 2011)"
RESAMPLED = (
    "two-sided t-test on paired differences of trials, corrected for overlapping training sets (Nadeau & Bengio 2003)"
)


def comparison_grid(compared: Sequence[Comparison]) -> Grid:
    """Return a line for each comparison."""
    several = len(compared) > 1
    ps = ("p", *["p Holm"] * several, better_heading(compared), "p resampled", "p ranks")
    header = ("first", "second", "difference", "95 % interval", *ps, "d", "n")
    title = "Second minus first, in points, on the folds and seeds that they share"
    return Grid(title, header, tuple(_comparison_line(one, several) for one in compared), 2)


def better_heading(compared: Sequence[Comparison]) -> str:
    """Return the heading of the probabilities of being better by more than the region of practical equivalence."""
    return f"P(> {_equivalence(compared):g})"


def _equivalence(compared: Sequence[Comparison]) -> float:
    return next((one.answer.equivalence for one in compared if one.answer), EQUIVALENCE_POINTS)


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
        yield "; ".join(_legend(compared))
    for n in sorted({test.n for test in tested if test.least_wilcoxon_p > SIGNIFICANT}):
        least = next(test.least_wilcoxon_p for test in tested if test.n == n)
        yield f"With n = {n} the signed-rank test cannot give p < {least:.3g}: too few pairs to show a difference"


def _legend(compared: Sequence[Comparison]) -> Iterator[str]:
    """Give what the columns of the table are."""
    units = dict.fromkeys(one.answer.over for one in compared if one.answer and one.answer.units)
    if units:
        yield f"p and interval: for {' or '.join(units)}, by a t-test {CLUSTERED}"
    if any(one.answer and not one.answer.units for one in compared):
        yield "p and interval where no record says how often each signer was classed right: those of p resampled"
    number = sum(one.p_holm is not None for one in compared)
    if number > 1:
        yield f"p Holm: p corrected for {number} comparisons"
    points = f"{_equivalence(compared):g} point{'s' * (_equivalence(compared) != 1)}"
    yield f"{better_heading(compared)}: probability that the second is better by more than {points}, for a flat prior"
    yield f"p resampled: {RESAMPLED}"
    yield "p ranks: Wilcoxon's signed-rank test, which is not corrected; d: mean difference over its standard deviation"


def _comparison_line(one: Comparison, several: bool) -> tuple[str, ...]:
    test, answer = one.test, one.answer
    names = (one.first.label, one.second.label)
    if test is None:
        return (*names, *[NONE] * (7 + several), "0")
    effect = NONE if test.effect is None else f"{test.effect:.2f}"
    interval, p, better = (answer.interval, answer.p, answer.p_better) if answer else (None, None, None)
    ps = (_p_value(p), *[_p_value(one.p_holm)] * several, NONE if better is None else f"{better:.2f}")
    of_trials = (_p_value(test.p), _p_value(test.wilcoxon_p))
    return (*names, f"{test.difference:+.2f}", bounds(interval), *ps, *of_trials, effect, str(test.n))


def _in_words(one: Comparison) -> str:
    names = f"{one.second.label} against {one.first.label}"
    if one.test is None:
        return f"{names}: not compared, {one.reason}"
    return f"{names}: {one.test.difference:+.2f} points, {_verdict(one)}"


def _verdict(one: Comparison) -> str:
    answer, p = one.answer, one.p_holm
    if answer is None:
        return "of a single pair, which tells nothing about chance"
    if p is None or answer.interval is None:
        return "the same in every pair, so that no test applies"
    words = (
        f"more than chance explains at 5 % ({p_words(p)})" if p < SIGNIFICANT else f"which can be chance ({p_words(p)})"
    )
    # If p is corrected for other comparisons, the interval does not belong to it.
    if p >= SIGNIFICANT and p == answer.p:
        words += f"; only more than ±{answer.interval.high - answer.value:.2f} could be told from it"
    return f"{words}; {basis(answer)}"


def basis(one: Estimate) -> str:
    """Say how much an estimate is from and to what it generalises: ``24 signers and 12 trainings, for new …``."""
    trainings = f"{one.trainings} training{'s' * (one.trainings != 1)}"
    return f"{one.units} {one.unit} and {trainings}, for {one.over}" if one.units else f"n = {one.trainings}"


def _p_value(p: float | None) -> str:
    """Return a p value as papers print it."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_words(p: float) -> str:
    """Return a p value as a sentence has it."""
    return f"p {_p_value(p)}" if p < 0.001 else f"p = {_p_value(p)}"

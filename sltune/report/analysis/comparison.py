"""Configurations compared on the folds and seeds that they share, and what choosing among them has flattered."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sltune.report.analysis.rows import Group, Row, TrialAccuracy, independent, ratio_of, scores_of
from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.report.inference.statistics import PairedTest, holm, paired_test
from sltune.report.inference.two_way import (
    Cells,
    Difference,
    difference,
    of_splits,
    paired_cells,
    unit_of,
)

# Beyond this number of configurations, a table of all pairs is too long to read.
MAX_ALL_PAIRS = 6


@dataclass(frozen=True)
class Comparison:
    """The second group against the first.

    test: of the second's accuracies minus the first's by trials, in points, corrected for overlapping training sets;
    None where the two cannot be compared. reason: why they cannot. answer: by how much the second is better, and how
    sure that is: over signers and trainings, or by ``test`` where no record says how often each signer was classed
    right; None for a single value. p_holm: the p value of the answer, corrected for the number of comparisons in the
    section.
    """

    first: Group
    second: Group
    metric: str
    test: PairedTest | None
    reason: str = ""
    answer: Difference | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Optimism:
    """An accuracy that was selected for being high, beside one that was not; means in per cent over n trials."""

    group: Group
    by: str
    selected: float
    unselected: float
    n: int

    @property
    def difference(self) -> float:
        """By how many points the selected one is higher."""
        return self.selected - self.unselected


def headline_metric(protocol: str) -> str:
    """Return the test metric that no look at the test set has chosen."""
    return "test_accuracy_last" if protocol == "train-test" else "test_accuracy"


def comparisons(
    rows: Iterable[Row], baseline: str = "", equivalence: float = EQUIVALENCE_POINTS
) -> tuple[Comparison, ...]:
    """Compare the groups of some rows, each pair on the trials that tested both on the same recordings.

    Many groups are compared with one alone: the first that is the best of a search, or else the first.

    Args:
        baseline: name of a run, or label of a group, with which alone all others are compared.
        equivalence: differences up to so many points count as none in practice.
    """
    found = [row for row in rows if row.seed is None and row.n and row.metric == headline_metric(row.group.protocol)]
    pairs = _with_baseline(found, baseline) if baseline else _pairs(found)
    compared = [compare(first, second, equivalence) for first, second in pairs]
    p_values = [one.answer.p for one in compared if one.answer and one.answer.p is not None]
    corrected = iter(holm(p_values))
    return tuple(
        replace(one, p_holm=next(corrected)) if one.answer and one.answer.p is not None else one for one in compared
    )


def optimism(rows: Sequence[Row]) -> tuple[Optimism, ...]:
    """Return what selection has flattered: a search's best by validation, or the best epoch on the test set."""
    return tuple(_optimism({(row.group, row.metric): row for row in rows if row.seed is None}))


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    if len(rows) <= MAX_ALL_PAIRS:
        yield from itertools.combinations(rows, 2)
        return
    reference = next((row for row in rows if row.group.chosen_from), rows[0])
    yield from ((reference, row) for row in rows if row is not reference)


def _with_baseline(rows: Sequence[Row], baseline: str) -> Iterator[tuple[Row, Row]]:
    chosen = next((row for row in rows if baseline in (row.group.label, row.group.run)), None)
    if chosen is not None:
        yield from ((chosen, row) for row in rows if row is not chosen)


def compare(first: Row, second: Row, equivalence: float = EQUIVALENCE_POINTS) -> Comparison:
    """Compare two rows on the trials that tested both on the same recordings, without a correction for others."""
    one = Comparison(first.group, second.group, second.metric, None)
    if first.group.protocol != second.group.protocol:
        return replace(one, reason=f"protocols differ: {first.group.protocol} and {second.group.protocol}")
    if first.group.split != second.group.split:
        return replace(one, reason=f"splits differ: {first.group.split} and {second.group.split}")
    shared = _shared(first, second)
    if not shared:
        return replace(one, reason="no fold and seed in common")
    pairs = _same_tests(shared)
    if not pairs:
        return replace(one, reason="their folds hold other recordings")
    ratio = ratio_of([value for pair in pairs for value in pair])
    if ratio is None:
        return replace(one, reason="their records do not say what they were trained on")
    test = paired_test(_differences(pairs, first.group, second.group), ratio)
    over_units = _over_units(pairs, first.group)
    answer = difference(*over_units, equivalence) if over_units else of_splits(test, equivalence)
    return replace(one, test=test, answer=answer)


def _shared(first: Row, second: Row) -> list[tuple[TrialAccuracy, TrialAccuracy]]:
    """Return the trials of the same fold and seed."""
    values = {(value.fold, value.seed): value for value in first.values}
    return [(values[value.fold, value.seed], value) for value in second.values if (value.fold, value.seed) in values]


def _same_tests(pairs: Iterable[tuple[TrialAccuracy, TrialAccuracy]]) -> list[tuple[TrialAccuracy, TrialAccuracy]]:
    return [(first, second) for first, second in pairs if first.tested_on and first.tested_on == second.tested_on]


def paired_rows(first: Row, second: Row) -> tuple[Cells, str] | None:
    """Return the second's accuracies minus the first's by signer and training, and what the signers are called.

    None where no record says how often each was classed right, or no trial tested both on the same recordings.
    """
    pairs = _same_tests(_shared(first, second))
    return _over_units(pairs, first.group) if pairs else None


def _over_units(pairs: Sequence[tuple[TrialAccuracy, TrialAccuracy]], group: Group) -> tuple[Cells, str] | None:
    first, second = (scores_of(side) for side in zip(*pairs, strict=True))
    if not first or not second:
        return None
    return paired_cells(first, second), unit_of(first, group.dataset.name)


def _differences(pairs: Sequence[tuple[TrialAccuracy, TrialAccuracy]], first: Group, second: Group) -> list[float]:
    group = first if first.same_splits else second
    # Per cent of the same fraction may differ in the last digit.
    return independent([(a.fold, round(b.percent - a.percent, 9)) for a, b in pairs], group)


def _optimism(rows: dict[tuple[Group, str], Row]) -> Iterator[Optimism]:
    for (group, metric), row in rows.items():
        if metric != "test_accuracy":
            continue
        if group.protocol == "train-test":
            yield from _between(row, rows.get((group, "test_accuracy_last")), "test set, best epoch")
        elif group.chosen_from and (validation := rows.get((group, "val_accuracy"))):
            yield from _between(validation, row, "validation")


def _between(selected: Row, unselected: Row | None, by: str) -> Iterator[Optimism]:
    if unselected is None:
        return
    others = {(value.fold, value.seed): value.percent for value in unselected.values}
    both = [(v.percent, others[v.fold, v.seed]) for v in selected.values if (v.fold, v.seed) in others]
    if both:
        first, second = (float(np.mean(side)) for side in zip(*both, strict=True))
        yield Optimism(selected.group, by, first, second, len(both))

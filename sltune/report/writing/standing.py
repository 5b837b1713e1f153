"""Which of a section's methods is the best, and what it is compared with: what all sentences are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sltune.report.analysis.baselines import Baseline
from sltune.report.analysis.comparison import Comparison, compare, headline_metric
from sltune.report.analysis.published import Published
from sltune.report.analysis.rows import Group, Row
from sltune.report.analysis.series import RecordedResult, Series
from sltune.report.analysis.summary import ReportSection
from sltune.report.tables.accuracy import leading


@dataclass(frozen=True)
class Standing:
    """The best of a section and its rival.

    best: the row with the highest mean, of the accuracy that no look at the test set has chosen. rival: the row that it
    is compared with: of the reference that was asked for, or else of the runner-up; with a single method, that of the
    best classifier without a network. rival_name: what the rival is called; "" where there is none. comparison: the
    best minus the rival. result: the trials of the best; None where they cannot be told apart.
    """

    best: Row
    rival: Row | None
    rival_name: str
    comparison: Comparison | None
    result: RecordedResult | None


def standing(section: ReportSection, series: Sequence[Series], reference: str = "") -> Standing | None:
    """Return how things stand in a section; None where no trial has a result.

    Args:
        reference: run or configuration with which the best is compared, as ``--baseline`` names it.
    """
    rows = [unselected(row, section) for row in leading(section)]
    if not rows:
        return None
    best, *others = sorted(rows, key=_mean, reverse=True)
    asked = [row for row in others if reference in (row.group.run, row.group.label)]
    rival = next(iter([*asked, *others]), None)
    name = rival.group.label if rival is not None else ""
    if rival is None and (without_network := next(iter(baselines_of(best, section)), None)):
        rival, name = without_network.row, without_network.name
    compared = _compared(rival, best, section) if rival is not None else None
    return Standing(best, rival, name, compared, result_of(best.group, series))


def result_of(group: Group, series: Sequence[Series]) -> RecordedResult | None:
    """Return the trials of a group; None where its run has trials of other data beside them."""
    of_run = (one for one in series if one.name == group.run)
    return next((one for run in of_run for one in run.results if one.config_id == group.config_id and one.done), None)


def baselines_of(row: Row, section: ReportSection) -> list[Baseline]:
    """Return the classifiers without a network that were tested on the folds of a row, the best first."""
    found = [one for one in section.baselines if row.group in [beside.group for beside in one.beside]]
    return sorted(found, key=lambda one: _mean(one.row), reverse=True)


def split_words(row: Row) -> str:
    """Return a row's split as published figures name theirs: ``4 folds``, say."""
    folds = {trial.fold for trial in row.outcomes}
    return f"{len(folds)} folds" if row.group.has_plain_folds else row.group.split


def nearest_published(row: Row, section: ReportSection) -> Published | None:
    """Return the highest of the published figures that were measured most alike: same split, then same protocol.

    None where there is none, and beside synthetic data, which no real recording compares with.
    """
    if section.dataset.synthetic:
        return None

    def likeness(figure: Published) -> tuple[bool, bool, float]:
        return figure.split == split_words(row), figure.protocol == row.group.protocol, figure.mean

    return max(section.published, key=likeness, default=None)


def unselected(row: Row, section: ReportSection) -> Row:
    """Return the row of the same configuration whose accuracy no look at the test set has chosen, if there is one."""
    metric = headline_metric(row.group.protocol)
    others = (one for one in section.rows if one.seed is None and one.n and one.group == row.group)
    return next((one for one in others if one.metric == metric), row)


def _mean(row: Row) -> float:
    return row.mean if row.mean is not None else -1.0


def _compared(rival: Row, best: Row, section: ReportSection) -> Comparison:
    """Return the best minus the rival, with the corrected p that the table of comparisons has of them."""
    pair = {rival.group, best.group}
    known = (one.p_holm for one in section.comparisons if {one.first, one.second} == pair)
    return replace(compare(rival, best, section.equivalence), p_holm=next(known, None))

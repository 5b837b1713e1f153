"""The one table of a paper: method, parameters, accuracy, n and cost, with published rows and their citations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sltune.errors import UsageError
from sltune.report.analysis.baselines import Baseline
from sltune.report.analysis.costs import Cost
from sltune.report.analysis.published import Published
from sltune.report.analysis.rows import Group, Row
from sltune.report.analysis.summary import ReportSection, Table
from sltune.report.tables.accuracy import leading
from sltune.report.tables.grid import NONE, percent
from sltune.report.writing.references import key_of
from sltune.report.writing.standing import split_words, unselected
from sltune.runs.metrics import METRICS

COSTS = ("effective_acs", "synaptic_ops", "spikes")
"""What may stand in the column of costs: the first that a row has measured."""
MORE_COSTS = ("effective_macs", "membrane_updates", "energy_joules", "energy_with_memory_joules")
"""What stands below the table, where it was measured."""
OTHER_SPLIT, SELECTED = "†", "‡"

Labels = Mapping[str, str]
"""What runs or configurations are called, by their names."""


@dataclass(frozen=True)
class Line:
    """A row of the table.

    kind: "published", "without a network" or "measured". key: of its reference, or "". mean: in per cent. marks: of the
    notes that it needs. is_comparable: whether it was measured with our split and protocol.
    """

    kind: str
    method: str
    parameters: str
    mean: float
    std: float | None
    n: str
    cost: str
    key: str = ""
    marks: str = ""
    is_comparable: bool = True

    @property
    def accuracy(self) -> str:
        return percent(self.mean) + ("" if self.std is None else f" ± {percent(self.std)}")


@dataclass(frozen=True)
class PaperTable:
    """The rows, and the notes below."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> list[Line]:
        """Those with the highest mean among the rows that compare with ours."""
        comparable = [line for line in self.lines if line.is_comparable]
        highest = max((round(line.mean, 2) for line in comparable), default=0.0)
        return [line for line in comparable if round(line.mean, 2) == highest]


def named(group: Group, labels: Labels) -> str:
    """Return what a method is called."""
    return labels.get(group.label, labels.get(group.run, group.label))


def check_labels(labels: Labels, table: Table) -> None:
    """Raise a UsageError where a label is of a run that the report does not have."""
    groups = [row.group for row in table.rows]
    known = sorted({name for group in groups for name in (group.run, group.label)})
    for name in labels:
        if name not in known:
            raise UsageError(f"--label {name}=…: must name one of {', '.join(known)}")


def paper_table(section: ReportSection, ddof: int, labels: Labels) -> PaperTable:
    """Return the table of a section; published figures of real recordings do not stand beside synthetic data."""
    rows = sorted((unselected(row, section) for row in leading(section)), key=lambda row: row.mean or 0.0)
    cost = next((name for name in COSTS for one in section.costs if one.metrics.get(name) is not None), "")
    costs = {one.group: one for one in section.costs}
    figures = [] if section.dataset.synthetic else section.published
    lines = [
        *(_published(figure, rows) for figure in figures),
        *_without_network(section.baselines, ddof),
        *(_measured(row, ddof, costs.get(row.group), cost, labels) for row in rows),
    ]
    return PaperTable(tuple(lines), tuple(_notes(lines, rows, ddof, cost, costs, labels)))


def _published(figure: Published, rows: Sequence[Row]) -> Line:
    split = figure.split in {split_words(row) for row in rows}
    selected = figure.protocol == "train-test"
    same = split and figure.protocol in {row.group.protocol for row in rows}
    marks = OTHER_SPLIT * (not split) + SELECTED * selected
    n = "?" if figure.n is None else str(figure.n)
    return Line("published", figure.method, NONE, figure.mean, figure.std, n, NONE, key_of(figure), marks, same)


def _without_network(baselines: Sequence[Baseline], ddof: int) -> Iterator[Line]:
    for one in sorted(baselines, key=lambda one: one.row.mean or 0.0):
        if one.row.mean is not None:
            yield Line("without a network", one.name, NONE, one.row.mean, one.row.std(ddof), str(one.row.n), NONE)


def _measured(row: Row, ddof: int, cost: Cost | None, name: str, labels: Labels) -> Line:
    n = str(row.n) if row.complete else f"{row.n}/{row.planned}"
    numbers = [_number(cost, metric) for metric in ("parameters", name)]
    marks = SELECTED * row.optimistic
    return Line("measured", named(row.group, labels), numbers[0], row.mean or 0.0, row.std(ddof), n, numbers[1],
                marks=marks)  # fmt: skip


def _number(cost: Cost | None, name: str) -> str:
    value = cost.metrics.get(name) if cost and name else None
    return NONE if value is None else f"{METRICS[name].shown(value):.4g} {METRICS[name].shown_as}".strip()


def _more_costs(rows: Sequence[Row], costs: Mapping[Group, Cost], labels: Labels) -> Iterator[str]:
    """Give the other costs that the field reports, a sentence for each method: a column holds no more columns."""
    for row in reversed(rows):
        cost = costs.get(row.group)
        parts = [f"{METRICS[name].column} {_number(cost, name)}" for name in MORE_COSTS if _number(cost, name) != NONE]
        if parts:
            yield f"{named(row.group, labels)}, per sample: {', '.join(parts)}"


def _notes(
    lines: Sequence[Line], rows: Sequence[Row], ddof: int, cost: str, costs: Mapping[Group, Cost], labels: Labels
) -> Iterator[str]:
    over = " and ".join(dict.fromkeys(row.std_over for row in rows if row.std_over))
    which = {0: "population", 1: "sample"}[ddof]
    published = (
        "; of published rows as their sources give it" if any(line.kind == "published" for line in lines) else ""
    )
    if any(line.std is not None for line in lines):
        yield f"±: {which} standard deviation{f' over {over}' if over else ''}{published}"
    yield "Bold: highest mean with our split and protocol, which is no test"
    if cost:
        yield f"Cost: {METRICS[cost].column} per sample"
    yield from _more_costs(rows, costs, labels)
    marks = "".join(line.marks for line in lines)
    if OTHER_SPLIT in marks:
        yield f"{OTHER_SPLIT} other split, so other test subjects"
    if SELECTED in marks:
        yield f"{SELECTED} epoch selected on the test set, which flatters"
    if any("/" in line.n for line in lines):
        yield "n with a slash: of so many planned trainings"

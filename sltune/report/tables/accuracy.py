"""The tables of a report as cells of text, without the syntax of Markdown or LaTeX."""

from __future__ import annotations

from sltune.report.analysis.baselines import Baseline
from sltune.report.analysis.published import Published
from sltune.report.analysis.rows import Row
from sltune.report.analysis.summary import ReportSection, Table
from sltune.report.tables.comparison import comparison_grid, optimism_grid
from sltune.report.tables.configurations import choices_grid
from sltune.report.tables.costs import cost_grid, own_grid
from sltune.report.tables.grid import NONE, Grid, bounds, percent
from sltune.runs.metrics import METRICS


def grids(section: ReportSection, ddof: int) -> list[Grid]:
    """Return the tables of a section: those of the measured numbers, then the published figures, if any fit."""
    return [*measured_grids(section, ddof), *published_grids(section)]


def measured_grids(section: ReportSection, ddof: int) -> list[Grid]:
    """Return the tables of means, losses, values per fold, comparisons and costs, as far as there are any."""
    losses = _losses(section, ddof)
    tables = [_means(section, shown_ddofs(section, ddof)), *([losses] if losses else []), _folds(section)]
    tables += [choices_grid(section.choices)] if section.choices else []
    tables += [comparison_grid(section.comparisons)] if section.comparisons else []
    tables += [optimism_grid(section.optimism)] if section.optimism else []
    return [*tables, *filter(None, (own_grid(section.costs), cost_grid(section.costs)))]


def shown_ddofs(section: ReportSection, ddof: int) -> list[int]:
    """Return the ddof asked for, then each other one that a published figure of the section has."""
    others = {figure.ddof for figure in section.published if figure.ddof is not None}
    return [ddof, *sorted(others - {ddof})]


def headlines(table: Table) -> list[Row]:
    """Return the rows that people look for first; see ``leading``."""
    return [row for section in table.sections for row in leading(section)]


def leading(section: ReportSection) -> list[Row]:
    """Return the test accuracies of a section over all folds and seeds; of a search, its best's."""
    found = [row for row in section.tests if row.n]
    decided = {row.group.run for row in found if row.group.chosen_from}
    return [row for row in found if row.group.chosen_from or row.group.run not in decided]


def mean_and_std(row: Row, ddof: int) -> str:
    """Return ``75.78 ± 2.73 %``, or the mean alone if there is no deviation."""
    std = row.std(ddof)
    return f"{percent(row.mean)}{'' if std is None else f' ± {percent(std)}'} %"


def _means(section: ReportSection, ddofs: list[int]) -> Grid:
    with_protocol = len(section.protocols) > 1
    with_seed = any(row.seed is not None for row in section.rows)
    with_interval = any(row.interval for row in section.rows)
    with_split = len(section.splits) > 0
    words = ["run", *["protocol"] * with_protocol, *["split"] * with_split, "metric", *["seed"] * with_seed]
    more = [*["± over"] * with_split, *["95 % interval"] * with_interval]
    header = (*words, "mean", *(f"± ddof {k}" for k in ddofs), *more, "n")
    lines = [
        (
            row.group.label,
            *[row.group.protocol or "?"] * with_protocol,
            *[row.group.split] * with_split,
            _metric(row),
            *["all" if row.seed is None else str(row.seed)] * with_seed,
            percent(row.mean),
            *(percent(row.std(ddof)) for ddof in ddofs),
            *[row.std_over or NONE] * with_split,
            *[bounds(row.interval)] * with_interval,
            _count(row),
        )
        for row in section.rows
    ]
    lines += [
        (
            _baseline_name(one, section),
            *[""] * (len(words) - 1),
            percent(one.row.mean),
            *(percent(one.row.std(ddof)) for ddof in ddofs),
            *[one.row.std_over or NONE] * with_split,
            *[bounds(one.row.interval)] * with_interval,
            str(one.row.n),
        )
        for one in section.baselines
    ]
    chance = percent(section.dataset.chance_percent)
    lines.append(("chance", *[""] * (len(words) - 1), chance, *[NONE] * (len(ddofs) + len(more)), ""))
    over = "" if with_split else " over folds and seeds"
    return Grid(f"Mean ± standard deviation{over}", header, tuple(lines), len(words))


def _baseline_name(one: Baseline, section: ReportSection) -> str:
    """Return the name of a baseline, and beside which rows it was tested where there are others of its name."""
    if sum(other.name == one.name for other in section.baselines) == 1:
        return one.name
    return f"{one.name}, folds of {', '.join(row.group.label for row in one.beside)}"


def _losses(section: ReportSection, ddof: int) -> Grid | None:
    """Return the table of losses; None if no record has any."""
    rows = [row for row in section.rows if row.losses]
    with_seed = any(row.seed is not None for row in rows)
    words = ("run", "loss", *["seed"] * with_seed)
    lines = [
        (
            row.group.label,
            _metric(row),
            *["all" if row.seed is None else str(row.seed)] * with_seed,
            *(NONE if number is None else f"{number:.4f}" for number in (row.mean_loss, row.std_loss(ddof))),
            str(len(row.losses)),
        )
        for row in rows
    ]
    header = (*words, "mean", f"± ddof {ddof}", "n")
    return Grid("Losses over folds and seeds", header, tuple(lines), len(words)) if rows else None


def _metric(row: Row) -> str:
    return "test, optimistic" if row.optimistic else METRICS[row.metric].row


def _count(row: Row) -> str:
    if row.complete:
        return str(row.n)
    reasons = {absence.reason for absence in row.absent}
    why = f"{len(row.absent)} {reasons.pop()}" if len(reasons) == 1 else "incomplete"
    return f"{row.n} of {row.planned}: {why}"


def _folds(section: ReportSection) -> Grid:
    rows = [row for row in section.rows if row.seed is None]
    folds = sorted({trial.fold for row in rows for trial in row.outcomes})
    lines = [
        (row.group.label, _metric(row), str(seed), *cells)
        for row in rows
        for seed, cells in _fold_cells(row, folds).items()
    ]
    header = ("run", "metric", "seed", *(f"fold {fold}" for fold in folds))
    return Grid("Values per fold", header, tuple(lines), 3)


def _fold_cells(row: Row, folds: list[int]) -> dict[int, list[str]]:
    texts = {(value.seed, value.fold): percent(value.percent) for value in row.values}
    texts |= {(absence.seed, absence.fold): absence.reason for absence in row.absent}
    return {seed: [texts.get((seed, fold), "") for fold in folds] for seed in sorted({seed for seed, _ in texts})}


def published_grids(section: ReportSection) -> list[Grid]:
    """Return the published figures that fit a section, those of each split in a table of their own."""
    apart: dict[tuple[str, str], list[Published]] = {}
    for figure in section.published:
        apart.setdefault((figure.split, figure.std_over), []).append(figure)
    header = ("method", "protocol", "mean", "std", "ddof", "n")
    caution = " for real recordings" if section.dataset.synthetic else ""
    return [
        Grid(
            f"Published{caution}, split: {split}{f', ± over {over}' if over else ''}",
            header,
            tuple(_published_line(figure, section.sources) for figure in figures),
            2,
        )
        for (split, over), figures in apart.items()
    ]


def _published_line(figure: Published, sources: list[str]) -> tuple[str, ...]:
    source = f" [{sources.index(figure.reference) + 1}]" if figure.reference else ""
    ddof = "?" if figure.ddof is None else str(figure.ddof)
    numbers = (percent(figure.mean), percent(figure.std), NONE if figure.std is None else ddof)
    return (figure.method + source, figure.protocol or "?", *numbers, "?" if figure.n is None else str(figure.n))

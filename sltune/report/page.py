"""The report as one HTML page: a single file that needs no network and can be sorted, printed and passed on."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sltune import __version__
from sltune.report.analysis.pooling import pooled
from sltune.report.analysis.rows import Row
from sltune.report.analysis.runs import Run, names_of
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import ReportSection, Table
from sltune.report.plots.plot import Plot, svg
from sltune.report.plots.style import COLUMN_INCHES
from sltune.report.provenance import configuration_text, facts_of, failures_of, nested_offer, reproduction
from sltune.report.tables import notes
from sltune.report.tables.accuracy import grids, headlines, mean_and_std
from sltune.report.tables.configurations import configurations_grid
from sltune.report.tables.grid import Grid, percent
from sltune.report.trial_pages import TrialPage
from sltune.report.writing.answers import answers
from sltune.report.writing.paragraphs import paragraphs
from sltune.runs.commands import selected
from sltune.wording import first_of

TEMPLATE = "page.html"
MAX_HEADLINES, MAX_WARNINGS = 8, 2
"""More would push the answers off the first screen."""


@dataclass(frozen=True)
class Headline:
    """A number shown large at the top of the page, with its name and its meaning."""

    name: str
    value: str
    meaning: str


def page(
    runs: Sequence[Run], table: Table, plots: Iterable[Plot], trials: Iterable[TrialPage] = (), reference: str = ""
) -> str:
    """Return the page as HTML. Plots are drawn one after the other, so that only one is in memory.

    Args:
        trials: those that have a part of the page of their own. reference: what the best is compared with, as
            ``--baseline`` names it.
    """
    figures = [_figure(plot) for plot in plots]
    together = pooled(runs)
    series, names = series_of(runs), names_of(runs)
    configurations = [grid for one in series if one.is_search and (grid := configurations_grid(one))]
    failures = [_failures(run) for run in runs if failures_of(run)]
    trial_parts = [_trial(one) for one in trials]
    sections = {
        "Results": True,
        "Plots": figures,
        "Configurations": configurations,
        "Trials": trial_parts,
        "Failures": failures,
    }
    contents = [(name, name.lower()) for name, content in sections.items() if content]
    offers = {name: offer for name, run in zip(names, runs, strict=True) if (offer := nested_offer(run))}
    values: dict[str, Any] = {
        "version": __version__,
        "title": " · ".join(names),
        "alive": any(run.alive for run in runs),
        "warnings": first_of(list(_warnings(table)), MAX_WARNINGS, ", see the tables"),
        "notes": [notes.mixture(table), *table.kept_apart],
        "answers": [_answers(one, together, table.ddof, reference) for one in table.sections],
        "contents": [*contents, ("Where it comes from", "provenance")],
        "no_result": notes.no_result(table),
        "results": list(_headlines(table))[:MAX_HEADLINES],
        "sections": [_section(one, table.ddof, offers) for one in table.sections],
        "plots": figures,
        "configurations": configurations,
        "trials": trial_parts,
        "failures": failures,
        "runs": [_provenance(name, run) for name, run in zip(names, runs, strict=True)],
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(values)


def _answers(one: ReportSection, runs: Sequence[Run], ddof: int, reference: str) -> dict[str, Any]:
    """Return the answers and paragraphs of a section; commands are typed beside the runs, wherever these lie."""
    series = series_of(runs)
    beside = [replace(run, folder=Path(run.folder.resolve().name)) for run in runs]
    texts = paragraphs(one, series, beside, ddof, {}, reference)
    return {"heading": notes.heading(one), "found": answers(one, series, beside, ddof, reference), "texts": texts}


def _figure(plot: Plot) -> dict[str, Any]:
    is_wide = plot.figure.get_figwidth() > COLUMN_INCHES
    return {"title": plot.title, "alt": plot.alt, "source": _source(plot), "is_wide": is_wide}


def _trial(one: TrialPage) -> dict[str, Any]:
    worst = [(sample, _embedded("png", sample.picture) if sample.picture else "") for sample in one.worst]
    return {"title": one.title, "facts": one.facts, "plots": [_figure(plot) for plot in one.plots], "worst": worst}


def _section(one: ReportSection, ddof: int, offers: Mapping[str, str]) -> dict[str, Any]:
    """Return what a section consists of; offers: by run, what would give an unbiased figure."""
    winners = {row.group.label: row.group for row in one.tests if row.group.chosen_from > 1}
    selections = [
        f"{label}: {selected(group.chosen_from, group.is_one_fold)}{offers.get(group.run, '')}"
        for label, group in winners.items()
    ]
    words = {"heading": notes.heading(one), "facts": notes.facts(one), "remarks": [*notes.remarks(one), *selections]}
    return {**words, "grids": grids(one, ddof)}


def _provenance(name: str, run: Run) -> dict[str, Any]:
    commands, configuration = reproduction(run), configuration_text(run)
    return {"name": name, "facts": facts_of(run), "commands": commands, "configuration": configuration}


def _warnings(table: Table) -> Iterator[str]:
    if any(section.dataset.synthetic for section in table.sections):
        yield "SYNTHETIC data: simulated events, not real recordings"
    if several := notes.mixture(table):
        yield several
    yield from table.kept_apart
    for section in table.sections:
        yield from notes.incomplete(section)
        yield from notes.mixed_folds(section)
        yield from notes.unhealthy(section, only_grave=True)
        yield from notes.unbeaten(section)


def _headlines(table: Table) -> Iterator[Headline]:
    for row in headlines(table):
        yield Headline(row.group.label, mean_and_std(row, table.ddof), _meaning(row, table.ddof))


def _meaning(row: Row, ddof: int) -> str:
    spread = "" if row.std(ddof) is None else f", ± standard deviation (ddof {ddof})"
    chance = percent(row.group.dataset.chance_percent)
    words = f"test accuracy over {row.n} of {row.planned} trials{spread}; chance {chance} %"
    if row.group.is_nested:
        return f"{words}; {notes.NESTED}"
    if row.group.chosen_from > 1:
        return f"{words}; {selected(row.group.chosen_from, row.group.is_one_fold)}"
    return f"{words}; {notes.OPTIMISTIC}" if row.optimistic else words


def _failures(run: Run) -> Grid:
    return Grid(f"Trials of {run.name} that failed", ("trial", "why"), tuple(failures_of(run)), 2)


def _source(plot: Plot) -> str:
    return _embedded("svg+xml", svg(plot).encode())


def _embedded(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

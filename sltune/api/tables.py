"""Tables of runs for notebooks: shown as HTML, printed as Markdown, and handed on as data frames."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator

import pandas as pd

from sltune.report.analysis.summary import ReportSection
from sltune.report.analysis.summary import Table as Numbers
from sltune.report.tables import notes
from sltune.report.tables.accuracy import grids
from sltune.report.tables.grid import Grid
from sltune.report.tables.text import Format, render


class Table:
    """Means and deviations over folds and seeds, and what compares them, as ``sltune report`` prints them."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def text(self, form: Format = "md") -> str:
        """Return the table as Markdown ("md"), "csv", "latex" or "json"."""
        return render(self._numbers, form)

    def rows(self) -> pd.DataFrame:
        """Return a row for each metric of each configuration; accuracies in per cent."""
        return self._frame("rows")

    def comparisons(self) -> pd.DataFrame:
        """Return a row for each pair of configurations: the second minus the first, in points."""
        return self._frame("comparisons")

    def _frame(self, name: str) -> pd.DataFrame:
        return pd.json_normalize(json.loads(self.text("json"))[name])

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        notes_on_all = [f"<p>{html.escape(note)}</p>" for note in notes.whole_notes(self._numbers)]
        sections = [line for one in self._numbers.sections for line in _section(one, self._numbers.ddof)]
        return "\n".join([*notes_on_all, *sections])


def _section(section: ReportSection, ddof: int) -> Iterator[str]:
    yield f"<h4>{html.escape(notes.heading(section))}</h4><p>{html.escape(notes.facts(section))}</p>"
    for grid in grids(section, ddof):
        yield _table(grid)
    yield f"<ul>{''.join(f'<li>{html.escape(remark)}</li>' for remark in notes.remarks(section))}</ul>"


def _table(grid: Grid) -> str:
    def line(cells: tuple[str, ...], kind: str) -> str:
        sides = ["left" if place < grid.words else "right" for place in range(len(cells))]
        pairs = zip(cells, sides, strict=True)
        return "".join(f'<{kind} style="text-align: {side}">{html.escape(cell)}</{kind}>' for cell, side in pairs)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in grid.rows)
    head = f"<caption>{html.escape(grid.title)}</caption><thead><tr>{line(grid.header, 'th')}</tr></thead>"
    return f"<table>{head}<tbody>{body}</tbody></table>"

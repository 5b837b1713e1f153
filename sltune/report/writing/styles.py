"""A report as text in each of its styles."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

from sltune.errors import UsageError
from sltune.report.analysis.runs import Run
from sltune.report.analysis.summary import Table
from sltune.report.tables.text import Format, render
from sltune.report.writing.paper import Paper
from sltune.report.writing.paper_table import Labels, check_labels
from sltune.report.writing.screen import screen

Style = Literal["answers", "full", "paper"]


def styled(
    runs: Sequence[Run],
    table: Table,
    format: Format,
    style: Style,
    reference: str = "",
    labels: Labels = MappingProxyType({}),
) -> str:
    """Return a report as a text that ends in a newline.

    Args:
        style: "answers" to a reader's questions; "full": every table; "paper": one table and two paragraphs. Formats
            for programs have "full" alone.
        reference: what the best is compared with in sentences, as ``--baseline`` names it. labels: what methods are
            called in a paper, by run or configuration.

    Raises:
        UsageError: the format has no such style, or a label is of no run of the report.
    """
    if style == "full":
        return render(table, format)
    if style == "answers" and format == "md":
        return screen(runs, table, reference)
    if style == "paper" and format in ("md", "latex"):
        check_labels(labels, table)
        paper = Paper(runs, table, labels, reference)
        return paper.markdown() if format == "md" else paper.latex()
    raise UsageError(f"--style {style}: is no style of --format {format}")

"""The answers as Markdown that fits a terminal of 80 × 24."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sltune.report.analysis.pooling import pooled
from sltune.report.analysis.runs import Run
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import ReportSection, Table
from sltune.report.tables import notes
from sltune.report.tables.text import as_markdown
from sltune.report.writing.answers import Answer, answers
from sltune.wording import shortened

WIDTH, HEIGHT = 80, 24
MAX_LINES = 2
"""Of an answer: nine of them, a command, heading and end then fit the screen."""


def screen(runs: Sequence[Run], table: Table, reference: str = "") -> str:
    """Return the answers for each dataset and choice of sessions; each of these fits a screen of its own.

    Args:
        reference: what the best is compared with, as ``--baseline`` names it.
    """
    together = pooled(runs)
    series = series_of(together)
    blocks: list[str] = []
    for section in table.sections:
        found = answers(section, series, together, table.ddof, reference)
        lines = [line for one in found for line in _lines(one)] or _incomplete(section)
        blocks.append("\n".join([f"# {as_markdown(shortened(notes.heading(section), WIDTH - 2))}", "", *lines]))
    return "\n\n".join([*(blocks or [notes.NO_RESULT]), _end(table)]) + "\n"


def _lines(one: Answer) -> list[str]:
    lines = _wrapped(f"- {one.word}: {one.text}{':' if one.command else ''}")
    if len(lines) > MAX_LINES:
        rest = " ".join(line.strip() for line in lines[MAX_LINES - 1 :])
        lines[MAX_LINES - 1 :] = [f"  {shortened(rest, WIDTH - 2)}"]
    # A command that is wrapped could not be copied.
    return [*lines, *([f"  {as_markdown(one.command)}"] if one.command else [])]


def _incomplete(section: ReportSection) -> list[str]:
    """Return what stands for the answers of a section without any result."""
    return [line for said in (notes.NO_RESULT, *notes.incomplete(section)) for line in _wrapped(f"- {said}")]


def _end(table: Table) -> str:
    """Say how much there is to know besides, and what shows it."""
    count = len(notes.table_notes(table))
    said = f"{count} note{'s' * (count != 1)} and all tables" if count else "All tables"
    return f"{said}: add --all. A page with plots: --format html."


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(as_markdown(text), WIDTH, subsequent_indent="  ", break_on_hyphens=False)

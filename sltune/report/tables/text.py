"""A report's table as Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sltune.errors import UsageError
from sltune.report.analysis.summary import Table
from sltune.report.tables import notes
from sltune.report.tables.accuracy import grids, measured_grids, published_grids
from sltune.report.tables.data import comparisons_as_csv, table_as_csv, table_as_json
from sltune.report.tables.grid import Grid
from sltune.runs.folder import RunFolder
from sltune.wording import printable

Format = Literal["md", "csv", "latex", "json"]
_WIDTH = 80
_TEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]"},
    "~": r"\textasciitilde{}",
    # Two hyphens would become a dash, and a star after the end of a row would belong to it.
    "--": "-{}-",
    "*": "{*}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
}


def render(table: Table, format: Format) -> str:
    """Return the table as a text that ends in a newline.

    Raises:
        UsageError: there is no such format.
    """
    renderers = {"md": _markdown, "csv": table_as_csv, "latex": _latex, "json": table_as_json}
    if format not in renderers:
        raise UsageError(f"format is {format!r}; allowed are {', '.join(renderers)}")
    return renderers[format](table)


def write_report(run_folder: Path, table: Table) -> list[Path]:
    """Write the table in every format into the run's report folder and return the files.

    Raises:
        UsageError: a file cannot be written.
    """
    suffixes: dict[Format, str] = {"md": "md", "csv": "csv", "latex": "tex", "json": "json"}
    folder, files = RunFolder(run_folder), []
    for format, suffix in suffixes.items():
        files.append(folder.report / f"table.{suffix}")
        folder.write(files[-1], render(table, format))
    compared = folder.report / "comparisons.csv"
    if any(section.comparisons for section in table.sections):
        folder.write(compared, comparisons_as_csv(table))
        return [*files, compared]
    # A file of an earlier report does not belong to this table.
    folder.remove(compared)
    return files


def _markdown(table: Table) -> str:
    blocks = ["# Accuracy", *map(filled, notes.whole_notes(table))]
    for section in table.sections:
        blocks += [f"## {as_markdown(notes.heading(section))}", filled(notes.facts(section))]
        for grid in grids(section, table.ddof):
            blocks += [f"{grid.title}:", markdown_grid(grid)]
        blocks.append("\n".join(_bullet(remark) for remark in notes.remarks(section)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def markdown_grid(grid: Grid) -> str:
    """Return a table with columns of even width."""
    lines = [[as_markdown(cell) for cell in line] for line in (grid.header, *grid.rows)]
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if i < grid.words else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    pads = [str.ljust] * grid.words + [str.rjust] * (len(widths) - grid.words)
    padded = [[pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def as_markdown(text: str) -> str:
    """Return a line as Markdown shows it as it is."""
    # A bar would end a cell. The rest keeps names from starting code, links or HTML.
    return re.sub(r"[|`]|<(?=[A-Za-z/!?])|(?<=\])(?=\()", r"\\\g<0>", printable(" ".join(text.split())))


def _bullet(text: str) -> str:
    return filled(f"- {text}", "  ")


def filled(text: str, indent: str = "") -> str:
    """Return a text as Markdown, in lines that fit a terminal."""
    return textwrap.fill(
        as_markdown(text), _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _latex(table: Table) -> str:
    parts = ["% needs \\usepackage{booktabs}"]
    parts += [f"% {' '.join(note.split())}" for note in notes.whole_notes(table)]
    for number, section in enumerate(table.sections, start=1):
        caption = f"{notes.heading(section)}. {notes.facts(section)}"
        grids_of_ours = measured_grids(section, table.ddof)
        parts.append(_latex_float(caption, f"sltune-{number}", grids_of_ours, notes.measured_remarks(section)))
        if section.published:
            # Both together would be higher than a page.
            caution = f", {notes.NO_COMPARISON}" if section.dataset.synthetic else ""
            caption = f"Published accuracies in %{caution}, {notes.heading(section)}."
            label = f"sltune-{number}-published"
            parts.append(_latex_float(caption, label, published_grids(section), notes.published_remarks(section)))
    return "\n".join(parts) + "\n"


def _latex_float(caption: str, label: str, grids: Sequence[Grid], remarks: Sequence[str]) -> str:
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{as_latex(caption)}}}", rf"\label{{tab:{label}}}"]
    for grid in grids:
        lines += [rf"\par\medskip {as_latex(grid.title)}\par\smallskip", *_tabular(grid)]
    lines_below = [rf"{as_latex(remark)}\par" for remark in remarks]
    return "\n".join([*lines, r"\begin{flushleft}\footnotesize", *lines_below, r"\end{flushleft}", r"\end{table}"])


def _tabular(grid: Grid) -> list[str]:
    columns = "l" * grid.words + "r" * (len(grid.header) - grid.words)
    header, *rows = (" & ".join(map(as_latex, line)) + r" \\" for line in (grid.header, *grid.rows))
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", header, r"\midrule"]
    return [*top, *rows, r"\bottomrule", r"\end{tabular}"]


def as_latex(text: str) -> str:
    """Return a line as LaTeX shows it as it is."""
    return re.sub("|".join(map(re.escape, _TEX)), lambda found: _TEX[found[0]], printable(" ".join(text.split())))

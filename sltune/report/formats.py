"""A report's table as Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from pathlib import Path
from typing import Any, Literal

from sltune.errors import UsageError
from sltune.files import write_whole
from sltune.record import RunFolder
from sltune.report.grids import Grid, facts, grids, heading, no_result, remarks
from sltune.report.published import Published
from sltune.report.rows import Row
from sltune.report.table import NO_COMPARISON, OPTIMISTIC, SYNTHETIC, Section, Table

Format = Literal["md", "csv", "latex", "json"]
_WIDTH = 80
_TEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
}

_CSV_COLUMNS = (
    *("kind", "run", "config_id", "seed", "dataset", "synthetic", "fingerprint", "protocol", "sessions", "metric"),
    *("mean_percent", "std_percent", "ddof", "std_ddof0_percent", "std_ddof1_percent", "n", "complete", "trials"),
    *("chance_percent", "values_percent", "note", "source", "doi"),
)


def render(table: Table, format: Format) -> str:
    """Return the table as a text that ends in a newline.

    Raises:
        UsageError: there is no such format.
    """
    renderers = {"md": _markdown, "csv": _csv, "latex": _latex, "json": _json}
    if format not in renderers:
        raise UsageError(f"format is {format!r}; allowed are {', '.join(renderers)}")
    return renderers[format](table)


def write_report(run_folder: Path, table: Table) -> list[Path]:
    """Write the table in every format into the run's report folder and return the files.

    Raises:
        UsageError: a file cannot be written.
    """
    suffixes: dict[Format, str] = {"md": "md", "csv": "csv", "latex": "tex", "json": "json"}
    files = []
    for format, suffix in suffixes.items():
        files.append(RunFolder(run_folder).report / f"table.{suffix}")
        write_whole(files[-1], render(table, format))
    return files


def _markdown(table: Table) -> str:
    blocks = ["# Accuracy", no_result(table) or ""]
    for section in table.sections:
        blocks += [f"## {_md(heading(section))}", facts(section)]
        for grid in grids(section, table.ddof):
            blocks += [f"{grid.title}:", _md_grid(grid)]
        blocks.append("\n".join(_bullet(remark) for remark in remarks(section)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _md_grid(grid: Grid) -> str:
    lines = [[_md(cell) for cell in line] for line in (grid.header, *grid.rows)]
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if i < grid.words else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    pads = [str.ljust] * grid.words + [str.rjust] * (len(widths) - grid.words)
    padded = [[pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def _md(text: str) -> str:
    return text.replace("|", r"\|")


def _bullet(text: str) -> str:
    return textwrap.fill(
        f"- {_md(text)}", _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _latex(table: Table) -> str:
    parts = ["% needs \\usepackage{booktabs}"]
    empty = no_result(table)
    parts += [f"% {empty}"] if empty else []
    parts += [_latex_table(section, number, table.ddof) for number, section in enumerate(table.sections, start=1)]
    return "\n".join(parts) + "\n"


def _latex_table(section: Section, number: int, ddof: int) -> str:
    caption = _tex(f"{heading(section)}. {facts(section)}")
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\label{{tab:sltune-{number}}}"]
    for grid in grids(section, ddof):
        lines += [rf"\par\medskip {_tex(grid.title)}\par\smallskip", *_tabular(grid)]
    notes = [rf"{_tex(remark)}\par" for remark in remarks(section)]
    return "\n".join([*lines, r"\begin{flushleft}\footnotesize", *notes, r"\end{flushleft}", r"\end{table}"])


def _tabular(grid: Grid) -> list[str]:
    columns = "l" * grid.words + "r" * (len(grid.header) - grid.words)
    header, *rows = (" & ".join(map(_tex, line)) + r" \\" for line in (grid.header, *grid.rows))
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", header, r"\midrule"]
    return [*top, *rows, r"\bottomrule", r"\end{tabular}"]


def _tex(text: str) -> str:
    return re.sub("|".join(map(re.escape, _TEX)), lambda found: _TEX[found[0]], text)


def _json(table: Table) -> str:
    values = {
        "unit": "%",
        "rows": [_row_values(row) for row in table.rows],
        "published": [_known(figure.model_dump()) for figure in table.published],
        "notes": [note for note in (no_result(table), *table.notes) if note],
    }
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value == "" else value for key, value in values.items()}


def _row_values(row: Row) -> dict[str, Any]:
    group = row.group
    return {
        "run": group.run,
        "config_id": group.config_id,
        "protocol": group.protocol or None,
        "sessions": list(group.sessions),
        "metric": row.metric,
        "mean": row.mean,
        "std": row.std(row.ddof),
        "ddof": row.ddof,
        "n": row.n,
        "values": [{"fold": value.fold, "seed": value.seed, "value": value.percent} for value in row.values],
        "seed": row.seed,
        "std_by_ddof": {str(ddof): row.std(ddof) for ddof in (0, 1)},
        "absent": [{"fold": gone.fold, "seed": gone.seed, "reason": gone.reason} for gone in row.absent],
        "trials": row.trials,
        "complete": row.complete,
        "optimistic": row.optimistic,
        "dataset": group.dataset.name,
        "synthetic": group.dataset.synthetic,
        "fingerprint": group.dataset.fingerprint,
        "chance": group.dataset.chance_percent,
        "note": _row_note(row),
    }


def _row_note(row: Row) -> str:
    return "; ".join([OPTIMISTIC] * row.optimistic + [SYNTHETIC] * row.group.dataset.synthetic)


def _csv(table: Table) -> str:
    synthetic = {figure for section in table.sections if section.dataset.synthetic for figure in section.published}
    lines = [_row_line(row) for row in table.rows]
    lines += [_published_line(figure, figure in synthetic) for figure in table.published]
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _row_line(row: Row) -> dict[str, Any]:
    """Return a measured line; ``values_percent`` is ``f0-s0:81.25;f1-s0:…``, named as the trials are."""
    values = _row_values(row)
    return {key: _csv_cell(values[key]) for key in _CSV_COLUMNS if key in values} | {
        "kind": "measured",
        "protocol": row.group.protocol or "?",
        "sessions": "+".join(row.group.sessions),
        "mean_percent": row.mean,
        "std_percent": row.std(row.ddof),
        "std_ddof0_percent": row.std(0),
        "std_ddof1_percent": row.std(1),
        "chance_percent": row.group.dataset.chance_percent,
        "values_percent": ";".join(f"f{value.fold}-s{value.seed}:{value.percent}" for value in row.values),
    }


def _published_line(figure: Published, beside_synthetic: bool) -> dict[str, Any]:
    caution = [NO_COMPARISON] * beside_synthetic
    return {
        "kind": "published",
        "run": figure.method,
        "dataset": figure.dataset,
        "synthetic": "false",
        "protocol": figure.protocol or "?",
        "sessions": figure.set,
        "metric": "test_accuracy",
        "mean_percent": figure.mean,
        "std_percent": figure.std,
        "ddof": "?" if figure.std is not None and figure.ddof is None else figure.ddof,
        "n": "?" if figure.n is None else figure.n,
        "note": "; ".join([*([figure.note] if figure.note else []), *caution]),
        "source": figure.source,
        "doi": figure.doi,
    }


def _csv_cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value

"""What a paper needs of a report, as Markdown and LaTeX: one table, two paragraphs, and the file of its references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from sltune.report.analysis.pooling import pooled
from sltune.report.analysis.runs import Run
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import ReportSection, Table
from sltune.report.tables import notes
from sltune.report.tables.grid import Grid
from sltune.report.tables.text import as_latex, as_markdown, filled, markdown_grid
from sltune.report.writing.paper_table import Labels, Line, PaperTable, paper_table
from sltune.report.writing.paragraphs import Paragraphs, paragraphs
from sltune.report.writing.references import CITATION, bibliography

BIBLIOGRAPHY = "refs.bib"
MARKS = {"†": r"$^\dagger$", "‡": r"$^\ddagger$"}
"""As text they would be of a font that PDFs may hold as pixels only, which publishers refuse."""
METHOD_WIDTH = r"0.37\columnwidth"
"""Of the first column: longer names are broken, so that the table fits a column of 3.45 inches."""


class Paper:
    """The texts for a paper on some runs.

    Args:
        labels: what methods are called. reference: what the best is compared with, as ``--baseline`` names it.
    """

    def __init__(self, runs: Sequence[Run], table: Table, labels: Labels, reference: str = "") -> None:
        together = pooled(runs)
        series = series_of(together)
        self._table = table
        self._parts = [
            (
                one,
                paper_table(one, table.ddof, labels),
                paragraphs(one, series, together, table.ddof, labels, reference),
            )
            for one in table.sections
        ]

    def markdown(self) -> str:
        blocks = []
        for section, table, texts in self._parts:
            blocks += [f"# {as_markdown(notes.heading(section))}", markdown_grid(_grid(table)), _sentences(table.notes)]
            blocks += [filled(f"{word}: {text}") for word, text in _named(texts)]
        return "\n\n".join([*blocks, *([f"```bibtex\n{bib}```"] if (bib := self.bibliography()) else [])]) + "\n"

    def latex(self) -> str:
        parts = [rf"% needs \usepackage{{booktabs}} and \bibliography{{{BIBLIOGRAPHY.removesuffix('.bib')}}}"]
        for number, (section, table, texts) in enumerate(self._parts, start=1):
            parts += [*_latex_table(section, table, number)]
            parts += [f"\n% {word}\n{_cited(text)}" for word, text in _named(texts)]
        return "\n".join(parts) + "\n"

    def bibliography(self) -> str:
        """Return the references of all texts as BibTeX."""
        keys = [f"[@{line.key}]" for _, table, _ in self._parts for line in table.lines if line.key]
        texts = [text for _, _, one in self._parts for _, text in _named(one)]
        return bibliography([*keys, *texts], self._table.published)


def _named(texts: Paragraphs | None) -> Iterator[tuple[str, str]]:
    if texts is not None:
        yield from (("Methods", texts.methods), ("Results", texts.results))


def _sentences(said: Sequence[str]) -> str:
    return filled(f"{'. '.join(said)}.")


def _grid(table: PaperTable) -> Grid:
    lines = [
        (
            f"{line.method}{f' [@{line.key}]' if line.key else ''}",
            line.parameters,
            (f"**{line.accuracy}**" if line in table.best else line.accuracy) + line.marks,
            line.n,
            line.cost,
        )
        for line in table.lines
    ]
    return Grid("", ("method", "parameters", "accuracy, %", "n", "cost"), tuple(lines), 1)


def _latex_table(section: ReportSection, table: PaperTable, number: int) -> Iterator[str]:
    yield r"\begin{table}[t]"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"\caption{{Test accuracy on {as_latex(notes.heading(section))}.}}"
    yield rf"\label{{tab:sltune-{number}}}"
    yield rf"\begin{{tabular}}{{@{{}}p{{{METHOD_WIDTH}}}rrrr@{{}}}}"
    yield r"\toprule"
    yield r"Method & Param. & Accuracy, \% & $n$ & Cost \\"
    for _, lines in groupby(table.lines, key=lambda line: line.kind):
        yield r"\midrule"
        yield from (_latex_line(line, line in table.best) for line in lines)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    below = _marked(". ".join(table.notes) + ".")
    yield rf"\par\smallskip\parbox{{\columnwidth}}{{\scriptsize\raggedright {below}}}"
    yield r"\end{table}"


def _latex_line(line: Line, is_best: bool) -> str:
    method = rf"\raggedright {as_latex(line.method)}" + (rf"~\cite{{{line.key}}}" if line.key else "")
    accuracy = as_latex(line.accuracy)
    # \boldmath, since the sign between mean and deviation is mathematics.
    shown = rf"{{\boldmath\textbf{{{accuracy}}}}}" if is_best else accuracy
    cells = (method, as_latex(line.parameters), shown + _marked(line.marks), as_latex(line.n), as_latex(line.cost))
    return " & ".join(cells) + r" \\"


def _marked(text: str) -> str:
    for mark, command in MARKS.items():
        text = text.replace(mark, f"\0{command}\0")
    pieces = text.split("\0")
    return "".join(piece if place % 2 else _piece(piece) for place, piece in enumerate(pieces))


def _piece(text: str) -> str:
    """Return a piece of a line in LaTeX; unlike a whole line it keeps the spaces at its ends."""
    ends = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :] if text.strip() else ""
    return f"{ends[0]}{as_latex(text)}{ends[1]}"


def _cited(text: str) -> str:
    pieces = CITATION.split(text)
    return "".join(rf"\cite{{{piece}}}" if place % 2 else _piece(piece) for place, piece in enumerate(pieces))

"""The board of a run: a text for a terminal that shows the state of every trial. A pure function of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from rich.text import Text

from sltune.runs.record import config_number
from sltune.wording import and_more, printable, shortened

STATES = ("done", "running", "waiting", "unfinished", "paused", "pruned", "failed", "diverged")
"""States of a trial; an unfinished one has begun, but no process has the run any more.

A paused one runs if its configuration is promoted.
"""
SYMBOLS = dict(zip(STATES, "✓▸·‖○–✗∞", strict=True))
ASCII_SYMBOLS = dict(zip(STATES, "+>.=o-x~", strict=True))
STYLES = dict(zip(STATES, ("green", "cyan", "dim", "yellow", "dim", "yellow", "bold red", "bold magenta"), strict=True))
MEAN_WIDTH = 7
MIN_READABLE_SLOT = 9
"""Columns for "✓ 87.5 %" or "▸ 12/400", and a gap."""
MAX_SLOT = 18
"""Columns for "▸ 12/400  87.5" and some space; a wider cell only tears the row apart."""
NARROW = {1: 1, 2: 1, 3: 3, 4: 3}
"""Width of the text in slots too narrow for a gap: the symbol that begins a text tells it from its neighbour."""


@dataclass(frozen=True)
class TrialCell:
    """One trial.

    epoch: the last one that has ended. epochs: how many there will be, 0 if that is unknown. accuracy: a fraction, on
    the validation part, or on the test part where there is no other; while the trial runs, that of the last epoch.
    """

    state: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    accuracy: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class Line:
    """A configuration, with a cell for each (seed, fold) of the run.

    predicted: of a paused one, the mean that it would have with all trials, and its standard error.
    """

    config_id: str
    cells: tuple[TrialCell, ...]
    predicted: tuple[float, float] | None = None

    @property
    def mean(self) -> float | None:
        """Mean accuracy of the trials that are done so far."""
        return _mean(cell.accuracy for cell in self.cells if cell.state == "done")

    @property
    def test_mean(self) -> float | None:
        """Mean test accuracy of the trials that are done so far."""
        return _mean(cell.test for cell in self.cells if cell.state == "done")


@dataclass(frozen=True)
class Board:
    """The state of a run at one moment.

    steps: (seed, fold) of each cell of a line. part: "val" or "test", the part that the accuracies are measured on.
    shows_test: whether test accuracies have a column of their own. lines: the configurations to show, the most
    important first. begun: how many configurations there are. counts: number of trials by state. best: the
    configuration that stands out. facts: groups of short texts, shown below the grid.
    """

    title: str
    steps: tuple[tuple[int, int], ...]
    part: str
    shows_test: bool
    lines: tuple[Line, ...]
    begun: int
    counts: Mapping[str, int]
    best: str = ""
    facts: tuple[tuple[str, ...], ...] = ()

    @property
    def means(self) -> dict[str, Callable[[Line], float | None]]:
        """The columns to the right of the cells: name, and what each shows of a line."""
        means: dict[str, Callable[[Line], float | None]] = {self.part: lambda line: line.mean}
        return {**means, "test": lambda line: line.test_mean} if self.shows_test else means


@dataclass(frozen=True)
class _Layout:
    """How the grid is laid out.

    columns: cells in a row. label: width of what stands to the left of them. slot: width of a cell with its gap.
    """

    columns: int
    label: int
    slot: int
    symbols: Mapping[str, str]

    @property
    def content(self) -> int:
        return NARROW.get(self.slot, self.slot - 1)


def render(board: Board, width: int, height: int, ascii_only: bool = False) -> Text:
    """Return the board as text, at most ``width`` columns wide and, from 8 lines on, at most ``height`` lines high."""
    symbols = ASCII_SYMBOLS if ascii_only else SYMBOLS
    below = list(_packed(_tally(board, symbols), width, "   "))
    for group in board.facts:
        below += _packed(map(Text, group), width)
    several_seeds = len({seed for seed, _ in board.steps}) > 1
    # Title and header, and a line that says how many others there are.
    around = 4 if several_seeds else 3
    below = below[: max(1, height - around - 1)]
    room = max(1, height - around - len(below))
    layout = _layout(board, width, room, symbols)
    lines = list(board.lines[: max(1, room // _rows_a_line(board, layout))])
    lines.sort(key=lambda line: config_number(line.config_id))
    rows = [row for line in lines for row in _rows(board, layout, line)][:room]
    title = Text(shortened(printable(board.title), width), "bold")
    remarks = _packed(_remarks(board, layout, board.begun - len(lines)), width)
    return Text("\n").join([title, *_header(board, layout), *rows, *islice(remarks, 1), *below])


def _layout(board: Board, width: int, room: int, symbols: Mapping[str, str]) -> _Layout:
    """Give each (seed, fold) a column where its text fits; else each fold a column and each seed a row."""
    steps, folds = len(board.steps), len({fold for _, fold in board.steps})
    label = max([5, *(len(line.config_id) for line in board.lines)]) + 1
    free = width - label - MEAN_WIDTH * len(board.means)
    fits = len(board.lines) * (steps // folds) <= room
    columns = steps
    if free < steps or (free // steps < MIN_READABLE_SLOT and steps > folds and fits):
        label_of_seed = max(len(f"s{seed} ") for seed, _ in board.steps)
        label, free = label + label_of_seed, free - label_of_seed
        columns = folds if fits else max(folds, free // folds * folds)
    columns = max(1, min(columns, free))
    return _Layout(columns, label, max(1, min(free // columns, MAX_SLOT)), symbols)


def _rows_a_line(board: Board, layout: _Layout) -> int:
    return -(-len(board.steps) // layout.columns)


def _header(board: Board, layout: _Layout) -> Iterator[Text]:
    """Give the lines above the grid: seeds, where the columns have several, and folds, where all rows have the same."""
    steps, margin = board.steps[: layout.columns], " " * layout.label
    groups = [(seed, layout.slot * len(list(group))) for seed, group in groupby(steps, key=lambda step: step[0])]
    if len(groups) > 1 and layout.columns == len(board.steps):
        seeds = [_first_that_fits((f"seed {seed}", f"s{seed}", ""), size - 1).ljust(size) for seed, size in groups]
        yield Text((margin + "".join(seeds)).rstrip(), "dim")
    forms = ([f"fold {fold}", f"f{fold}", str(fold), str(fold)[-1]] for _, fold in steps)
    folds = [_first_that_fits(names, layout.content).ljust(layout.slot) for names in forms]
    if layout.columns % len({fold for _, fold in board.steps}):
        folds = [" " * layout.slot] * layout.columns
    means = [f"{name} %".rjust(MEAN_WIDTH) for name in board.means]
    yield Text(margin + "".join([*folds, *means]), "dim")


def _rows(board: Board, layout: _Layout, line: Line) -> Iterator[Text]:
    """Give the rows of a configuration; the first one has its name and means."""
    for first in range(0, len(line.cells), layout.columns):
        cells = line.cells[first : first + layout.columns]
        name = line.config_id if first == 0 else ""
        if layout.columns < len(line.cells):
            seed = f"s{board.steps[first][0]} "
            name = name.ljust(layout.label - len(seed)) + seed
        row = Text().append(name.ljust(layout.label), "bold green" if line.config_id == board.best else "")
        for cell in cells:
            row.append(_cell(cell, layout).ljust(layout.slot), STYLES[cell.state])
        if first == 0:
            for name, mean in board.means.items():
                row.append(_mean_text(line, name == board.part, mean(line)).rjust(MEAN_WIDTH), "bold")
        row.rstrip()
        yield row


def _mean_text(line: Line, judged: bool, value: float | None) -> str:
    if judged and line.predicted:
        return "{:.0f} ± {:.0f}".format(*(100 * figure for figure in line.predicted))
    return "" if value is None else f"{100 * value:.1f}"


def _cell(cell: TrialCell, layout: _Layout) -> str:
    """Return the longest text on a trial that fits its column; the text is enough without its colour."""
    symbol, width = layout.symbols[cell.state], layout.content
    percent = None if cell.accuracy is None else 100 * cell.accuracy
    forms = [f"{symbol} {cell.state}", symbol.center(min(width, 3))]
    if cell.state == "done" and percent is not None:
        forms = [f"{symbol} {percent:.1f} %", f"{symbol} {percent:.1f}", f"{symbol}{percent:.0f}", f"{percent:.0f}"]
    elif cell.epoch and cell.state in ("running", "unfinished"):
        share = [f"{symbol}{min(99, 100 * cell.epoch // cell.epochs)}"] if cell.epochs else []
        of = f"{symbol} {cell.epoch}/{cell.epochs}" if cell.epochs else f"{symbol} {cell.epoch}"
        forms = [*([] if percent is None else [f"{of}  {percent:.1f}"]), of, *share]
    return _first_that_fits([*forms, symbol], width)


def _remarks(board: Board, layout: _Layout, others: int) -> Iterator[Text]:
    """Say how many configurations are not shown, and what the numbers in narrow columns mean."""
    if others:
        yield Text(and_more(others), "dim")
    if any(line.predicted for line in board.lines):
        yield Text("mean ± error: predicted for all trials", "dim")
    if 3 <= layout.content < MIN_READABLE_SLOT - 1:
        yield Text(f"{layout.symbols['done']} % right", "dim")
        yield Text(f"{layout.symbols['running']} % of epochs", "dim")


def _tally(board: Board, symbols: Mapping[str, str]) -> Iterator[Text]:
    """Count the trials by state, which also explains the symbols."""
    for state in STATES:
        if board.counts.get(state):
            yield Text(f"{symbols[state]} {board.counts[state]:,} {state}", STYLES[state])


def _first_that_fits(texts: Sequence[str], width: int) -> str:
    return next((text for text in texts if len(text) <= width), "")


def _packed(texts: Iterable[Text], width: int, gap: str = " · ") -> Iterator[Text]:
    """Give lines, each with as many of the texts as fit; a text that is longer than a line loses its middle."""
    line = Text()
    for text in texts:
        plain = shortened(printable(text.plain), width)
        if line and len(line) + len(gap) + len(plain) > width:
            yield line
            line = Text()
        line.append(f"{gap if line else ''}{plain}", text.style)
    if line:
        yield line


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

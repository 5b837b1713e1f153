"""The board of a run: a picture, for a terminal, of where its trials stand. A pure function of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from sltune.wording import printable, shortened

STATES = ("done", "running", "waiting", "unfinished", "pruned", "failed", "diverged")
"""Of a trial; "unfinished" has begun, but no process has the run any more."""
SYMBOLS = dict(zip(STATES, "✓▸·‖–✗∞", strict=True))
ASCII_SYMBOLS = dict(zip(STATES, "+>.=-x~", strict=True))
STYLES = dict(zip(STATES, ("green", "cyan", "dim", "yellow", "yellow", "bold red", "bold magenta"), strict=True))
MEAN_WIDTH = 7
# Wide enough for "✓ 87.5 %" and "▸ 12/400" and a gap; more than the second has no use.
GOOD_SLOT, WIDEST_SLOT = 9, 18
# What stands in columns too narrow for a gap begins with a symbol, which tells it from its neighbours.
NARROW = {1: 1, 2: 1, 3: 3, 4: 3}


@dataclass(frozen=True)
class Cell:
    """One trial. epoch: the last that has ended, of epochs, 0 where that is unknown. Accuracies are fractions.

    accuracy: of the validation part, or of the test part where there is no other; the last epoch's of one that runs.
    """

    state: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    accuracy: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class Line:
    """A configuration, with a cell for each step of the run."""

    config_id: str
    cells: tuple[Cell, ...]

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
    """Where the trials of a run stand at one moment.

    steps: (seed, fold) of each cell of a line. part: "val" or "test", of which the cells' accuracies are. shows_test:
    whether test accuracies have a column of their own. lines: the configurations worth showing, the first ones most.
    begun: how many there are. best: which line is to stand out. counts: of all trials, by state. facts: groups of
    short texts, shown below the grid.
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
        """What stands right of the cells, by the name of its column."""
        means: dict[str, Callable[[Line], float | None]] = {self.part: lambda line: line.mean}
        return {**means, "test": lambda line: line.test_mean} if self.shows_test else means


@dataclass(frozen=True)
class _Layout:
    """columns: so many cells a row. label: width of what stands left of them. slot: width of a column."""

    columns: int
    label: int
    slot: int
    symbols: Mapping[str, str]

    @property
    def content(self) -> int:
        return NARROW.get(self.slot, self.slot - 1)


def render(board: Board, width: int, height: int, ascii_only: bool = False) -> Text:
    """Return the board as text of at most so many columns and, if there are at least 8, lines."""
    symbols = ASCII_SYMBOLS if ascii_only else SYMBOLS
    below = [
        *_tally(board, width, symbols),
        *(Text(line) for group in board.facts for line in _pack([*map(printable, group)], width)),
    ]
    several_seeds = len({seed for seed, _ in board.steps}) > 1
    # Title and header, and a line that says how many others there are.
    around = 4 if several_seeds else 3
    below = below[: max(1, height - around - 1)]
    room = max(1, height - around - len(below))
    layout = _layout(board, width, room, symbols)
    lines = list(board.lines[: max(1, room // _rows_a_line(board, layout))])
    lines.sort(key=lambda line: int(line.config_id[1:]))
    rows = [row for line in lines for row in _rows(board, layout, line)][:room]
    title = Text(shortened(printable(board.title), width), "bold")
    remarks = [Text(line, "dim") for line in _pack(_remarks(board, layout, board.begun - len(lines)), width)][:1]
    return Text("\n").join([title, *_header(board, layout), *rows, *remarks, *below])


def _layout(board: Board, width: int, room: int, symbols: Mapping[str, str]) -> _Layout:
    """Give every step a column where there is space for what is in it; else every fold, and every seed a row."""
    steps, folds = len(board.steps), len({fold for _, fold in board.steps})
    label = max([5, *(len(line.config_id) for line in board.lines)]) + 1
    free = width - label - MEAN_WIDTH * len(board.means)
    fits = len(board.lines) * (steps // folds) <= room
    columns = steps
    if free < steps or (free // steps < GOOD_SLOT and steps > folds and fits):
        label_of_seed = max(len(f"s{seed} ") for seed, _ in board.steps)
        label, free = label + label_of_seed, free - label_of_seed
        columns = folds if fits else max(folds, free // folds * folds)
    columns = max(1, min(columns, free))
    return _Layout(columns, label, max(1, min(free // columns, WIDEST_SLOT)), symbols)


def _rows_a_line(board: Board, layout: _Layout) -> int:
    return -(-len(board.steps) // layout.columns)


def _header(board: Board, layout: _Layout) -> Iterator[Text]:
    """Give the lines above the grid, as far as they hold for all rows: seeds, where columns have several, and folds."""
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
    """Give the rows of a configuration; its name and means stand in the first."""
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
            for mean in board.means.values():
                value = mean(line)
                row.append(("" if value is None else f"{100 * value:.1f}").rjust(MEAN_WIDTH), "bold")
        row.rstrip()
        yield row


def _cell(cell: Cell, layout: _Layout) -> str:
    """Return the most telling text of a trial that its column has space for; it never depends on colour."""
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


def _remarks(board: Board, layout: _Layout, others: int) -> Iterator[str]:
    """Say how many configurations are not shown, and what the numbers in narrow columns mean."""
    if others:
        yield f"{others:,} more configuration{'s' if others > 1 else ''}"
    if 3 <= layout.content < GOOD_SLOT - 1:
        yield f"{layout.symbols['done']} % right"
        yield f"{layout.symbols['running']} % of epochs"


def _tally(board: Board, width: int, symbols: Mapping[str, str]) -> Iterator[Text]:
    """Give lines that count the trials by state, which also explains the symbols."""
    line = Text()
    for state in STATES:
        if not board.counts.get(state):
            continue
        text = Text(f"{symbols[state]} {board.counts[state]:,} {state}", STYLES[state])
        if line and len(line) + len(text) + 3 > width:
            yield line
            line = Text()
        line = Text("   ").join([line, text]) if line else text
    if line:
        yield line


def _first_that_fits(texts: Sequence[str], width: int) -> str:
    return next((text for text in texts if len(text) <= width), "")


def _pack(texts: Iterable[str], width: int) -> Iterator[str]:
    """Give lines with as many of the texts as fit on each; a text that is longer than a line is cut."""
    line = ""
    for text in texts:
        longer = f"{line} · {text}" if line else text
        if line and len(longer) > width:
            yield line
            longer = text
        line = shortened(longer, width)
    if line:
        yield line


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

"""What a page shows of single trials: their curves, their confusions, and the samples that they got most wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sltune.report.analysis.runs import Run
from sltune.report.analysis.series import series_of
from sltune.report.plots.confusion_matrix import confusion_matrices
from sltune.report.plots.learning_curves import learning_curves
from sltune.report.plots.plot import Plot, settled, style
from sltune.report.plots.style import COLUMN_INCHES
from sltune.report.tables.grid import percent
from sltune.runs.record import Record

MAX_TRIALS = 12
"""Of all runs together; each has two plots, and a page of hundreds would be too large to pass on."""


@dataclass(frozen=True)
class WorstSample:
    """A sample that was classed wrongly. rates: of its true class and of the one that it was taken for.

    picture: a PNG file; None where the dataset is not at hand.
    """

    sample_id: str
    true: str
    taken_for: str
    rates: tuple[float, float]
    picture: bytes | None


WorstOf = Callable[[Run, Record], Sequence[WorstSample]]


@dataclass(frozen=True)
class TrialPage:
    """One trial. title: its name. facts: its accuracies and how it ended. worst: the samples furthest from right."""

    title: str
    facts: str
    plots: tuple[Plot, ...]
    worst: tuple[WorstSample, ...]


def trial_pages(runs: Sequence[Run], worst_of: WorstOf) -> Iterator[TrialPage]:
    """Give the done trials of the shown configurations, the first MAX_TRIALS of them.

    Args:
        worst_of: returns the worst samples of a trial.
    """
    series = series_of(runs)
    done = ((run, one.name, record) for run, one in zip(runs, series, strict=True) if one.shown
            for record in one.shown.done)  # fmt: skip
    for run, name, record in islice(done, MAX_TRIALS):
        yield TrialPage(f"{name}/{record.key.name}", _facts(record), _plots(run, record), tuple(worst_of(run, record)))


def _plots(run: Run, record: Record) -> tuple[Plot, ...]:
    alone = series_of([replace(run, records=(record,), planned=(record.key,))])
    with style(COLUMN_INCHES):
        drawn = [*learning_curves(alone), *list(confusion_matrices(alone))[1:]]
        return tuple(settled(replace(plot, name=f"{plot.name}-{run.name}-{record.key.name}")) for plot in drawn)


def _facts(record: Record) -> str:
    named = {"test_accuracy": "test", "val_accuracy": "validation", "test_accuracy_last": "test at the last epoch"}
    found = [(word, record.metrics.number(name)) for name, word in named.items()]
    numbers = [f"{word} {percent(100 * value)} %" for word, value in found if value is not None]
    epochs = [f"best epoch {record.metrics.best_epoch}"] if record.metrics.best_epoch is not None else []
    return ", ".join([*numbers, *epochs, f"{record.seconds / 60:.3g} min"])

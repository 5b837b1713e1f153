"""All plots of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from sltune.report.analysis.importance import importances
from sltune.report.analysis.pooling import pooled
from sltune.report.analysis.runs import Run
from sltune.report.analysis.series import Series, series_of
from sltune.report.plots.by_group import accuracy_by_session, accuracy_by_signer
from sltune.report.plots.confusion_matrix import confusion_matrices
from sltune.report.plots.fold_by_fold import fold_by_fold
from sltune.report.plots.importance import importance_plots
from sltune.report.plots.learning_curves import learning_curves
from sltune.report.plots.pareto_front import pareto_fronts
from sltune.report.plots.plot import Plot, settled, style
from sltune.report.plots.sample_length import accuracy_over_sample_length
from sltune.report.plots.search_history import search_histories
from sltune.report.plots.slices import slice_plots
from sltune.report.plots.style import COLUMN_INCHES, PAGE_INCHES


def plots(runs: Sequence[Run], width_inches: float | None = None) -> Iterator[Plot]:
    """Give all plots of some runs that have something to show.

    Args:
        width_inches: how wide they are; None for as many columns of a page as each of them needs.
    """
    series = series_of(pooled(runs))
    for draw, usual_inches in _DRAWN:
        # Matplotlib's settings belong to the whole process, so a suspended generator must not hold them.
        with style(width_inches or usual_inches):
            drawn = [settled(plot) for plot in draw(series)]
        yield from drawn


def _parameter_plots(series: Sequence[Series]) -> Iterator[Plot]:
    explained = [(one, importances(one)) for one in series if one.is_search]
    yield from importance_plots(explained)
    yield from slice_plots(explained)


_DRAWN: tuple[tuple[Callable[[Sequence[Series]], Iterable[Plot]], float], ...] = (
    (learning_curves, COLUMN_INCHES),
    (accuracy_by_session, COLUMN_INCHES),
    (accuracy_by_signer, COLUMN_INCHES),
    (accuracy_over_sample_length, COLUMN_INCHES),
    (search_histories, COLUMN_INCHES),
    (pareto_fronts, COLUMN_INCHES),
    (fold_by_fold, COLUMN_INCHES),
    (_parameter_plots, PAGE_INCHES),
    (confusion_matrices, PAGE_INCHES),
)

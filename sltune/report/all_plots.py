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


def plots(runs: Sequence[Run]) -> Iterator[Plot]:
    """Give all plots of some runs that have something to show."""
    series = series_of(pooled(runs))
    for draw in _DRAWN:
        # Matplotlib's settings belong to the whole process, so a suspended generator must not hold them.
        with style():
            drawn = [settled(plot) for plot in draw(series)]
        yield from drawn


def _parameter_plots(series: Sequence[Series]) -> Iterator[Plot]:
    explained = [(one, importances(one)) for one in series if one.is_search]
    yield from importance_plots(explained)
    yield from slice_plots(explained)


_DRAWN: tuple[Callable[[Sequence[Series]], Iterable[Plot]], ...] = (
    learning_curves,
    confusion_matrices,
    accuracy_by_session,
    accuracy_by_signer,
    accuracy_over_sample_length,
    search_histories,
    _parameter_plots,
    pareto_fronts,
    fold_by_fold,
)

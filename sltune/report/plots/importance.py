"""How much each searched parameter matters, as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure

from sltune.report.analysis.importance import explained
from sltune.report.analysis.series import Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import BLUE, names, new_figure, titles
from sltune.report.tables.configurations import short_names
from sltune.wording import shortened

MAX_NAME = 18
"""Longer names would leave the bars little of the figure's width."""
MIN_RELIABLE = 20
"""With fewer configurations, another seed of the method may give another order."""


def importance_plots(explained_runs: Sequence[tuple[Series, Mapping[str, float]]]) -> Iterator[Plot]:
    """Draw the share of each parameter in the accuracy's variance, for every search that has shares."""
    found = [(one, shares) for one, shares in explained_runs if shares]
    shown = [one for one, _ in found]
    stems, heads = names("parameter-importance", shown), titles("Parameter importance (fANOVA)", shown)
    for (one, shares), name, title in zip(found, stems, heads, strict=True):
        yield Plot(name, title + _sampled(one), _alt(one, shares), _figure(shares))


def _sampled(series: Series) -> str:
    used, of = explained(series)
    few = ": too few to rely on" if used < MIN_RELIABLE else ""
    return f", {used}{f' of {of}' if used < of else ''} configurations{few}"


def _figure(shares: Mapping[str, float]) -> Figure:
    figure = new_figure(0.7 + 0.22 * len(shares))
    axes = figure.subplots()
    percents = [100 * share for share in shares.values()]
    bars = axes.barh(range(len(shares)), percents, height=0.62, color=BLUE)
    axes.bar_label(bars, [f"{percent:.1f}" for percent in percents], padding=3, fontsize=8)
    axes.set_yticks(range(len(shares)), [shortened(name, MAX_NAME) for name in short_names(list(shares))])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="share of the explained variance (%)", xlim=(0, 1.12 * max(percents)))
    axes.set_ylim(len(shares) - 0.5, -0.5)
    return figure


def _alt(series: Series, shares: Mapping[str, float]) -> str:
    listed = ", ".join(f"{key} {100 * share:.1f} %" for key, share in shares.items())
    used, of = explained(series)
    which = f"{used} of the {of}, evenly spaced in the order of asking" if used < of else f"{of}"
    return (
        f"{series.name}: share of each parameter in the variance of mean validation accuracy that single parameters "
        f"explain: {listed}. Configurations used: {which}. Parameters searched only under conditions have no "
        "share."
    )

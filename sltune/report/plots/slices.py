"""Accuracy over the values of each searched parameter, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sltune.report.analysis.importance import SearchedPoint, points
from sltune.report.analysis.series import Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import (
    BLUE,
    DENSE,
    INCHES_PER_CHARACTER,
    ORANGE,
    VERMILLION,
    legend_above,
    log_scale,
    names,
    new_figure,
    titles,
    width_inches,
)
from sltune.report.tables.configurations import short_names
from sltune.settings.domains import ChoiceDomain, Domain
from sltune.settings.space import Space
from sltune.settings.types import Value
from sltune.wording import as_toml, shortened

MAX_SLICES, MIN_SLICE_INCHES = 9, 1.6
"""Three rows of three are the most whose axes are readable on one page; narrower axes have no room for ticks."""
MAX_CATEGORY_LENGTH = 16
"""Names of categories stand upright below the axes; longer ones would take more height than the points."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, modulo 1, are evenly spread, however many there are."""


@dataclass(frozen=True)
class Cloud:
    """The configurations of a search as points, and the parameters to show. best: place of the best in ``complete``."""

    complete: list[SearchedPoint]
    paused: list[SearchedPoint]
    pruned: list[SearchedPoint]
    best: int | None
    domains: Mapping[str, Domain]

    @classmethod
    def of(cls, series: Series, space: Space, shares: Mapping[str, float]) -> Cloud:
        complete = points(space, series.complete)
        paused, pruned = (
            points(space, [one for one in series.results if one.state == state]) for state in ("paused", "pruned")
        )
        best = points(space, [one for one in series.complete if one == series.shown])
        place = complete.index(best[0]) if best else None
        varied = [key for key in space.domains if _values(key, [*complete, *paused, *pruned]) > 1]
        keys = [*shares, *(key for key in varied if key not in shares)][:MAX_SLICES]
        return cls(complete, paused, pruned, place, {key: space.domains[key] for key in keys})

    @property
    def is_dense(self) -> bool:
        return len(self.complete) + len(self.paused) + len(self.pruned) > DENSE


def slice_plots(explained_runs: Sequence[tuple[Series, Mapping[str, float]]]) -> Iterator[Plot]:
    """Draw at most MAX_SLICES parameters, the most important first, of searches with two complete configurations."""
    clouds = [(one, Cloud.of(one, one.space, shares)) for one, shares in explained_runs if one.space]
    found = [(one, cloud) for one, cloud in clouds if cloud.domains and len(cloud.complete) > 1]
    shown = [one for one, _ in found]
    for (one, cloud), name, title in zip(found, names("slices", shown), titles("Slices", shown), strict=True):
        yield Plot(name, title, _alt(one, cloud), _figure(cloud))


def _values(key: str, found: Sequence[SearchedPoint]) -> int:
    return len({values[key] for values, _ in found if key in values})


def _figure(cloud: Cloud) -> Figure:
    columns = min(3, int(width_inches() / MIN_SLICE_INCHES), len(cloud.domains))
    slice_inches = (width_inches() - 0.4) / columns
    rows = -(-len(cloud.domains) // columns)
    longest = max(_label_length(domain, slice_inches) for domain in cloud.domains.values())
    figure = new_figure(0.2 + rows * (1.65 + 0.06 * longest))
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes, (key, domain), name in zip(grid, cloud.domains.items(), short_names(list(cloud.domains)), strict=False):
        _draw(axes, cloud, key, domain, slice_inches)
        axes.set_title(shortened(name, int(slice_inches / INCHES_PER_CHARACTER)), fontsize=8, pad=4)
    for axes in grid[len(cloud.domains) :]:
        axes.remove()
    figure.supylabel("mean validation accuracy (%)", fontsize=8)
    legend_above(figure, max(grid[: len(cloud.domains)], key=lambda axes: len(axes.collections)))
    return figure


def _draw(axes: Axes, cloud: Cloud, key: str, domain: Domain, slice_inches: float) -> None:
    size, dense = (4, True) if cloud.is_dense else (14, False)
    axes.scatter(*_places(key, domain, cloud.pruned), s=size, facecolors="none", edgecolors=ORANGE, alpha=0.6,
                 marker="v", linewidths=0.7, rasterized=dense, label="pruned, mean of the folds it has")  # fmt: skip
    if cloud.paused:
        axes.scatter(*_places(key, domain, cloud.paused), s=size, facecolors="none", edgecolors=BLUE, alpha=0.6,
                     marker="o", linewidths=0.7, rasterized=dense, label="paused, predicted mean")  # fmt: skip
    axes.scatter(*_places(key, domain, cloud.complete), s=size, color=BLUE, linewidths=0, alpha=0.8, rasterized=dense,
                 label="complete")  # fmt: skip
    if cloud.best is not None and key in cloud.complete[cloud.best][0]:
        before = sum(key in values for values, _ in cloud.complete[: cloud.best])
        x, y = _places(key, domain, cloud.complete)
        axes.scatter(x[before], y[before], s=80, color=VERMILLION, marker="*", edgecolors="white", linewidths=0.6,
                     zorder=3, label="best")  # fmt: skip
    if isinstance(domain, ChoiceDomain):
        _name_categories(axes, domain, slice_inches)
    elif domain.log:
        log_scale(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _label_length(domain: Domain, slice_inches: float) -> int:
    """Return the length of the longest category if they must stand upright, as they do not fit side by side; else 0."""
    texts = [_category(choice) for choice in domain.choices] if isinstance(domain, ChoiceDomain) else []
    longest = max(map(len, texts), default=0)
    return longest if longest * len(texts) * INCHES_PER_CHARACTER > 0.6 * slice_inches else 0


def _name_categories(axes: Axes, domain: ChoiceDomain, slice_inches: float) -> None:
    texts = [_category(choice) for choice in domain.choices]
    upright = _label_length(domain, slice_inches) > 0
    axes.set_xticks(range(len(texts)), texts, rotation=90 if upright else 0)
    axes.set_xlim(-0.5, len(texts) - 0.5)


def _places(key: str, domain: Domain, found: Sequence[SearchedPoint]) -> tuple[list[float], list[float]]:
    """Return where the configurations that have a value stand. Those of a category stand beside each other."""
    here = [(values[key], accuracy) for values, accuracy in found if key in values]
    if isinstance(domain, ChoiceDomain):
        x = [domain.choices.index(value) + 0.5 * (place * GOLDEN % 1 - 0.5) for place, (value, _) in enumerate(here)]
    else:
        x = [float(value) for value, _ in here]  # type: ignore[arg-type]
    return x, [accuracy for _, accuracy in here]


def _category(value: Value) -> str:
    items = value if isinstance(value, tuple) else [value]
    text = ", ".join(item if isinstance(item, str) else as_toml(item) for item in items)
    return shortened(text or "none", MAX_CATEGORY_LENGTH)


def _alt(series: Series, cloud: Cloud) -> str:
    paused = f", {len(cloud.paused)} paused" if cloud.paused else ""
    text = f"{series.name}: mean validation accuracy of {len(cloud.complete)} complete{paused} and {len(cloud.pruned)} "
    text += f"pruned configurations over {', '.join(cloud.domains)}."
    if cloud.best is not None:
        values, accuracy = cloud.complete[cloud.best]
        chosen = ", ".join(f"{key} = {as_toml(value)}" for key, value in values.items())
        text += f" The best, {accuracy:.1f} %, has {chosen}."
    return text

"""Accuracy over the length of the training crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.transforms import ScaledTranslation

from sltune.report.analysis.series import Basis, RecordedResult, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import DENSE, Look, chance_line, legend_above, log_scale, look, new_figure
from sltune.settings.types import Value

MAX_BARS = 150
"""More error bars would hide one another."""

LENGTH, MODE = "sampling.train_crop_ms", "sampling.train_crop"


@dataclass(frozen=True)
class PointKind:
    """What the points of a series have in common. part: what they were measured on, validation or test."""

    basis: Basis
    mode: str
    part: str
    searched: bool

    def label(self, data: bool) -> str:
        text = f"{self.part}, {self.mode} crops{', search' if self.searched else ''}"
        text += ", epoch selected on test" if self.basis.optimistic else ""
        return f"{text}; {self.basis.dataset.name} {'+'.join(self.basis.sessions)}" if data else text


@dataclass(frozen=True)
class LengthPoint:
    """One complete configuration: mean and standard deviation (ddof 1) over its trials, NaN for one; other settings."""

    length_ms: int
    mean: float
    std: float
    others: Mapping[str, Value]


Groups = Mapping[PointKind, Sequence[LengthPoint]]


def accuracy_over_sample_length(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw every complete configuration with crops of some length, if there are at least two lengths.

    Points of one kind are joined if they differ in nothing but the length.
    """
    groups = lengths(series)
    if len({point.length_ms for point in chain(*groups.values())}) < 2:
        return
    figure = new_figure(2.6)
    axes = figure.subplots()
    several = len({(kind.basis.dataset, kind.basis.sessions) for kind in groups}) > 1
    total = sum(map(len, groups.values()))
    for number, (kind, points) in enumerate(groups.items()):
        drawn = _draw(axes, points, look(number), kind.label(several), total)
        if not kind.searched:
            _move(drawn, axes, 3 * number)
    axes.set(xlabel="length of training crops (ms)", ylabel="accuracy (%), mean ± std")
    all_ms = [point.length_ms for point in chain(*groups.values())]
    if max(all_ms) / min(all_ms) >= 10:
        log_scale(axes)
    chance_line(axes, [kind.basis.dataset.chance_percent for kind in groups])
    legend_above(figure, axes)
    yield Plot("accuracy-over-sample-length", "Accuracy over sample length", _alt(groups, several), figure)


def lengths(series: Sequence[Series]) -> dict[PointKind, list[LengthPoint]]:
    """Return the points of each kind by length; test accuracy of evaluations only, as a search must not see it."""
    groups: dict[PointKind, list[LengthPoint]] = {}
    for one in series:
        for result in (one for one in one.results if one.state == "complete"):
            mode = result.settings.get(MODE, "whole")
            for part in ("validation",) if one.is_search else ("validation", "test"):
                point = _point(result, part)
                if point and mode != "whole":
                    kind = PointKind(Basis.of(result.done[0]), str(mode), part, one.is_search)
                    groups.setdefault(kind, []).append(point)
    return {kind: sorted(points, key=lambda point: (point.length_ms, point.mean)) for kind, points in groups.items()}


def _point(result: RecordedResult, part: str) -> LengthPoint | None:
    percents = result.percents("test_accuracy" if part == "test" else "val_accuracy")
    length_ms = result.settings.get(LENGTH)
    if not percents or len(percents) < len(result.done) or not isinstance(length_ms, int):
        return None
    std = float(np.std(percents, ddof=1)) if len(percents) > 1 else float("nan")
    others = {key: value for key, value in result.settings.items() if key != LENGTH}
    return LengthPoint(length_ms, float(np.mean(percents)), std, others)


def _draw(axes: Axes, points: Sequence[LengthPoint], look: Look, label: str, total: int) -> ErrorbarContainer:
    joined = len({point.length_ms for point in points}) == len(points) > 1
    joined = joined and all(point.others == points[0].others for point in points)
    x, y = [point.length_ms for point in points], [point.mean for point in points]
    std = None if total > MAX_BARS else np.nan_to_num([point.std for point in points])
    return axes.errorbar(
        x, y, yerr=std, color=look.colour, marker=look.marker, linestyle=look.line if joined else "none",
        markersize=4.5 if std is not None else 2.5, elinewidth=0.8, capsize=2, capthick=0.8,
        rasterized=total > DENSE, alpha=1.0 if std is not None else 0.5, label=label,
    )  # fmt: skip


def _move(drawn: ErrorbarContainer, axes: Axes, points_right: float) -> None:
    """Move what is drawn aside: validation and test of a configuration, at the same length, must both be readable."""
    aside = ScaledTranslation(points_right / 72, 0, axes.figure.dpi_scale_trans)
    for artist in drawn.get_children():
        artist.set_transform(artist.get_transform() + aside)


def _alt(groups: Groups, several: bool) -> str:
    bars = "Bars: standard deviation over folds and seeds (ddof 1)."
    if sum(map(len, groups.values())) > MAX_BARS:
        bars = "Standard deviations are left out, as they would hide one another."
    return f"{'; '.join(_sentence(kind, points, several) for kind, points in groups.items())}. {bars}"


def _sentence(kind: PointKind, points: Sequence[LengthPoint], several: bool) -> str:
    best = max(points, key=lambda point: point.mean)
    std = "" if np.isnan(best.std) else f" ± {best.std:.1f}"
    highest = f"{best.mean:.1f}{std} % at {best.length_ms} ms"
    if len(points) == 1:
        return f"{kind.label(several)}: {highest}"
    ends = f"{points[0].length_ms} to {points[-1].length_ms} ms"
    return f"{kind.label(several)}: {len(points)} configurations of {ends}, highest {highest}"

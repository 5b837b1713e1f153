"""Test accuracy of the shown configurations by recording session and by signer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sltune.report.analysis.series import Basis, Proportion, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import chance_line, legend_above, look, new_figure
from sltune.wording import shortened

MAX_GROUPS = 100
"""With more, as when every sample is a subject of its own, a row for each tells nothing."""
MAX_NAME = 18
"""Longer names would leave the intervals little of the figure's width."""

Found = Sequence[tuple[Series, Mapping[str, Proportion]]]
"""Runs with their shares by group."""


def accuracy_by_session(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the accuracy on the test recordings of each session, by name."""
    found = _found(series, "session")
    if not found:
        return
    names = sorted({name for _, shares in found for name in shares})
    figure = new_figure(2.4)
    axes = figure.subplots()
    _draw(axes, found, names, upright=True)
    axes.set_xticks(range(len(names)), [_with_samples(name, found) for name in names])
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set(xlabel="session", ylabel="test accuracy (%), 95 % interval", ylim=(0, 102))
    chance_line(axes, [one.dataset.chance_percent for one, _ in found])
    legend_above(figure, axes)
    yield Plot("accuracy-by-session", "Test accuracy by session", _alt(found), figure)


def accuracy_by_signer(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the accuracy on the test recordings of each signer, the best of the first run on top."""
    found = _found(series, "subject")
    if found:
        names = sorted({name for _, shares in found for name in shares}, key=lambda name: _rank(name, found))
        yield Plot("accuracy-by-signer", "Test accuracy by signer", _alt(found), _by_signer(found, names))


def _found(series: Sequence[Series], group: Literal["session", "subject"]) -> Found:
    """Return the proportions of every run whose test samples are of more than one group."""
    shares = [(one, one.shown.by(group)) for one in series if one.shown]
    return [(one, found) for one, found in shares if 1 < len(found) <= MAX_GROUPS]


def _by_signer(found: Found, names: Sequence[str]) -> Figure:
    figure = new_figure(0.8 + len(names) * (0.145 + 0.07 * (len(found) - 1)))
    axes = figure.subplots()
    _draw(axes, found, names, upright=False)
    axes.set_yticks(range(len(names)), [shortened(name, MAX_NAME) for name in names])
    axes.grid(axis="y", linewidth=0.3, color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.set(xlabel="test accuracy (%), 95 % interval", ylabel="signer", xlim=(0, 102), ylim=(len(names) - 0.4, -0.6))
    chance_line(axes, [one.dataset.chance_percent for one, _ in found], vertical=True)
    legend_above(figure, axes)
    return figure


def _draw(axes: Axes, found: Found, names: Sequence[str], upright: bool) -> None:
    """Draw accuracies with their intervals; groups from left to right if upright, else from top to bottom."""
    for number, (series, shares) in enumerate(found):
        here = [(place, shares[name]) for place, name in enumerate(names) if name in shares]
        at = [place + 0.6 * (number - (len(found) - 1) / 2) / len(found) for place, _ in here]
        percents = np.array([share.percent for _, share in here])
        reach = np.abs(np.array([share.interval_percent for _, share in here]).T - percents)
        colour, marker = look(number).colour, look(number).marker
        x, y = (at, percents) if upright else (percents, at)
        axes.errorbar(
            x, y, xerr=None if upright else reach, yerr=reach if upright else None, fmt=marker, color=colour,
            markersize=4, elinewidth=0.9, capsize=2, capthick=0.9, label=_label(series),
        )  # fmt: skip


def _label(series: Series) -> str:
    optimistic = series.shown and series.shown.done and Basis.of(series.shown.done[0]).optimistic
    return f"{series.label}{' (epoch selected on test)' if optimistic else ''}"


def _rank(name: str, found: Found) -> tuple[float | str, ...]:
    return (*(-shares[name].percent if name in shares else 1.0 for _, shares in found), name)


def _with_samples(name: str, found: Found) -> str:
    """Return a group's name with its number of samples, where that is the same in all runs."""
    samples = {shares[name].samples for _, shares in found if name in shares}
    return f"{shortened(name, MAX_NAME)}\n{samples.pop()} samples" if len(samples) == 1 else shortened(name, MAX_NAME)


def _alt(found: Found) -> str:
    words = "; ".join(_sentence(*one) for one in found)
    return f"{words}. Bars: Wilson 95 % intervals of the tested samples, each counted once."


def _sentence(series: Series, shares: Mapping[str, Proportion]) -> str:
    """Say how accurate the groups are: each of a few, else the ends."""
    order = sorted(shares, key=lambda name: (-shares[name].percent, name))
    if len(order) <= 4:
        return f"{series.label}: " + ", ".join(f"{name} {shares[name].percent:.1f} %" for name in sorted(shares))
    ends = f"{order[0]} {shares[order[0]].percent:.1f} % to {order[-1]} {shares[order[-1]].percent:.1f} %"
    middle = float(np.median([share.percent for share in shares.values()]))
    return f"{series.label}: {len(order)} groups from {ends}, median {middle:.1f} %"

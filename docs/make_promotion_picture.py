"""Draws docs/promotion.png: which trainings a search decided on. python docs/make_promotion_picture.py

The trainings come from the surrogate of benchmarks/search_cost.py; the search is real.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sltune.runs.prediction import predict

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "benchmarks"))

from search_cost import Cell, Seen, Surrogate, search_sltune  # noqa: E402

REPEAT, TRAININGS = 3, 96


def main() -> None:
    cell = Cell(4, 1, 1.0, TRAININGS)
    seen = search_sltune(Surrogate(cell.space, REPEAT, cell.noise), cell.space, REPEAT, TRAININGS)
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_trainings(above, seen)
    _draw_means(below, seen)
    figure.savefig(DOCS / "promotion.png")


def _draw_trainings(axes: Axes, seen: Seen) -> None:
    """A square for each training: its configuration, its fold, and when it came."""
    fold = dict.fromkeys(range(len(seen.scores)), 0)
    x, y, when = [], [], []
    for number, configuration in enumerate(seen.order):
        x.append(configuration)
        y.append(fold[configuration])
        when.append(number + 1)
        fold[configuration] += 1
    drawn = axes.scatter(x, y, c=when, marker="s", s=22, cmap="viridis")
    axes.set_yticks(range(4), [f"fold {number}" for number in range(4)])
    axes.set_ylim(3.6, -0.6)
    axes.figure.colorbar(drawn, ax=axes, label="training number")
    full = len(seen.scores) * seen.steps
    title = f"{len(seen.order)} trainings instead of {full}: every configuration begins, the best go on"
    axes.set_title(title, loc="left", fontsize=10)


def _draw_means(axes: Axes, seen: Seen) -> None:
    scores = np.full((len(seen.scores), seen.steps), np.nan)
    for row, own in enumerate(seen.scores):
        scores[row, : len(own)] = own
    means = 100 * predict(scores).mean
    complete = np.array([len(scores) == seen.steps for scores in seen.scores])
    places = np.arange(len(means))
    axes.scatter(places[~complete], means[~complete], s=16, facecolors="none", edgecolors="#0072B2", label="paused")
    axes.scatter(places[complete], means[complete], s=16, color="#0072B2", label="complete")
    axes.set(xlabel="configuration, in the order of asking", ylabel="predicted mean\nof all folds (%)")
    axes.legend(loc="lower right", fontsize=8)


if __name__ == "__main__":
    main()

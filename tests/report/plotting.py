"""Searches written by hand, and what stands in a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from sltune.report.all_plots import plots
from sltune.report.analysis.runs import load_runs
from sltune.report.plots.plot import Plot
from sltune.settings.configuration import Configuration
from sltune.settings.toml import flat
from tests.written_runs import Spec, make_record, trial_name, write_run

Points = list[tuple[float, float]]


def drawn(*folders: Path) -> dict[str, Plot]:
    return {plot.name: plot for plot in plots(load_runs(folders))}


def plot_named(name: str, *folders: Path) -> Plot:
    """Return one plot of some runs, and draw none that comes after it."""
    return next(plot for plot in plots(load_runs(folders)) if plot.name == name)


def config(settings: Mapping[str, Any], protocol: str = "train-val-test") -> Spec:
    """Return a record's configuration: defaults, and some settings by their keys."""
    return Configuration.of({**settings, "evaluation.protocol": protocol}).model_dump(mode="json")


def write_epochs(folder: Path, record: Spec, rows: Sequence[Sequence[float]], part: str = "val") -> Path:
    """Write epochs.csv with rows of training loss, loss and accuracy."""
    lines = [f"epoch,train_loss,{part}_loss,{part}_accuracy"]
    lines += [",".join(map(str, [epoch, *row])) for epoch, row in enumerate(rows, start=1)]
    file = folder / "trials" / trial_name(record) / "epochs.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def search_records(number: int, settings: Mapping[str, Any], accuracies: Sequence[float], **facts: Any) -> list[Spec]:
    """Return the records of one configuration, by fold."""
    own = {"config_id": f"c{number:04d}", "config": config(settings)} | facts
    return [
        make_record(fold, 0.5, val_accuracy=accuracy, **{"synaptic_ops": 1e6, **own})
        for fold, accuracy in enumerate(accuracies)
    ]


def write_search(folder: Path, space: str, records: Iterable[Spec], folds: int = 2, **info: Any) -> Path:
    steps = [[0, fold] for fold in range(folds)]
    write_run(folder, records, kind="tune", steps=steps, **info)
    (folder / "space.toml").write_text(space)
    return folder


def line(axes: Axes, label: str) -> Points:
    """Return the points of the only line whose label begins so."""
    (found,) = (line for line in axes.lines if str(line.get_label()).startswith(label))
    return list(zip(np.asarray(found.get_xdata()).tolist(), np.asarray(found.get_ydata()).tolist(), strict=True))


def dots(axes: Axes, label: str) -> Points:
    """Return the points of the only scatter with a label."""
    (found,) = (one for one in axes.collections if isinstance(one, PathCollection) and one.get_label() == label)
    return [(float(x), float(y)) for x, y in np.asarray(found.get_offsets())]


def labels(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def settings_of(record: Spec) -> dict[str, object]:
    return dict(flat(record["config"]))

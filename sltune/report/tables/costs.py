"""What configurations cost, as cells of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sltune.report.analysis.costs import Cost
from sltune.report.tables.grid import NONE, Grid
from sltune.runs.metrics import METRICS


def cost_grid(costs: Sequence[Cost]) -> Grid | None:
    """Return a line for each configuration; None where no trial has counted its operations."""
    measured = dict.fromkeys(name for cost in costs for name, value in cost.metrics.items() if value is not None)
    if not measured.keys() & {"synaptic_ops", "effective_acs"}:
        return None
    # The estimate of earlier versions stands only where nothing better was counted.
    hidden = {"synaptic_ops"} if "effective_acs" in measured else set()
    names = [name for name in dict.fromkeys(name for cost in costs for name in cost.metrics) if name not in hidden]
    header = ("run", *(METRICS[name].heading for name in names), "best epoch", "epochs", "minutes", "n")
    lines = tuple((cost.group.label, *_cells(cost, names), str(cost.n)) for cost in costs)
    return Grid("Cost, means over trials: operations and spikes a sample, epochs and minutes a trial", header, lines, 1)


def own_grid(costs: Sequence[Cost]) -> Grid | None:
    """Return a line for each metric of the user's and each configuration; None where there is no such metric."""
    lines = tuple(
        (
            cost.group.label,
            one.name,
            f"{one.mean:.4g}",
            NONE if one.std is None else f"{one.std:.4g}",
            str(len(one.values)),
        )
        for cost in costs
        for one in cost.own
    )
    title = "Metrics of your own on the test part, over folds and seeds"
    return Grid(title, ("run", "metric", "mean", "± ddof 1", "n"), lines, 2) if lines else None


def _cells(cost: Cost, names: Iterable[str]) -> list[str]:
    measured = [(METRICS[name], cost.metrics.get(name)) for name in names]
    values = [None if value is None else metric.shown(value) for metric, value in measured]
    return [NONE if x is None else f"{x:.4g}" for x in (*values, cost.best_epoch, cost.epochs, cost.minutes)]

"""What configurations cost, as cells of text."""

from __future__ import annotations

from collections.abc import Sequence

from sltune.report.analysis.costs import Cost
from sltune.report.tables.grid import NONE, Grid


def cost_grid(costs: Sequence[Cost]) -> Grid | None:
    """Return a line for each configuration; None where no trial has counted its operations."""
    if all(cost.synaptic_ops is None for cost in costs):
        return None
    header = ("run", "synaptic ops, M", "spikes, k", "best epoch", "epochs", "minutes", "n")
    lines = tuple(
        (
            cost.group.label,
            _shown(cost.synaptic_ops, 1e6),
            _shown(cost.spikes, 1e3),
            _shown(cost.best_epoch),
            _shown(cost.epochs),
            _shown(cost.minutes),
            str(cost.n),
        )
        for cost in costs
    )
    return Grid("Cost, means over trials: operations and spikes a sample, epochs and minutes a trial", header, lines, 1)


def _shown(value: float | None, unit: float = 1) -> str:
    return NONE if value is None else f"{value / unit:.4g}"

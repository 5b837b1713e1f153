"""What a configuration costs: operations and spikes a sample, epochs and time a trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from sltune.report.analysis.rows import Group
from sltune.report.tables.grid import NONE, Grid
from sltune.runs.record import Record


@dataclass(frozen=True)
class Cost:
    """Means over n trials with a result; None where none of them tells.

    synaptic_ops, spikes: per sample, as the record measures them; spikes of all layers, without those of the input.
    best_epoch: whose weights were kept. epochs: trained. minutes: of work.
    """

    group: Group
    n: int
    synaptic_ops: float | None
    spikes: float | None
    best_epoch: float | None
    epochs: float | None
    minutes: float | None


def cost_of(group: Group, records: Sequence[Record]) -> Cost:
    """Return the cost of a group's trials that have a result."""
    done = [record for record in records if record.status == "done"]
    return Cost(
        group,
        len(done),
        _mean(record.metrics.get("synaptic_ops") for record in done),
        _mean(_fired(record) for record in done),
        _mean(record.metrics.get("best_epoch") for record in done),
        _mean(record.timings.get("epochs") for record in done),
        _mean(record.seconds / 60 for record in done),
    )


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


def _fired(record: Record) -> float | None:
    spikes = {layer: count for layer, count in record.metrics.get("spikes", {}).items() if layer != "input"}
    return sum(spikes.values()) if spikes else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _shown(value: float | None, unit: float = 1) -> str:
    return NONE if value is None else f"{value / unit:.4g}"

"""What a configuration costs: operations and spikes per sample, epochs and time per trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from sltune.report.analysis.rows import Group
from sltune.runs.record import Record


@dataclass(frozen=True)
class Cost:
    """Means over n trials with a result; None where no record has the value.

    synaptic_ops, spikes: per sample; spikes of all layers but the input. best_epoch: the epoch whose weights were kept.
    epochs: how many were trained. minutes: how long a trial was worked on.
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


def _fired(record: Record) -> float | None:
    spikes = {layer: count for layer, count in record.metrics.get("spikes", {}).items() if layer != "input"}
    return sum(spikes.values()) if spikes else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None

"""Means over a configuration's trials: operations and spikes per sample, epochs and time, and metrics of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from sltune.report.analysis.rows import Group
from sltune.report.analysis.runs import Run
from sltune.runs.metrics import METRICS, is_reported
from sltune.runs.record import Record
from sltune.settings.energy import EnergyTable


@dataclass(frozen=True)
class OwnMetric:
    """A metric of the user's. values: by fold and seed, of trials that have one."""

    name: str
    values: Mapping[tuple[int, int], float]

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """The standard deviation with ddof 1; None of a single value."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Cost:
    """Means over n trials with a result; None where no record has the value.

    metrics: those with a column in the table of costs, per sample; spikes of all layers but the input. best_epoch: the
    epoch whose weights were kept. epochs: how many were trained. minutes: how long a trial was worked on. own: metrics
    of the user's.
    """

    group: Group
    n: int
    metrics: Mapping[str, float | None]
    best_epoch: float | None
    epochs: float | None
    minutes: float | None
    own: tuple[OwnMetric, ...] = ()


def cost_of(group: Group, records: Sequence[Record]) -> Cost:
    """Return the cost of a group's trials that have a result."""
    done = [record for record in records if record.status == "done"]
    measured = [record.metrics for record in done]
    names = [name for name, metric in METRICS.items() if metric.column and is_reported(name, measured)]
    return Cost(
        group,
        len(done),
        {name: _mean(one.number(name) for one in measured) for name in names},
        _mean(one.best_epoch for one in measured),
        _mean(record.timings.epochs for record in done),
        _mean(record.seconds / 60 for record in done),
        tuple(_own_of(done)),
    )


def with_energy(run: Run, energies: EnergyTable) -> Run:
    """Return a run with the energy that its operations take by other picojoules than those it was recorded with."""
    return replace(run, records=tuple(_with_energy(record, energies) for record in run.records))


def _with_energy(record: Record, energies: EnergyTable) -> Record:
    counts = [record.metrics.number(name) for name in ("effective_acs", "effective_macs", "membrane_updates")]
    operations = [count for count in counts if count is not None]
    if len(operations) < len(counts):
        return record
    joules = {
        "energy_joules": energies.joules(*operations),
        "energy_with_memory_joules": energies.joules_with_memory(*operations),
    }
    return record.model_copy(update={"metrics": record.metrics.model_copy(update=joules)})


def _own_of(records: Sequence[Record]) -> Iterator[OwnMetric]:
    for name in dict.fromkeys(name for record in records for name in record.metrics.own):
        of_trials = {(record.fold, record.seed): record.metrics.own.get(name) for record in records}
        known = {place: value for place, value in sorted(of_trials.items()) if value is not None}
        if known:
            yield OwnMetric(name, known)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None

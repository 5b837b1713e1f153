"""What has come of the configurations of a run, as plots and importances read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Literal

from sltune.errors import ConfigError
from sltune.report.analysis.runs import Run, names_of
from sltune.runs.folder import RunFolder
from sltune.runs.record import DatasetInfo, Record, TrialKey
from sltune.settings.domains import flat
from sltune.settings.space import Space, load_space
from sltune.settings.types import Value
from sltune.wording import shortened

State = Literal["complete", "pruned", "failed", "open"]

LONGEST_LABEL = 41


@dataclass(frozen=True)
class Basis:
    """What two means must share to be compared."""

    dataset: DatasetInfo
    protocol: str
    sessions: tuple[str, ...]

    @classmethod
    def of(cls, record: Record) -> Basis:
        return cls(record.dataset, record.judged.protocol, tuple(sorted(record.judged.sessions)))

    @property
    def optimistic(self) -> bool:
        """Whether the epoch was selected on the test set, which then has no validation beside it."""
        return self.protocol == "train-test"


@dataclass(frozen=True)
class Outcome:
    """One configuration. done: its trials with a result; waiting: those without a record, which may be running.

    state: complete if all trials are done, failed if one failed or diverged.
    """

    config_id: str
    state: State
    done: tuple[Record, ...]
    waiting: tuple[TrialKey, ...]
    trials: int

    @property
    def number(self) -> int:
        """Its place in the order of asking."""
        return int(self.config_id[1:])

    @property
    def steps(self) -> frozenset[tuple[int, int]]:
        """(seed, fold) of the trials with a result."""
        return frozenset((record.seed, record.fold) for record in self.done)

    @cached_property
    def settings(self) -> Mapping[str, Value]:
        """Every setting by its key; none where no trial is done."""
        items = flat(self.done[0].config if self.done else {})
        return {key: tuple(value) if isinstance(value, list) else value for key, value in items}  # type: ignore[misc]

    def values(self, metric: str) -> list[float]:
        """Return a metric of every done trial that has it."""
        return [value for record in self.done if (value := number_of(record, metric)) is not None]

    def percents(self, metric: str) -> list[float]:
        """Return an accuracy of every done trial that has it, in per cent."""
        return [100 * value for record in self.done if (value := number_of(record, metric)) is not None]

    @cached_property
    def validation(self) -> float | None:
        """Mean validation accuracy in per cent; None unless every done trial has one."""
        percents = self.percents("val_accuracy")
        return mean(percents) if percents and len(percents) == len(self.done) else None

    @cached_property
    def synaptic_ops(self) -> float | None:
        """Mean synaptic operations per sample; None unless every done trial has counted them."""
        values = self.values("synaptic_ops")
        return mean(values) if values and len(values) == len(self.done) else None


@dataclass(frozen=True)
class Series:
    """One run in the plots. space: None where its file is missing or of another version."""

    name: str
    run: Run
    space: Space | None
    outcomes: tuple[Outcome, ...]

    @property
    def is_search(self) -> bool:
        return self.run.info.is_search

    @property
    def dataset(self) -> DatasetInfo:
        """The data that the shown results are of; without any, those that the run was started on.

        Raises:
            DataError: ``run.json`` does not describe them.
        """
        return self.shown.done[0].dataset if self.shown and self.shown.done else self.run.dataset

    @property
    def complete(self) -> list[Outcome]:
        """The configurations that count as results of a search, in the order of asking."""
        return [one for one in self.outcomes if one.state == "complete" and one.validation is not None]

    def feasible(self, outcome: Outcome) -> bool:
        """Say whether a configuration keeps the constraints of the search."""
        search = self.space.search if self.space else None
        limit = search.constraints.get("max_synaptic_ops") if search else None
        return limit is None or (outcome.synaptic_ops is not None and outcome.synaptic_ops <= limit)

    @cached_property
    def shown(self) -> Outcome | None:
        """An evaluation's configuration, a search's best; of a search without one yet, the best so far."""
        named = self.run.best or (self.outcomes[0].config_id if len(self.outcomes) == 1 else "")
        if named or not self.is_search:
            return next((one for one in self.outcomes if one.config_id == named), None)
        return max(filter(self.feasible, self.complete), key=lambda one: one.validation or 0.0, default=None)

    @property
    def label(self) -> str:
        """Name of the run, and of its shown configuration where it has several."""
        name = shortened(self.name, LONGEST_LABEL)
        return f"{name}/{self.shown.config_id}" if self.shown and len(self.outcomes) > 1 else name


def series_of(runs: Sequence[Run]) -> list[Series]:
    """Return every run with its outcomes and a name that no other has."""
    return [
        Series(name, run, _space(run), tuple(_outcomes(run))) for name, run in zip(names_of(runs), runs, strict=True)
    ]


def number_of(record: Record, metric: str) -> float | None:
    """Return a metric of a record; None where it is missing or not a finite number."""
    value = record.metrics.get(metric)
    return None if value is None else float(value)


def _outcomes(run: Run) -> Iterator[Outcome]:
    records: defaultdict[str, dict[TrialKey, Record | None]] = defaultdict(dict)
    for key in run.planned:
        records[key.config_id][key] = None
    for record in run.records:
        records[record.config_id][record.key] = record
    for config_id in sorted(records, key=lambda name: int(name[1:])):
        found = [record for record in records[config_id].values() if record is not None]
        # Trials that differ in more than fold and seed have no mean; the table shows them in rows of their own.
        if len({Basis.of(record) for record in found}) <= 1:
            waiting = tuple(key for key, record in records[config_id].items() if record is None)
            done = tuple(sorted((one for one in found if one.status == "done"), key=lambda one: one.key))
            yield Outcome(config_id, _state(found, waiting), done, waiting, len(records[config_id]))


def _state(records: Sequence[Record], waiting: Sequence[TrialKey]) -> State:
    statuses = {record.status for record in records}
    if statuses & {"failed", "diverged"}:
        return "failed"
    if "pruned" in statuses:
        return "pruned"
    return "open" if waiting else "complete"


def _space(run: Run) -> Space | None:
    try:
        return load_space(RunFolder(run.folder).space_toml)
    except ConfigError:
        return None

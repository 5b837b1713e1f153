"""The configurations of a run and what has become of them, as plots, importances and tables read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt
from typing import Literal

from sltune.errors import ConfigError
from sltune.report.analysis.runs import Run, names_of
from sltune.runs.folder import RunFolder
from sltune.runs.record import DatasetInfo, Record, TrialKey, config_number
from sltune.runs.results import Criteria, Outlook, Result
from sltune.settings.space import Space, load_space
from sltune.settings.types import Value
from sltune.wording import shortened

MAX_LABEL_CHARACTERS = 41
"""Longer names would leave no room for other entries of a legend."""
NORMAL_95 = 1.959963984540054
"""Two-sided 5 % point of the normal distribution."""


@dataclass(frozen=True)
class Basis:
    """What two means must share to be compared."""

    dataset: DatasetInfo
    protocol: str
    split: str
    sessions: tuple[str, ...]

    @classmethod
    def of(cls, record: Record) -> Basis:
        judged = record.judged
        return cls(record.dataset, judged.protocol, judged.split_name, tuple(sorted(judged.sessions)))

    @property
    def optimistic(self) -> bool:
        """Whether the epoch was selected on the test set, which then has no validation beside it."""
        return self.protocol == "train-test"


@dataclass(frozen=True)
class Proportion:
    """How many of some samples were right; a sample tested with several seeds counts with the share of right ones."""

    correct: float
    samples: int

    @property
    def percent(self) -> float:
        return 100 * self.correct / self.samples

    @property
    def interval_percent(self) -> tuple[float, float]:
        """The 95 % interval of Wilson (1927)."""
        n, p, z = self.samples, self.correct / self.samples, NORMAL_95
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


@dataclass(frozen=True)
class RecordedResult(Result):
    """What has become of a configuration, with its trials.

    done: the records of those with a result. waiting: those without a record, which may be running. trials: how many
    there are in all. predicted: of a paused one, the mean that it would have with all trials, and its standard error.
    """

    done: tuple[Record, ...]
    waiting: tuple[TrialKey, ...]
    trials: int
    predicted: tuple[float, float] | None = None

    @property
    def steps(self) -> frozenset[tuple[int, int]]:
        """(seed, fold) of the trials with a result."""
        return frozenset((record.seed, record.fold) for record in self.done)

    @cached_property
    def settings(self) -> Mapping[str, Value]:
        """Every setting by its key that all done trials share: in a nested search some differ from fold to fold."""
        first, *others = [record.settings for record in self.done] or [{}]
        shared = [(key, value) for key, value in first.items() if all(one.get(key) == value for one in others)]
        return {key: tuple(value) if isinstance(value, list) else value for key, value in shared}

    def percents(self, metric: str) -> list[float]:
        """Return an accuracy, in per cent, of every done trial that has it."""
        return [100 * value for record in self.done if (value := record.metrics.number(metric)) is not None]

    def by(self, group: Literal["session", "subject"]) -> dict[str, Proportion]:
        """Return the share of right test samples by session or subject, over all done trials that have counted them.

        A sample counts once, however many seeds have tested it, since seeds tell nothing about further samples.
        """
        tests = defaultdict[tuple[str, str], list[tuple[int, int]]](list)
        for record in self.done:
            for recording, counts in record.metrics.recordings.items():
                tests[getattr(counts, group), recording].append((counts.correct, counts.samples))
        correct, samples = defaultdict[str, float](float), defaultdict[str, int](int)
        for (name, _), found in tests.items():
            size = max(of for _, of in found)
            correct[name] += size * sum(right for right, _ in found) / sum(of for _, of in found)
            samples[name] += size
        return {name: Proportion(correct[name], samples[name]) for name in samples}

    @property
    def val_percent(self) -> float | None:
        """Mean validation accuracy in per cent, of a paused one as predicted; None unless every done trial has one."""
        if self.predicted is not None:
            return 100 * self.predicted[0]
        return None if self.val_accuracy is None else 100 * self.val_accuracy


@dataclass(frozen=True)
class Series:
    """One run in the plots.

    space: None where its file is missing or of another version. outlook: what the results say of configurations that
    lack some, and of which one is the best.
    """

    name: str
    run: Run
    space: Space | None
    results: tuple[RecordedResult, ...]
    outlook: Outlook = field(compare=False)

    @property
    def is_search(self) -> bool:
        return self.run.info.is_search

    @property
    def dataset(self) -> DatasetInfo:
        """The data of the shown results; without any, those that the run was started on."""
        return self.shown.done[0].dataset if self.shown and self.shown.done else self.run.dataset

    @cached_property
    def criteria(self) -> Criteria:
        """By what the search judges its configurations."""
        return Criteria.of(self.space.search if self.space else None)

    @property
    def complete(self) -> list[RecordedResult]:
        """The configurations that count as results of a search, in the order of asking."""
        return [one for one in self.results if one.state == "complete" and one.val_accuracy is not None]

    @property
    def judged(self) -> list[RecordedResult]:
        """The complete configurations, and the paused ones that have a result, in the order of asking."""
        return [one for one in self.results if one.state in ("complete", "paused") and one.val_percent is not None]

    @cached_property
    def shown(self) -> RecordedResult | None:
        """The configuration of an evaluation, or the best of a search: that in run.json, or else the best so far."""
        named = self.run.best or (self.results[0].config_id if len(self.results) == 1 else "")
        if named or not self.is_search:
            return next((one for one in self.results if one.config_id == named), None)
        return self.criteria.best(self.results)

    @property
    def label(self) -> str:
        """Name of the run, and of its shown configuration where it has several."""
        name = shortened(self.name, MAX_LABEL_CHARACTERS)
        return f"{name}/{self.shown.config_id}" if self.shown and len(self.results) > 1 else name


def series_of(runs: Sequence[Run]) -> list[Series]:
    """Return every run with its results and a name that no other has."""
    return [_series(name, run) for name, run in zip(names_of(runs), runs, strict=True)]


def _series(name: str, run: Run) -> Series:
    results = list(_results(run))
    outlook = Outlook(results, _steps(results))
    if run.info.is_search:
        # Those that are paused have the means that they would have with all trials.
        results = [
            replace(one, predicted=outlook.mean(one)) if one.state == "paused" and one.val_accuracy is not None else one
            for one in results
        ]
    return Series(name, run, _space(run), tuple(results), outlook)


def _steps(results: Iterable[RecordedResult]) -> list[tuple[int, int]]:
    return sorted({step for one in results for step in (*one.steps, *((key.seed, key.fold) for key in one.waiting))})


def _results(run: Run) -> Iterator[RecordedResult]:
    records: defaultdict[str, dict[TrialKey, Record | None]] = defaultdict(dict)
    for key in run.planned:
        records[key.config_id][key] = None
    for record in run.records:
        records[record.config_id][record.key] = record
    for config_id in sorted(records, key=config_number):
        trials = records[config_id]
        ended = [record for record in trials.values() if record is not None]
        # Trials that differ in more than fold and seed have no mean; the table shows them in rows of their own.
        if len({Basis.of(record) for record in ended}) <= 1:
            result = Result.of(config_id, ended, len(trials))
            done = tuple(sorted((one for one in ended if one.status == "done"), key=lambda one: one.key))
            waiting = tuple(key for key, record in trials.items() if record is None)
            yield RecordedResult(config_id, result.state, result.observed, done, waiting, len(trials))


def _space(run: Run) -> Space | None:
    try:
        return load_space(RunFolder(run.folder).space_toml)
    except ConfigError:
        return None

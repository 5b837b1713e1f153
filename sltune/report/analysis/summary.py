"""A report's numbers: trial records in, accuracies over folds and seeds out.

A mean never crosses runs, configurations, protocols, splits, session choices or datasets, and a trial without a
result is counted and named in its row instead of being left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sltune.errors import ConfigError, DataError, UsageError
from sltune.report.analysis.baselines import Baseline, baselines_of
from sltune.report.analysis.choices import Choice, choices_of
from sltune.report.analysis.comparison import Comparison, Optimism, comparisons, optimism
from sltune.report.analysis.costs import Cost, cost_of
from sltune.report.analysis.pooling import kept_apart, pooled
from sltune.report.analysis.published import Published, load_published, published_file
from sltune.report.analysis.rows import Absence, Group, Row, TrialAccuracy
from sltune.report.analysis.runs import Run, names_of
from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.report.inference.two_way import Score, tally
from sltune.runs.epochs import read_epochs
from sltune.runs.folder import RunFolder
from sltune.runs.health.findings import findings
from sltune.runs.health.remarks import Remark, remarks
from sltune.runs.metrics import METRICS, is_reported
from sltune.runs.record import DatasetInfo, Judged, Record, TrialKey, chosen_sessions
from sltune.settings.sections import DRAWN, Evaluation
from sltune.settings.space import load_space

MAX_ROUNDING = 1e-6
"""Accuracies that differ by more are of different epochs; records of some versions have single precision."""
Trials = Mapping[TrialKey, Record | str]
"""The record of each trial of a group, or how far a trial without one is."""
Groups = dict[Group, dict[TrialKey, Record | str]]


@dataclass(frozen=True)
class ReportSection:
    """The rows of one dataset and session choice, what compares them, and the published figures that fit them.

    health: what speaks against the figures of trials. equivalence: up to so many points, a difference counts as none.
    """

    dataset: DatasetInfo
    sessions: tuple[str, ...]
    rows: tuple[Row, ...]
    published: tuple[Published, ...]
    comparisons: tuple[Comparison, ...] = ()
    optimism: tuple[Optimism, ...] = ()
    costs: tuple[Cost, ...] = ()
    choices: tuple[Choice, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    health: tuple[Remark, ...] = ()
    equivalence: float = EQUIVALENCE_POINTS

    @property
    def tests(self) -> list[Row]:
        """The rows of test accuracies over all folds and seeds; under train-test those of the selected epoch."""
        return [row for row in self.rows if row.seed is None and row.metric == "test_accuracy"]

    @property
    def protocols(self) -> list[str]:
        return list(dict.fromkeys(row.group.protocol or "?" for row in self.rows))

    @property
    def splits(self) -> list[str]:
        """The splits of its rows; none where all have plain folds."""
        return [split for split in dict.fromkeys(row.group.split for row in self.rows) if split != "folds"]

    @property
    def sources(self) -> list[str]:
        """Where the published figures come from."""
        return list(dict.fromkeys(figure.reference for figure in self.published if figure.reference))


@dataclass(frozen=True)
class Table:
    """What a report says; ``ddof`` is the one asked for. kept_apart: why runs with other seeds were not pooled."""

    ddof: int
    sections: tuple[ReportSection, ...]
    kept_apart: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for section in self.sections for row in section.rows)

    @property
    def published(self) -> tuple[Published, ...]:
        return tuple(dict.fromkeys(figure for section in self.sections for figure in section.published))


def table(
    runs: Sequence[Run],
    ddof: int = 1,
    published: bool = True,
    every: bool = False,
    baseline: str = "",
    equivalence: float = EQUIVALENCE_POINTS,
) -> Table:
    """Return mean and standard deviation of every group of trials, and the published figures that fit.

    Evaluations that agree in all but their seeds are pooled.

    Args:
        every: all configurations of a search; else its best alone, once it has one.
        baseline: run or configuration (``RUN/c0012``) with which alone the others are compared.
        equivalence: half width of the region of practical equivalence, in points.

    Raises:
        UsageError: ``ddof`` is neither 0 nor 1, or there is no such baseline.
        DataError: a record lacks its protocol; names the trial.
    """
    if ddof not in (0, 1):
        raise UsageError(f"ddof is {ddof}; allowed are 1 (sample) and 0 (population standard deviation)")
    figures = load_published(published_file()) if published else []
    apart: dict[tuple[DatasetInfo, tuple[str, ...]], Groups] = {}
    chosen: dict[Group, tuple[Choice, ...]] = {}
    run_of: dict[str, Run] = {}
    together = pooled(runs)
    for run, name in zip(together, names_of(together), strict=True):
        for group, trials in _groups(run, name, every).items():
            apart.setdefault((group.dataset, group.sessions), {})[group] = trials
            chosen[group], run_of[group.label] = tuple(choices_of(run, group)), run
    _check_baseline(baseline, [group for groups in apart.values() for group in groups])
    sections = []
    for (dataset, sessions), groups in apart.items():
        rows = [row for group, trials in groups.items() for row in _rows(group, trials, ddof)]
        fitting = tuple(figure for figure in figures if figure.fits(dataset.name, sessions))
        compared = comparisons(rows, baseline, equivalence), optimism(rows)
        one = ReportSection(dataset, sessions, tuple(rows), fitting, *compared, equivalence=equivalence)
        sections.append(_with_groups(one, groups, chosen, run_of))
    return Table(ddof, tuple(sections), tuple(kept_apart(together)))


def _with_groups(
    section: ReportSection, groups: Groups, chosen: Mapping[Group, tuple[Choice, ...]], run_of: dict[str, Run]
) -> ReportSection:
    """Return a section with what its groups cost, what was chosen among, their baselines and their health."""
    return replace(
        section,
        costs=tuple(cost_of(group, _records(trials)) for group, trials in groups.items()),
        choices=tuple(one for group in groups for one in chosen[group]),
        baselines=tuple(baselines_of(section.rows, run_of)),
        health=tuple(
            remark for group, trials in groups.items() for remark in _health(run_of[group.label], group.label, trials)
        ),
    )


def _check_baseline(baseline: str, groups: Sequence[Group]) -> None:
    if baseline and not any(baseline in (group.run, group.label) for group in groups):
        known = ", ".join(sorted({group.run for group in groups}))
        raise UsageError(f"--baseline {baseline}: must be one of the runs, {known}, or a configuration of theirs")


def _records(trials: Trials) -> list[Record]:
    return [record for record in trials.values() if isinstance(record, Record)]


def _health(run: Run, label: str, trials: Trials) -> Iterator[Remark]:
    """Give what speaks against the figures of a group's trials that have a result."""
    done = [record for record in _records(trials) if record.status == "done"]
    epochs = {record.key: read_epochs(run.trial(record.key).epochs_csv, skip_bad=True) for record in done}
    return remarks(label, {record.key: findings(epochs[record.key], record) for record in done})


def _groups(run: Run, label: str, every: bool) -> Groups:
    """Sort a run's trials into groups that may share a mean; a planned trial without a record maps to its state."""
    chosen_from, is_alone = run.configurations, bool(run.best) and not every
    run = run.only(run.best) if is_alone else run
    sorted_out: Groups = {}
    for record in run.records:
        group = replace(_group(record, label), is_nested=run.info.is_nested)
        if record.config_id == run.best:
            group = replace(group, chosen_from=chosen_from, is_alone=is_alone)
        sorted_out.setdefault(group, {})[record.key] = record
    homes: defaultdict[str, list[Group]] = defaultdict(list)
    for group in sorted_out:
        homes[group.config_id].append(group)
    recorded = {record.key for record in run.records}
    for key in (key for key in run.planned if key not in recorded):
        if key.config_id not in homes:
            planned = _planned_group(run, label, key.config_id)
            homes[key.config_id] = [replace(planned, is_nested=run.info.is_nested)]
        for group in homes[key.config_id]:
            sorted_out.setdefault(group, {})[key] = run.state_of(key)
    return sorted_out


def _group(record: Record, label: str) -> Group:
    judged = record.judged
    if not judged.protocol or not judged.sessions:
        place = f"run {record.run}, trial {record.key.name}"
        raise DataError(f"{place}: its record has no config.evaluation with protocol and sessions")
    group = Group(label, record.config_id, judged.protocol, tuple(sorted(judged.sessions)), record.dataset)
    return _split(group, judged)


def _planned_group(run: Run, label: str, config_id: str) -> Group:
    """Return the group of a configuration without any record, as far as the run's space file tells."""
    try:
        evaluation = load_space(RunFolder(run.folder).space_toml).evaluation
    except ConfigError:
        return Group(label, config_id, "", (), run.dataset)
    sessions = tuple(sorted(chosen_sessions(evaluation.sessions)))
    return _split(Group(label, config_id, evaluation.protocol, sessions, run.dataset), evaluation)


def _split(group: Group, judged: Judged | Evaluation) -> Group:
    """Return the group with what its settings say of the split."""
    same_splits = judged.split_seed >= 0 or judged.split not in DRAWN
    return replace(group, same_splits=same_splits, split=judged.split_name, is_one_fold=judged.folds == 1)


def _rows(group: Group, trials: Trials, ddof: int) -> list[Row]:
    seeds = sorted({key.seed for key in trials})
    chosen: list[int | None] = [None, *(seeds if len(seeds) > 1 else [])]
    metrics = _metrics(group.protocol, trials) if group.protocol else ["test_accuracy"]
    return [_row(group, trials, metric, seed, ddof) for metric in metrics for seed in chosen]


def _metrics(protocol: str, trials: Trials) -> list[str]:
    """Return the metrics of a protocol that have a row in the table, those of the test part first."""
    measured = [record.metrics for record in _records(trials)]
    names = [name for name, metric in METRICS.items() if metric.row and metric.is_measured_with(protocol)]
    return sorted((x for x in names if is_reported(x, measured)), key=lambda name: METRICS[name].part != "test")


def _row(group: Group, trials: Trials, metric: str, seed: int | None, ddof: int) -> Row:
    # With train-test, earlier versions wrote the loss of another epoch as test_loss.
    is_lowest = group.protocol == "train-test" and metric == "test_accuracy"
    loss = "test_loss_min" if is_lowest else METRICS[metric].loss
    outcomes = [_outcome(key, trials[key], metric, loss) for key in sorted(trials) if seed in (None, key.seed)]
    values = tuple(outcome for outcome in outcomes if isinstance(outcome, TrialAccuracy))
    return Row(group, metric, seed, ddof, values, tuple(x for x in outcomes if isinstance(x, Absence)))


def _outcome(key: TrialKey, record: Record | str, metric: str, loss: str) -> TrialAccuracy | Absence:
    if isinstance(record, str):
        return Absence(key.fold, key.seed, record)
    if record.status != "done":
        return Absence(key.fold, key.seed, record.status)
    fraction = record.metrics.number(metric)
    if fraction is None:
        return Absence(key.fold, key.seed, "without value")
    tested, trained = (tuple(sorted(record.splits.get(part, ()))) for part in ("test", "train"))
    ratio = len(tested) / len(trained) if trained else None
    measured_loss = record.metrics.number(loss) if loss else None
    of_subjects = _of_subjects(record, fraction) if METRICS[metric].part == "test" else {}
    return TrialAccuracy(key.fold, key.seed, 100 * fraction, tested, ratio, measured_loss, of_subjects)


def _of_subjects(record: Record, fraction: float) -> dict[str, Score]:
    """Return how often each subject was classed right; empty unless it is of this very accuracy."""
    recordings = record.metrics.recordings.values()
    samples = sum(one.samples for one in recordings)
    if not samples or abs(sum(one.correct for one in recordings) / samples - fraction) > MAX_ROUNDING:
        return {}
    return tally((one.subject, one.correct, one.samples) for one in recordings)

"""What classifiers without a network reach on the test parts of a report's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sltune.report.analysis.rows import Row, TrialAccuracy
from sltune.report.analysis.runs import Run
from sltune.report.inference.two_way import Score, tally
from sltune.runs.baselines import TestedFold
from sltune.runs.record import TrialKey


@dataclass(frozen=True)
class Baseline:
    """A classifier without a network, as a row of the same folds. beside: the rows that were tested on them."""

    name: str
    row: Row
    beside: tuple[Row, ...]

    @property
    def unbeaten(self) -> list[Row]:
        """The rows beside it whose mean is no higher."""
        own = self.row.mean
        return [row for row in self.beside if own is not None and row.mean is not None and row.mean <= own]


def baselines_of(rows: Iterable[Row], run_of: dict[str, Run]) -> list[Baseline]:
    """Return the baselines of test accuracies over all folds and seeds, each once for all rows of the same test parts.

    Args:
        run_of: the run of each row, by its group's label.
    """
    found: dict[tuple[str, tuple[TrialAccuracy, ...]], Baseline] = {}
    for row in rows:
        if row.seed is None and row.metric == "test_accuracy" and row.values:
            for name, values in _values(row, run_of[row.group.label]):
                own = Baseline(name, replace(row, values=values, absent=()), (row,))
                known = found.get((name, values))
                found[name, values] = replace(known, beside=(*known.beside, row)) if known else own
    return list(found.values())


def _values(row: Row, run: Run) -> Iterator[tuple[str, tuple[TrialAccuracy, ...]]]:
    """Give what each baseline reaches on the test parts of a row, where all of them are known."""
    folds = [run.tested_fold(TrialKey(row.group.config_id, one.seed, one.fold), one.tested_on) for one in row.values]
    known = [fold for fold in folds if fold is not None]
    subjects = {name: one.subject for record in run.records for name, one in record.metrics.recordings.items()}
    if len(known) == len(folds):
        for name in known[0].names:
            yield (
                name,
                tuple(
                    replace(one, percent=100 * fold.accuracy(name), loss=None, tested=_tested(fold, name, subjects))
                    for one, fold in zip(row.values, known, strict=True)
                ),
            )


def _tested(fold: TestedFold, baseline: str, subjects: Mapping[str, str]) -> dict[str, Score]:
    """Return how often a baseline classed each subject right; empty where records do not say who is who."""
    if not fold.recordings.keys() <= subjects.keys():
        return {}
    return tally((subjects[name], one.correct.get(baseline, 0), one.samples) for name, one in fold.recordings.items())

"""Runs for notebooks: tables, records, confusion, trained networks and the page of a run folder."""

from __future__ import annotations

import html
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sltune.api.tables import Table
from sltune.errors import UsageError
from sltune.report.all_plots import plots
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import table as numbers_of
from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.report.page import page
from sltune.report.plots.confusion_matrix import summed
from sltune.report.provenance import facts_of
from sltune.report.records import frame_of
from sltune.report.tables.accuracy import headlines, mean_and_std
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.record import Record
from sltune.settings.space import Space, load_space
from sltune.training.predictions import rates_of_classes, read_predictions
from sltune.tuning.reuse import configuration_of

if TYPE_CHECKING:
    from torch import nn

PAGE_HEIGHT_PX = 800
"""Height of a run's page in a notebook; it scrolls inside."""


class Page:
    """A page of tables and plots: shown in a notebook, or written to a file."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        frame = f'style="width: 100%; height: {PAGE_HEIGHT_PX}px; border: 0"'
        return f'<iframe srcdoc="{html.escape(self.text)}" sandbox="allow-scripts" {frame}></iframe>'

    def __repr__(self) -> str:
        return f"<Page of {len(self.text) >> 10:,} KiB; in a notebook, the last line of a cell shows it>"


class Run:
    """A run folder, whoever has made it, finished or not; it is read anew at every call. See `open_run`."""

    def __init__(self, folder: Path) -> None:
        self._folder = RunFolder(folder)
        self._info = read_info(self._folder)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.root

    @property
    def name(self) -> str:
        return self._info.name

    @property
    def best(self) -> str | None:
        """The configuration that a search has found best by validation, such as "c0012"; None where there is none."""
        return read_info(self._folder).best

    @property
    def space(self) -> Space:
        """What was evaluated or searched."""
        return load_space(self._folder.space_toml)

    def configuration(self, trial: str = "") -> Space:
        """Return one configuration, for `evaluate`: that of a trial, or the best one.

        Args:
            trial: a configuration such as "c0012", or a trial such as "c0012-f0-s0"; "" for the best of a search.

        Raises:
            UsageError: the run has no such configuration yet.
        """
        chosen = trial or self.best
        source = f"{self.name}-{chosen}" if chosen else self.name
        # Users' code is in the run folder.
        return replace(configuration_of(self._folder, trial), source=source, folder=self.path)

    def table(self, *, ddof: int = 1, published: bool = True, every: bool = False) -> Table:
        """Return the means over folds and seeds, as ``sltune report`` prints them.

        >>> import sltune
        >>> table = sltune.open_run("results/tiny").table()
        >>> table.rows()[["run", "config_id", "metric", "n"]]
            run config_id         metric  n
        0  tiny     c0000  test_accuracy  2
        1  tiny     c0000   val_accuracy  2

        Args:
            ddof: 1 for the sample deviation, 0 for that of the population.
            published: show published figures beside ours where they fit.
            every: show every configuration of a search, not only its best.

        Raises:
            UsageError: ddof is neither 0 nor 1.
            DataError: a record is broken.
        """
        return compare(self, ddof=ddof, published=published, every=every)

    def records(self) -> pd.DataFrame:
        """Return a row for each trial, also for those without a result; see `load_records`.

        >>> import sltune
        >>> sltune.open_run("results/tiny").records()[["config_id", "fold", "seed", "status"]]
          config_id  fold  seed status
        0     c0000     0     0   done
        1     c0000     1     0   done
        """
        return frame_of(load_runs([self.path]))

    def confusion(self, configuration: str = "") -> pd.DataFrame:
        """Return how often each class was taken for which on test samples, summed over folds and seeds.

        >>> import sltune
        >>> matrix = sltune.open_run("results/tiny").confusion()
        >>> matrix.index.name, matrix.columns.name, int(matrix.to_numpy().sum())
        ('true', 'predicted', 48)

        Args:
            configuration: its name; "" for that of an evaluation, or the best of a search.

        Raises:
            UsageError: no trial of it has a result.
        """
        (series,) = series_of(load_runs([self.path]))
        named = {one.config_id: one for one in series.results}
        shown = named.get(configuration) if configuration else series.shown
        matrix = None if shown is None else summed(shown)
        if matrix is None:
            raise UsageError(f"{self.path}: no trial of {configuration or 'its best configuration'} has a result")
        classes = list(series.dataset.classes)
        return pd.DataFrame(matrix, pd.Index(classes, name="true"), pd.Index(classes, name="predicted"))

    def predictions(self) -> pd.DataFrame:
        """Return a row for each test sample of each trial: what it is, what it was taken for, and all rates.

        >>> import sltune
        >>> predictions = sltune.open_run("results/tiny").predictions()
        >>> predictions.columns.tolist()  # doctest: +NORMALIZE_WHITESPACE
        ['config_id', 'fold', 'seed', 'part', 'recording', 'sample_id', 'label', 'predicted', 'rate_0', 'rate_1']
        >>> len(predictions)
        48

        Labels are numbers of classes, and ``rate_0`` … are the firing rates of the output neurons, in the order of the
        classes. Trials of earlier versions, which kept no rates, have no rows.

        Raises:
            DataError: a file is damaged.
        """
        trials = [(record, self._folder.trial(record.key).predictions) for record in self._folder.records()]
        frames = [_predicted(record, file) for record, file in trials if file.exists()]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def network(self, trial: str) -> nn.Module:
        """Return the network of a trial with the weights that were tested, in evaluation mode, on the CPU.

        It takes frames of shape (T, B, P, H, W). The networks that come with sltune return their output spikes, of
        shape (T, B, classes), whose mean over time are the rates by which samples are classified.

        >>> import sltune, torch
        >>> run, dataset = sltune.open_run("results/tiny"), sltune.open_dataset("data")
        >>> frames = dataset.frames(0, time_bin_ms=20)
        >>> with torch.no_grad():
        ...     rates = run.network("c0000-f0-s0")(frames[:, None]).mean(0)
        >>> rates.shape
        torch.Size([1, 2])

        Args:
            trial: its name, as `records` composes it of config_id, fold and seed.

        Raises:
            UsageError: the run has no record of such a trial.
            CodeError: a network of the user's own cannot be made; its code is the copy in the run folder, which is run.
            DataError: its weights or its code are absent or damaged.
        """
        from sltune.tuning.trial.trained import ended_trial, kept_weights, trained_network

        job, record = ended_trial(self._folder, trial)
        return trained_network(job, kept_weights(self._folder, record))

    def show(self) -> Page:
        """Return the page of tables and plots, which a notebook shows if this is the last line of a cell."""
        runs = load_runs([self.path])
        return Page(page(runs, numbers_of(runs), plots(runs)))

    def __repr__(self) -> str:
        (run,) = load_runs([self.path])
        result = numbers_of([run])
        means = [f"test {mean_and_std(row, result.ddof)}" for row in headlines(result) if row.n]
        return f"<Run {str(self.path)!r}: {'; '.join([*(text for _, text in facts_of(run)[:2]), *means])}>"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _predicted(record: Record, file: Path) -> pd.DataFrame:
    predictions = read_predictions(file)
    frame: pd.DataFrame = predictions.to_pandas()
    frame.insert(frame.columns.tolist().index("label") + 1, "predicted", rates_of_classes(predictions).argmax(1))
    for place, name in enumerate(("config_id", "fold", "seed")):
        frame.insert(place, name, getattr(record, name))
    return frame


def open_run(run: str | os.PathLike[str]) -> Run:
    """Open a run folder, finished or not.

    >>> import sltune
    >>> run = sltune.open_run("results/tiny")
    >>> run.name, run.best
    ('tiny', None)

    Raises:
        DataError: the folder is no run folder, or ``run.json`` is broken or of a newer version.
    """
    return Run(Path(run))


def compare(
    *runs: Run | str | os.PathLike[str],
    ddof: int = 1,
    published: bool = True,
    every: bool = False,
    baseline: str = "",
    equivalence: float = EQUIVALENCE_POINTS,
) -> Table:
    """Return one table of several runs, with each pair compared on the folds and seeds that they share.

    >>> import sltune
    >>> sltune.compare("results/tiny", "results/other").comparisons()[["first.run", "second.run", "n"]]
      first.run second.run  n
    0      tiny      other  2

    Args:
        ddof, published, every: as `Run.table` has them.
        baseline: run or configuration ("RUN/c0012") with which alone the others are compared.
        equivalence: up to so many points, a difference counts as none in practice.

    Raises:
        UsageError: ddof is neither 0 nor 1, or there is no such baseline.
        DataError: a folder is no run folder, or a record is broken.
    """
    folders = [run.path if isinstance(run, Run) else Path(run) for run in runs]
    return Table(numbers_of(load_runs(folders), ddof, published, every, baseline, equivalence))

"""An entry in the table of metrics and the function that measures it are all that a new metric takes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sltune
from sltune.events.dataset import open_dataset
from sltune.events.manifest import read_manifest
from sltune.progress.messages import trial_ended
from sltune.progress.tensorboard import ScalarLog
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import table
from sltune.report.page import page
from sltune.report.plots.learning_curves import learning_curves
from sltune.report.tables.text import Format, render
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, new_info, write_info
from sltune.runs.metrics import METRICS, Metric
from sltune.runs.record import TrialKey
from sltune.settings.space import Space
from sltune.training.fit import EvaluationResult
from sltune.tuning.campaign.campaign import evaluation_campaign
from sltune.tuning.trial import measures
from sltune.tuning.trial.checkpoints import Checkpoints
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trainer import run_job
from tests.small import CLASSES, SENSOR, quick

KEY = TrialKey("c0000", 0, 0)
NAME = "busiest_layer"
ENTRY = Metric(
    better="low",
    shown_as="%",
    row="busiest",
    column="busiest layer",
    panel="busiest layer",
    tag="activity/busiest",
    hparam=True,
)
Record = Callable[..., dict[str, Any]]
WriteRun = Callable[..., Path]


def busiest_layer(evaluation: EvaluationResult) -> float:
    return max(evaluation.firing_rates.values())


@pytest.fixture
def run(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of one trial, made while the table had one more metric than it has."""
    monkeypatch.setitem(METRICS, NAME, ENTRY)
    monkeypatch.setitem(measures.OF_EVALUATION, NAME, busiest_layer)
    manifest, configuration = read_manifest(dataset), quick()
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    space = Space.of(configuration).to_toml()
    folder.write(folder.space_toml, space)
    place = DatasetPlace.at(dataset, manifest)
    write_info(folder, new_info(folder, space, place, Checkpoints(5, run="run"), [(0, 0)]))
    campaign = evaluation_campaign(folder, configuration, place, [KEY])
    campaign.next_trial()
    log = ScalarLog(folder)
    job = Job(KEY, configuration, SENSOR, len(CLASSES))
    for result in run_job(job, open_dataset(dataset).samples, torch.device("cpu")):
        if result.status == "running":
            campaign.add_epochs(KEY, result.rows)
            log.epochs(KEY, result.rows)
        else:
            log.finish(campaign.finish(KEY, ended(result)))
    return folder


def ended(report: Report) -> Report:
    return Report("done", metrics=report.metrics, timings={"started": 1.0, "ended": 2.0})


def test_a_metric_that_is_added_to_the_table_is_found_wherever_its_entry_says(run: RunFolder) -> None:
    trial = run.trial(KEY)
    with trial.epochs_csv.open() as lines:
        by_epoch = [float(row[NAME]) for row in csv.DictReader(lines)]
    (record,) = run.records()
    value = record.metrics.number(NAME)
    assert value is not None
    assert record.metrics.best_epoch is not None
    assert 0 < value == by_epoch[record.metrics.best_epoch - 1]
    assert trial_ended(record, shows_test=False).facts["metrics"][NAME] == value

    shown = EventAccumulator(str(trial.path)).Reload()
    assert [event.value for event in shown.Scalars("activity/busiest")] == pytest.approx(by_epoch)
    assert [event.value for event in shown.Scalars(f"final/{NAME}")] == pytest.approx([value])

    assert list(sltune.load_records(run.root)[NAME]) == [value]
    runs = load_runs([run.root])
    summary = table(runs, published=False)
    assert json.loads(render(summary, "json"))["costs"][0][NAME] == value
    for text in (render(summary, "md"), render(summary, "latex"), page(runs, summary, [])):
        assert "busiest layer, " in text
        assert f"{100 * value:.4g}" in text
        assert f"{100 * value:.2f}" in text
    (line,) = [line for line in csv.DictReader(render(summary, "csv").splitlines()) if line["metric"] == NAME]
    assert float(line["mean_percent"]) == pytest.approx(100 * value)

    (plot,) = learning_curves(series_of(runs))
    axes = next(axes for axes in plot.figure.axes if axes.get_ylabel() == "busiest layer (%)")
    assert list(axes.lines[0].get_ydata()) == pytest.approx([100 * rate for rate in by_epoch])


@pytest.mark.parametrize("form", ["md", "csv", "latex", "json"])
def test_reports_of_runs_that_have_not_measured_it_stay_as_they_were(
    form: Format, record: Record, run_folder: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = load_runs([run_folder([record(0, 0.5, synaptic_ops=1e6)])])
    before = render(table(runs), form)
    monkeypatch.setitem(METRICS, NAME, ENTRY)
    assert render(table(runs), form) == before


def test_learning_curves_have_no_panel_for_what_no_run_has_measured(
    record: Record, run_folder: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder([record(0, 0.5)])
    rows = "epoch,train_loss,val_loss,val_accuracy\n1,1.0,0.9,0.25\n2,0.8,0.7,0.5\n"
    RunFolder(folder).trial(KEY).epochs_csv.write_text(rows)
    monkeypatch.setitem(METRICS, NAME, ENTRY)
    (plot,) = learning_curves(series_of(load_runs([folder])))
    assert [axes.get_ylabel() for axes in plot.figure.axes] == [
        "validation accuracy (%)",
        "validation loss",
        "training loss",
    ]

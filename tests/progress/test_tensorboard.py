"""TensorBoard's files, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sltune.errors import UsageError
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.store import read_table
from sltune.progress.tensorboard import ScalarLog, settings_of
from sltune.runs.folder import RunFolder
from sltune.runs.record import Record, TrialKey
from sltune.training.details import Details, histogram
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import run_job
from tests.small import CLASSES, SENSOR, quick
from tests.trials import epoch, record

KEY = TrialKey("c0000", 0, 1)
CONFIG = quick(evaluation__sessions=["S3"]).model_dump(mode="json")


def read(folder: Path) -> EventAccumulator:
    """Read all of a trial's files, with every value of every tag."""
    found = EventAccumulator(str(folder), size_guidance=dict.fromkeys(("scalars", "images", "histograms"), 0))
    return found.Reload()  # type: ignore[no-any-return]


def values(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in found.Scalars(tag)]


def hparams_of(found: EventAccumulator, tag: str) -> Any:
    content = found.SummaryMetadata(f"_hparams_/{tag}").plugin_data.content
    return HParamsPluginData.FromString(content)


def ended(**facts: Any) -> Record:
    metrics = {"best_epoch": 2, "val_loss": 0.5, "val_accuracy": 0.75, "test_loss": 0.25, "test_accuracy": 0.625}
    return record("c0000-f1-s0", config=CONFIG, **{"metrics": {**metrics, "synaptic_ops": 8.0}, **facts})


def test_epochs_and_the_result_are_curves_and_points(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = ScalarLog(folder)
    for number in (1, 2, 3):
        more = {"spikes_fc1": 100.0 * number, "firing_rate_fc1": 0.125 * number, "firing_rate_input": 0.5}
        log.epochs(KEY, [epoch(number, 0.25 * number, **more)])
    log.finish(ended())
    found = read(folder.trial(KEY).path)
    assert values(found, "accuracy/val") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert values(found, "activity/spikes_fc1") == [(1, 100), (2, 200), (3, 300)]
    assert values(found, "firing_rate/fc1") == [(1, 0.125), (2, 0.25), (3, 0.375)]
    assert values(found, "firing_rate/input") == [(1, 0.5), (2, 0.5), (3, 0.5)]
    final = {"val_loss": 0.5, "val_accuracy": 0.75, "test_loss": 0.25, "test_accuracy": 0.625, "synaptic_ops": 8.0}
    assert {name: values(found, f"final/{name}") for name in final} == {
        name: [(2, value)] for name, value in final.items()
    }
    # Seconds stand in epochs.csv; they are no curve.
    assert not any("seconds" in tag and "per_second" not in tag for tag in found.Tags()["scalars"])


def test_hparams_stand_in_the_trials_own_file_with_its_settings_and_metrics(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = ScalarLog(folder)
    log.finish(ended())
    path = folder.trial(KEY).path
    assert [entry.is_file() for entry in path.iterdir()] == [True]
    found = read(path)
    experiment = hparams_of(found, "experiment").experiment
    assert [info.name.tag for info in experiment.metric_infos] == [
        "final/val_loss", "final/val_accuracy", "final/test_loss", "final/test_accuracy", "final/synaptic_ops"
    ]  # fmt: skip
    start = hparams_of(found, "session_start_info").session_start_info.hparams
    assert start["training.epochs"].number_value == 2
    assert start["training.shuffle"].bool_value is False
    assert start["network.name"].string_value == "nmnist-mlp2"
    assert start["evaluation.sessions"].string_value == '["S3"]'
    assert start["fold"].number_value == 1
    assert start["status"].string_value == "done"
    assert {info.name for info in experiment.hparam_infos} == set(start) == set(settings_of(ended()))


def test_a_trial_without_a_result_is_listed_with_its_status_and_names_the_same_metrics(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = ScalarLog(folder)
    log.finish(ended(status="failed", metrics={}, timings={"epochs": 1.0}))
    found = read(folder.trial(KEY).path)
    assert found.Tags()["scalars"] == []
    assert len(hparams_of(found, "experiment").experiment.metric_infos) == 5
    start = hparams_of(found, "session_start_info").session_start_info
    assert start.hparams["status"].string_value == "failed"


def test_details_are_histograms_a_picture_and_how_to_read_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    weights = {"fc1.weight": histogram(torch.tensor([-1.0, 0.0, 0.5, 3.0]))}
    ScalarLog(folder).finish(ended(), Details(weights, picture, "From the top."))
    found = read(folder.trial(KEY).path)
    (event,) = found.Histograms("weights/fc1.weight")
    shown = event.histogram_value
    assert (event.step, shown.min, shown.max, shown.num, shown.sum, shown.sum_squares) == (2, -1, 3, 4, 2.5, 10.25)
    assert sum(shown.bucket) == 4
    (image,) = found.Images("raster")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), picture)
    assert "raster/reading/text_summary" in found.Tags()["tensors"]


def test_without_details_there_is_nothing_of_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ScalarLog(folder).finish(ended())
    tags = read(folder.trial(KEY).path).Tags()
    assert (tags["histograms"], tags["images"]) == ([], [])


@pytest.mark.parametrize("protocol", ["train-val-test", "train-test"])
def test_looking_at_a_network_changes_no_metric_and_no_random_stream(dataset: Path, protocol: str) -> None:
    settings = {"network__name": "slanimals", "network__dropout": 0.3, "training__shuffle": True}
    crop = {"sampling__train_crop": "random", "sampling__train_crop_ms": 60}
    configuration = quick(evaluation__protocol=protocol, **settings, **crop)
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    outcomes = []
    for with_details in (False, True):
        job = Job(KEY, configuration, SENSOR, len(CLASSES))
        *epochs, outcome = run_job(job, samples, torch.device("cpu"), with_details=with_details)
        rows = [dict(row) for epoch in epochs for row in epoch.rows]
        for row in rows:
            del row["seconds"], row["samples_per_second"]
        outcomes.append((rows, outcome.metrics, outcome.weights, torch.get_rng_state().tolist(), outcome.details))
    assert outcomes[0][:4] == outcomes[1][:4]
    assert outcomes[0][4] is None
    found = outcomes[1][4]
    assert found is not None
    assert found.reading.startswith("Time runs to the right, 3 steps.")
    # Crops of 60 ms in bins of 20 ms; 16x16 pixels give 20 · 7 · 7 and 50 · 2 · 2 pools, the network ends in 2 classes.
    assert [len(found.weights), found.raster.shape] == [8, (3 * (4 * 64 + 2) + 4 * 6, 600, 3)]
    assert 0 < rows[0]["firing_rate_input"] < 1


def test_curves_that_cannot_be_written_are_said_at_once(tmp_path: Path) -> None:
    """The run's folder is gone: what keeps the run from going on is an error of the very call."""
    (tmp_path / "run").mkdir()
    log = ScalarLog(RunFolder(tmp_path / "run"))
    log.epochs(KEY, [epoch(1)])
    (tmp_path / "run").rename(tmp_path / "trash")
    with pytest.raises(UsageError, match="run: is gone"):
        log.epochs(KEY, [epoch(2)])
    assert not (tmp_path / "run").exists()


def test_epochs_that_come_at_once_are_points_of_their_own_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    ScalarLog(RunFolder(tmp_path)).epochs(KEY, [epoch(number, 0.25 * number, seconds=2.0) for number in (1, 2, 3)])
    points = read(RunFolder(tmp_path).trial(KEY).path).Scalars("accuracy/val")
    assert [(point.step, point.value, point.wall_time) for point in points] == [
        (1, 0.25, 996.0), (2, 0.5, 998.0), (3, 0.75, 1000.0)
    ]  # fmt: skip


@pytest.mark.parametrize("is_new_process", [True, False])
def test_curves_of_a_trial_that_goes_on_from_a_checkpoint_keep_what_came_before_it(
    tmp_path: Path, is_new_process: bool
) -> None:
    first = ScalarLog(RunFolder(tmp_path))
    first.epochs(KEY, [epoch(number, 0.25) for number in (1, 2, 3)])
    second = ScalarLog(RunFolder(tmp_path)) if is_new_process else first
    second.epochs(KEY, [epoch(number, 0.75) for number in (3, 4)])
    second.finish(ended(timings={"epochs": 4.0}))
    found = read(RunFolder(tmp_path).trial(KEY).path)
    assert values(found, "accuracy/val") == [(1, 0.25), (2, 0.25), (3, 0.75), (4, 0.75)]

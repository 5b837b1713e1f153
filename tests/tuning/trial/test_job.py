"""One trial without Ray: what it gives, and that it is a function of its configuration, fold and seed."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from sltune.errors import DataError, UsageError
from sltune.events.frames import FrameFormat
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.splits.split import split_of
from sltune.events.store import read_table
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import parse_space
from sltune.training.batches import BatchSource
from sltune.training.predictions import rates_of_classes, read_predictions
from sltune.tuning.trial import estimate
from sltune.tuning.trial import trainer as trainer_module
from sltune.tuning.trial.estimate import describe
from sltune.tuning.trial.job import Job, refuse_rates_alone, starting_weights
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trainer import by_recording, run_job
from tests.small import CLASSES, SENSOR, quick


def run(
    dataset: Path, configuration: Configuration, fold: int = 0, seed: int = 0
) -> tuple[list[Mapping[str, float]], Report]:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    weights = starting_weights(configuration, fold)
    job = Job(TrialKey("c0000", seed, fold), configuration, SENSOR, len(CLASSES), weights)
    *rows, outcome = run_job(job, samples, torch.device("cpu"))
    assert {report.status for report in rows} <= {"running"}
    return [row for report in rows for row in report.rows], outcome


def without_time(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: row[name] for name in row if name not in ("seconds", "samples_per_second")} for row in rows]


def test_a_trial_learns_what_can_be_learned(dataset: Path) -> None:
    rows, outcome = run(dataset, quick(training__epochs=12))
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert outcome.status == "done"
    assert outcome.metrics["test_accuracy"] == 1.0
    # 2 signers of 8 are tested on, with 6 samples each, half of each class.
    assert outcome.metrics["confusion"] == [[6, 0], [0, 6]]
    assert outcome.split is not None
    assert list(outcome.metrics["recordings"]) == list(outcome.split.test)
    assert all((r["samples"], r["correct"]) == (6, 6) for r in outcome.metrics["recordings"].values())


def test_a_size_that_halves_the_sensor_trains_as_downsample_does(dataset: Path) -> None:
    settings = {
        "sampling__train_crop": "random",
        "sampling__train_crop_ms": 60,
        "sampling__augment": ("spatial_shift(pixels=2)",),
    }
    merged, sized = (
        run(dataset, quick(**settings, **more)) for more in ({"sampling__downsample": 2}, {"sampling__size": "8x8"})
    )
    assert without_time(merged[0]) == without_time(sized[0])
    assert merged[1].metrics == sized[1].metrics


def test_each_recording_counts_its_own_samples(dataset: Path) -> None:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    names = [recording.name for recording in samples.recordings()][:2]
    source = BatchSource(samples, samples.indices_of(names[::-1]), FrameFormat(SENSOR, 10), None, torch.device("cpu"))
    first, second = (len(samples.indices_of([name])) for name in names)
    found = by_recording(source, [True] * second + [False] * (first - 1) + [True])
    subject = {recording.name: (recording.subject, recording.session) for recording in samples.recordings()}
    assert found == {
        names[1]: dict(zip(("subject", "session"), subject[names[1]], strict=True))
        | {"samples": second, "correct": second},
        names[0]: dict(zip(("subject", "session"), subject[names[0]], strict=True)) | {"samples": first, "correct": 1},
    }


def test_the_same_seed_gives_the_same_numbers_and_weights_and_another_seed_others(dataset: Path) -> None:
    configuration = quick(sampling__train_crop="random", sampling__train_crop_ms=60, training__shuffle=True,
                          network__dropout=0.3)  # fmt: skip
    rows, outcome = run(dataset, configuration)
    again, same = run(dataset, configuration)
    others, _ = run(dataset, configuration, seed=1)
    assert without_time(rows) == without_time(again)
    assert outcome.weights == same.weights
    assert without_time(rows) != without_time(others)


@pytest.mark.parametrize(
    "settings",
    [
        {"training__optimizer": "adam", "network__dropout": 0.3, "training__schedule": "cosine"},
        {"training__optimizer": "sgd", "training__schedule": "step", "training__step_epochs": 2},
        {"training__optimizer": "adamw", "training__patience": 2, "training__learning_rate": 0.05},
        {"network__name": "slanimals", "network__norm": "tdbn", "training__shuffle": True},
        {"evaluation__protocol": "train-test", "training__learning_rate": 0.05},
    ],
)
def test_a_trial_that_goes_on_from_any_epoch_gives_the_numbers_and_weights_of_an_undisturbed_one(
    dataset: Path, settings: dict[str, object]
) -> None:
    """The process that goes on has other random numbers behind it, and none of the first one's memory."""
    configuration = quick(sampling__train_crop="random", sampling__train_crop_ms=60, training__epochs=5, **settings)
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    job, cpu = Job(TrialKey("c0000", 0, 1), configuration, SENSOR, len(CLASSES)), torch.device("cpu")
    rows, outcome, saved = [], None, []
    for result in run_job(job, samples, cpu):
        if result.status != "running":
            outcome = result
        else:
            rows += result.rows
            saved.append(result.checkpoint())
    for done, checkpoint in enumerate(saved, start=1):
        torch.rand(done)
        *epochs, end = run_job(job, samples, cpu, checkpoint)
        assert without_time([row for epoch in epochs for row in epoch.rows]) == without_time(rows[done:])
        assert end == outcome


def test_a_checkpoint_of_another_job_is_left_aside(dataset: Path) -> None:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    cpu = torch.device("cpu")

    def job(**settings: object) -> Job:
        return Job(TrialKey("c0000", 0, 1), quick(**settings), SENSOR, len(CLASSES))

    first, *_ = run_job(job(neuron__decay=0.5), samples, cpu)
    *_, undisturbed = run_job(job(), samples, cpu)
    for foreign in (first.checkpoint(), b"no checkpoint", first.checkpoint()[:1000], *forgeries(job(), samples)):
        assert list(run_job(job(), samples, cpu, foreign))[-1] == undisturbed


def forgeries(job: Job, samples: Samples) -> list[bytes]:
    """Checkpoints of a job, with its fingerprint, whose best weights or other parts are none."""
    epoch, *_ = run_job(job, samples, torch.device("cpu"))
    made = []
    for more in ({"best_weights": torch.zeros(9, dtype=torch.uint8)}, {"best_weights": 3}, {}):
        state = torch.load(io.BytesIO(epoch.checkpoint()), weights_only=True)
        state["more"] = {"job": job.fingerprint(), **more}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        made.append(buffer.getvalue())
    return made


def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss(dataset: Path) -> None:
    rows, outcome = run(dataset, quick(training__epochs=6, training__learning_rate=0.02))
    losses = [row["val_loss"] for row in rows]
    assert outcome.metrics["best_epoch"] == losses.index(min(losses)) + 1
    assert outcome.metrics["val_loss"] == min(losses)


def test_train_test_reports_the_lowest_loss_the_highest_accuracy_and_the_last_epoch(dataset: Path) -> None:
    rows, outcome = run(dataset, quick(evaluation__protocol="train-test", training__epochs=5))
    losses, accuracies = ([row[f"test_{name}"] for row in rows] for name in ("loss", "accuracy"))
    metrics = outcome.metrics
    assert (metrics["test_accuracy_last"], metrics["test_accuracy_max"]) == (accuracies[-1], max(accuracies))
    assert (metrics["test_loss_last"], metrics["test_loss_min"]) == (losses[-1], min(losses))
    assert (metrics["test_loss"], metrics["test_accuracy"]) == (min(losses), max(accuracies))
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1
    assert (metrics["val_loss"], metrics["val_accuracy"]) == (None, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"training__epochs": 3},
        {"training__epochs": 5, "evaluation__protocol": "train-test", "training__learning_rate": 0.05},
        {"sampling__eval_crops": 3, "sampling__eval_crop_ms": 60, "training__precision": "bfloat16"},
    ],
)
def test_what_a_record_says_of_the_test_follows_from_the_predictions(
    dataset: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    _, outcome = run(dataset, quick(**settings))
    assert outcome.predictions is not None
    (tmp_path / "predictions.parquet").write_bytes(outcome.predictions)
    table = read_predictions(tmp_path / "predictions.parquet")
    label, found = table["label"].to_numpy(), rates_of_classes(table).argmax(1)
    assert np.mean(label == found) == outcome.metrics["test_accuracy"]
    counted = [[int(np.sum((label == true) & (found == said))) for said in range(2)] for true in range(2)]
    assert counted == outcome.metrics["confusion"]
    of_recording = {name: info["samples"] for name, info in outcome.metrics["recordings"].items()}
    assert Counter(table["recording"].to_pylist()) == of_recording
    assert all(
        sample.startswith(recording)
        for sample, recording in zip(table["sample_id"].to_pylist(), table["recording"].to_pylist(), strict=True)
    )


def test_a_train_test_checkpoint_of_a_version_that_kept_one_epoch_alone_is_left_aside(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights were those of the highest accuracy; with a validation part, nothing was different."""
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    save = trainer_module.learner_to_bytes
    monkeypatch.setattr(
        trainer_module,
        "learner_to_bytes",
        lambda learner, metrics, more: save(learner, {name: metrics[name] for name in ("best", "last")}, more),
    )
    for protocol, epochs_left in (("train-test", 3), ("train-val-test", 2)):
        job = Job(
            TrialKey("c0000", 0, 1), quick(evaluation__protocol=protocol, training__epochs=3), SENSOR, len(CLASSES)
        )
        training = run_job(job, samples, torch.device("cpu"))
        first = next(training)
        checkpoint = first.checkpoint()
        *_, undisturbed = training
        *epochs, end = run_job(job, samples, torch.device("cpu"), checkpoint)
        assert (len(epochs), end) == (epochs_left, undisturbed)


def test_a_loss_that_is_no_number_ends_as_diverged(dataset: Path) -> None:
    configuration = quick(training__learning_rate=1e38, training__optimizer="sgd", training__loss="cross-entropy")
    _, outcome = run(dataset, configuration)
    assert outcome.status == "diverged"
    assert outcome.metrics == {}


def test_training_goes_on_from_saved_weights_of_the_fold(dataset: Path, tmp_path: Path) -> None:
    _, first = run(dataset, quick(training__epochs=12), fold=1)
    assert first.weights is not None
    (tmp_path / "fold1.pt").write_bytes(first.weights)
    start = quick(network__weights=str(tmp_path / "fold{fold}.pt"), training__epochs=1, training__learning_rate=1e-12)
    _, outcome = run(dataset, start, fold=1)
    assert outcome.metrics["test_accuracy"] == first.metrics["test_accuracy"] == 1.0
    with pytest.raises(DataError, match=r"fold0\.pt: weights cannot be read: No such file"):
        run(dataset, start, fold=0)


@pytest.mark.parametrize("protocol", ["train-val-test", "train-test"])
def test_without_training_the_given_weights_are_tested_and_there_is_no_best_epoch(
    dataset: Path, tmp_path: Path, protocol: str
) -> None:
    trained = quick(evaluation__protocol=protocol, training__epochs=3)
    epochs, first = run(dataset, trained, fold=1)
    assert first.weights is not None
    (tmp_path / "fold2.pt").write_bytes(first.weights)
    given = quick(
        evaluation__protocol=protocol, training__epochs=0, network__weights=str(tmp_path / "fold{fold1}.pt"),
        training__schedule="cosine",
    )  # fmt: skip
    rows, outcome = run(dataset, given, fold=1)
    assert rows == []
    assert (outcome.status, outcome.weights) == ("done", first.weights)
    assert outcome.metrics["best_epoch"] is None
    assert outcome.metrics.keys() == first.metrics.keys()
    if protocol == "train-val-test":
        assert outcome.metrics | {"best_epoch": first.metrics["best_epoch"]} == first.metrics
        return
    # The weights are those of the lowest loss, and what they give is the lowest, the highest and the last.
    best = epochs[first.metrics["best_epoch"] - 1]
    for name in ("test_loss", "test_loss_min", "test_loss_last"):
        assert outcome.metrics[name] == best["test_loss"] == first.metrics["test_loss_min"]
    for name in ("test_accuracy", "test_accuracy_max", "test_accuracy_last"):
        assert outcome.metrics[name] == best["test_accuracy"]


@pytest.mark.parametrize("network", ["nmnist-mlp", "nmnist-cnn"])
def test_weights_of_another_network_are_refused_with_the_parameter_named(
    dataset: Path, tmp_path: Path, network: str
) -> None:
    _, first = run(dataset, quick(training__epochs=1))
    assert first.weights is not None
    (tmp_path / "w.pt").write_bytes(first.weights)
    with pytest.raises(DataError, match=r"fc1\.weight|fc3\.weight|conv1\.weight"):
        run(dataset, quick(network__name=network, network__weights=str(tmp_path / "w.pt")))


def test_a_file_that_holds_no_weights_is_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="cannot be loaded as weights: it is no file"):
        run(dataset, quick(network__weights=str(tmp_path / "w.pt")))


def test_split_seed_fixes_the_folds_while_seeds_vary(dataset: Path) -> None:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    fixed, free = quick(evaluation__split_seed=7), quick()
    splits = {seed: split_of(fixed, samples.recordings(), 0, seed) for seed in (0, 1, 2)}
    assert splits[0] == splits[1] == splits[2] == split_of(free, samples.recordings(), 0, 7)


def test_sessions_that_are_not_there_are_named(dataset: Path) -> None:
    with pytest.raises(DataError, match="no recording of the sessions S1; the dataset has: S3"):
        run(dataset, quick(evaluation__sessions=["S1"]))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("norm", ["none", "tdbn"])
def test_norms_and_precisions_train_the_convolutional_network(dataset: Path, norm: str, precision: str) -> None:
    configuration = quick(network__name="slanimals", network__norm=norm, training__precision=precision)
    rows, outcome = run(dataset, configuration)
    assert outcome.status == "done"
    assert len(rows) == 2


SILENT = {"network__name": "slanimals", "neuron__v_threshold": 0.6}


def test_a_network_of_silent_layers_says_so_in_its_epochs_and_init_data_cures_it(dataset: Path) -> None:
    """Two short epochs end at chance with the default start: the last two layers never fire, and nothing is learned."""
    rows, outcome = run(dataset, quick(**SILENT))
    assert [(row["firing_rate_fc1"], row["firing_rate_fc2"]) for row in rows] == [(0, 0), (0, 0)]
    assert [(row["top_class_share"], row["epochs_without_gradient"]) for row in rows] == [(1, 1), (1, 2)]
    assert outcome.metrics["test_accuracy"] == 0.5

    rows, outcome = run(dataset, quick(**SILENT, network__init="data"))
    assert all(row[f"firing_rate_{layer}"] > 0.01 for row in rows for layer in ("conv1", "conv2", "fc1", "fc2"))
    assert rows[-1]["epochs_without_gradient"] == 0
    assert outcome.metrics["test_accuracy"] == 1.0


def test_a_start_by_data_is_a_function_of_the_seed_and_the_same_after_a_checkpoint(dataset: Path) -> None:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    settings = {"network__init": "data", "sampling__train_crop": "random", "sampling__train_crop_ms": 100}
    job = Job(TrialKey("c0000", 1, 0), quick(**settings), SENSOR, len(CLASSES))
    first, *_ = whole = list(run_job(job, samples, torch.device("cpu")))
    assert first.checkpoint is not None
    again = list(run_job(job, samples, torch.device("cpu"), first.checkpoint()))
    repeated = list(run_job(job, samples, torch.device("cpu")))
    assert whole[-1].metrics == repeated[-1].metrics
    assert again[-1].weights == whole[-1].weights == repeated[-1].weights


def test_what_a_space_would_run_says_how_often_each_layer_fires_at_first(dataset: Path) -> None:
    settings = """
        sampling.time_bin_ms = 20
        sampling.train_crop_ms = 200
        sampling.eval_crop_ms = "train"
        network.name = "nmnist-mlp2"
        neuron.v_threshold = 0.9
    """
    lines = list(describe(parse_space(settings, "space"), dataset))
    (rates,) = (line for line in lines if line.startswith("firing rates before training"))
    assert re.search(r"input 0\.06\d*, fc1 0, fc2 0$", rates)
    assert any(
        line.startswith("on the first batch, fc1, fc2 never fired; usually helps: network.init") for line in lines
    )


@pytest.mark.parametrize("protocol", ["train-val-test", "train-test"])
def test_the_time_of_all_trials_is_that_of_training_and_evaluation(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(estimate, "_seconds_per_sample", lambda _: (10.0, 3.0))
    settings = f"""
        sampling.time_bin_ms = 20
        sampling.train_crop_ms = 200
        sampling.eval_crop_ms = "train"
        network.name = "nmnist-mlp2"
        training.epochs = 50
        evaluation.protocol = "{protocol}"
    """
    lines = list(describe(parse_space(settings, "space"), dataset))
    sizes = next(
        re.search(r"has (\d+) training, (\d+) validation and (\d+) test", line) for line in lines if "has" in line
    )
    assert sizes is not None
    trained, validated, tested = map(int, sizes.groups())
    assert (validated == 0) == (protocol == "train-test")
    hours = 4 * (50 * (10 * trained + 3 * (validated or tested)) + 3 * tested) / 3600
    assert lines[-1] == (
        "a sample takes 10000.0 ms in training and 3000.0 in evaluation on this cpu with one thread: "
        f"about {hours:.2g} hours for all trials one after the other"
    )


def test_a_search_by_latency_is_refused_for_a_network_that_returns_rates_alone() -> None:
    class Rates(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.mean((0, 2, 3, 4))[:, None].expand(-1, 3)

    class OverTime(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.mean((2, 3, 4))[:, :, None].expand(-1, -1, 3)

    with pytest.raises(UsageError, match=r"judges by latency_ms, and nets:Rates returns rates of shape \(B, classes\)"):
        refuse_rates_alone("nets:Rates", Rates(), (2, 4, 4))
    refuse_rates_alone("nets:OverTime", OverTime(), (2, 4, 4))

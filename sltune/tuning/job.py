"""One trial as a plain generator: train one configuration on one fold with one seed, test it, say how it went.

Knows no Ray, so that it can be run, tested and debugged in any process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sltune.augmentations import parse_augmentation
from sltune.config import Configuration
from sltune.errors import UsageError
from sltune.events.augment import Augmenter
from sltune.events.folds import Split, select_sessions, split_recordings
from sltune.events.frames import FrameFormat
from sltune.events.samples import RecordingInfo, Samples
from sltune.record import Status, TrialKey
from sltune.snn.lif import LIF
from sltune.snn.network import NetworkOptions, SpikingNetwork
from sltune.training.batches import Batch, BatchSource
from sltune.training.checkpoint import (
    learner_from_bytes,
    learner_to_bytes,
    load_weights,
    read_weights,
    weights_from_bytes,
    weights_to_bytes,
)
from sltune.training.fit import Diverged, EpochMetrics, Evaluation, FitOptions, Learner, evaluate, fit
from sltune.training.memory import keep_freed_memory
from sltune.training.optim import OptimizerOptions, make_optimizer, make_schedule
from sltune.training.streams import numpy_stream, seed_torch


@dataclass(frozen=True)
class Job:
    """What to train, on which data.

    sensor: (height, width) in pixels. weights: to start from, None for fresh ones. dataset: its fingerprint.
    """

    key: TrialKey
    configuration: Configuration
    sensor: tuple[int, int]
    classes: int
    weights: bytes | None = None
    dataset: str = ""

    def fingerprint(self) -> str:
        """Return what tells this job from any other."""
        weights = hashlib.sha256(self.weights or b"").hexdigest()
        configuration = self.configuration.model_dump(mode="json")
        values = [self.key.name, configuration, self.sensor, self.classes, weights, self.dataset]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def frames(self) -> FrameFormat:
        """How events become frames."""
        sampling = self.configuration.sampling
        return FrameFormat(self.sensor, sampling.time_bin_ms, sampling.binning, sampling.downsample)

    def network(self) -> SpikingNetwork:
        """Return the network as training starts with it.

        Raises:
            UsageError: the frames are too small for it.
            DataError: the weights do not fit it.
        """
        config, neuron = self.configuration.network, self.configuration.neuron
        lif = LIF(neuron.v_threshold, neuron.decay, neuron.surrogate, neuron.surrogate_width)
        options = NetworkOptions(config.norm, config.dropout, config.init)
        seed_torch(self.key.seed, self.key.fold, "weights")
        try:
            network = SpikingNetwork(config.name, self.frames.size, self.classes, lif, options)
        except ValueError as error:
            raise UsageError(f"network.name = {config.name}: {error}") from error
        if self.weights is not None:
            load_weights(network, self.weights, config.weights_for(self.key.fold))
        return network


def starting_weights(configuration: Configuration, fold: int) -> bytes | None:
    """Return the content of the weights file that the configuration names for a fold; None where it names none.

    Raises:
        DataError: the file cannot be read.
    """
    path = configuration.network.weights_for(fold)
    return read_weights(Path(path)) if path else None


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. metrics is empty unless status is "done"; weights are those of the best epoch.

    lacked_memory: whether it failed because the device had no memory left.
    """

    status: Status
    error: str
    split: Split | None
    metrics: dict[str, Any]
    weights: bytes | None
    lacked_memory: bool = False


@dataclass(frozen=True)
class EpochDone:
    """An epoch's row of metrics, and what makes a checkpoint to go on from after it."""

    row: dict[str, float]
    checkpoint: Callable[[], bytes]


def split_of(configuration: Configuration, recordings: list[RecordingInfo], fold: int, seed: int) -> Split:
    """Return the parts that one trial trains, validates and tests on.

    Raises:
        DataError: the sessions or folds that the configuration asks for are not to be had from these recordings.
    """
    evaluation = configuration.evaluation
    return split_recordings(
        select_sessions(recordings, evaluation.sessions),
        fold,
        evaluation.folds,
        evaluation.split_seed_for(seed),
        evaluation.validation_fraction,
    )


def run_job(
    job: Job, samples: Samples, device: torch.device, checkpoint: bytes | None = None, split: Split | None = None
) -> Iterator[EpochDone | Outcome]:
    """Give a row of metrics after every epoch and, last of all, the outcome.

    Args:
        checkpoint: of the same job, to go on from; one of another job is left aside.
        split: the parts of the job, where the caller has drawn them already.

    Raises:
        SltuneError: the data or saved weights do not fit the configuration.
    """
    split = split or split_of(job.configuration, samples.recordings(), job.key.fold, job.key.seed)
    trainer = Trainer(job, samples, split, device)
    if checkpoint is not None and not trainer.restore(checkpoint):
        trainer = Trainer(job, samples, split, device)
    try:
        for metrics in trainer.epochs():
            yield EpochDone(trainer.row(metrics), trainer.checkpoint)
    except Diverged as error:
        yield Outcome("diverged", str(error), split, {}, None)
        return
    yield Outcome("done", "", split, trainer.final_metrics(), trainer.best_weights)


def describe_lack_of_memory(error: Exception, configuration: Configuration, device: str) -> str | None:
    """Return what to say where an error means that memory was short; None where it means something else."""
    on_host = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
    if not (on_host or isinstance(error, torch.cuda.OutOfMemoryError)):
        return None
    sampling, training = configuration.sampling, configuration.training
    crop = "whole samples" if sampling.train_bins is None else f"crops of {sampling.train_bins} time steps"
    return (
        f"out of memory on {device}: training.batch_size = {training.batch_size} {crop} "
        f"(sampling.train_crop_ms = {sampling.train_crop_ms}), training.eval_batch_size = {training.eval_batch_size}; "
        "lower these, or give a trial more of the device: --gpus-per-trial, --max-concurrent"
    )


class Trainer:
    """The state of one trial: its network, its batches, and the best epoch so far."""

    def __init__(self, job: Job, samples: Samples, split: Split, device: torch.device) -> None:
        self.job = job
        self.config = job.configuration
        self.options = _fit_options(self.config)
        self.device = device
        if device.type == "cpu":
            keep_freed_memory()
        self.selects_on_test = not split.val
        self._make_batches(samples, split)
        self.network = job.network().to(device)
        options = _optimizer_options(self.config)
        optimizer = make_optimizer(self.network.parameters(), options)
        schedule = make_schedule(optimizer, options, self.config.training.epochs)
        self.learner = Learner(self.network, optimizer, schedule)
        self.best: EpochMetrics | None = None
        self.best_weights = b""
        self.last: EpochMetrics | None = None

    def epochs(self) -> Iterator[EpochMetrics]:
        """Train, keeping the weights of the best epoch so far."""
        batches, validate = self.train_batches, lambda: self._evaluate(self.val)
        for metrics in fit(self.learner, batches, validate, self.options, self.last):
            self.last = metrics
            if self._is_best(metrics):
                self.best, self.best_weights = metrics, weights_to_bytes(self.network)
            yield metrics

    def checkpoint(self) -> bytes:
        """Return all that another process needs to go on after the last epoch."""
        # The best weights are bytes, which torch.load takes for a danger, so they travel as a tensor.
        weights = torch.frombuffer(bytearray(self.best_weights), dtype=torch.uint8)
        more = {"job": self.job.fingerprint(), "best_weights": weights}
        return learner_to_bytes(self.learner, {"best": self.best, "last": self.last}, more)

    def restore(self, checkpoint: bytes) -> bool:
        """Go on after a checkpoint's epoch; return False if it is none of this job, the trainer then being spoilt."""
        try:
            metrics, more = learner_from_bytes(self.learner, checkpoint)
        except ValueError:
            return False
        self.best, self.last = metrics["best"], metrics["last"]
        self.best_weights = more["best_weights"].cpu().numpy().tobytes()
        return bool(more["job"] == self.job.fingerprint())

    def row(self, metrics: EpochMetrics) -> dict[str, float]:
        """Return what is logged of an epoch."""
        part = "test" if self.selects_on_test else "val"
        evaluation = metrics.evaluation
        row = {
            "epoch": metrics.epoch,
            "train_loss": metrics.train_loss,
            f"{part}_loss": evaluation.loss,
            f"{part}_accuracy": evaluation.accuracy,
            "samples_per_second": metrics.samples_per_second,
            "seconds": metrics.seconds,
            "synaptic_ops": evaluation.synaptic_ops,
            **{f"spikes_{layer}": count for layer, count in evaluation.spikes.items()},
        }
        if self.device.type == "cuda":
            row["device_memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
        return row

    def final_metrics(self) -> dict[str, Any]:
        """Return the record's metrics; tests the weights of the epoch with the lowest validation loss."""
        assert self.best is not None, "at least one epoch was trained"
        assert self.last is not None
        chosen = self.best.evaluation
        if self.selects_on_test:
            test = chosen
            selection: dict[str, Any] = {"best_epoch": None, "val_loss": None, "val_accuracy": None}
            optimism = {"test_accuracy_last": self.last.evaluation.accuracy, "test_accuracy_max": chosen.accuracy}
        else:
            weights_from_bytes(self.network, self.best_weights)
            test = self._evaluate(self.test)
            selection = {"best_epoch": self.best.epoch, "val_loss": chosen.loss, "val_accuracy": chosen.accuracy}
            optimism = {}
        return {
            **selection,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            **optimism,
            "confusion": test.confusion,
            "spikes": chosen.spikes,
            "synaptic_ops": chosen.synaptic_ops,
        }

    def _is_best(self, metrics: EpochMetrics) -> bool:
        """Say whether to keep this epoch: by validation loss, or, train/test, by accuracy as the predecessor does."""
        if self.best is None:
            return True
        if self.selects_on_test:
            return metrics.evaluation.accuracy > self.best.evaluation.accuracy
        return metrics.is_best

    def _make_batches(self, samples: Samples, split: Split) -> None:
        sampling = self.config.sampling
        self.frames = self.job.frames
        self.train = self._part(samples, split.train, sampling.train_bins)
        self.test = self._part(samples, split.test, sampling.eval_bins)
        self.val = self.test if self.selects_on_test else self._part(samples, split.val, sampling.eval_bins)

    def _part(self, samples: Samples, recordings: Sequence[str], crop_bins: int | None) -> BatchSource:
        return BatchSource(samples, samples.indices_of(recordings), self.frames, crop_bins, self.device)

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """Give an epoch's batches; the same ones whenever it is asked for them."""
        key, training = self.job.key, self.config.training
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        seed_torch(key.seed, key.fold, "dropout", epoch)
        order = numpy_stream(key.seed, key.fold, "order", epoch) if training.shuffle else None
        starts = numpy_stream(key.seed, key.fold, "crop", epoch)
        crop, augment = self.config.sampling.train_crop, self._augmenter(epoch)
        return self.train.training(training.batch_size, crop, starts, order, augment)

    def _augmenter(self, epoch: int) -> Augmenter | None:
        texts = self.config.sampling.augment
        if not texts:
            return None
        stream = numpy_stream(self.job.key.seed, self.job.key.fold, "augment", epoch)
        return Augmenter([*map(parse_augmentation, texts)], self.job.sensor, stream)

    def _evaluate(self, part: BatchSource) -> Evaluation:
        batches = part.evaluation(self.config.training.eval_batch_size, self.config.sampling.eval_crops)
        return evaluate(self.network, batches, self.options)


def _fit_options(config: Configuration) -> FitOptions:
    training = config.training
    return FitOptions(training.epochs, training.loss, training.precision, training.patience)


def _optimizer_options(config: Configuration) -> OptimizerOptions:
    training = config.training
    return OptimizerOptions(
        training.optimizer,
        training.learning_rate,
        training.momentum,
        training.weight_decay,
        training.schedule,
        training.step_epochs,
        training.step_factor,
    )

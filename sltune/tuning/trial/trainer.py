"""A job done, as a plain generator: train by epochs, keep the best one, test it; go on from any checkpoint.

Knows no Ray, so that it can be run, tested and debugged in any process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sltune.errors import DataError, UsageError
from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.samples import Samples
from sltune.events.splits.parts import Split
from sltune.events.splits.split import split_of
from sltune.settings.sections import Training
from sltune.snn.kernel_check import check_kernels
from sltune.system.memory import keep_freed_memory
from sltune.training.averaging import WeightAverage
from sltune.training.batches import Batch, BatchSource
from sltune.training.checkpoint import learner_from_bytes, learner_to_bytes
from sltune.training.details import Details, look_at
from sltune.training.fit import Diverged, EpochMetrics, EvaluationResult, Learner, evaluate, fit
from sltune.training.mixing import Mixer
from sltune.training.optim import make_optimizer, make_schedule, warmed_up
from sltune.training.predictions import predictions_to_bytes
from sltune.training.streams import numpy_stream, seed_torch
from sltune.training.weights import fitted_weights, is_within, load_weights, refuse_unknown_layers, weights_to_bytes
from sltune.tuning.trial.costs import Costs, costs_of
from sltune.tuning.trial.job import Job, refuse_unsuited
from sltune.tuning.trial.measures import Selection, of_record, own_metrics, row_of
from sltune.tuning.trial.report import Report

NOBODY = EvaluationResult(math.nan, math.nan, [], {}, math.nan)
"""What the evaluation gives of an empty part, where a network is trained on all signers."""


def run_job(
    job: Job,
    samples: Samples,
    device: torch.device,
    checkpoint: bytes | None = None,
    split: Split | None = None,
    with_details: bool = False,
) -> Iterator[Report]:
    """Give a report after every epoch and, last of all, that of the trial's end.

    Args:
        checkpoint: of the same job, to go on from; one of another job is left aside.
        split: the parts of the job, where the caller has drawn them already.
        with_details: look at the trained network, too.

    Raises:
        SltuneError: the data or saved weights do not fit the configuration.
    """
    split = split or split_of(job.configuration, samples.recordings(), job.key.fold, job.key.seed)
    trainer = Trainer(job, samples, split, device)
    if checkpoint is not None and not trainer.restore(checkpoint):
        trainer = Trainer(job, samples, split, device)
    note = trainer.kernels_note
    try:
        for metrics in trainer.epochs():
            rows = [row_of(metrics, trainer.selects_on_test)]
            yield Report("running", rows=rows, checkpoint=trainer.checkpoint, note=note)
        final = trainer.final_metrics()
    except Diverged as error:
        yield Report("diverged", str(error), split=split, note=note)
        return
    details = trainer.details() if with_details else None
    weights, said = trainer.best_weights, trainer.predictions
    yield Report("done", split=split, metrics=final, weights=weights, predictions=said, details=details, note=note)


class Trainer:
    """The state of one trial: its network, its batches, and the best epoch so far.

    kernels_note: which compiled kernels cannot be relied on here, and are replaced; "" for none.
    """

    def __init__(self, job: Job, samples: Samples, split: Split, device: torch.device) -> None:
        self.job = job
        self.config = job.configuration
        self.device = device
        if device.type == "cpu":
            keep_freed_memory()
        self.selects_on_test = not split.val
        self._metrics = {text: job.named("evaluation.metrics", text) for text in self.config.evaluation.metrics}
        self._augmentations = [job.named("sampling.augment", text) for text in self.config.sampling.augment]
        self._make_batches(samples, split)
        network = job.network_on(self.first_frames)
        refuse_unsuited(self.config.network.name, network)
        self.network = network.to(device)
        self.kernels_note = check_kernels(self.network, device)
        self.learner = self._make_learner(self.config.training)
        self.best: EpochMetrics | None = None
        self.best_weights = b""
        self.most_accurate: EpochMetrics | None = None
        self.last: EpochMetrics | None = None
        self.predictions: bytes | None = None

    def epochs(self) -> Iterator[EpochMetrics]:
        """Train, keeping the weights of the epoch with the lowest loss so far, and which one is the most accurate."""
        training = self.config.training

        def validate() -> EvaluationResult:
            return self._evaluate(self.val, self.learner.judged)

        for metrics in fit(self.learner, self.train_batches, validate, training.epochs, training.patience, self.last):
            self.last = metrics
            if self.best is None or metrics.is_best:
                self.best, self.best_weights = metrics, weights_to_bytes(self.learner.judged)
            highest = self.most_accurate
            if highest is None or metrics.evaluation.accuracy > highest.evaluation.accuracy:
                self.most_accurate = metrics
            yield metrics

    def checkpoint(self) -> bytes:
        """Return all that another process needs to go on after the last epoch."""
        # The best weights are bytes, which torch.load takes for a danger, so they travel as a tensor.
        weights = torch.frombuffer(bytearray(self.best_weights), dtype=torch.uint8)
        more = {"job": self.job.fingerprint(), "best_weights": weights}
        metrics = {"best": self.best, "last": self.last, "most_accurate": self.most_accurate}
        return learner_to_bytes(self.learner, metrics, more)

    def restore(self, checkpoint: bytes) -> bool:
        """Go on after a checkpoint's epoch; return False if it is none of this job, the trainer then being spoilt."""
        try:
            metrics, more = learner_from_bytes(self.learner, checkpoint)
            self.best, self.last = metrics["best"], metrics["last"]
            self.best_weights = more["best_weights"].cpu().numpy().tobytes()
            fitted_weights(self.network, self.best_weights, "the best epoch of a checkpoint")
        except (ValueError, DataError, LookupError, TypeError, AttributeError, RuntimeError):
            return False
        self.most_accurate = metrics.get("most_accurate")
        # An earlier version kept one epoch alone, in train-test that of the highest accuracy.
        if self.most_accurate is None and self.selects_on_test:
            return False
        return bool(more["job"] == self.job.fingerprint())

    def final_metrics(self) -> dict[str, Any]:
        """Return the record's metrics, and keep the predictions that they are of.

        The weights of the epoch with the lowest validation loss are tested.

        Without a validation part, the lowest loss and the highest accuracy on the test set are reported, as the
        predecessor does, each of its own epoch; all but the loss is that of the most accurate one. Where nothing is
        trained, the weights that were given are tested, and there is no best epoch.
        """
        selection = self._selection()
        load_weights(self.network, self.best_weights, "the best epoch")
        test = selection.highest if self.selects_on_test else self._evaluate(self.test, self.network)
        metrics = of_record(selection, test, self._costs(), self.selects_on_test)
        # A best epoch that an earlier version has saved lacks ``correct``.
        recordings = by_recording(self.test, test.correct) if test.correct else {}
        self.predictions = None if test.rates is None else _predictions(self.test, test.rates)
        own = {"own": self._own_metrics(self.test, test)} if self._metrics else {}
        return {**metrics, **own, "confusion": test.confusion, "recordings": recordings}

    def _costs(self) -> Costs | None:
        """Return what the network costs: on the part that selects, as a search may know nothing of the test part."""
        return costs_of(self.network, lambda: self.judging(self.val), self.learner.precision) if self.val else None

    def _own_metrics(self, part: BatchSource, result: EvaluationResult) -> dict[str, float | None]:
        return own_metrics(self._metrics, result.rates, torch.from_numpy(part.samples.label[part.indices]))

    def _selection(self) -> Selection:
        if self.best is None or self.last is None:
            self.best_weights = weights_to_bytes(self.network)
            given = self._evaluate(self.val, self.network)
            return Selection(None, given, given, given)
        highest = self.most_accurate or self.best
        return Selection(self.best.epoch, self.best.evaluation, highest.evaluation, self.last.evaluation)

    def details(self) -> Details:
        """Look at the network of the best epoch, and at what it does with the first sample that it is judged by."""
        load_weights(self.network, self.best_weights, "the best epoch")
        batch = next(self.val.evaluation(1))
        return look_at(self.network, next(batch.clips), self.learner.precision)

    def _make_learner(self, training: Training) -> Learner:
        rate, momentum, decay = training.learning_rate, training.momentum, training.weight_decay
        refuse_unknown_layers(self.network, training.freeze, "training.freeze")
        for name, parameter in self.network.named_parameters():
            if is_within(name, training.freeze):
                parameter.requires_grad_(False)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        if not trained:
            raise UsageError("the network has no parameter to train; see training.freeze")
        optimizer = make_optimizer(training.optimizer, trained, rate, momentum, decay, self.job.code)
        steps = training.epochs - training.warmup_epochs, training.step_epochs, training.step_factor
        schedule = make_schedule(training.schedule, optimizer, *steps, self.job.code)
        return Learner(
            self.network,
            optimizer,
            warmed_up(schedule, optimizer, training.warmup_epochs),
            self.job.named("training.loss", training.loss),
            training.precision,
            self._frozen(self.network),
            self.job.classes,
            training.label_smoothing,
            training.clip_norm,
            self._average(),
        )

    def _average(self) -> WeightAverage | None:
        training = self.config.training
        if not training.average_epochs:
            return None
        network = self.job.network().to(self.device)
        return WeightAverage(network, training.epochs - training.average_epochs + 1, self._frozen(network))

    def _frozen(self, network: nn.Module) -> tuple[nn.Module, ...]:
        layers = self.config.training.freeze
        return tuple(module for name, module in network.named_modules() if name and is_within(name, layers))

    def _make_batches(self, samples: Samples, split: Split) -> None:
        sampling = self.config.sampling
        self.frames = self.job.frames
        self.train = self._part(samples, split.train, sampling.train_bins)
        self.test = self._part(samples, split.test, sampling.eval_bins, is_repeated=self.selects_on_test)
        self.val = self.test
        if not self.selects_on_test:
            self.val = self._part(samples, split.val, sampling.eval_bins, is_repeated=True)

    def _part(
        self, samples: Samples, recordings: Sequence[str], crop_bins: int | None, is_repeated: bool = False
    ) -> BatchSource:
        return BatchSource(samples, samples.indices_of(recordings), self.frames, crop_bins, self.device, is_repeated)

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """Give an epoch's batches; the same ones whenever it is asked for them."""
        key, training = self.job.key, self.config.training
        seed_torch(key.seed, key.fold, "dropout", epoch)
        order = numpy_stream(key.seed, key.fold, "order", epoch) if training.shuffle else None
        starts = numpy_stream(key.seed, key.fold, "crop", epoch)
        crop, augment = self.config.sampling.train_crop, self._augmenter(epoch)
        batches = self.train.training(training.batch_size, crop, starts, order, augment)
        if training.mix == "none":
            return batches
        rng = numpy_stream(key.seed, key.fold, "mix", epoch)
        return Mixer(training.mix, training.mix_probability, self.job.classes, rng).mixed(batches)

    def first_frames(self) -> Tensor:
        """Return the first training batch, of shape (T, B, P, H, W), in memory that the next batch will use."""
        return next(next(self.train_batches(1)).views)

    def _augmenter(self, epoch: int) -> Augmenter | None:
        if not self._augmentations:
            return None
        return Augmenter(self._augmentations, numpy_stream(self.job.key.seed, self.job.key.fold, "augment", epoch))

    def _evaluate(self, part: BatchSource, network: nn.Module) -> EvaluationResult:
        if not len(part):
            return NOBODY
        result = evaluate(network, self.judging(part), self.learner.loss, self.learner.precision, self.job.classes)
        if self.last is None:
            # A metric that cannot work fails after the first epoch, and not when all has been paid for.
            self._own_metrics(part, result)
        # Nobody asks for the rates of the validation part, and checkpoints would hold those of three epochs.
        return result if part is self.test else replace(result, rates=None)

    def judging(self, part: BatchSource) -> Iterator[Batch]:
        """Give a part's batches as they are evaluated."""
        return part.evaluation(self.config.training.eval_batch_size, self.config.sampling.eval_crops)


def _predictions(part: BatchSource, rates: torch.Tensor) -> bytes:
    samples, indices = part.samples, part.indices
    recordings, sample_ids = ([names[index] for index in indices] for names in (samples.recording, samples.sample_id))
    return predictions_to_bytes(recordings, sample_ids, samples.label[indices], rates.numpy())


def by_recording(part: BatchSource, correct: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """Return of each recording of a part its subject, its session, its samples and how many were classed correctly."""
    recordings = {recording.name: recording for recording in part.samples.recordings()}
    found: dict[str, list[bool]] = {}
    for index, is_correct in zip(part.indices, correct, strict=True):
        found.setdefault(part.samples.recording[index], []).append(is_correct)
    return {
        name: {
            "subject": recordings[name].subject,
            "session": recordings[name].session,
            "samples": len(outcomes),
            "correct": sum(outcomes),
        }
        for name, outcomes in found.items()
    }

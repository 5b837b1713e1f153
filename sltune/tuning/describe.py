"""What a space would run, in words and numbers, before anything runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path

import torch

from sltune.config import Configuration
from sltune.events.dataset import Dataset, open_dataset
from sltune.record import TrialKey
from sltune.training.fit import Diverged, train_epoch
from sltune.tuning.campaign import plan
from sltune.tuning.job import Job, Trainer, describe_lack_of_memory, split_of, starting_weights

BATCHES_TIMED = 3


def describe(configuration: Configuration, data: Path | None) -> Iterator[str]:
    """Give lines on the trials of a fixed configuration and, where there is a dataset, on their size and time.

    The time is that of a few training batches on this machine, times all there are.

    Raises:
        DataError: the dataset cannot be read or does not fit the configuration.
    """
    evaluation, training = configuration.evaluation, configuration.training
    planned = plan(configuration)
    yield (
        f"would run {len(planned)} trials ({evaluation.folds} folds × {len(evaluation.seeds)} seeds) of up to "
        f"{training.epochs} epochs, protocol {evaluation.protocol}"
    )
    if data is None:
        yield "with --data, also how large they are and how long they take"
        return
    yield from _describe_trial(configuration, open_dataset(data), planned)


def _describe_trial(configuration: Configuration, dataset: Dataset, planned: list[TrialKey]) -> Iterator[str]:
    key, manifest, samples = planned[0], dataset.manifest, dataset.samples
    split = split_of(configuration, samples.recordings(), key.fold, key.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = starting_weights(configuration, key.fold)
    job = Job(key, configuration, manifest.sensor, len(manifest.classes), weights)
    trainer = Trainer(job, samples, split, device)
    sizes = [len(trainer.train), len(trainer.val) if split.val else 0, len(trainer.test)]
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    height, width = trainer.frames.size
    yield "fold 1 has {} training, {} validation and {} test samples".format(*sizes)
    yield (
        f"network {configuration.network.name}: {parameters:,} parameters, frames of 2×{height}×{width}, "
        f"{trainer.train.crop_bins} time steps in training and {trainer.test.crop_bins} in evaluation"
    )
    try:
        seconds = _seconds_per_sample(trainer)
    except Diverged as error:
        yield f"training diverges within the first {BATCHES_TIMED} batches: {error}"
        return
    except Exception as error:
        lack = describe_lack_of_memory(error, configuration, f"this {device.type}")
        if lack is None:
            raise
        yield lack
        return
    hours = seconds * sizes[0] * configuration.training.epochs * len(planned) / 3600
    yield (
        f"training takes {1000 * seconds:.1f} ms a sample on this {device.type} with one thread: "
        f"about {hours:.2g} hours for all trials one after the other, evaluation not counted"
    )


def _seconds_per_sample(trainer: Trainer) -> float:
    """Train on the first few batches, with one thread as a trial has, and time all but the first.

    On the first one kernels are compiled, or read from the disk.
    """
    torch.set_num_threads(1)
    batches = chain.from_iterable(map(trainer.train_batches, count(1)))
    train_epoch(trainer.network, trainer.learner.optimizer, islice(batches, 1), trainer.options)
    started = time.perf_counter()
    _, samples = train_epoch(
        trainer.network, trainer.learner.optimizer, islice(batches, BATCHES_TIMED), trainer.options
    )
    return (time.perf_counter() - started) / samples

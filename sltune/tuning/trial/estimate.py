"""What a space would run, in words and numbers, before anything runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, islice

import torch

from sltune.errors import CodeError, SltuneError
from sltune.events.dataset import Dataset, open_dataset
from sltune.events.splits.split import bound, left_out, lists_of, split_of
from sltune.extensions.code import is_reference
from sltune.extensions.importing import describe_error
from sltune.runs.health.findings import findings_of_rates
from sltune.runs.plan import trials_of
from sltune.settings.configuration import Configuration
from sltune.settings.domains import show_domain
from sltune.settings.space import Space
from sltune.snn.activity import INPUT, Meter
from sltune.snn.running import outputs_of
from sltune.system.remote import AnyPath
from sltune.training.batches import Batch
from sltune.training.fit import Diverged, evaluate, train_epoch
from sltune.tuning.trial.job import Job, describe_lack_of_memory, starting_weights
from sltune.tuning.trial.trainer import Trainer
from sltune.wording import as_toml, in_hours

BATCHES_TIMED = 15
"""Enough for their median, which the first few, slower ones do not move."""
TIMED_S = 4.0
"""No further batch is timed after so many seconds, for which users wait; one is timed always."""


def describe(space: Space, data: AnyPath | None) -> Iterator[str]:
    """Give lines on the trials of a space and, where there is a dataset, on their size and time.

    The time is that of a few batches on this machine, times all that are trained and evaluated; of a search, for the
    first of its configurations.

    Raises:
        DataError: the dataset cannot be read or does not fit the configuration.
    """
    dataset = None if data is None else open_dataset(data)
    if dataset is not None:
        space = bound(space, dataset.samples.recordings())
    if space.domains:
        yield from _describe_search(space)
    configuration = next(space.probes())
    if is_reference(configuration.network.name):
        yield f"{configuration.network.name} does not see [neuron] and network.norm, dropout and init"
    evaluation, training = configuration.evaluation, configuration.training
    planned = trials_of(configuration)
    kind = "each configuration takes" if space.domains else "would run"
    length = f"of up to {training.epochs} epochs" if training.epochs else "that test given weights and train nothing"
    # Of some splits only a dataset tells how many folds there are.
    folds, count = (evaluation.folds, len(planned)) if evaluation.folds else ("all", "its")
    split = "" if evaluation.split == "folds" else f", split {evaluation.split_name}"
    yield (
        f"{kind} {count} trials ({folds} folds × {len(evaluation.seeds)} seeds) {length}, "
        f"protocol {evaluation.protocol}{split}"
    )
    if dataset is None:
        yield "with --data, also how large they are and how long they take"
        return
    trainings = len(planned)
    if space.domains:
        trainings = space.required_search().most_trainings(trainings)
    yield from _describe_trial(space, configuration, dataset, trainings)


def _describe_search(space: Space) -> Iterator[str]:
    search = space.required_search()
    for key, domain in space.domains.items():
        yield f"searches {key} = {show_domain(domain)}"
    if space.first:
        yield f"tries {len(space.first)} given configurations first"
    pruners = [
        f"{name} = {as_toml(value)}"
        for name, value in (("fold_pruner", search.fold_pruner), ("epoch_pruner", search.epoch_pruner))
        if value != "none"
    ]
    budgets = [
        f"{number} {what}"
        for number, what in ((search.trainings, "trainings"), (search.trials, "configurations"))
        if number
    ]
    yield f"up to {' and '.join(budgets)}, sampler {as_toml(search.sampler)}, strategy {as_toml(search.strategy)}"
    if pruners:
        yield f"gives up early by {' and '.join(pruners)}"


def _describe_trial(space: Space, configuration: Configuration, dataset: Dataset, trainings: int) -> Iterator[str]:
    planned, code, lists = trials_of(configuration), space.code, lists_of(space)
    key, manifest, samples = planned[0], dataset.manifest, dataset.samples
    recordings = samples.recordings()
    split = split_of(configuration, recordings, key.fold, key.seed, lists=lists)
    yield from left_out(configuration, recordings, lists)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = starting_weights(configuration, key.fold)
    job = Job(key, configuration, manifest.sensor, len(manifest.classes), weights, code=code)
    if note := job.network_and_note()[1]:
        yield note
    trainer = Trainer(job, samples, split, device)
    sizes = [len(trainer.train), len(trainer.val) if split.val else 0, len(trainer.test)]
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    height, width = trainer.frames.size
    yield "fold 0 has {} training, {} validation and {} test samples".format(*sizes)
    yield (
        f"network {configuration.network.name}: {parameters:,} parameters, frames of 2×{height}×{width}, "
        f"{trainer.train.crop_bins} time steps in training and {trainer.test.crop_bins} in evaluation"
    )
    if not configuration.training.epochs:
        return
    try:
        firing = list(_firing(trainer))
        training_s, evaluation_s = _seconds_per_sample(trainer)
    except Diverged as error:
        yield f"training diverges within the first {BATCHES_TIMED} batches: {error}"
        return
    except Exception as error:
        lack = describe_lack_of_memory(error, configuration, f"this {device.type}")
        if lack is None and is_reference(configuration.network.name) and not isinstance(error, SltuneError):
            text = f"{configuration.network.name}: training on a batch failed: {describe_error(error)}"
            raise CodeError(text) from error
        if lack is None:
            raise
        yield lack
        return
    yield from firing
    yield _time(configuration, (training_s, evaluation_s), sizes, trainings)


def _time(configuration: Configuration, sample_s: tuple[float, float], sizes: Sequence[int], trainings: int) -> str:
    """Say how long trainings take. sample_s: of one in training and in evaluation. sizes: of the parts of a fold."""
    training_s, evaluation_s = sample_s
    trained, validated, tested = sizes
    # Each epoch is validated, on the test part where there is no other.
    epoch_s = training_s * trained + evaluation_s * (validated or tested)
    hours = (epoch_s * configuration.training.epochs + evaluation_s * tested) * trainings / 3600
    given_up = ", as if none was given up" if trainings > len(trials_of(configuration)) else ""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return (
        f"a sample takes {1000 * training_s:.1f} ms in training and {1000 * evaluation_s:.1f} in evaluation on this "
        f"{device} with one thread: about {in_hours(hours)} for all trials one after the other{given_up}"
    )


@torch.no_grad()
def _firing(trainer: Trainer) -> Iterator[str]:
    """Say how often each layer fires on the first training batch, and what that means; nothing of unknown layers."""
    network, frames = trainer.network.train(), trainer.first_frames()
    with Meter(network) as meter:
        meter.add_frames(frames)
        outputs_of(network, frames)
    rates = meter.firing_rates()
    if rates.keys() - {INPUT}:
        shown = ", ".join(f"{layer} {rate:.2g}" for layer, rate in rates.items())
        yield f"firing rates before training, in spikes per neuron and time step: {shown}"
    for finding in findings_of_rates(rates):
        yield f"on the first batch, {finding.sentence}"


def _seconds_per_sample(trainer: Trainer) -> tuple[float, float]:
    """Return the time of a sample in training and in evaluation, with one thread as a trial has."""
    torch.set_num_threads(1)
    part = trainer.val if len(trainer.val) else trainer.test
    _read(trainer.train_batches(1))
    _read(trainer.judging(part))
    batches = chain.from_iterable(map(trainer.train_batches, count(1)))

    def train() -> int:
        return train_epoch(trainer.learner, islice(batches, 1))[1]

    # On the first one kernels are compiled, or read from the disk.
    train()
    training_s = _median_s(train, BATCHES_TIMED)
    judged = trainer.judging(part)

    def evaluate_batch() -> int:
        return len(evaluate(trainer.learner.judged, islice(judged, 1), trainer.learner.loss).correct)

    evaluated = -(-len(part) // trainer.config.training.eval_batch_size)
    return training_s, _median_s(evaluate_batch, min(evaluated, BATCHES_TIMED))


def _read(batches: Iterable[Batch]) -> None:
    """Read the events of the first batches, which trials have in memory."""
    end = time.perf_counter() + TIMED_S
    for batch in islice(batches, BATCHES_TIMED):
        for clip in batch.clips:
            clip.make(0, 1)
        if time.perf_counter() > end:
            break


def _median_s(work: Callable[[], int], times: int) -> float:
    """Return the median of the seconds a sample that some calls take, which return how many samples they were."""
    end, found = time.perf_counter() + TIMED_S, list[float]()
    while len(found) < times and (not found or time.perf_counter() < end):
        started = time.perf_counter()
        samples = work()
        found.append((time.perf_counter() - started) / samples)
    return statistics.median(found) if found else 0.0

"""The check of the network that a space names, on frames as its training would see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sltune.errors import SltuneError
from sltune.events.augmentations.events import POLARITIES
from sltune.events.dataset import Dataset, open_dataset
from sltune.events.splits.split import bound, lists_of, split_of
from sltune.runs.record import TrialKey
from sltune.settings.space import Space, load_space
from sltune.system.apart import Say
from sltune.system.remote import AnyPath
from sltune.training.batches import BatchSource
from sltune.training.checks.check import check_network
from sltune.training.checks.probe import Probe, moving_blobs
from sltune.training.streams import numpy_stream
from sltune.tuning.trial.job import Job

SENSOR, CLASSES = (128, 128), 19
"""Those of SL-Animals-DVS, where no dataset is given."""
SAMPLES = 3
"""In a batch; with STEPS, a number that the sizes of layers are seldom, so that dimensions can be told apart."""
STEPS = 7
"""Time steps of a batch: enough for a state to show, and little work for a network in plain torch."""
MAX_STEPS = 50
"""More time steps say nothing more about which layers fire."""


@dataclass(frozen=True)
class Subject:
    """What is checked, in a line."""

    text: str


def check_space(say: Say, space_file: Path, overrides: Sequence[str], data: AnyPath | None) -> None:
    """Check the first network of a space; say what it is, each check's name, each finding, and an error of ours."""
    try:
        _check(say, load_space(space_file, overrides), data)
    except SltuneError as error:
        # Errors with more than a text do not travel between processes.
        plain = SltuneError(str(error))
        plain.exit_code = error.exit_code
        say(plain)


def _check(say: Say, space: Space, data: AnyPath | None) -> None:
    dataset = open_dataset(data) if data is not None else None
    if dataset is not None:
        space = bound(space, dataset.samples.recordings())
    configuration = next(space.probes())
    key = TrialKey("c0000", configuration.evaluation.seeds[0], 0)
    sensor = dataset.manifest.sensor if dataset else SENSOR
    classes = len(dataset.manifest.classes) if dataset else CLASSES
    # The check is of the code, so given weights are left out.
    job = Job(key, configuration, sensor, classes, code=space.code)
    realistic = _crops(space, job, dataset) if dataset else _made_up(job)
    steps, samples, polarities, height, width = realistic.shape
    source = f"{samples} training crops of {data}" if dataset else f"{samples} made-up samples of moving blobs"
    size = f"{polarities}×{height}×{width}"
    say(Subject(f"network {configuration.network.name} on frames of {size}, {classes} classes; {source}"))

    def build(seed: int) -> nn.Module:
        return replace(job, key=replace(key, seed=seed)).network_on(lambda: realistic)

    # Small datasets and short crops are too little for two batches.
    is_enough = samples >= 2 * SAMPLES and steps >= STEPS
    batches = realistic[:STEPS] if is_enough else moving_blobs((STEPS, 2 * SAMPLES, polarities, height, width))
    frames, others = batches[:, :SAMPLES].contiguous(), batches[:, SAMPLES:].contiguous()
    check_network(Probe(build, classes, frames, others), realistic, say)


def _made_up(job: Job) -> Tensor:
    steps = min(job.configuration.sampling.train_bins or MAX_STEPS, MAX_STEPS)
    return moving_blobs((steps, 2 * SAMPLES, POLARITIES, *job.frames.size))


def _crops(space: Space, job: Job, dataset: Dataset) -> Tensor:
    """Return the first batch of shuffled training crops, of shape (T, B, P, H, W)."""
    key, sampling, samples = job.key, job.configuration.sampling, dataset.samples
    split = split_of(job.configuration, samples.recordings(), key.fold, key.seed, lists=lists_of(space))
    indices = samples.indices_of(split.train)
    source = BatchSource(samples, indices, job.frames, sampling.train_bins, torch.device("cpu"))
    starts, order = (numpy_stream(key.seed, key.fold, purpose, 1) for purpose in ("crop", "order"))
    batch = next(source.training(2 * SAMPLES, sampling.train_crop, starts, order))
    return next(batch.views)[:MAX_STEPS].clone()

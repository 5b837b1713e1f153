"""What one trial is: a configuration, a fold and a seed, on some data; and why it may lack memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sltune.errors import UsageError
from sltune.events.folds import Split, outside_test_part, select_sessions, split_recordings
from sltune.events.frames import FrameFormat
from sltune.events.samples import POLARITIES, RecordingInfo
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.snn.network import NETWORKS, NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from sltune.training.streams import seed_torch
from sltune.training.weights import load_weights, read_weights


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
        # Other seeds may be added to the run, which change nothing here.
        configuration["evaluation"]["seeds"] = [self.key.seed]
        values = [self.key.name, configuration, self.sensor, self.classes, weights, self.dataset]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def frames(self) -> FrameFormat:
        """How events become frames."""
        sampling = self.configuration.sampling
        return FrameFormat(self.sensor, sampling.time_bin_ms, sampling.binning, sampling.downsample)

    def network(self) -> nn.Module:
        """Return the network as training starts with it; raises as network_and_note does."""
        return self.network_and_note()[0]

    def network_and_note(self) -> tuple[nn.Module, str]:
        """Return the network as training starts with it, and what was renamed or left out of its weights, or "".

        Raises:
            UsageError: the frames are too small for it.
            DataError: the weights do not fit it.
        """
        config, neuron = self.configuration.network, self.configuration.neuron
        lif = LIFParameters(neuron.v_threshold, neuron.decay, neuron.surrogate, neuron.surrogate_width)
        options = NetworkOptions(lif, config.norm, config.dropout, config.init)
        seed_torch(self.key.seed, self.key.fold, "weights")
        try:
            network = NETWORKS[config.name]((POLARITIES, *self.frames.size), self.classes, options=options)
        except ValueError as error:
            raise UsageError(f"network.name = {config.name}: {error}") from error
        if self.weights is None:
            return network, ""
        return network, load_weights(network, self.weights, config.weights_for(self.key.fold))


def starting_weights(configuration: Configuration, fold: int) -> bytes | None:
    """Return the content of the weights file that the configuration names for a fold; None where it names none.

    Raises:
        DataError: the file cannot be read.
    """
    path = configuration.network.weights_for(fold)
    return read_weights(Path(path)) if path else None


def split_of(
    configuration: Configuration,
    recordings: Sequence[RecordingInfo],
    fold: int,
    seed: int,
    outer_fold: int | None = None,
) -> Split:
    """Return the parts that one trial trains, validates and tests on.

    Args:
        outer_fold: the fold of the same configuration whose test signers are left out, before the others are split by
            the same rules; None leaves out none.

    Raises:
        DataError: the sessions or folds that the configuration asks for are not to be had from these recordings.
    """
    evaluation = configuration.evaluation
    folds, split_seed = evaluation.folds, evaluation.split_seed_for(seed)
    chosen = select_sessions(recordings, evaluation.sessions)
    if outer_fold is not None:
        chosen = outside_test_part(chosen, outer_fold, folds, split_seed)
    return split_recordings(chosen, fold, folds, split_seed, evaluation.validation_fraction)


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

"""What one trial is: a configuration, a fold and a seed, on some data; and why it may lack memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sltune.errors import CodeError, UsageError
from sltune.events.augmentations.events import POLARITIES
from sltune.events.frames import FrameFormat
from sltune.events.manifest import Manifest
from sltune.extensions.calls import parameters_of
from sltune.extensions.code import Code, Reference, is_reference
from sltune.extensions.importing import describe_error, limited
from sltune.extensions.kinds import KINDS, named, refuse_unknown_argument, require
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.sections import Sampling
from sltune.snn.initialisation import scale_to_rate
from sltune.snn.layers import Sequential
from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from sltune.snn.running import outputs_of
from sltune.training.process_state import kept_state
from sltune.training.streams import seed_torch
from sltune.training.weights import load_weights, read_weights, refuse_unknown_layers, weights_to_bytes

MAX_PROBES = 32
"""Configurations whose network is made before the run begins; of a space with more choices, the others fail later."""
MAX_BUILDING_SECONDS = 300
"""To draw the weights of the largest networks takes a minute."""


@dataclass(frozen=True)
class Job:
    """What to train, on which data.

    sensor: (height, width) in pixels. weights: to start from, None for fresh ones. dataset: its fingerprint. code: the
    user's, from which the configuration names things.
    """

    key: TrialKey
    configuration: Configuration
    sensor: tuple[int, int]
    classes: int
    weights: bytes | None = None
    dataset: str = ""
    code: Code = field(default_factory=Code)

    def fingerprint(self) -> str:
        """Return what tells this job from any other."""
        weights = hashlib.sha256(self.weights or b"").hexdigest()
        configuration = self.configuration.model_dump(mode="json")
        # Other seeds may be added to the run, which change nothing here.
        configuration["evaluation"]["seeds"] = [self.key.seed]
        # Without code of the user's, checkpoints of earlier versions are still those of the same job.
        code = [self.code.digest] if self.code.digest else []
        values = [self.key.name, configuration, self.sensor, self.classes, weights, self.dataset, *code]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def frames(self) -> FrameFormat:
        """How events become frames; raises as frame_format does."""
        return frame_format(self.sensor, self.configuration.sampling)

    def named(self, key: str, text: str) -> Callable[..., Any]:
        """Return what a setting names; raises a CodeError as ``extensions.kinds.named`` does."""
        return named(KINDS[key], text, self.code)

    def network(self) -> nn.Module:
        """Return the network as training starts with it; raises as network_and_note does."""
        return self.network_and_note()[0]

    def network_and_note(self) -> tuple[nn.Module, str]:
        """Return the network as training starts with it, and what a user should know of it, or "".

        That is what was renamed or left out of its weights, and what makes it slow.

        Raises:
            UsageError: the frames are too small for it, a network of the user's cannot be made, or a layer is missing.
            DataError: the weights do not fit it.
        """
        config = self.configuration.network
        network = self._users_network() if is_reference(config.name) else self._built_in_network()
        notes = []
        if is_reference(surrogate := self.configuration.neuron.surrogate):
            reason = "neurons run step by step in plain torch, as compiled kernels know only what is built in"
            notes = [f"neuron.surrogate = {surrogate}: {reason}"]
        if self.weights is not None:
            refuse_unknown_layers(network, config.weights_skip, "network.weights_skip")
            file = config.weights_for(self.key.fold)
            notes.append(load_weights(network, self.weights, file, config.weights_skip))
        return network, "; ".join(filter(None, notes))

    def network_on(self, frames: Callable[[], Tensor]) -> nn.Module:
        """Return the network as training starts with it, where that depends on data; raises as network_and_note does.

        Args:
            frames: gives the first training batch, of shape (T, B, P, H, W).
        """
        network = self.network()
        if self.configuration.network.init == "data":
            assert isinstance(network, Sequential)
            scale_to_rate(network, frames())
        return network

    def _built_in_network(self) -> nn.Module:
        config, neuron = self.configuration.network, self.configuration.neuron
        own = is_reference(neuron.surrogate)
        surrogate = self.named("neuron.surrogate", neuron.surrogate) if own else neuron.surrogate
        lif = LIFParameters(neuron.v_threshold, neuron.decay, surrogate, neuron.surrogate_width)
        options = NetworkOptions(lif, config.norm, config.dropout, config.init)
        seed_torch(self.key.seed, self.key.fold, "weights")
        try:
            factory = self.named("network.name", config.name)
            shape = (POLARITIES, *self.frames.size)
            return factory(shape, self.classes, options=options, **config.options)  # type: ignore[no-any-return]
        except ValueError as error:
            raise UsageError(f"network.name = {config.name}: {error}") from error

    def _users_network(self) -> nn.Module:
        name, options = self.configuration.network.name, self.configuration.network.options
        factory = self.named("network.name", name)
        shape = (POLARITIES, *self.frames.size)
        refuse_unknown_options(name, factory, options)
        seed_torch(self.key.seed, self.key.fold, "weights")
        try:
            with limited(MAX_BUILDING_SECONDS):
                network = factory(frame_shape=shape, classes=self.classes, **options)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # The code may also call exit().
            given = "".join(f", {key}={value!r}" for key, value in options.items())
            call = f"{Reference.parse(name).name}(frame_shape={shape}, classes={self.classes}{given})"
            raise CodeError(f"{name}: {call} failed: {describe_error(error)}") from error
        require(name, network, nn.Module, "torch.nn.Module")
        return network  # type: ignore[no-any-return]


def frame_format(sensor: tuple[int, int], sampling: Sampling) -> FrameFormat:
    """Return how events of a sensor of (height, width) pixels become frames.

    Raises:
        UsageError: the frames would be larger than the sensor.
    """
    (height, width), size = sensor, sampling.frame_size
    if size is not None and (size[0] > height or size[1] > width):
        text = f"is larger than the sensor of {width}x{height} pixels; name a size that is not"
        raise UsageError(f"sampling.size = {sampling.size}: {text}")
    return FrameFormat(sensor, sampling.time_bin_ms, sampling.binning, sampling.downsample, size, sampling.bins)


def refuse_unknown_options(name: str, factory: Any, options: Iterable[str]) -> None:
    """Make sure that a user's network can be called with what it is given.

    Args:
        name: that of the network in the space file. factory: what it names. options: the names of its options.

    Raises:
        CodeError: it does not take one of the arguments; says which it takes.
    """
    taken = parameters_of(factory)
    for key in ("frame_shape", "classes"):
        if taken is not None and key not in taken:
            raise CodeError(f"{name}: does not take {key}; a network is called with frame_shape=(P, H, W), classes=n")
    own = None if taken is None else [key for key in taken if key not in ("frame_shape", "classes")]
    for key in options:
        refuse_unknown_argument(f"network.options.{key}", name, key, own)


def refuse_unsuited(name: str, network: nn.Module) -> None:
    """Make sure that a user's network can be trained, saved and loaded, which otherwise fails after hours of training.

    Args:
        name: that of the network in the space file; those of sltune can.

    Raises:
        CodeError: it cannot; names the parameter.
    """
    parameters = dict(network.named_parameters())
    if not is_reference(name) or not parameters:
        return
    for key, parameter in parameters.items():
        if is_lazy(parameter) or parameter.is_meta:
            hint = "give the layer its size, or call forward once in __init__ with torch.zeros(1, 1, *frame_shape)"
            raise CodeError(f"{name}: {key} has no size yet, or no values; {hint}")
        if parameter.is_complex():
            raise CodeError(f"{name}: {key} is complex; parameters must be real, as torch.view_as_real makes them")
    try:
        load_weights(network, weights_to_bytes(network), "state_dict()")
    except Exception as error:
        raise CodeError(
            f"{name}: what it saves as its weights cannot be loaded again: {describe_error(error)}"
        ) from error


def refuse_rates_alone(name: str, network: nn.Module, frame_shape: tuple[int, int, int]) -> None:
    """Make sure that a user's network has outputs over time, which a search by latency needs.

    Raises:
        UsageError: it returns one rate for each class. What else may be wrong with it, its training says.
    """
    if not is_reference(name):
        return
    outputs = None
    with torch.no_grad(), suppress(Exception):
        outputs = outputs_of(network.eval(), torch.zeros(2, 1, *frame_shape))
    if outputs is not None and outputs.dim() == 2:
        raise UsageError(
            f"[search]: judges by latency_ms, and {name} returns rates of shape (B, classes), which do not tell when "
            "it decides; return outputs of every time step, of shape (T, B, classes), or judge by another cost"
        )


def starting_weights(configuration: Configuration, fold: int) -> bytes | None:
    """Return the content of the weights file that the configuration names for a fold; None where it names none.

    Raises:
        DataError: the file cannot be read.
    """
    path = configuration.network.weights_for(fold)
    return read_weights(Path(path)) if path else None


def made_networks(
    probes: Iterable[Configuration], manifest: Manifest, code: Code, costs: Collection[str] = ()
) -> Iterator[tuple[Configuration, int, bytes | None, str]]:
    """Make the network of each configuration, to see that it can be made; give its fold, weights and what to say of it.

    Args:
        costs: those that a search judges by.

    Raises:
        DataError: a file of weights cannot be read, or is not of the network.
        UsageError: a network cannot be made of the dataset's frames, cannot be trained, or lacks such a cost.
    """
    for configuration in probes:
        # Without weights all folds have the same network.
        for fold in range(configuration.evaluation.folds if configuration.network.weights else 1):
            weights = starting_weights(configuration, fold)
            key = TrialKey("c0000", 0, fold)
            job = Job(key, configuration, manifest.sensor, len(manifest.classes), weights, code=code)
            with kept_state():
                network, note = job.network_and_note()
                refuse_unsuited(configuration.network.name, network)
                if "latency_ms" in costs:
                    refuse_rates_alone(configuration.network.name, network, (POLARITIES, *job.frames.size))
            yield configuration, fold, weights, note


def describe_lack_of_memory(error: BaseException, configuration: Configuration, device: str) -> str | None:
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

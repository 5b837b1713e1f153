"""Compiled kernels against the reference, on random cases, before anything is trained with them.

All values are multiples of 1/16, so that sums are exact in whatever order a kernel takes them, and no potential can be
rounded to the other side of a threshold or of a window's edge. What differs is wrong.
"""

from __future__ import annotations

import functools
import platform
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn

from sltune.snn.backends import backend_of
from sltune.snn.layers import LIF, Conv, Dense, LIFPool, MaxPool, ThresholdBatchNorm
from sltune.snn.neurons.backend import REFERENCE, Backend, Norm
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState
from sltune.snn.neurons.surrogate import WINDOWS
from sltune.system.gpus import driver_version
from sltune.wording import shortened

OPERATIONS = ("layer", "pooled_layer", "normed_layer", "stage", "convolve", "max_pool", "dense")
"""What a backend may have kernels for."""
STEPS, BATCH = 6, 2
PARTS = 16
"""Values are multiples of one part."""
ERROR = 1e-4
"""How far potentials and gradients may be off, as a share of the largest: sums of thousands of terms are rounded."""
EXACT = ("spikes", "spikes at the end", "spike count")
"""What may not differ at all."""
MAX_REASON = 300
"""Characters of a compiler's error; what follows is the code that it could not compile."""

Decay = Literal["fixed", "layer", "channel"]


@dataclass(frozen=True)
class Case:
    """What kernels are compiled for.

    goes_on: whether the neurons start from a state, and a normalisation has statistics of its own. channels_last: how
    images lie in memory.
    """

    surrogate: str = "rectangular"
    decay: Decay = "fixed"
    goes_on: bool = False
    channels_last: bool = False


def every_case() -> Iterator[Case]:
    """Give all that kernels are compiled for in training."""
    decays: tuple[Decay, ...] = ("fixed", "layer", "channel")
    for surrogate, decay, channels_last in product(WINDOWS, decays, (False, True)):
        yield Case(surrogate, decay, channels_last != (decay == "layer"), channels_last)


def check_kernels(network: nn.Module, device: torch.device) -> str:
    """Compare the kernels that a network's layers take with the reference, once in this process; replace faulty ones.

    From then on the reference does in this process what a faulty kernel was to do.

    Returns:
        what is replaced, and where; "" where nothing is. It is said as a warning, too, the first time.
    """
    texts = [_check(device, *needed) for needed in sorted(_needed(network))]
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _needed(network: nn.Module) -> Iterator[tuple[str, str, Decay]]:
    """Give the operations that a network's layers may ask a backend for, with the neurons' surrogates and decays."""
    layers = list(network.modules())
    has_norms = any(isinstance(layer, ThresholdBatchNorm) for layer in layers)
    for layer in layers:
        for kind, operation in ((Dense, "dense"), (Conv, "convolve"), (MaxPool, "max_pool")):
            if isinstance(layer, kind):
                yield operation, "rectangular", "fixed"
        if not isinstance(layer, LIF):
            continue
        learned, surrogate = layer.decay_logit, layer.neuron.surrogate
        decay: Decay = "fixed" if learned is None else "channel" if learned.dim() else "layer"
        operations = ("pooled_layer", "stage") if isinstance(layer, LIFPool) else ("layer",)
        for operation in (*operations, *(("normed_layer",) if has_norms else ())):
            # For a function, layers take the reference, but not all of what belongs to them.
            yield operation, surrogate if isinstance(surrogate, str) else "rectangular", decay


def fault_of(backend: Backend, operation: str, device: torch.device, cases: Iterable[Case]) -> str:
    """Return how an operation of a backend fails, or in what it differs from the reference; "" for neither."""
    if getattr(type(backend), operation) is getattr(Backend, operation):
        # Torch does it.
        return ""
    return next(filter(None, (_difference(backend, operation, case, device) for case in cases)), "")


def described_device(device: torch.device) -> str:
    """Return which device, and which versions, kernels are compiled by and for."""
    if device.type == "cuda":
        hardware = f"{torch.cuda.get_device_name(device)}, driver {driver_version() or 'unknown'}"
        compiler = "triton"
    else:
        hardware, compiler = platform.processor() or platform.machine(), "numba"
    try:
        compiler = f"{compiler} {version(compiler)}"
    except PackageNotFoundError:
        compiler = f"no {compiler}"
    return f"{hardware}, {compiler}, torch {torch.__version__}"


@functools.cache
def _check(device: torch.device, operation: str, surrogate: str, decay: Decay) -> str:
    # The process has a single one for the device.
    backend = backend_of(torch.empty(0, device=device))
    if backend is REFERENCE:
        return ""
    cases = (Case(surrogate, decay, goes_on=last, channels_last=last) for last in (True, False))
    fault = fault_of(backend, operation, device, cases)
    if not fault:
        return ""
    setattr(backend, operation, getattr(REFERENCE, operation))
    if operation == "stage":
        backend.prefers_stage = REFERENCE.prefers_stage  # type: ignore[method-assign]
    text = f"the compiled kernel of {operation} is replaced by plain torch, which is slower: {fault}"
    text = f"{text} ({described_device(device)})"
    warnings.warn(text, RuntimeWarning, stacklevel=3)
    return text


def _difference(backend: Backend, operation: str, case: Case, device: torch.device) -> str:
    """Return what is wrong with an operation; "" for nothing."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        expected = _Run(REFERENCE, case, device).of(operation)
        try:
            mine = _Run(backend, case, device).of(operation)
            # Of a GPU, only now an error would be known.
            pairs = [(name, one.detach().float(), expected[name].detach().float()) for name, one in mine.items()]
            for name, one, other in pairs:
                if one.shape != other.shape:
                    return f"{name} of shape {tuple(one.shape)} instead of {tuple(other.shape)}"
                if name in EXACT:
                    if wrong := int((one != other).sum()):
                        return f"{wrong} of {other.numel()} {name} differ from the reference"
                    continue
                largest = float(other.abs().max())
                error = float((one - other).abs().max()) / (largest or 1.0)
                # Not-a-number is no small number.
                if not error <= ERROR:
                    return f"{name} off by {error:.2g} of the largest"
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return f"fails: {shortened(reason, MAX_REASON)}"
    return ""


class _Run:
    """An operation done by a backend, on values that depend on the case alone."""

    def __init__(self, backend: Backend, case: Case, device: torch.device) -> None:
        self._backend, self._case, self._device = backend, case, device
        self._random = torch.Generator().manual_seed(0)
        self._lif = LIFParameters(decay=0.5, surrogate=case.surrogate)

    def of(self, operation: str) -> dict[str, Tensor]:
        """Return what comes out and the gradients by what goes in, by what it is called."""
        found: dict[str, Tensor] = getattr(self, f"_{operation}")()
        return found

    def _layer(self) -> dict[str, Tensor]:
        # More neurons than a block of any kernel has.
        current = self._images(3, 23, 31)
        state, decay = self._start(current)
        fired = self._backend.layer(current, self._lif, state, decay)
        return self._outcome(fired, {"current": current}, decay)

    def _pooled_layer(self) -> dict[str, Tensor]:
        current = self._images(5, 9, 7)
        state, decay = self._start(current)
        fired = self._backend.pooled_layer(current, self._lif, state, decay)
        return self._outcome(fired, {"current": current}, decay)

    def _normed_layer(self) -> dict[str, Tensor]:
        # As many -1/2 as 1/2 in each channel, so that mean and variance are 0 and 1/4 without rounding.
        channels, height, width = 5, 8, 7
        count = STEPS * BATCH * height * width
        order = torch.stack([torch.randperm(count, generator=self._random) for _ in range(channels)])
        signs = (order % 2).float().view(channels, STEPS, BATCH, height, width).movedim(0, 2) - 0.5
        images = self._leaf(signs)
        weight, bias = self._leaf(self._grid((channels,), 8, 24)), self._leaf(self._grid((channels,), -8, 16))
        fixed = self._case.goes_on
        mean = torch.zeros(channels, device=self._device) if fixed else None
        var = torch.full((channels,), 0.25, device=self._device) if fixed else None
        state, decay = self._start(images)
        norm = Norm(weight, bias, mean, var, 0.75)
        fired, own_mean, own_var = self._backend.normed_layer(images, norm, self._lif, state, decay)
        found = self._outcome(fired, {"images": images, "weight": weight, "bias": bias}, decay)
        # Distances, since a mean of 0 has no largest value to compare with.
        return {**found, "means": own_mean + 1, "variances": own_var}

    def _stage(self) -> dict[str, Tensor]:
        sparse = torch.rand((STEPS, BATCH, 3, 10, 13), generator=self._random) < 0.2
        images = self._leaf(sparse.float())
        weight, bias = self._leaf(self._grid((6, 3, 3, 3), -8, 12)), self._leaf(self._grid((6,), -4, 8))
        state, decay = self._start(torch.empty(STEPS, BATCH, 6, 8, 11))
        fired = self._backend.stage(images, weight, bias, self._lif, state, decay)
        return self._outcome(fired, {"images": images, "weight": weight, "bias": bias}, decay)

    def _convolve(self) -> dict[str, Tensor]:
        # Only for images of the input, which get no gradient, a backend has a kernel.
        images = (torch.rand((STEPS, BATCH, 2, 10, 13), generator=self._random) < 0.1).float()
        images = self._leaf(images).detach()
        weight, bias = self._leaf(self._grid((6, 2, 3, 3), -8, 12)), self._leaf(self._grid((6,), -4, 8))
        currents = self._backend.convolve(images, weight, bias, 1)
        return {"currents": currents, **self._gradients(currents, {"weight": weight, "bias": bias})}

    def _max_pool(self) -> dict[str, Tensor]:
        images = self._leaf(torch.randint(0, 3, (STEPS * BATCH, 5, 9, 7), generator=self._random).float())
        pooled = self._backend.max_pool(images)
        return {"spikes": pooled, **self._gradients(pooled, {"images": images})}

    def _dense(self) -> dict[str, Tensor]:
        spikes = self._leaf((torch.rand((STEPS * BATCH, 4160), generator=self._random) < 0.2).float())
        weight, bias = self._leaf(self._grid((10, 4160), -16, 17)), self._leaf(self._grid((10,), -8, 8))
        current = self._backend.dense(spikes, weight, bias)
        return {"currents": current, **self._gradients(current, {"spikes": spikes, "weight": weight, "bias": bias})}

    def _images(self, channels: int, height: int, width: int) -> Tensor:
        return self._leaf(self._grid((STEPS, BATCH, channels, height, width), -8, 16))

    def _start(self, current: Tensor) -> tuple[LIFState | None, Tensor | None]:
        """Return the state to start from, and the learned decay."""
        shape, channels = current.shape[1:], current.shape[2]
        state = None
        if self._case.goes_on:
            fired = (torch.rand(shape, generator=self._random) < 0.3).float().to(self._device)
            state = LIFState(self._grid(shape, -8, 16).to(self._device), fired)
        if self._case.decay == "fixed":
            return state, None
        values = torch.randint(1, 4, (channels,), generator=self._random) / 4
        decay = values if self._case.decay == "channel" else values[0]
        return state, decay.to(self._device).requires_grad_()

    def _outcome(self, fired: Fired, inputs: dict[str, Tensor], decay: Tensor | None) -> dict[str, Tensor]:
        if decay is not None:
            inputs = {**inputs, "decay": decay}
        return {
            "spikes": fired.spikes,
            "potentials": fired.state.potential,
            "spikes at the end": fired.state.spikes,
            "spike count": fired.spike_count,
            **self._gradients(fired.spikes, inputs),
        }

    def _gradients(self, output: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the gradients of a weighted sum of the output."""
        weights = self._grid(tuple(output.shape), -8, 17).to(output.device, output.dtype)
        found = torch.autograd.grad(output, list(inputs.values()), weights)
        return {f"gradients by {name}": one for name, one in zip(inputs, found, strict=True)}

    def _grid(self, shape: Sequence[int], low: int, high: int) -> Tensor:
        """Draw multiples of 1/16 of low … high − 1."""
        return torch.randint(low, high, tuple(shape), generator=self._random) / PARTS

    def _leaf(self, values: Tensor) -> Tensor:
        """Return values on the device, in the case's layout, to differentiate by."""
        values = values.to(self._device)
        if values.dim() == 5 and self._case.channels_last:
            values = values.movedim(2, -1).contiguous().movedim(-1, 2)
        return values.requires_grad_()

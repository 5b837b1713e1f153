"""A NIR graph as a network of sltune's layers, which can be evaluated and trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sltune.errors import DataError
from sltune.export.graph import DT_S
from sltune.snn.layers import LIF, Conv, Dense, PerStep
from sltune.snn.stretches import Network
from sltune.system.files import open_plain

MAX_FILE_BYTES = 4 << 30
SAME = 1e-9
"""How far decays and gains may be apart that are meant to be the same: τ and R are products of rounded numbers."""


class Gain(nn.Module):
    """Multiplies currents of shape (T, B, C, ...) by a number of each channel."""

    def __init__(self, gains: NDArray[np.float64]) -> None:
        super().__init__()
        self.gain: Tensor
        self.register_buffer("gain", torch.from_numpy(gains).float())

    def forward(self, current: Tensor) -> Tensor:
        return current * self.gain.reshape(-1, *[1] * (current.dim() - 3))


class GraphNetwork(Network):
    """The nodes of a graph in the order in which they are computed; what leads into one node is added up.

    Args:
        layers: by the name of the node. sources: of each node, those that lead into it.
    """

    def __init__(self, layers: Mapping[str, nn.Module], sources: Mapping[str, Sequence[str]], output: str) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self._sources = {name: tuple(sources[name]) for name in layers}
        self._inputs = {one for many in self._sources.values() for one in many} - layers.keys()
        self._last = tuple(sources[output])

    def forward(self, frames: Tensor) -> Tensor:
        found = dict.fromkeys(self._inputs, frames)

        def value(names: Sequence[str]) -> Tensor:
            first, *others = (found[name] for name in names)
            return sum(others, first)

        for name, layer in self.layers.items():
            found[name] = layer(value(self._sources[name]))
        return value(self._last)


def read_nir(file: Path | str, dt_s: float | None = None) -> GraphNetwork:
    """Return the network that a NIR file describes, in evaluation mode.

    Args:
        dt_s: seconds of a time step; None for what the file says, or 0.1 ms where it says nothing.

    Raises:
        DataError: the file cannot be read, or has a node that sltune's layers cannot compute; names the node.
    """
    path = Path(file)
    try:
        # Opened as what may come from a stranger: HDF5 would wait for a pipe.
        with open_plain(path, MAX_FILE_BYTES):
            graph = nir.read(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise DataError(f"{path}: not a NIR graph: {type(error).__name__}: {error}") from error
    return as_network(graph, str(path), dt_s)


def as_network(graph: nir.NIRGraph, place: str, dt_s: float | None = None) -> GraphNetwork:
    """Return the network of a graph; arguments and errors are those of ``read_nir``, place names it in errors."""
    if dt_s is None:
        dt_s = float(np.asarray(graph.metadata.get("dt_s", DT_S)))
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        sources[target].append(source)
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        raise DataError(
            f"{place}: {' → '.join(error.args[1])} is recurrent; sltune reads graphs without loops"
        ) from error
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    outputs = [name for name in order if kinds[name] == "Output"]
    if len(outputs) != 1 or sum(kind == "Input" for kind in kinds.values()) != 1:
        raise DataError(f"{place}: must have one input and one output")
    layers = {}
    for name in order:
        if kinds[name] in ("Input", "Output"):
            continue
        make = _MADE.get(kinds[name])
        if make is None:
            raise DataError(f"{place}: {name} ({kinds[name]}): sltune reads {', '.join(_MADE)}")
        try:
            layers[name] = make(graph.nodes[name], dt_s)
        except ValueError as error:
            raise DataError(f"{place}: {name} ({kinds[name]}): {error}") from error
    return GraphNetwork(layers, sources, outputs[0]).eval()


def _conv(node: Any, _: float) -> nn.Module:
    stride, padding, dilation = (_pair(one) for one in (node.stride, node.padding, node.dilation))
    weight, groups = _tensor(node.weight), int(node.groups)
    maps, channels, *kernel = weight.shape
    bias = torch.zeros(maps) if node.bias is None else _tensor(node.bias)
    if kernel[0] == kernel[1] and (stride, dilation, groups) == ((1, 1), (1, 1), 1) and padding[0] == padding[1]:
        return _loaded(Conv(channels, maps, kernel[0], padding[0]), weight, bias)
    size = kernel[0], kernel[1]
    return PerStep(_loaded(nn.Conv2d(channels * groups, maps, size, stride, padding, dilation, groups), weight, bias))


def _dense(node: Any, _: float) -> nn.Module:
    weight, bias = _tensor(node.weight), getattr(node, "bias", None)
    units, inputs = weight.shape
    return _loaded(Dense(inputs, units), weight, torch.zeros(units) if bias is None else _tensor(bias))


def _pooling(node: Any, _: float) -> nn.Module:
    return PerStep(nn.AvgPool2d(_pair(node.kernel_size), _pair(node.stride), _pair(node.padding)))


def _flatten(node: Any, _: float) -> nn.Module:
    if (int(node.start_dim), int(node.end_dim)) != (0, -1):
        raise ValueError(f"flattens from axis {node.start_dim} to {node.end_dim} instead of all, from 0 to -1")
    return nn.Flatten(2)


def _leaky(node: Any, dt_s: float) -> nn.Module:
    if np.any(node.v_leak) or np.any(node.v_reset):
        raise ValueError("v_leak and v_reset must be 0")
    decay = 1 - dt_s / np.asarray(node.tau, np.float64)
    if not ((decay >= 0) & (decay < 1)).all():
        raise ValueError(f"τ of {np.min(node.tau):g} s is shorter than a time step of {dt_s:g} s")
    return _neurons(node, decay, np.asarray(node.r, np.float64) * (1 - decay))


def _integrating(node: Any, dt_s: float) -> nn.Module:
    if np.any(node.v_reset):
        raise ValueError("v_reset must be 0")
    return _neurons(node, np.ones(node.r.shape), np.asarray(node.r, np.float64) * dt_s)


def _neurons(node: Any, decay: Any, gain: Any) -> nn.Module:
    """Return neurons. gain: what the current is multiplied by before it is added to the potential."""
    thresholds = np.unique(np.asarray(node.v_threshold, np.float32))
    if len(thresholds) > 1:
        raise ValueError("thresholds must be the same for all neurons of a layer")
    decays, gains = (_of_channels(values) for values in (decay, gain))
    layer = LIF(float(thresholds[0]), float(decays[0]))
    if np.ptp(decays) > SAME:
        layer = LIF(float(thresholds[0]), 0.5, learn_decay="channel", channels=len(decays))
        assert layer.decay_logit is not None
        with torch.no_grad():
            layer.decay_logit.copy_(torch.logit(torch.from_numpy(decays)))
    is_scaled = np.abs(gains - 1).max() > SAME
    return nn.Sequential(Gain(gains), layer) if is_scaled else layer


def _of_channels(values: Any) -> Any:
    """Return the values of channels, of which all neurons must have the same."""
    channels = values.reshape(len(values), -1)
    if np.ptp(channels, axis=1).max() > SAME:
        raise ValueError("τ and R must be the same for all neurons of a channel")
    return channels[:, 0]


_MADE: dict[str, Callable[[Any, float], nn.Module]] = {
    "Conv2d": _conv,
    "Affine": _dense,
    "Linear": _dense,
    "AvgPool2d": _pooling,
    "Flatten": _flatten,
    "LIF": _leaky,
    "IF": _integrating,
}


def _loaded(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    return layer


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32).copy())


def _pair(value: Any) -> tuple[int, int]:
    first, second = np.broadcast_to(np.asarray(value), (2,)).tolist()
    return int(first), int(second)

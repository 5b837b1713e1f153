"""A trained network as a NIR graph (Pedersen et al. 2024, Nature Communications 15:8122).

NIR describes neurons by differential equations. Ours take steps: u(t) = decay · u(t−1) · (1 − o(t−1)) + I(t). That is
Euler's method for τ dv/dt = −v + R I with steps of dt, where 1 − dt/τ = decay and R dt/τ = 1. Neurons of decay 1 do not
leak: dv/dt = R I with R dt = 1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sltune.errors import UsageError
from sltune.snn.deep import Deep, Spiking
from sltune.snn.layers import LIF, Conv, Dense, Dropout, LIFPool, MaxPool, PerStep, ThresholdBatchNorm
from sltune.system.files import named_by_user, write_whole

DT_S = 1e-4
"""Seconds of a time step where nobody says: what snnTorch always takes, and most others by default."""
INPUT, OUTPUT = "input", "output"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Options:
    """How a graph is written.

    dt_s: seconds of a time step. fold_resistance: whether R is 1 and the weights before neurons are divided by
    1 − decay, for simulators that do not know R.
    """

    dt_s: float = DT_S
    fold_resistance: bool = False


@dataclass
class Exported:
    """A graph, and where the neurons of the network are in it.

    layers: of each layer of neurons by its name in the network, the node that gives the same: the neurons, or the
    pooling after them. dt_s: seconds of a time step.
    """

    graph: nir.NIRGraph
    layers: dict[str, str]
    dt_s: float


def write_graph(file: Path, exported: Exported) -> None:
    """Write a graph to a NIR file, which replaces one that is there; raises a UsageError if it cannot be written."""
    content = io.BytesIO()
    nir.write(content, exported.graph)
    write_whole(named_by_user(file), content.getbuffer())


@dataclass
class _Builder:
    """A graph in the making. ends: the nodes whose sum is the value so far. shape: of that value, without batch."""

    options: Options
    shape: tuple[int, ...]
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    layers: dict[str, str] = field(default_factory=dict)
    ends: tuple[str, ...] = (INPUT,)

    def add(self, name: str, node: nir.NIRNode, shape: Sequence[int]) -> None:
        name = name.replace(".", "_")
        self.nodes[name] = node
        self.edges += [(end, name) for end in self.ends]
        self.ends, self.shape = (name,), tuple(shape)


def as_graph(network: nn.Module, frame_shape: tuple[int, int, int], options: Options = Options()) -> Exported:
    """Return a network as it evaluates. frame_shape: (P, H, W).

    Raises:
        UsageError: NIR, or this function, cannot say what a layer does; names the layer.
    """
    builder = _Builder(options, frame_shape)
    builder.nodes[INPUT] = nir.Input({"input": np.array(frame_shape)})
    with torch.no_grad():
        _add(builder, "", network)
    builder.nodes[OUTPUT] = nir.Output({"output": np.array(builder.shape)})
    builder.edges += [(end, OUTPUT) for end in builder.ends]
    metadata = {"made_by": "sltune", "dt_s": options.dt_s, "answer": "the largest mean of the output over time"}
    graph = nir.NIRGraph(builder.nodes, builder.edges, metadata=metadata, type_check=False)
    return Exported(graph, builder.layers, options.dt_s)


def _add(builder: _Builder, name: str, layer: nn.Module) -> None:
    """Add a layer with all that it consists of."""
    if isinstance(layer, nn.Sequential):
        _add_chain(builder, [(f"{name}.{child}".lstrip("."), module) for child, module in layer.named_children()])
    elif isinstance(layer, Deep):
        _add_deep(builder, layer)
    else:
        _add_chain(builder, [(name or type(layer).__name__, layer)])


def _add_chain(builder: _Builder, layers: Sequence[tuple[str, nn.Module]]) -> None:
    """Add layers one after the other; connections take in what scales them: a normalisation, and neurons without R."""
    for place, (name, layer) in enumerate(layers):
        if isinstance(layer, nn.Sequential | Deep):
            _add(builder, name, layer)
        elif isinstance(layer, Conv | Dense):
            following = [module for _, module in layers[place + 1 : place + 3]]
            _add_connections(builder, name, layer, following)
        elif isinstance(layer, ThresholdBatchNorm):
            if not place or not isinstance(layers[place - 1][1], Conv):
                raise _refused(name, layer, "is folded into the convolution before it, and there is none")
        else:
            _add_layer(builder, name, layer)


def _add_deep(builder: _Builder, network: Deep) -> None:
    def add_spiking(name: str, part: Spiking) -> None:
        _add_chain(builder, [(f"{name}.{child}", module) for child, module in part.named_children()])

    add_spiking("stem", network.stem)
    _add_layer(builder, "pool", network.pool, "stem.pool")
    for number, block in enumerate(network.blocks):
        entering, name = builder.ends, f"blocks.{number}"
        add_spiking(f"{name}.first", block.first)  # type: ignore[arg-type]
        add_spiking(f"{name}.second", block.second)  # type: ignore[arg-type]
        if block.residual:
            # What leads into one node is added up.
            builder.ends = (*entering, *builder.ends)
        _add_layer(builder, "pool", network.pool, f"{name}.pool")
    _add_chain(builder, [("flatten", nn.Flatten(2)), ("dropout", network.dropout), ("fc", network.fc)])


def _add_layer(builder: _Builder, name: str, layer: nn.Module, node: str = "") -> None:
    """Add a layer that is no connection. node: what it is called in the graph, if not as in the network."""
    node = node or name
    if isinstance(layer, LIF):
        _add_neurons(builder, node, layer)
        if isinstance(layer, LIFPool):
            _add_pooling(builder, f"{node}.pool", name, nn.AvgPool2d(2))
        builder.layers[name] = builder.ends[0]
    elif isinstance(layer, PerStep) and isinstance(layer.layer, nn.AvgPool2d):
        _add_pooling(builder, node, name, layer.layer)
    elif isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (2, -1):
        # Shapes in NIR have no batch.
        flat = int(np.prod(builder.shape))
        builder.add(node, nir.Flatten({"input": np.array(builder.shape)}, start_dim=0, end_dim=-1), (flat,))
    elif isinstance(layer, MaxPool | nn.MaxPool2d | PerStep):
        advice = 'train with network.options.pool = "average"' if name == "pool" else "use PerStep(nn.AvgPool2d(2))"
        kind = layer.layer if isinstance(layer, PerStep) else layer
        raise _refused(name, kind, f"NIR has no such layer; {advice}" if _is_max(kind) else "NIR has no such layer")
    elif not isinstance(layer, Dropout | nn.Dropout | nn.Identity):
        known = "Sequential networks of sltune's layers, and the networks that are built in, can be exported"
        raise _refused(name, layer, known)


def _add_connections(builder: _Builder, name: str, layer: Conv | Dense, following: Sequence[nn.Module]) -> None:
    """Add connections. following: the next two layers, which may scale what they give."""
    weight, bias = layer.weight.double(), _or_zeros(layer.bias, layer.weight).double()
    norm = next((module for module in following[:1] if isinstance(module, ThresholdBatchNorm)), None)
    neurons = next((module for module in following[bool(norm) :][:1] if isinstance(module, LIF)), None)
    if norm is not None:
        weight, bias = _with_norm(name, norm, weight, bias)
    if builder.options.fold_resistance and neurons is not None:
        decay = _decay(neurons, len(bias))
        gain = torch.where(decay == 1, 1.0, 1 / (1 - decay))
        weight, bias = _scaled(weight, gain), bias * gain
    values = weight.float().numpy(), bias.float().numpy()
    if isinstance(layer, Dense):
        builder.add(name, nir.Affine(*values), (len(bias),))
        return
    if layer.groups != 1 or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise _refused(name, layer, "groups, named padding and padding with other values than 0 are not exported")
    sizes = [tuple(map(int, one)) for one in (layer.stride, layer.padding, layer.dilation)]
    shape = [
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, padding, dilation in zip(builder.shape[1:], layer.kernel_size, *sizes, strict=True)
    ]
    node = nir.Conv2d(builder.shape[1:], values[0], *sizes, 1, values[1])
    builder.add(name, node, (len(bias), *shape))


def _with_norm(name: str, norm: ThresholdBatchNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights and bias of a convolution that does what a normalisation after it does in evaluation."""
    if norm.running_mean is None or norm.running_var is None:
        raise _refused(name, norm, "has no statistics of its own to normalise by")
    gain, shift = _or_ones(norm.weight, bias), _or_zeros(norm.bias, bias)
    scale = norm.v_threshold * gain.double() / (norm.running_var.double() + norm.eps).sqrt()
    return _scaled(weight, scale), (bias - norm.running_mean.double()) * scale + shift.double()


def _add_neurons(builder: _Builder, name: str, layer: LIF) -> None:
    shape, dt_s = builder.shape, builder.options.dt_s
    decay = _spread(_decay(layer, shape[0]), shape)
    threshold = np.full(shape, layer.neuron.v_threshold)
    if (decay == 1).all():
        builder.add(name, nir.IF(np.full(shape, 1 / dt_s), threshold, np.zeros(shape)), shape)
        return
    if (decay >= 1).any():
        raise _refused(name, layer, "some of its neurons leak and others do not")
    tau = dt_s / (1 - decay)
    r = np.ones(shape) if builder.options.fold_resistance else tau / dt_s
    # In double precision, as simulators compute 1 − dt/τ from it, which single precision would round.
    builder.add(name, nir.LIF(tau, r, np.zeros(shape), threshold), shape)


def _add_pooling(builder: _Builder, node: str, name: str, layer: nn.AvgPool2d) -> None:
    sizes = [np.array(_pair(one)) for one in (layer.kernel_size, layer.stride, layer.padding)]
    if layer.ceil_mode or (sizes[2].any() and not layer.count_include_pad) or layer.divisor_override:
        raise _refused(name, layer, "ceil_mode, count_include_pad and divisor_override cannot be said in NIR")
    shape = [
        (side + 2 * padding - kernel) // stride + 1
        for side, kernel, stride, padding in zip(builder.shape[1:], *sizes, strict=True)
    ]
    builder.add(node, nir.AvgPool2d(*sizes), (builder.shape[0], *map(int, shape)))


def _decay(layer: LIF, channels: int) -> Tensor:
    """Return the decays of a layer of neurons, one of each channel, in double precision."""
    # A learned one is float32, and that is what the neurons multiply by.
    learned = layer.learned_decay
    fixed = torch.tensor(layer.neuron.decay, dtype=torch.float64)
    return (fixed if learned is None else learned.detach().cpu().double()).expand(channels)


def _spread(of_channels: Tensor, shape: Sequence[int]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = of_channels.reshape(-1, *[1] * (len(shape) - 1)).expand(*shape).numpy().copy()
    return values


def _scaled(weight: Tensor, scale: Tensor) -> Tensor:
    return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))


def _or_zeros(values: Tensor | None, like: Tensor) -> Tensor:
    return like.new_zeros(len(like)) if values is None else values.detach()


def _or_ones(values: Tensor | None, like: Tensor) -> Tensor:
    return like.new_ones(len(like)) if values is None else values.detach()


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _is_max(layer: nn.Module) -> bool:
    return isinstance(layer, nn.MaxPool2d)


def _refused(name: str, layer: nn.Module, reason: str) -> UsageError:
    return UsageError(f"{name} ({type(layer).__name__}) cannot be exported to NIR: {reason}")

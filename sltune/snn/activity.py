"""Spikes and synaptic operations of any network, counted by hooks while it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.weak import WeakTensorKeyDictionary

from sltune.snn.layers import LIF, Conv, Dense
from sltune.snn.operations import Operations, connections_of

SYNAPSES = (nn.Linear, _ConvNd)
"""Layers of connections; transposed convolutions are among them."""
PASSING = (nn.Flatten, nn.Unflatten, nn.Identity, _DropoutNd)
"""Layers that pass on what comes in, in another shape at most, as they do in evaluation."""
WITHIN_NEURONS = ("torch.nn.modules.activation", "torch.nn.modules.container")
"""Modules of torch's own that neurons may hold beside connections, such as the function of their surrogate."""
NEURONS_SUFFIX = "_lif"
"""The neurons ``conv1_lif`` are reported as ``conv1``, after the connections that lead to them."""
INPUT = "input"

Hook = Callable[[Any, tuple[Any, ...], Any], None]
"""Called with a module, what it was given and what it returned."""


@dataclass
class _Layer:
    """spikes: those so far. possible: as many as if each neuron had fired at every time step."""

    spikes: Tensor | int = 0
    possible: int = 0
    is_binary: Tensor | bool = True
    outputs: list[Tensor] = field(default_factory=list)

    def add(self, spikes: Tensor, possible: int, is_binary: Tensor | bool = True) -> None:
        self.spikes = self.spikes + spikes
        self.possible += possible
        self.is_binary = self.is_binary & is_binary


class Meter:
    """Counts what a network does between ``with`` and its end, by layer, in the order in which layers are called.

    A layer counts if all that it ever returns is 0 or 1; of a tuple, the first part. Its name is that of its module,
    and what modules within it do is its own. Layers of torch's own, such as pooling, are none of neurons. sltune's
    layers have counted their spikes themselves, so their outputs may be averages.

    Args:
        keeps_outputs: whether outputs are there to be taken by ``take_outputs``.
        effective: counts the inputs of all connections, too, which takes a quarter to a half of the network's own time.
    """

    def __init__(self, network: nn.Module, keeps_outputs: bool = False, effective: Operations | None = None) -> None:
        self._network = network
        self._keeps_outputs = keeps_outputs
        self._effective = effective
        self._layers: dict[str, _Layer] = {}
        self._operations: Tensor | int = 0
        self._sample_steps = 0
        self._hooks: list[Any] = []
        # By frames and what sltune's layers returned: how many spikes it stands for, and its version, which changes if
        # somebody writes to it.
        self._spikes_of = WeakTensorKeyDictionary()
        self._connected = set[str]()
        self._connections: dict[tuple[int, torch.Size], Tensor] = {}

    def __enter__(self) -> Meter:
        for full_name, module in self._network.named_modules():
            name = ".".join(part.removesuffix(NEURONS_SUFFIX) for part in full_name.split("."))
            if hook := self._hook_for(name, module):
                self._hooks.append(module.register_forward_hook(_with_all_inputs(hook), with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def add_frames(self, frames: Tensor) -> None:
        """Count what is not 0 in frames that the network is about to be given, as "input"."""
        count = torch.count_nonzero(frames)
        self._spikes_of[frames] = count, frames._version
        self._sample_steps += frames.shape[0] * frames.shape[1]
        self._layer(INPUT).add(count, frames.numel())
        self._keep(INPUT, frames)

    def spikes(self) -> dict[str, int]:
        """Return how often each layer fired, over all samples and time steps."""
        return {name: int(layer.spikes) for name, layer in self._neurons()}

    def updates(self) -> int:
        """Return how often potentials were updated: every neuron's at each time step."""
        return sum(layer.possible for name, layer in self._neurons() if name != INPUT)

    def firing_rates(self) -> dict[str, float]:
        """Return spikes per neuron and time step of each layer; of "input", the share of values that are not 0."""
        return {name: int(layer.spikes) / layer.possible for name, layer in self._neurons()}

    def neurons(self) -> dict[str, int]:
        """Return the number of neurons of each layer, and of values in a frame."""
        return {name: layer.possible // self._sample_steps for name, layer in self._neurons()}

    def operations(self) -> int:
        """Return the number of synaptic operations: for each spike that arrives, the connections that it drives.

        sltune's layers do not deduct the borders of images, and count a spike that is pooled as one that arrives.
        """
        return int(self._operations)

    def take_outputs(self) -> dict[str, Tensor]:
        """Return all that each module has put out since the last time, flat, in the order of calls."""
        taken = {name: torch.cat(layer.outputs) for name, layer in self._layers.items() if layer.outputs}
        for layer in self._layers.values():
            layer.outputs.clear()
        return taken

    def _neurons(self) -> Iterator[tuple[str, _Layer]]:
        """Give the layers of neurons with their names; of several within each other, the outermost that is no block."""
        binary = {name: layer for name, layer in self._layers.items() if layer.is_binary}
        # Blocks hold connections and neurons; recurrent neurons hold connections and no others.
        blocks = {name for name in binary if name in self._connected and _is_around_any(name, binary)}
        for name, layer in binary.items():
            if name not in blocks and not any(_is_around_any(other, [name]) for other in binary.keys() - blocks):
                yield name, layer

    def _layer(self, name: str) -> _Layer:
        return self._layers.setdefault(name, _Layer())

    def _keep(self, name: str, outputs: Tensor) -> None:
        if self._keeps_outputs:
            self._layer(name).outputs.append(outputs.reshape(-1).clone())

    def _hook_for(self, name: str, module: nn.Module) -> Hook | None:
        if isinstance(module, LIF):
            return lambda lif, arguments, spikes: self._fired(name, lif, arguments, spikes)
        if isinstance(module, SYNAPSES):
            return lambda layer, arguments, _: self._arrived(layer, arguments[0])
        if isinstance(module, PASSING):
            return lambda _, arguments, outputs: self._passed(arguments[0], outputs)
        if not name or _is_torchs(module) or any(map(_is_no_part_of_neurons, module.modules())):
            return None
        if any(isinstance(part, SYNAPSES) for part in module.modules()):
            self._connected.add(name)
        return lambda _, arguments, outputs: self._put_out(name, arguments, outputs)

    def _fired(self, name: str, lif: LIF, arguments: tuple[Any, ...], spikes: Tensor) -> None:
        if len(arguments) > 1 and isinstance(arguments[1], Conv):
            # The neurons ran in one kernel with the convolution, which was not called.
            self._arrived(arguments[1], arguments[0])
        assert lif.count is not None
        self._layer(name).add(*lif.count)
        self._spikes_of[spikes] = lif.count.spikes, spikes._version
        self._keep(name, spikes)

    def _passed(self, values: Tensor, outputs: Tensor) -> None:
        if (spikes := self._counted(values)) is not None:
            self._spikes_of[outputs] = spikes, outputs._version

    def _counted(self, values: Tensor) -> Tensor | None:
        """Return the number of spikes that values stand for; None where nobody has counted them."""
        if values not in self._spikes_of:
            return None
        spikes, version = self._spikes_of[values]
        return spikes if version == values._version else None

    def _put_out(self, name: str, arguments: tuple[Any, ...], outputs: Any) -> None:
        values = outputs[0] if isinstance(outputs, tuple) and outputs else outputs
        # What comes out as it came in has been counted before; so does it from any library's dropout in evaluation.
        if isinstance(values, Tensor) and not any(values is argument for argument in arguments):
            is_binary = ((values == 0) | (values == 1)).all()
            self._layer(name).add(torch.count_nonzero(values), values.numel(), is_binary)
            self._keep(name, values)

    def _arrived(self, layer: nn.Linear | _ConvNd, values: Tensor) -> None:
        if self._effective is not None:
            self._effective.add(layer, values)
        if isinstance(layer, Conv | Dense):
            spikes = self._counted(values)
            operations = (torch.count_nonzero(values) if spikes is None else spikes) * layer.fan_out
        elif isinstance(layer, nn.Linear):
            operations = torch.count_nonzero(values) * layer.out_features
        else:
            operations = self._driven(layer, values)
        self._operations = self._operations + operations

    def _driven(self, layer: _ConvNd, values: Tensor) -> Tensor:
        """Return how many connections of a convolution the values that are not 0 drive."""
        dimensions = len(layer.kernel_size) + 1
        shape = values.shape[-dimensions:]
        arrived = (values != 0).reshape(-1, *shape).sum(0)
        key = (id(layer), shape)
        if key not in self._connections:
            self._connections[key] = connections_of(layer, shape).to(values.device)
        return (arrived * self._connections[key]).sum()


def _is_no_part_of_neurons(module: nn.Module) -> bool:
    """Say whether what holds a module is more than a layer of neurons: it holds one of sltune's, or pooling, say."""
    return isinstance(module, LIF) or (_is_torchs(module, WITHIN_NEURONS) and not isinstance(module, SYNAPSES))


def _is_around_any(name: str, others: Iterable[str]) -> bool:
    """Say whether a module holds any of the others."""
    return any(other.startswith(f"{name}.") for other in others)


def _is_torchs(module: nn.Module, apart_from: Sequence[str] = ()) -> bool:
    """Say whether a module is one of torch's own layers, or a kind of these."""
    origins = {kind.__module__ for kind in type(module).__mro__ if kind is not nn.Module}
    return any(origin.startswith("torch.nn.") for origin in origins.difference(apart_from))


def _with_all_inputs(hook: Hook) -> Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]:
    """Return a hook that takes inputs that are given by name as if they were given by place."""
    return lambda module, arguments, named, outputs: hook(module, (*arguments, *named.values()), outputs)

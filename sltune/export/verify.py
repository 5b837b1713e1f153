"""An exported network in other simulators: do its neurons fire when ours do?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nir
import torch
from torch import Tensor, nn
from torch.nn import functional

from sltune.export.graph import Exported
from sltune.export.reading import as_network
from sltune.export.targets import Target, run
from sltune.snn.layers import LIF
from sltune.snn.neurons.lif import LIFState, lif_step
from sltune.wording import shortened

ROUNDING = 1e-5
"""How near to the threshold, as a share of it, the order of a sum can decide whether a neuron fires."""
MAX_REASON = 300


@dataclass
class Comparison:
    """What a simulator does with a graph.

    failure: why it cannot run it; "" if it can. equal, values: of all layers of neurons, over time. difference: where
    the first layer that differs does so first, and why; "" where everything is equal. is_rounding: whether that is all.
    """

    name: str
    version: str
    samples: int = 0
    equal: int = 0
    values: int = 0
    failure: str = ""
    difference: str = ""
    is_rounding: bool = False
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        head = f"{self.name} {self.version}: "
        if self.failure:
            return f"{head}cannot run it: {self.failure}"
        where = f"in {len(self.counts)} layers, on {self.samples} samples"
        if not self.difference:
            return f"{head}all {self.values:,} values are equal {where}"
        return f"{head}{self.values - self.equal:,} of {self.values:,} values differ {where}; first {self.difference}"


def compare(
    network: nn.Module,
    exported: Exported,
    file: Path,
    target: Target,
    samples: Iterable[tuple[str, Tensor]],
) -> Comparison:
    """Run samples in a simulator, and compare what each layer of neurons gives, or the pooling right after it.

    Args:
        file: where the graph was written. samples: names, and frames of shape (T, 1, P, H, W).
    """
    found = Comparison(target.name, target.version)
    try:
        module = target.load(file, exported.dt_s).eval()
        for name, frames in samples:
            ours, theirs = _fired(network, frames, exported), run(module, frames, list(exported.layers.values()))
            found.samples += 1
            first = _count(found, ours, {layer: theirs[node] for layer, node in exported.layers.items()})
            if first and not found.difference:
                reason = _reason(exported, first, ours[first], theirs[exported.layers[first]], frames)
                found.is_rounding = reason.startswith("rounding")
                if not found.is_rounding and (quirk := target.quirk(exported.graph, exported.dt_s)):
                    reason = f"{quirk} ({reason})"
                step = int((ours[first] != theirs[exported.layers[first]]).any(1).nonzero()[0])
                found.difference = f"{first} at time step {step} of {name}: {reason}"
    except Exception as error:
        found.failure = shortened(" ".join(f"{type(error).__name__}: {error}".split()), MAX_REASON)
    return found


def _fired(network: nn.Module, frames: Tensor, exported: Exported) -> dict[str, Tensor]:
    """Return what our layers of neurons give, of shape (T, ...)."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            found[name] = output.detach().float().flatten(1)

        return hook

    layers = dict(network.named_modules())
    hooks = [layers[name].register_forward_hook(keep(name)) for name in exported.layers]
    try:
        with torch.no_grad():
            network(frames)
    finally:
        for one in hooks:
            one.remove()
    return found


def _count(found: Comparison, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """Count values that are equal; return the first layer where some are not, "" for none."""
    first = ""
    for layer, mine in ours.items():
        equal, values = int((mine == theirs[layer]).sum()), mine.numel()
        before = found.counts.get(layer, (0, 0))
        found.counts[layer] = before[0] + equal, before[1] + values
        found.equal, found.values = found.equal + equal, found.values + values
        first = first or (layer if equal < values else "")
    return first


def _reason(exported: Exported, layer: str, ours: Tensor, theirs: Tensor, frames: Tensor) -> str:
    """Say how near to the threshold the potentials are of the neurons that first differ."""
    step = int((ours != theirs).any(1).nonzero()[0])
    node = exported.layers[layer]
    of_neurons = node if isinstance(exported.graph.nodes[node], nir.LIF | nir.IF) else node.removesuffix("_pool")
    potential, threshold = _potential(exported, of_neurons, frames, step)
    differing = ours[step] != theirs[step]
    if of_neurons != node:
        height, width = potential.shape[1:]
        maps = differing.view(len(potential), height // 2, width // 2).repeat_interleave(2, 1).repeat_interleave(2, 2)
        differing = functional.pad(maps, (0, width % 2, 0, height % 2))
    distance = float((potential.flatten()[differing.flatten()] - threshold).abs().min())
    near = f"a potential is {distance:.2g} from the threshold of {threshold:g}"
    return f"rounding: {near}" if distance < ROUNDING * max(1.0, abs(threshold)) else near


def _potential(exported: Exported, node: str, frames: Tensor, step: int) -> tuple[Tensor, float]:
    """Return potentials after a time step, in double precision, and the threshold."""
    network, currents = as_network(exported.graph, "the graph").double(), list[Tensor]()
    layer = network.layers[node]
    neurons = layer if isinstance(layer, LIF) else layer[1]  # type: ignore[index]
    assert isinstance(neurons, LIF)
    neurons.register_forward_pre_hook(lambda _, inputs: currents.append(inputs[0].detach()))
    with torch.no_grad():
        network(frames[: step + 1].double())
    decay = neurons.learned_decay
    rest = torch.zeros_like(currents[0][0])
    state = LIFState(rest, rest)
    shape = None if decay is None else decay.detach().reshape(-1, *[1] * (rest.dim() - 2))
    for current in currents[0]:
        state = lif_step(current, state, neurons.neuron, shape)
    return state.potential[0], neurons.neuron.v_threshold

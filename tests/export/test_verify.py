"""Spikes in other simulators: here some that are right or wrong on purpose; the real ones are in test_simulators.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sltune import snn
from sltune.export.graph import Exported, Options, as_graph
from sltune.export.targets import TARGETS, Target
from sltune.export.verify import Comparison, compare

FRAMES = (torch.rand(12, 1, 2, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.3).float()


class Neurons(nn.Module):
    """Neurons of a simulator, which returns its state. fires: potentials and threshold to spikes."""

    def __init__(self, decay: float, gain: float, fires: Callable[[Tensor, float], Tensor]) -> None:
        super().__init__()
        self.decay, self.gain, self.fires = decay, gain, fires

    def forward(self, current: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        before = torch.zeros_like(current) if state is None else state
        now = self.decay * before + self.gain * current
        spikes = self.fires(now, 0.3).float()
        return spikes, now * (1 - spikes)


class Simulator(nn.Module):
    """Runs a chain of nodes; its neurons may be wrong."""

    def __init__(self, graph: nir.NIRGraph, neurons: Callable[[], Neurons]) -> None:
        super().__init__()
        self.order = [name for name in graph.nodes if name not in ("input", "output")]
        for name in self.order:
            node = graph.nodes[name]
            if isinstance(node, nir.Conv2d):
                layer: nn.Module = nn.Conv2d(node.weight.shape[1], node.weight.shape[0], node.weight.shape[2])
                layer.load_state_dict({"weight": torch.from_numpy(node.weight), "bias": torch.from_numpy(node.bias)})
            else:
                layer = nn.AvgPool2d(2) if isinstance(node, nir.AvgPool2d) else neurons()
            self.add_module(name, layer)

    def forward(self, value: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        after = {}
        for name in self.order:
            layer = self.get_submodule(name)
            if isinstance(layer, Neurons):
                value, after[name] = layer(value, (state or {}).get(name))
            else:
                value = layer(value)
        return value, after


def above(potential: Tensor, threshold: float) -> Tensor:
    return potential > threshold


@pytest.fixture
def exported(tmp_path: Path) -> tuple[nn.Module, Exported, Path]:
    torch.manual_seed(2)
    network = snn.Sequential(snn.Conv(2, 4), snn.LIFPool(0.3, 0.5), snn.Conv(4, 3), snn.LIF(0.3, 0.5)).eval()
    for weight in network.parameters():
        weight.data.mul_(2)
    found = as_graph(network, (2, 9, 9))
    nir.write(tmp_path / "network.nir", found.graph)
    return network, found, tmp_path / "network.nir"


def compared(exported: tuple[nn.Module, Exported, Path], neurons: Callable[[], Neurons], quirk: str = "") -> Comparison:
    network, found, file = exported
    target = Target("Fake", "numpy", lambda path, _: Simulator(nir.read(path), neurons), lambda *_: quirk)
    return compare(network, found, file, target, [("one", FRAMES), ("two", FRAMES.flip(0))])


def test_a_simulator_that_computes_the_same_is_equal(exported: tuple[nn.Module, Exported, Path]) -> None:
    found = compared(exported, lambda: Neurons(0.5, 1.0, above))
    # 12 time steps of 4 maps of 3×3 after pooling and of 3 of 1×1, and two samples.
    assert found.words == (f"Fake {np.__version__}: all 936 values are equal in 2 layers, on 2 samples")
    assert not found.is_rounding


@pytest.mark.parametrize(
    "neurons",
    [
        lambda: Neurons(float(np.exp(-0.5)), 1.0, above),
        lambda: Neurons(0.5, 0.5, above),
        lambda: Neurons(0.0, 1.0, above),
    ],
    ids=["exponential decay", "R ignored", "state lost"],
)
def test_one_that_computes_otherwise_is_told_from_rounding(
    exported: tuple[nn.Module, Exported, Path], neurons: Callable[[], Neurons]
) -> None:
    found = compared(exported, neurons, "it is wrong on purpose")
    assert 0 < found.equal < found.values == 936
    assert not found.is_rounding
    assert "first 1 at time step" in found.words
    assert "of one: it is wrong on purpose (a potential is " in found.words


def test_one_whose_sums_are_rounded_otherwise_differs_by_rounding(exported: tuple[nn.Module, Exported, Path]) -> None:
    network, _, file = exported
    # A current that leads exactly to the threshold of the first layer, which fires only above it.
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.fill_(0.3)
    found = as_graph(network, (2, 9, 9))
    nir.write(file, found.graph)
    comparison = compared((network, found, file), lambda: Neurons(0.5, 1.0, lambda u, v: u >= np.float32(v)), "≥")
    assert comparison.is_rounding
    assert "first 1 at time step 0 of one: rounding: a potential is " in comparison.words
    assert "from the threshold of 0.3" in comparison.words


def test_one_that_cannot_run_a_graph_says_why(exported: tuple[nn.Module, Exported, Path]) -> None:
    def fail(*_: object) -> nn.Module:
        raise NotImplementedError("no\npooling")

    network, found, file = exported
    said = compare(network, found, file, Target("Fake", "numpy", fail, lambda *_: ""), [("one", FRAMES)])
    assert said.words == f"Fake {np.__version__}: cannot run it: NotImplementedError: no pooling"


def test_reasons_that_are_known_of_simulators() -> None:
    leaky = as_graph(snn.Sequential(snn.Dense(3, 2), snn.LIF(0.3, 0.5)), (3,))  # type: ignore[arg-type]
    leakless = as_graph(snn.Sequential(snn.Dense(3, 2), snn.LIF(0.3, 1.0)), (3,))  # type: ignore[arg-type]
    folded = as_graph(
        snn.Sequential(snn.Dense(3, 2), snn.LIF(0.3, 0.5)),
        (3,),
        Options(fold_resistance=True),  # type: ignore[arg-type]
    )
    of = {target.name: target.quirk for target in TARGETS}
    assert of["snnTorch"](leaky.graph, 1e-4) == ""
    assert of["snnTorch"](leaky.graph, 0.03) == "it takes time steps of 0.1 ms, and the graph has 30 ms"
    assert "decay of 0.9" in of["snnTorch"](leakless.graph, 1e-4)
    assert of["Norse"](leaky.graph, 1e-4) == "it takes R for 1; export with --fold-resistance"
    assert of["Norse"](folded.graph, 1e-4) == ""
    assert "know no R" in of["Norse"](leakless.graph, 1e-4)
    assert of["SpikingJelly"](leaky.graph, 1e-4) == "its neurons also fire at the threshold itself"

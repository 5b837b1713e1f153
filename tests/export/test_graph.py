"""Graphs: what they say, by Euler's method, is what the network does; what cannot be said is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sltune import snn
from sltune.errors import DataError, UsageError
from sltune.export.graph import Options, as_graph
from sltune.export.reading import GraphNetwork, as_network, read_nir
from sltune.snn.deep import sew, vgg
from sltune.snn.network import NetworkOptions, nmnist_cnn, nmnist_mlp2
from sltune.snn.neurons.lif import LIFParameters
from tests.export.euler import simulate

FRAMES = (torch.rand(15, 1, 2, 13, 14, generator=torch.Generator().manual_seed(0)) < 0.2).float()
SHAPE = (2, 13, 14)
LEAKY, LEAKLESS = (NetworkOptions(LIFParameters(0.3, decay)) for decay in (0.6, 1.0))
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": lambda: nmnist_cnn(SHAPE, 3, options=LEAKY),
    "normalised": lambda: nmnist_cnn(SHAPE, 3, options=NetworkOptions(LIFParameters(0.3, 0.6), norm="tdbn")),
    "fully connected, without a leak": lambda: nmnist_mlp2(SHAPE, 3, options=LEAKLESS),
    "of decay 0": lambda: nmnist_mlp2(SHAPE, 3, options=NetworkOptions(LIFParameters(0.3, 0.0))),
    "residual, one decay each map": lambda: sew(SHAPE, 3, LEAKY, width=4, pool="average", learn_decay="channel"),
    "plain, one decay each layer": lambda: vgg(SHAPE, 3, LEAKY, width=4, pool="average", learn_decay="layer"),
}
every_network = pytest.mark.parametrize("made", NETWORKS.values(), ids=NETWORKS)
folded_or_not = pytest.mark.parametrize("folded", [False, True], ids=["R = τ/dt", "R = 1"])


def lively(network: nn.Module) -> nn.Module:
    """Return a network in which all layers fire, with statistics and decays as training leaves them."""
    torch.manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=1.5 / layer.weight[0].numel() ** 0.5)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -0.1, 0.2)
        if isinstance(layer, snn.LIF) and layer.decay_logit is not None:
            nn.init.uniform_(layer.decay_logit, -2, 2)
    network.train()(FRAMES)
    return network.eval()


@every_network
@folded_or_not
def test_eulers_method_on_the_graph_gives_what_the_network_gives(made: Callable[[], nn.Module], folded: bool) -> None:
    network, found = lively(made()).double(), dict[str, Tensor]()
    exported = as_graph(network, SHAPE, Options(0.002, folded))
    for name, layer in network.named_modules():
        if name in exported.layers:
            layer.register_forward_hook(lambda _, __, output, name=name: found.update({name: output[:, 0].detach()}))
    with torch.no_grad():
        outputs = network(FRAMES.double())
    said = simulate(exported.graph, FRAMES[:, 0].double().numpy(), 0.002)
    assert list(found) == list(exported.layers)
    for layer_name, spikes in found.items():
        assert 0 < spikes.mean() < 1, layer_name
        # Weights in a graph are float32, so that a potential may fall to the other side of the threshold.
        assert (spikes.numpy() == said[exported.layers[layer_name]]).mean() > 0.999, layer_name
    np.testing.assert_allclose(said["output"], outputs[:, 0].numpy(), atol=1e-4)


@every_network
@folded_or_not
def test_a_graph_that_is_read_again_is_the_same_network(
    made: Callable[[], nn.Module], folded: bool, tmp_path: Path
) -> None:
    network = lively(made())
    nir.write(tmp_path / "network.nir", as_graph(network, SHAPE, Options(0.03, folded)).graph)
    again = read_nir(tmp_path / "network.nir")
    with torch.no_grad():
        expected, given = network(FRAMES), again(FRAMES)
        in_stretches, state = again.run(FRAMES[:7])
        rest, _ = again.run(FRAMES[7:], state)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.cat([in_stretches, rest]), given, rtol=0, atol=1e-5)
    assert expected.any()


def test_a_graph_says_what_its_numbers_mean() -> None:
    graph = as_graph(nmnist_mlp2(SHAPE, 3, options=LEAKY), SHAPE).graph
    assert list(graph.nodes) == ["input", "flatten", "fc1", "fc1_lif", "fc2", "fc2_lif", "output"]
    assert graph.nodes["input"].input_type["input"].tolist() == [2, 13, 14]
    # 1 − dt/τ = 0.6 and R = τ/dt.
    neurons = graph.nodes["fc2_lif"]
    np.testing.assert_allclose(neurons.tau, [0.00025] * 3)
    np.testing.assert_allclose(neurons.r, [2.5] * 3)
    assert graph.metadata["dt_s"] == 0.0001
    assert isinstance(as_graph(nmnist_mlp2(SHAPE, 3, options=LEAKLESS), SHAPE).graph.nodes["fc1_lif"], nir.IF)


class Own(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames.flatten(2)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (vgg(SHAPE, 3), r'^pool \(MaxPool\) cannot be exported to NIR: .*network.options.pool = "average"$'),
        (Own(), r"^Own \(Own\) cannot be exported to NIR: Sequential networks of sltune's layers"),
        (snn.Sequential(snn.Conv(2, 3), Own()), r"^1 \(Own\) cannot be exported"),
        (snn.Sequential(snn.Conv(2, 3), snn.PerStep(nn.MaxPool2d(2))), r"^1 \(MaxPool2d\) .*use PerStep\(nn.AvgPool2d"),
        (snn.Sequential(snn.PerStep(nn.AvgPool2d(2, ceil_mode=True))), r"^0 \(AvgPool2d\) .*ceil_mode"),
        (snn.Sequential(snn.LIF(), snn.ThresholdBatchNorm(2)), r"^1 \(ThresholdBatchNorm\) .*there is none$"),
        (snn.Sequential(nn.Flatten()), r"^0 \(Flatten\) cannot be exported"),
    ],
    ids=["maximum", "own", "own layer", "maximum per step", "ceil mode", "no convolution", "batch flattened"],
)
def test_what_nir_cannot_say_is_refused_with_the_layer(network: nn.Module, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        as_graph(network.eval(), SHAPE)


def graph_of(node: nir.NIRNode, *more: tuple[str, str]) -> nir.NIRGraph:
    nodes = {"input": nir.Input({"input": np.array([2])}), "n": node, "output": nir.Output({"output": np.array([2])})}
    return nir.NIRGraph(nodes, [("input", "n"), ("n", "output"), *more], type_check=False)


def lif(**changes: object) -> nir.LIF:
    values = {"tau": 0.001, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.LIF(**{name: np.broadcast_to(np.array(value), (2,)).astype(float) for name, value in values.items()})


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (graph_of(nir.Threshold(np.ones(2))), r"n \(Threshold\): sltune reads Conv2d, Affine"),
        (graph_of(lif(), ("n", "n")), "is recurrent"),
        (graph_of(lif(v_leak=0.1)), r"n \(LIF\): v_leak and v_reset must be 0"),
        (graph_of(lif(v_reset=[0, -1])), "v_leak and v_reset must be 0"),
        (graph_of(lif(tau=1e-5)), "τ of 1e-05 s is shorter than a time step of 0.0001 s"),
        (graph_of(lif(v_threshold=[1, 2])), "thresholds must be the same"),
        (graph_of(nir.Flatten({"input": np.array([2, 2])}, start_dim=1)), "flattens from axis 1"),
    ],
    ids=["threshold", "recurrent", "leak", "reset", "short", "thresholds", "flatten"],
)
def test_a_graph_that_sltune_cannot_compute_is_refused_with_the_node(graph: nir.NIRGraph, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        as_network(graph, "g.nir")


def test_currents_of_another_scale_and_decays_of_neurons_are_read() -> None:
    # τ/dt = 10 and R = 5: half of the current is added, and 0.9 of the potential kept.
    network: GraphNetwork = as_network(graph_of(lif(r=5.0)), "g.nir")
    current = torch.tensor([[[0.8, 2.4]]] * 3)
    # 0.4, 0.76, 1.084 fires; 1.2 fires each time.
    assert network(current)[:, 0].tolist() == [[0, 1], [0, 1], [1, 1]]
    # Each of two features is a channel: 0.9 and 0.8 of the potential are kept.
    network = as_network(graph_of(lif(tau=[0.001, 0.0005], r=[10, 5])), "g.nir")
    # 0.55, 1.045 fires, 0.55; 0.55, 0.99, 1.342 fires.
    assert network(torch.full((3, 1, 2), 0.55))[:, 0].tolist() == [[0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("content", [None, b"", b"no graph", b"\x89HDF\r\n\x1a\n" + b"\0" * 500])
def test_a_file_that_is_no_graph_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.nir").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.nir: (cannot be read|not a NIR graph)"):
        read_nir(tmp_path / "x.nir")

"""Networks against the plain ones that run every layer step by step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sltune.snn import running
from sltune.snn.network import NetworkOptions
from sltune.snn.running import rates_of
from sltune.training import fit
from sltune.training.batches import Batch, Clip
from tests import reference_impl as reference
from tests.networks import NETWORKS
from tests.parity.support import Signs, amplify, copy_weights, firing_rates, time_last

NMNIST = ("nmnist-mlp", "nmnist-mlp2", "nmnist-cnn")
SIZES = {"slanimals": 32, **dict.fromkeys(NMNIST, 34)}
every_network = pytest.mark.parametrize("name", SIZES)


def make(name: str, size: int, init: str = "torch") -> nn.Module:
    classes = 19 if name == "slanimals" else 10
    return NETWORKS[name]((2, size, size), classes, options=NetworkOptions(init=init))


def make_plain(name: str, size: int) -> reference.PlainNetwork:
    if name == "slanimals":
        return reference.PlainSLANIMALSNet(size)
    return reference.PlainNMNISTNet(name, reference.Neuron())


def lively_pair(name: str, size: int, seed: int, dtype: torch.dtype) -> tuple[nn.Module, reference.PlainNetwork]:
    """Return both networks with the same weights, twice as large as PyTorch draws them."""
    torch.manual_seed(seed)
    plain = make_plain(name, size).to(dtype)
    amplify(plain)
    mine = make(name, size).to(dtype)
    copy_weights(plain, mine)
    return mine, plain


def draw_frames(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw event counts, about one event in three pixels."""
    return torch.poisson(torch.full(shape, 0.3), generator=torch.Generator().manual_seed(8)).to(dtype)


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("slanimals", 128, 9_013_449),
        ("nmnist-mlp", 34, 1_089_610),
        ("nmnist-mlp2", 34, 1_189_386),
        ("nmnist-cnn", 34, 993_840),
    ],
)
def test_networks_have_as_many_parameters_as_the_predecessors(name: str, size: int, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in make(name, size).parameters()) == parameters


@every_network
def test_the_same_seed_draws_the_weights_of_pytorchs_own_start(name: str) -> None:
    networks = []
    for maker in (make, make_plain):
        torch.manual_seed(3)
        networks.append(maker(name, SIZES[name]))
    for mine, plain in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(mine, plain)


def test_the_stbp_start_is_uniform_in_rows_of_norm_1_and_leaves_the_rest() -> None:
    torch.manual_seed(5)
    network = make("slanimals", 32, init="stbp")
    for layer in (network.fc1, network.fc2):
        assert isinstance(layer, nn.Linear)
        weight = layer.weight.detach()
        torch.testing.assert_close(weight.norm(dim=1), torch.ones(layer.out_features))
        # Where uniform values up to m have norm 1, m² · n / 3 is 1.
        edge = math.sqrt(3 / layer.in_features)
        assert float(weight.abs().max()) == pytest.approx(edge, rel=0.15)
        assert float((weight.abs() < edge / 2).float().mean()) == pytest.approx(0.5, abs=0.02)
        assert float(weight.mean().abs()) < 0.03 * edge
        assert layer.bias.abs().max() <= 1 / math.sqrt(layer.in_features)
        assert layer.bias.abs().max() > 0
    torch.manual_seed(5)
    assert torch.equal(network.get_parameter("conv1.weight"), make("slanimals", 32).get_parameter("conv1.weight"))


@every_network
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 9])
def test_rates_equal_the_plain_networks(name: str, seed: int, batch: int) -> None:
    mine, plain = lively_pair(name, SIZES[name], seed, torch.float64)
    frames = draw_frames((11, batch, 2, SIZES[name], SIZES[name]), torch.float64)
    assert min(firing_rates(mine, frames).values()) > 0.01
    with torch.no_grad():
        assert torch.equal(rates_of(mine, frames), plain(time_last(frames)))
        exact = rates_of(mine, frames).float()
        # Rounding may tip a spike here and there.
        single = rates_of(mine.float(), frames.float())
        assert (single - exact).abs().mean() < 1e-3
        assert (single - exact).abs().max() <= 1.5 / 11


@every_network
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_gradients_equal_the_plain_networks(name: str, dtype: torch.dtype) -> None:
    mine, plain = lively_pair(name, SIZES[name], 1, dtype)
    frames = draw_frames((9, 3, 2, SIZES[name], SIZES[name]), dtype)
    for network, x in ((mine, frames), (plain, time_last(frames))):
        rates = rates_of(network, x) if network is mine else network(x)
        (rates * torch.linspace(-1, 2, rates.numel()).to(dtype).view_as(rates)).sum().backward()
    for theirs, ours in zip(plain.parameters(), mine.parameters(), strict=True):
        assert theirs.grad is not None
        assert ours.grad is not None
        assert theirs.grad.abs().max() > 1e-3
        room = (1e-9 if dtype == torch.float64 else 1e-5) * float(theirs.grad.abs().max())
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=room)


def test_evaluation_in_stretches_of_time_equals_one_piece(signs: Signs, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [counts[:50] for counts, _ in signs.of(signs.names[2:4]) if len(counts) >= 50]
    frames = torch.stack([torch.from_numpy(piece).float() for piece in counts], dim=1)
    network, plain = lively_pair("slanimals", 32, 4, torch.float32)
    labels = torch.arange(len(counts))
    results = []
    for steps in (50, 17, 1):
        monkeypatch.setattr(running, "MAX_STRETCH_VALUES", steps * frames[0].numel())
        batch = Batch(labels, iter([Clip.of(frames)]))
        results.append(fit.evaluate(network, [batch]))
    assert results[0].spikes["fc2"] > 1
    assert results[1] == results[2] == results[0]
    loss, accuracy = reference.evaluate(plain, [(time_last(frames), labels)])
    assert results[0].loss == pytest.approx(loss, abs=1e-5)
    assert results[0].accuracy == accuracy


def test_a_silent_network_answers_with_the_first_class() -> None:
    network = make("slanimals", 32)
    batch = Batch(torch.tensor([0, 4, 0, 18]), iter([Clip.of(torch.zeros(3, 4, 2, 32, 32))]))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    result = fit.evaluate(network, [batch])
    assert result.accuracy == 0.5
    assert [row[0] for row in result.confusion] == [2, 0, 0, 0, 1, *[0] * 13, 1]
    assert result.loss == pytest.approx(1)

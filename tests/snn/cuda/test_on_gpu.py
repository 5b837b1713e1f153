"""The kernels on a real GPU, at the sizes of the SL-Animals network; small shapes are in test_layer.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sltune.snn.backends import backend_of
from sltune.snn.neurons.backend import REFERENCE
from sltune.snn.neurons.lif import LIFParameters, LIFState
from sltune.snn.neurons.surrogate import WINDOWS
from tests.snn.cuda import normed
from tests.snn.cuda.normed import norm_for
from tests.snn.decays import assert_as_torch, draw_decay, draw_state, fire, per_layer_or_channel, pooled_or_not

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
pytest.importorskip("triton", reason="Triton is not installed")

GIBIBYTE = 2**30
LAYERS = {"conv1": (20, 126, 126), "conv2": (50, 61, 61), "fc1": (200,), "fc2": (19,)}
BATCHES = [(17, 8), (50, 4), (145, 2)]
every_layer = pytest.mark.parametrize("layer", list(LAYERS))
every_batch = pytest.mark.parametrize(("steps", "batch"), BATCHES)
types = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def draw_current(shape: tuple[int, ...], channels_last: bool = False) -> Tensor:
    """Draw a float32 current of shape (T, B, ...) on the GPU."""
    current = torch.rand(shape, device="cuda", generator=torch.Generator("cuda").manual_seed(0)) * 1.5 - 0.5
    return current.movedim(2, -1).contiguous().movedim(-1, 2) if channels_last else current


def assert_equal(current: Tensor, neurons: LIFParameters, pool: bool = False, state: LIFState | None = None) -> None:
    """Compare spikes and state bit by bit, the number of spikes, and gradients to 1e-5 of the largest."""
    from sltune.snn.cuda.backend import TritonBackend

    mine = current.detach().requires_grad_()
    plain = current.detach().float().requires_grad_()
    fired = (TritonBackend().pooled_layer if pool else TritonBackend().layer)(mine, neurons, state)
    expected = (REFERENCE.pooled_layer if pool else REFERENCE.layer)(plain, neurons, state)
    assert torch.equal(fired.spikes.float(), expected.spikes)
    assert torch.equal(fired.state.potential, expected.state.potential)
    assert fired.spike_count == expected.spike_count
    weights = torch.randn(expected.spikes.shape, device="cuda").bfloat16()
    (gradient,) = torch.autograd.grad(fired.spikes, mine, weights.to(fired.spikes.dtype))
    (expected_gradient,) = torch.autograd.grad(expected.spikes, plain, weights.float())
    largest = expected_gradient.abs().max().item()
    own_rounding = 2**-8 if current.dtype == torch.bfloat16 else 0
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=own_rounding, atol=1e-5 * largest)


@every_layer
@every_batch
@types
def test_layers_of_the_network_equal_the_reference(layer: str, steps: int, batch: int, dtype: torch.dtype) -> None:
    assert_equal(draw_current((steps, batch, *LAYERS[layer])).to(dtype), LIFParameters())


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels last"])
@every_batch
@types
def test_pooled_layers_of_the_network_equal_the_reference(
    layer: str, channels_last: bool, steps: int, batch: int, dtype: torch.dtype
) -> None:
    assert_equal(draw_current((steps, batch, *LAYERS[layer]), channels_last).to(dtype), LIFParameters(), pool=True)


@pytest.mark.parametrize("surrogate", list(WINDOWS))
@pytest.mark.parametrize("pool", [False, True], ids=["plain", "pooled"])
def test_windows_equal_the_reference(surrogate: str, pool: bool) -> None:
    assert_equal(draw_current((17, 8, 20, 63, 64), channels_last=True), LIFParameters(0.5, 0.8, surrogate, 1.0), pool)


@every_layer
@per_layer_or_channel
@types
def test_a_learned_decay_of_layers_equals_the_references(layer: str, per_channel: bool, dtype: torch.dtype) -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((17, 8, *LAYERS[layer])).to(dtype)
    decay = draw_decay(current, per_channel)
    assert_as_torch(TritonBackend(), False, current, LIFParameters(), draw_state(current, 1), decay)


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels last"])
@per_layer_or_channel
@types
def test_a_learned_decay_of_pooled_layers_equals_the_references(
    layer: str, channels_last: bool, per_channel: bool, dtype: torch.dtype
) -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((17, 8, *LAYERS[layer]), channels_last).to(dtype)
    decay = draw_decay(current, per_channel)
    assert_as_torch(TritonBackend(), True, current, LIFParameters(), draw_state(current, 1), decay)


@pooled_or_not
@per_layer_or_channel
def test_gradients_by_a_decay_are_identical_in_repeated_runs(pool: bool, per_channel: bool) -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((17, 8, 20, 126, 126), channels_last=True)
    decay = draw_decay(current, per_channel).requires_grad_()
    runs = [fire(TritonBackend(), pool, current, LIFParameters(), None, decay).spikes for _ in range(3)]
    gradients = [torch.autograd.grad(spikes.sum(), decay)[0] for spikes in runs]
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("fixed", [False, True], ids=["own statistics", "fixed statistics"])
@pytest.mark.parametrize("learned", ["no", "layer", "channel"])
def test_normed_layers_equal_those_of_torch(channels_last: bool, fixed: bool, learned: str) -> None:
    from sltune.snn.cuda.backend import TritonBackend

    images = draw_current((16, 8, 32, 64, 64), channels_last)
    decay = None if learned == "no" else draw_decay(images, learned == "channel")
    norm = norm_for(images, fixed)
    normed.assert_as_torch(TritonBackend(), images, norm, LIFParameters(), draw_state(images, 1), decay)


def test_normed_layers_are_identical_in_repeated_runs_and_keep_the_images_alone() -> None:
    from sltune.snn.cuda.backend import TritonBackend

    images = draw_current((16, 8, 32, 128, 128), channels_last=True).requires_grad_()
    norm = norm_for(images, False)
    weight, runs = norm.weight.clone().requires_grad_(), []
    for _ in range(3):
        before = torch.cuda.memory_allocated()
        fired, *_ = TritonBackend().normed_layer(images, norm._replace(weight=weight), LIFParameters())
        assert torch.cuda.memory_allocated() - before < fired.spikes.numel() * 4 + 2 * images[0].numel() * 4 + 2**20
        runs.append((fired.spikes, *torch.autograd.grad(fired.spikes.sum(), [images, weight])))
    assert all(torch.equal(*pair) for other in runs[1:] for pair in zip(runs[0], other, strict=True))


def test_long_samples_in_stretches_equal_one_run() -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((145, 2, 50, 61, 61))
    whole = TritonBackend().pooled_layer(current, LIFParameters(decay=0.9))
    parts, state = [], None
    for part in torch.split(current, 40):
        fired = TritonBackend().pooled_layer(part, LIFParameters(decay=0.9), state)
        parts.append(fired.spikes)
        state = fired.state
    assert torch.equal(torch.cat(parts), whole.spikes)


def test_repeated_runs_are_identical() -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((17, 8, 20, 126, 126)).requires_grad_()
    runs = []
    for _ in range(3):
        fired = TritonBackend().pooled_layer(current, LIFParameters())
        runs.append((fired.spikes, fired.spike_count, torch.autograd.grad(fired.spikes.sum(), current)[0]))
    assert all(torch.equal(*pair) for other in runs[1:] for pair in zip(runs[0], other, strict=True))


def test_nothing_but_the_current_is_kept_for_the_backward_pass() -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((50, 4, 20, 126, 126)).requires_grad_()
    before = torch.cuda.memory_allocated()
    fired = TritonBackend().pooled_layer(current, LIFParameters())
    state = 2 * current[0].numel() * 4
    assert torch.cuda.memory_allocated() - before < fired.spikes.numel() * 4 + state + 2**20
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    gradient = torch.ones_like(fired.spikes)
    torch.autograd.grad(fired.spikes, current, gradient)
    assert torch.cuda.max_memory_allocated() - before < (gradient.numel() + current.numel()) * 4 + 2**20


def test_layers_on_a_gpu_take_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    from sltune.snn.cuda.backend import TritonBackend

    def refuse(*_: Any) -> None:
        raise NotImplementedError("the kernels were called")

    monkeypatch.delenv("SLTUNE_LIF_BACKEND", raising=False)
    monkeypatch.setattr(TritonBackend, "layer", refuse)
    current = draw_current((2, 2, 5))
    with pytest.raises(NotImplementedError, match="the kernels were called"):
        backend_of(current).layer(current, LIFParameters())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is no second GPU")
def test_tensors_may_lie_on_another_gpu_than_the_current_one() -> None:
    from sltune.snn.cuda.backend import TritonBackend

    current = draw_current((5, 2, 100))
    expected = TritonBackend().layer(current, LIFParameters())
    fired = TritonBackend().layer(current.to("cuda:1"), LIFParameters())
    assert torch.equal(fired.spikes.cpu(), expected.spikes.cpu())


@pytest.mark.slow
@pytest.mark.parametrize("pool", [False, True], ids=["plain", "pooled"])
def test_offsets_beyond_32_bits_reach_the_right_neurons(pool: bool) -> None:
    """About 2.4·10⁹ values: what comes last must equal what it is when run from the state before it."""
    from sltune.snn.cuda.backend import TritonBackend

    if torch.cuda.mem_get_info()[0] < 48 * GIBIBYTE:
        pytest.skip("48 GiB of free device memory are needed")
    run = TritonBackend().pooled_layer if pool else TritonBackend().layer
    current = torch.empty(120, 64, 20, 126, 126, device="cuda").uniform_(-0.5, 1).requires_grad_()
    fired = run(current, LIFParameters(decay=0.9))
    middle = run(current[:110].detach(), LIFParameters(decay=0.9)).state
    tail = current[110:].detach().requires_grad_()
    late = run(tail, LIFParameters(decay=0.9), middle)
    assert torch.equal(fired.spikes[110:], late.spikes)
    output = torch.zeros_like(fired.spikes)
    output[110:] = torch.rand_like(late.spikes)
    gradient = torch.autograd.grad(fired.spikes, current, output)[0][110:]
    (late_gradient,) = torch.autograd.grad(late.spikes, tail, output[110:])
    assert torch.equal(gradient, late_gradient)

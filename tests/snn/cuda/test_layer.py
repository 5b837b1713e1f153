"""The GPU's layers of neurons against the reference, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sltune.snn.neurons.backend import REFERENCE
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState
from sltune.snn.neurons.surrogate import WINDOWS
from tests.snn.cuda import interpreter
from tests.snn.cuda.interpreter import DEVICE

from sltune.snn.cuda import layer as lif_cuda  # isort: skip  (imports Triton)
from sltune.snn.cuda.backend import TritonBackend  # isort: skip

TRITON = TritonBackend()

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda current: current,
    "channels last": lambda current: current.movedim(2, -1).contiguous().movedim(-1, 2),
    "time last": lambda current: current.movedim(0, -1).contiguous().movedim(-1, 0),
    "every other": lambda current: torch.stack([current, current + 1], dim=-1)[..., 0],
}
# Half a step of bfloat16 is 2⁻⁸ of a value; Triton's interpreter cuts off the rest, where a GPU rounds it.
BFLOAT16_ERROR = 2**-7 if DEVICE == "cpu" else 2**-8
neurons_of_the_paper = LIFParameters()


def draw_current(shape: tuple[int, ...], seed: int, grid: bool = False) -> Tensor:
    """Draw a float32 current of shape (T, ...); on a grid many potentials lie exactly on a threshold or an edge."""
    current = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1.5 - 0.5
    return (current * 8).round() / 8 if grid else current


def run(current: Tensor, neurons: LIFParameters, pool: bool, state: LIFState | None = None) -> tuple[Fired, Tensor]:
    """Return what the kernels make of a current, on the CPU, and the gradient of a weighted sum of the output."""
    start = current.detach().to(DEVICE).requires_grad_()
    if state is not None:
        state = LIFState(state.potential.to(DEVICE), state.spikes.to(DEVICE))
    fired = (TRITON.pooled_layer if pool else TRITON.layer)(start, neurons, state)
    (gradient,) = torch.autograd.grad((fired.spikes * weights_of(fired.spikes)).sum(), start)
    after = LIFState(fired.state.potential.cpu(), fired.state.spikes.cpu())
    return Fired(fired.spikes.detach().cpu(), after, fired.spike_count.cpu()), gradient.cpu()


def run_reference(
    current: Tensor, neurons: LIFParameters, pool: bool, state: LIFState | None = None
) -> tuple[Fired, Tensor]:
    start = current.detach().requires_grad_()
    fired = (REFERENCE.pooled_layer if pool else REFERENCE.layer)(start, neurons, state)
    return fired, torch.autograd.grad((fired.spikes * weights_of(fired.spikes)).sum(), start)[0]


def weights_of(output: Tensor) -> Tensor:
    """Return random weights that bfloat16 can hold, the same ones for outputs of the same shape."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return weights.bfloat16().to(output)


def assert_equal(
    current: Tensor, neurons: LIFParameters, pool: bool, state: LIFState | None = None
) -> tuple[Fired, Tensor]:
    """Compare spikes and state bit by bit, the number of spikes, and gradients to 1e-5 of the largest.

    Return what the kernels made of it.
    """
    fired, gradient = run(current, neurons, pool, state)
    expected, expected_gradient = run_reference(current.float(), neurons, pool, state)
    assert torch.equal(fired.spikes.float(), expected.spikes)
    assert torch.equal(fired.state.potential, expected.state.potential)
    assert torch.equal(fired.state.spikes, expected.state.spikes)
    assert fired.spike_count.item() == expected.spike_count.item()
    largest = expected_gradient.abs().max().item()
    own_rounding = BFLOAT16_ERROR if current.dtype == torch.bfloat16 else 0
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=own_rounding, atol=1e-5 * largest)
    return fired, gradient


every_window = pytest.mark.parametrize("surrogate", list(WINDOWS))
every_layout = pytest.mark.parametrize("layout", list(LAYOUTS))
pooled_or_not = pytest.mark.parametrize("pool", [False, True], ids=["plain", "pooled"])

some_neurons = st.builds(
    LIFParameters,
    v_threshold=st.sampled_from([0.25, 0.3, 0.5]) | st.floats(0.01, 1.5),
    decay=st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]) | st.floats(0, 1),
    surrogate=st.sampled_from(list(WINDOWS)),
    surrogate_width=st.sampled_from([0.25, 0.5, 1.0]) | st.floats(0.0625, 4),
)
few_steps = st.integers(1, 12)
plain_shapes = st.tuples(few_steps, st.integers(1, 3)) | st.tuples(few_steps, st.integers(1, 3), st.integers(1, 150))
images = st.tuples(few_steps, st.integers(1, 3), st.integers(1, 9), st.integers(2, 9), st.integers(2, 9))


@settings(max_examples=25)
@given(shape=plain_shapes, neurons=some_neurons, seed=st.integers(0, 99), grid=st.booleans())
def test_layers_without_pooling_equal_the_reference(
    shape: tuple[int, ...], neurons: LIFParameters, seed: int, grid: bool
) -> None:
    assert_equal(draw_current(shape, seed, grid), neurons, pool=False)


@settings(max_examples=50)
@given(
    shape=images,
    neurons=some_neurons,
    layout=st.sampled_from(list(LAYOUTS)),
    pool=st.booleans(),
    seed=st.integers(0, 99),
    grid=st.booleans(),
)
def test_layers_of_images_equal_the_reference_in_any_layout(
    shape: tuple[int, ...], neurons: LIFParameters, layout: str, pool: bool, seed: int, grid: bool
) -> None:
    assert_equal(LAYOUTS[layout](draw_current(shape, seed, grid)), neurons, pool)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    steps=st.integers(1, 300),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(2, 15), st.integers(2, 15)),
    neurons=some_neurons,
    layout=st.sampled_from(list(LAYOUTS)),
    pool=st.booleans(),
    seed=st.integers(0, 99),
)
def test_large_layers_equal_the_reference(
    steps: int, shape: tuple[int, ...], neurons: LIFParameters, layout: str, pool: bool, seed: int
) -> None:
    current = LAYOUTS[layout](draw_current((steps, *shape), seed))
    # A narrow window may make gradients grow with each step, beyond float32 at last.
    assume(bool(run_reference(current, neurons, pool)[1].isfinite().all()))
    assert_equal(current, neurons, pool)


# The interpreter takes seconds for each; the other half of the combinations is slow.
@pytest.mark.parametrize(
    ("surrogate", "pool"),
    [
        pytest.param(surrogate, pool, marks=[pytest.mark.slow] if pool != bool(number % 2) else [])
        for number, surrogate in enumerate(WINDOWS)
        for pool in (False, True)
    ],
)
def test_three_hundred_steps_equal_the_reference(surrogate: str, pool: bool) -> None:
    neurons = LIFParameters(0.3, 0.9, surrogate, 1.0)
    assert_equal(draw_current((300, 1, 2, 5, 4), seed=3), neurons, pool)


@pytest.mark.parametrize("surrogate_width", [0.05, 0.2, 8.0])
@every_window
def test_windows_of_any_width_equal_the_reference(surrogate: str, surrogate_width: float) -> None:
    assert_equal(
        draw_current((10, 2, 100), seed=5) * 3, LIFParameters(0.5, 0.4, surrogate, surrogate_width), pool=False
    )


@every_layout
@pooled_or_not
@every_window
def test_bfloat16_currents_have_float32_potentials(layout: str, pool: bool, surrogate: str) -> None:
    current = LAYOUTS[layout](draw_current((9, 2, 3, 5, 6), seed=7).bfloat16())
    fired, gradient = assert_equal(current, LIFParameters(surrogate=surrogate), pool)
    assert [fired.spikes.dtype, gradient.dtype, fired.state.potential.dtype] == [
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    ]


@every_layout
@pooled_or_not
@pytest.mark.parametrize("stretches", [[1, 6, 5], [5, 7]])
def test_stretches_that_carry_the_state_equal_one_run(layout: str, pool: bool, stretches: list[int]) -> None:
    neurons = LIFParameters(0.3, 0.9)
    current = LAYOUTS[layout](draw_current((12, 2, 3, 5, 6), seed=11))
    whole, _ = run(current, neurons, pool)
    spikes, count, state = [], 0, None
    for part in torch.split(current, stretches):
        fired, _ = assert_equal(part, neurons, pool, state)
        spikes.append(fired.spikes)
        count, state = count + int(fired.spike_count), fired.state
    assert torch.equal(torch.cat(spikes), whole.spikes)
    assert state is not None
    assert torch.equal(state.potential, whole.state.potential)
    assert count == whole.spike_count


def test_a_state_may_lie_otherwise_than_the_current() -> None:
    state = REFERENCE.layer(draw_current((3, 2, 4, 6, 6), seed=1), neurons_of_the_paper).state
    assert_equal(LAYOUTS["channels last"](draw_current((3, 2, 4, 6, 6), seed=2)), neurons_of_the_paper, True, state)


def test_no_gradient_flows_into_the_state() -> None:
    start, later = (draw_current((3, 2, 5), seed).to(DEVICE).requires_grad_() for seed in (1, 2))
    fired = TRITON.layer(start, neurons_of_the_paper)
    after = TRITON.layer(later, neurons_of_the_paper, fired.state)
    assert not fired.state.potential.requires_grad
    torch.autograd.backward(after.spikes.sum())
    assert start.grad is None


@pytest.mark.parametrize("shape", [(2, 3, 1, 5, 7), (2, 1, 2, 2, 3), (2, 1, 2, 3, 2), (1, 2, 40, 5, 5)])
@every_layout
def test_neurons_that_are_pooled_nowhere_live_and_count(shape: tuple[int, ...], layout: str) -> None:
    current = LAYOUTS[layout](torch.ones(shape))
    fired, gradient = run(current, neurons_of_the_paper, pool=True)
    assert fired.spike_count == current.numel()
    assert bool((fired.state.potential == 1).all())
    outside = gradient.clone()
    outside[..., : shape[3] // 2 * 2, : shape[4] // 2 * 2] = 0
    assert not outside.any()


@pooled_or_not
def test_neurons_that_fire_without_input_are_counted_once(pool: bool) -> None:
    # Programs reach beyond the last neuron, where a potential of 0 must not count.
    current = torch.zeros(3, 2, 3, 5, 5)
    fired, _ = run(current, LIFParameters(v_threshold=-0.5), pool)
    assert fired.spike_count == current.numel()


def test_a_potential_on_the_threshold_does_not_fire() -> None:
    # u is 0.5 (no spike), 0.5·0.5 + 0.25 = 0.5 (none), then 0.25 + 0.5 = 0.75 (a spike), then 0.5 after the reset.
    current = torch.tensor([0.5, 0.25, 0.5, 0.5]).unsqueeze(1)
    fired, _ = run(current, LIFParameters(0.5, 0.5), pool=False)
    assert fired.spikes.flatten().tolist() == [0, 0, 1, 0]
    assert fired.state.potential.tolist() == [0.5]


def test_products_and_sums_are_rounded_one_by_one() -> None:
    # (1 + 2⁻²³)² = 1 + 2⁻²² + 2⁻⁴⁶, of which float32 keeps 1 + 2⁻²²; a fused sum would leave 2⁻⁴⁶.
    current = torch.tensor([[1 + 2**-23], [-(1 + 2**-22)]])
    fired, _ = run(current, LIFParameters(v_threshold=2.0, decay=1 + 2**-23), pool=False)
    assert fired.state.potential.tolist() == [0.0]


@pooled_or_not
def test_backward_can_run_twice_and_takes_a_gradient_of_any_layout(pool: bool) -> None:
    current = draw_current((4, 2, 3, 6, 6), seed=13).to(DEVICE).requires_grad_()
    spikes = (TRITON.pooled_layer if pool else TRITON.layer)(current, neurons_of_the_paper).spikes
    ones = torch.ones_like(spikes)
    gradients = [
        torch.autograd.grad(spikes, current, gradient, retain_graph=True)[0]
        for gradient in (ones, ones[:, :, :1, :1, :1].expand_as(ones), ones.movedim(2, -1).contiguous().movedim(-1, 2))
    ]
    assert gradients[0].any()
    assert all(torch.equal(gradients[0], gradient) for gradient in gradients)


@pooled_or_not
def test_results_keep_the_layout_of_the_current(pool: bool) -> None:
    current = LAYOUTS["channels last"](torch.ones(3, 2, 4, 6, 6)).to(DEVICE)
    fired = (TRITON.pooled_layer if pool else TRITON.layer)(current, neurons_of_the_paper)
    assert fired.spikes.movedim(2, -1).is_contiguous()
    assert fired.state.potential.is_contiguous(memory_format=torch.channels_last)


@pooled_or_not
def test_float64_takes_the_reference(pool: bool) -> None:
    current = draw_current((5, 2, 3, 4, 5), seed=17).double()
    fired, gradient = run(current, neurons_of_the_paper, pool)
    expected, expected_gradient = run_reference(current, neurons_of_the_paper, pool)
    assert fired.spikes.dtype == fired.state.potential.dtype == torch.float64
    assert torch.equal(fired.spikes, expected.spikes)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-14)


def test_a_batch_without_samples_or_neurons_gives_no_spikes() -> None:
    assert TRITON.layer(torch.zeros(5, 2, 0, device=DEVICE), neurons_of_the_paper).spikes.shape == (5, 2, 0)
    pooled = TRITON.pooled_layer(torch.zeros(5, 0, 3, 4, 5, device=DEVICE), neurons_of_the_paper)
    assert pooled.spikes.shape == (5, 0, 3, 2, 2)
    assert pooled.spike_count == 0


def test_a_state_of_another_shape_is_refused() -> None:
    state = LIFState(torch.zeros(2, 4, device=DEVICE), torch.zeros(2, 3, device=DEVICE))
    with pytest.raises(ValueError, match=r"must have the shape and device \(\(2, 3\), .*but got \(\(2, 4\)"):
        TRITON.layer(torch.zeros(5, 2, 3, device=DEVICE), neurons_of_the_paper, state)


@pytest.mark.parametrize("shape", [(5, 2, 3), (5, 2, 3, 1, 4), (5, 2, 3, 4, 1)])
def test_what_cannot_be_pooled_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="H and W of at least 2, but got"):
        TRITON.pooled_layer(torch.zeros(shape, device=DEVICE), neurons_of_the_paper)


def test_layers_large_and_small_are_cut_into_other_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lif_cuda, "SMALL_LAYER", 600)
    for neurons in (599, 600, 1100):
        assert_equal(draw_current((3, 1, neurons), seed=neurons), neurons_of_the_paper, pool=False)


@pytest.mark.processes
def test_compiled_kernels_have_no_fused_multiply_add(tmp_path: Path) -> None:
    """Compile for an H100 and H200, which needs no GPU, and count in the machine's own code."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop(interpreter.VARIABLE, None)
    command = [sys.executable, "-m", "tests.snn.cuda.compiled"]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    counts = json.loads(outcome.stdout)
    assert counts.pop("forward, plain, fused on purpose")["FFMA"] > 0
    assert len(counts) == 13
    assert all(count["FFMA"] == 0 and count["FMUL"] > 0 for count in counts.values()), counts

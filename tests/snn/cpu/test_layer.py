"""The compiled kernels of the CPU against the reference layer, torch's convolution and torch's pooling."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sltune.snn.backends import CHOICE, backend_of
from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.neurons.backend import REFERENCE
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState
from sltune.snn.neurons.surrogate import WINDOWS
from tests.snn.drawing import assert_close, draw, dtypes, leaf, neurons, seeds, steps, with_gradients

NUMBA = NumbaBackend()
Layer = Callable[[Tensor, LIFParameters, LIFState | None], Fired]


def assert_same(mine: Fired, expected: Fired, inputs: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Compare what came out bit by bit, and gradients to 1e-5 of the largest of each."""
    assert torch.equal(mine.spikes, expected.spikes)
    assert torch.equal(mine.state.potential, expected.state.potential)
    assert torch.equal(mine.state.spikes, expected.state.spikes)
    assert int(mine.spike_count) == int(expected.spike_count)
    assert_close(with_gradients(mine.spikes, inputs), with_gradients(expected.spikes, others))


@settings(max_examples=60)
@given(neuron=neurons, steps=steps, shape=st.lists(st.integers(1, 9), min_size=1, max_size=3), dtype=dtypes, seed=seeds)
def test_neurons_equal_the_reference(
    neuron: LIFParameters, steps: int, shape: list[int], dtype: torch.dtype, seed: int
) -> None:
    mine, plain = (leaf(draw([steps, *shape], dtype, seed)) for _ in range(2))
    assert_same(NUMBA.layer(mine, neuron), REFERENCE.layer(plain, neuron), [mine], [plain])


def test_more_neurons_than_a_block_equal_the_reference() -> None:
    mine, plain = (leaf(draw([7, 3, 5000], torch.float32, 0)) for _ in range(2))
    assert_same(NUMBA.layer(mine, LIFParameters()), REFERENCE.layer(plain, LIFParameters()), [mine], [plain])


@settings(max_examples=60)
@given(
    neuron=neurons,
    steps=steps,
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 6), st.integers(2, 9), st.integers(2, 9)),
    layout=st.sampled_from(["contiguous", "channels last", "time last"]),
    seed=seeds,
)
def test_pooled_neurons_equal_the_reference_with_torchs_pooling(
    neuron: LIFParameters, steps: int, batch: int, size: tuple[int, int, int], layout: str, seed: int
) -> None:
    """Odd rows and columns fire and count, but are not pooled."""
    values = draw([steps, batch, *size], torch.float32, seed)
    if layout == "channels last":
        values = values.movedim(2, -1).contiguous().movedim(-1, 2)
    elif layout == "time last":
        values = values.movedim(0, -1).contiguous().movedim(-1, 0)
    mine, plain = leaf(values), leaf(values)
    assert_same(NUMBA.pooled_layer(mine, neuron), REFERENCE.pooled_layer(plain, neuron), [mine], [plain])


@pytest.mark.parametrize("layer", [NUMBA.layer, NUMBA.pooled_layer, "stage"])
def test_stretches_that_go_on_from_a_state_equal_one_piece(layer: Layer | str) -> None:
    values = draw([12, 2, 3, 7, 6], torch.float32, 3)
    weight, bias = draw([4, 3, 3, 3], torch.float32, 4), draw([4], torch.float32, 5)

    def run(part: Tensor, state: LIFState | None = None) -> Fired:
        if isinstance(layer, str):
            return NUMBA.stage(part, weight, bias, LIFParameters(decay=0.9), state)
        return layer(part, LIFParameters(decay=0.9), state)

    whole = run(values)
    early = run(values[:5])
    before = early.state.potential.clone()
    late = run(values[5:], early.state)
    assert torch.equal(torch.cat([early.spikes, late.spikes]), whole.spikes)
    assert torch.equal(late.state.potential, whole.state.potential)
    assert torch.equal(late.state.spikes, whole.state.spikes)
    assert int(early.spike_count) + int(late.spike_count) == int(whole.spike_count)
    assert torch.equal(early.state.potential, before), "a state that was handed out is not written to"


@pytest.mark.parametrize("layer", [NUMBA.layer, NUMBA.pooled_layer])
def test_gradients_of_a_stretch_that_starts_from_a_state_equal_the_references(layer: Layer) -> None:
    reference = {NUMBA.layer: REFERENCE.layer, NUMBA.pooled_layer: REFERENCE.pooled_layer}[layer]
    state = REFERENCE.layer(draw([3, 2, 3, 6, 6], torch.float32, 6), LIFParameters(decay=0.9)).state
    mine, plain = (leaf(draw([9, 2, 3, 6, 6], torch.float32, 7)) for _ in range(2))
    assert_same(
        layer(mine, LIFParameters(decay=0.9), state), reference(plain, LIFParameters(decay=0.9), state), [mine], [plain]
    )


def test_potentials_that_are_no_numbers_stay_so_and_fire_no_spike() -> None:
    current = torch.tensor([0.5, float("nan"), 0.5, float("inf"), 0.5]).view(-1, 1, 1)
    mine, expected = NUMBA.layer(current, LIFParameters()), REFERENCE.layer(current, LIFParameters())
    assert torch.equal(mine.spikes, expected.spikes)
    assert mine.state.potential.isnan().all()
    assert expected.state.potential.isnan().all()


def test_the_reference_has_the_gradient_of_its_window_where_that_is_smooth() -> None:
    """gradcheck cannot see through a step, so the step is replaced by the integral of a Gaussian window."""
    neuron = LIFParameters(v_threshold=0.4, decay=0.7, surrogate="gaussian", surrogate_width=0.5)

    def smooth(current: Tensor) -> Tensor:
        potential = spikes = torch.zeros_like(current[0])
        out = []
        for step in current:
            potential = neuron.decay * potential * (1 - spikes) + step
            spikes = torch.special.ndtr((potential - neuron.v_threshold) / neuron.surrogate_width**0.5)
            out.append(spikes)
        return torch.stack(out)

    current = leaf(draw([6, 2, 3], torch.float64, 8))
    assert torch.autograd.gradcheck(smooth, current)
    # The slope of that integral is the window, by which the reference's backward pass multiplies.
    x = draw([50], torch.float64, 9).requires_grad_()
    integral = torch.special.ndtr(x / neuron.surrogate_width**0.5)
    (slope,) = torch.autograd.grad(integral.sum(), x)
    torch.testing.assert_close(slope, WINDOWS["gaussian"](x.detach(), neuron.surrogate_width), rtol=1e-12, atol=1e-15)


def test_what_backends_there_are_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.zeros(2, 1, 3)
    monkeypatch.delenv(CHOICE, raising=False)
    assert isinstance(backend_of(values), NumbaBackend)
    monkeypatch.setenv(CHOICE, "reference")
    assert backend_of(values) is REFERENCE
    monkeypatch.setenv(CHOICE, "numba")
    assert isinstance(backend_of(values), NumbaBackend)
    assert backend_of(values.to(torch.bfloat16)) is REFERENCE
    with pytest.raises(ValueError, match="numba is for the CPU, but the network is on meta"):
        backend_of(values.to("meta"))
    monkeypatch.setenv(CHOICE, "cupy")
    with pytest.raises(ValueError, match="must be auto, reference or one of numba, triton, but got 'cupy'"):
        backend_of(values)


WARNED = """
import sys, warnings
{before}
import torch
from sltune.snn.backends import backend_of
from sltune.snn.neurons.lif import LIFParameters
values = torch.ones(4, 1, 1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("default")
    for _ in range(3):
        spikes = backend_of(values).layer(values, LIFParameters()).spikes
print(spikes.flatten().tolist(), len(caught), caught[0].message)
"""


def warned(before: str, **variables: str) -> str:
    """Return what neurons do in a process where something is otherwise, how many warnings there are, and the first."""
    command = [sys.executable, "-c", WARNED.format(before=before)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **variables})
    return ended.stdout


@pytest.mark.processes
def test_without_numba_the_reference_runs_after_one_warning() -> None:
    said = warned("sys.modules['numba'] = None")
    assert said.startswith("[1.0, 1.0, 1.0, 1.0] 1 numba cannot be used (")
    assert "step by step in plain torch" in said


@pytest.mark.processes
def test_where_numba_does_not_compile_the_reference_runs_after_one_warning() -> None:
    said = warned("", NUMBA_DISABLE_JIT="1")
    assert said.startswith("[1.0, 1.0, 1.0, 1.0] 1 numba cannot be used (NUMBA_DISABLE_JIT is set); ")


@pytest.mark.processes
def test_where_numba_can_keep_nothing_kernels_run_after_a_warning() -> None:
    # numba looks whether it may write into a folder by making a file there.
    refuse = "def refuse(*_, **__): raise OSError('read-only')"
    before = f"import numba.core.caching\n{refuse}\nnumba.core.caching.tempfile.TemporaryFile = refuse"
    said = warned(before)
    assert said.startswith("[1.0, 1.0, 1.0, 1.0] 1 numba can keep no compiled kernels, so every process compiles them")

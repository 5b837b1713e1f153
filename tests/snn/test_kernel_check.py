"""Kernels are compared with the reference before anything is trained with them, and faulty ones replaced."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltune.snn import backends, kernel_check
from sltune.snn.backends import backend_of
from sltune.snn.cpu import layer, stage
from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.cpu.kernels import convolution, neurons, normed, pool
from sltune.snn.cpu.kernels import stage as stage_kernels
from sltune.snn.kernel_check import OPERATIONS, Case, check_kernels, every_case, fault_of
from sltune.snn.layers import LIF, Conv, Dense, LIFPool
from sltune.snn.neurons.backend import REFERENCE

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is checked and replaced holds for a process; here, for a test."""
    monkeypatch.delenv(backends.CHOICE, raising=False)
    for kept in (backends._load, kernel_check._check):
        kept.cache_clear()
    yield
    for kept in (backends._load, kernel_check._check):
        kept.cache_clear()


def erring(kernel: Callable[..., Any], number: int, change: float) -> Callable[..., Any]:
    """Return a kernel that then changes its argument of this number, or the first of several, by a share."""

    def run(*arguments: Any) -> None:
        kernel(*arguments)
        written = arguments[number]
        values = written[0] if isinstance(written, tuple) else written
        values *= 1 + change

    return run


@pytest.mark.parametrize("operation", OPERATIONS)
def test_right_kernels_are_found_right_in_every_case(operation: str) -> None:
    assert fault_of(NumbaBackend(), operation, CPU, every_case()) == ""


# Each kernel with the number of an argument that it writes to.
KERNELS = [
    ("layer", neurons, "neurons_forward", 4, "potentials"),
    ("layer", neurons, "neurons_backward", 4, "gradients by current"),
    ("pooled_layer", neurons, "pooled_forward", 4, "spikes"),
    ("pooled_layer", neurons, "pooled_backward", 5, "gradients by current"),
    ("normed_layer", normed, "normed_forward", 6, "potentials"),
    ("normed_layer", normed, "normed_backward", 8, "gradients by images"),
    ("normed_layer", normed, "gradient_by_images", 6, "gradients by images"),
    ("normed_layer", normed, "moments", 6, "potentials"),
    ("stage", stage_kernels, "stage_forward", 6, "spikes"),
    ("stage", stage_kernels, "stage_backward", 7, "gradients by weight"),
    ("stage", stage, "spread", 5, "gradients by images"),
    ("convolve", convolution, "convolution_forward", 7, "currents"),
    ("convolve", convolution, "convolution_backward", 6, "gradients by weight"),
    ("max_pool", pool, "max_pool_forward", 4, "spikes"),
    ("max_pool", pool, "max_pool_backward", 5, "gradients by images"),
    ("dense", layer, "multiply", 4, "gradients by spikes"),
]


@pytest.mark.parametrize(
    ("operation", "module", "name", "place", "what"), KERNELS, ids=[kernel[2] for kernel in KERNELS]
)
def test_a_kernel_that_errs_by_a_thousandth_is_found(
    monkeypatch: pytest.MonkeyPatch, operation: str, module: Any, name: str, place: int, what: str
) -> None:
    monkeypatch.setattr(module, name, erring(getattr(module, name), place, 1e-3))
    fault = fault_of(NumbaBackend(), operation, CPU, [Case()])
    assert what in fault


def test_a_kernel_that_cannot_be_compiled_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("PTX was compiled with an unsupported toolchain")

    monkeypatch.setattr(neurons, "pooled_forward", refuse)
    fault = fault_of(NumbaBackend(), "pooled_layer", CPU, [Case()])
    assert fault == "fails: RuntimeError: PTX was compiled with an unsupported toolchain"


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Conv(2, 4), LIFPool(), nn.Flatten(2), Dense(4 * 3 * 3, 5), LIF())


def outcome(network: nn.Module) -> list[Tensor]:
    frames = torch.rand((5, 2, 2, 8, 8), generator=torch.Generator().manual_seed(1))
    spikes = network(frames)
    weights = torch.rand(spikes.shape, generator=torch.Generator().manual_seed(2))
    return [spikes, *torch.autograd.grad((spikes * weights).sum(), list(network.parameters()))]


def test_a_faulty_kernel_is_replaced_by_the_reference_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.CHOICE, "reference")
    expected = outcome(small_network())
    monkeypatch.delenv(backends.CHOICE)
    monkeypatch.setattr(neurons, "pooled_backward", erring(neurons.pooled_backward, 5, 0.5))
    monkeypatch.setattr(stage.stages, "stage_backward", erring(stage.stages.stage_backward, 5, 0.5))
    spoilt = outcome(small_network())
    assert not all(torch.allclose(one, other) for one, other in zip(spoilt, expected, strict=True))
    with pytest.warns(RuntimeWarning, match="replaced by plain torch") as warned:
        text = check_kernels(small_network(), CPU)
    assert len([one for one in warned if "pooled_layer" in str(one.message)]) == 1
    for part in ("the compiled kernel of pooled_layer", "gradients by current off by 0.5", "numba ", torch.__version__):
        assert part in text
    for mine, other in zip(outcome(small_network()), expected, strict=True):
        torch.testing.assert_close(mine, other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_kernels(small_network(), CPU) == text


def test_only_what_is_faulty_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neurons, "pooled_forward", erring(neurons.pooled_forward, 4, 0.5))
    with pytest.warns(RuntimeWarning):
        check_kernels(small_network(), CPU)
    backend = backend_of(torch.zeros(1))
    assert isinstance(backend, NumbaBackend)
    assert backend.pooled_layer == REFERENCE.pooled_layer
    assert backend.layer != REFERENCE.layer


def test_a_check_is_done_once_in_a_process_and_leaves_torchs_random_numbers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    run = kernel_check.fault_of
    monkeypatch.setattr(kernel_check, "fault_of", lambda *given: calls.append(given[1]) or run(*given))
    network = small_network()
    before = torch.get_rng_state()
    assert check_kernels(network, CPU) == check_kernels(small_network(), CPU) == ""
    assert sorted(calls) == ["convolve", "dense", "layer", "pooled_layer", "stage"]
    assert torch.equal(torch.get_rng_state(), before)
    check_kernels(nn.Sequential(LIF(surrogate="gaussian")), CPU)
    assert len(calls) == 6

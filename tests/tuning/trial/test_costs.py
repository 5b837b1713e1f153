"""Latency, energy and memory of networks, by hand."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor, nn

from sltune.errors import UsageError
from sltune.settings.energy import EnergyTable
from sltune.system.gpus import joules_used
from sltune.training.batches import Batch, Clip
from sltune.tuning.trial.costs import costs_of, decision_steps


def outputs_of(*choices: int | None) -> Tensor:
    """Return outputs (T, 1, 3) that give one class a point at each time step, or none."""
    return torch.tensor([[[float(choice == number) for number in range(3)]] for choice in choices])


@pytest.mark.parametrize(
    ("outputs", "steps"),
    [
        (outputs_of(1, 1, 0, 1), 1),
        (outputs_of(None, None, 2, None), 3),
        # After the third step class 1 leads by 2 to 1; at the second, both have 1.
        (outputs_of(0, 1, 1, None), 3),
        (outputs_of(0, 0, 1, 1), 4),
        (outputs_of(None, None, None), 3),
        (outputs_of(0, 1, 1, 0, 0), 5),
    ],
)
def test_the_latency_is_the_time_after_which_the_decision_stays(outputs: Tensor, steps: int) -> None:
    assert decision_steps([outputs]) == torch.tensor([steps])
    assert decision_steps([outputs[:1], outputs[1:]]) == torch.tensor([steps])


def test_rates_alone_do_not_say_when_anything_was_decided() -> None:
    assert decision_steps([torch.rand(4, 3)]) is None


class Points(nn.Module):
    """Gives each of three classes what its pixel shows, by weights of which most are 0."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3, bias=False)
        self.register_buffer("seen", torch.zeros(5, dtype=torch.float64))
        with torch.no_grad():
            self.fc.weight.copy_(torch.eye(3, 6))

    def forward(self, frames: Tensor) -> Tensor:
        outputs: Tensor = self.fc(frames.flatten(2))
        return outputs


def test_costs_are_means_over_samples_with_the_length_of_their_steps() -> None:
    frames = torch.zeros(4, 2, 2, 1, 3)
    frames[:, :, 0, 0] = torch.cat([outputs_of(1, 1, 0, 1), 2 * outputs_of(0, 1, 1, None)], dim=1)

    def batches() -> list[Batch]:
        return [Batch(torch.tensor([1, 1]), iter([Clip.of(frames)]), torch.tensor([10.0, 20.0], dtype=torch.float64))]

    costs = costs_of(Points(), batches)
    assert (costs.effective_acs, costs.effective_macs) == (4 / 2, 3 / 2)
    assert (costs.parameters, costs.memory_bytes) == (18, 18 * 4 + 5 * 8)
    assert costs.latency_ms == (1 * 10 + 3 * 20) / 2
    assert (costs.membrane_updates, costs.activation_sparsity, costs.gpu_joules) == (0, None, None)


def test_energies_are_sums_over_operations_with_and_without_memory() -> None:
    table = EnergyTable()
    assert table.joules(1000, 100, 10) == pytest.approx((900 + 460 + 46) * 1e-12)
    assert table.joules_with_memory(1000, 100, 10) == pytest.approx((900 + 460 + 46 + 5 * (1000 + 100 + 20)) * 1e-12)
    assert EnergyTable.parse("update=0, accumulate=0.1") == EnergyTable(0.1, 4.6, 0.0, 5.0)


@pytest.mark.parametrize("text", ["add=1", "access", "access=-1", "access=x", "access=inf", "access=nan", ""])
def test_energies_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="allowed are accumulate, multiply_accumulate, update, access"):
        EnergyTable.parse(text)


class Counter:
    """NVML with one GPU, whose counter stands at 2,500 mJ; a part of a GPU has none."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: object) -> int:
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, millijoules: object) -> int:
        ctypes.cast(millijoules, ctypes.POINTER(ctypes.c_ulonglong))[0] = 2500  # type: ignore[arg-type]
        return 0


def test_the_counter_of_a_gpu_is_read_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joules_used("GPU-1", Counter()) == 2.5
    assert joules_used("MIG-1", Counter()) is None

    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert joules_used("GPU-1") is None

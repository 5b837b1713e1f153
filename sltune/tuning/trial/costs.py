"""What a trained network costs: its operations, memory, time to a decision, and energy of the GPU, per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sltune.snn.activity import Meter
from sltune.snn.operations import Operations
from sltune.snn.running import outputs_over_time, rates_of_clip
from sltune.system.gpus import joules_used
from sltune.training.batches import Batch
from sltune.training.fit import autocast


@dataclass(frozen=True)
class Costs:
    """Means over samples, all crops of a sample together.

    effective_acs, effective_macs: operations of connections, as in ``snn/operations.py``. membrane_updates: neurons ×
    time steps. activation_sparsity: the share of outputs of neurons that are 0. parameters: their number. memory_bytes:
    of parameters and buffers. latency_ms: the time after which the decision on a crop stays as it is; None where the
    network gives no output at each time step. gpu_joules: what the whole GPU used for a sample; None without a counter.
    """

    effective_acs: float
    effective_macs: float
    membrane_updates: float
    activation_sparsity: float | None
    parameters: int
    memory_bytes: int
    latency_ms: float | None
    gpu_joules: float | None = None


@torch.no_grad()
def costs_of(network: nn.Module, batches: Callable[[], Iterable[Batch]], precision: str = "float32") -> Costs:
    """Return what a network costs on some samples.

    Args:
        batches: gives them; on a GPU it is called twice, as counting operations would take energy itself.
    """
    network.eval()
    operations, samples = Operations(), 0
    latencies = list[Tensor]()
    with Meter(network, effective=operations) as meter:
        for batch in batches():
            samples += len(batch.labels)
            for clip in batch.clips:
                with autocast(batch.labels.device, precision):
                    steps = decision_steps(list(outputs_over_time(network, clip, meter)))
                if steps is not None and batch.step_ms is not None:
                    latencies.append(steps.cpu() * batch.step_ms)
    spikes = sum(count for name, count in meter.spikes().items() if name != "input")
    weights = [*network.parameters(), *network.buffers()]
    return Costs(
        effective_acs=operations.accumulates / samples,
        effective_macs=operations.multiply_accumulates / samples,
        membrane_updates=meter.updates() / samples,
        activation_sparsity=1 - spikes / meter.updates() if meter.updates() else None,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        memory_bytes=sum(tensor.numel() * tensor.element_size() for tensor in weights),
        latency_ms=float(torch.cat(latencies).mean()) if latencies else None,
        gpu_joules=_gpu_joules(network, batches, precision, samples),
    )


def decision_steps(stretches: Sequence[Tensor]) -> Tensor | None:
    """Return after how many time steps the decision on each sample no longer changes.

    The decision after a time step is the class whose outputs have the largest sum so far. As long as several classes
    share it, there is none, and if they share it at the end, all steps are needed.

    Args:
        stretches: outputs of shape (T, B, classes), one stretch of time after the other.

    Returns:
        shape (B,); None for outputs of shape (B, classes), which do not say when anything was decided.
    """
    if any(outputs.dim() == 2 for outputs in stretches):
        return None
    sums = torch.cat(list(stretches)).double().cumsum(0)
    largest, choice = sums.max(2)
    choice[(sums == largest[..., None]).sum(2) > 1] = -1
    steps = torch.arange(1, len(sums) + 1, device=sums.device)[:, None]
    other = torch.where(choice == choice[-1], 0, steps).amax(0)
    return torch.where(choice[-1] < 0, len(sums), other + 1)


def _gpu_joules(
    network: nn.Module, batches: Callable[[], Iterable[Batch]], precision: str, samples: int
) -> float | None:
    device = next(network.parameters()).device
    before = _joules_of(device)
    if before is None:
        return None
    for batch in batches():
        for clip in batch.clips:
            with autocast(device, precision):
                rates_of_clip(network, clip)
    after = _joules_of(device)
    return None if after is None else max(0.0, after - before) / samples


def _joules_of(device: torch.device) -> float | None:
    """Return what a GPU has used, once it has done all its work; None for another device."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    return joules_used(f"GPU-{torch.cuda.get_device_properties(device).uuid}")

"""How work and memory of a training step grow with the number of time steps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sltune.snn.running import reset
from sltune.training.checks.findings import Finding, Mistake
from sltune.training.checks.probe import Probe
from sltune.training.checks.recording import BatchFailed, hooked, seed_all, tensors_in

STEPS = (16, 32, 64)
"""Numbers of time steps; the differences between their costs do not contain what a batch costs anyway.

Libraries choose other algorithms for very few steps. All of these are less than a training on 8 samples of 17 steps."""
MAX_RATIO = 2.5
"""Between the two differences: it is 2 where cost is linear in time, and 4 where it is quadratic."""
REPEATS = 2
"""The faster one counts, as other processes may slow one down."""

GATHERING = ("index", "index_select", "gather")
"""Operations that read a part of what they are given."""


@dataclass
class _Cost:
    """Of a training step. bytes: kept for the backward pass, by module. values: that operations make, by module."""

    bytes: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def check_costs(probe: Probe) -> Iterator[Finding]:
    """Train on one sample for several numbers of time steps, and compare."""
    try:
        costs = [_cost(probe, steps) for steps in STEPS]
    except Exception as error:
        raise BatchFailed("", error) from error
    memory, work = [cost.bytes.total() for cost in costs], [cost.values.total() for cost in costs]
    seconds = [cost.seconds for cost in costs]
    numbers = (
        f"from {STEPS[0]} to {STEPS[-1]} time steps of a sample, the values computed grow {_times(work)}, the memory "
        f"for the backward pass {_times(memory)} to {memory[-1] / 1e6:.3g} MB, and the time {_times(seconds)} to "
        f"{1000 * seconds[-1]:.3g} ms"
    )
    for counts in ([cost.bytes for cost in costs], [cost.values for cost in costs]):
        if _ratio([count.total() for count in counts]) > MAX_RATIO:
            excess = {name: counts[2][name] - 2 * counts[1][name] for name in counts[2]}
            yield Finding(Mistake.GROWTH, max(excess, key=excess.__getitem__), f"{numbers}; linear would be 4 times")
            return
    yield Finding(Mistake.COST, "", f"{numbers}: linear in time")


def _cost(probe: Probe, steps: int) -> _Cost:
    frames, cost = probe.longer(steps)[:, :1], _Cost()
    network = probe.network(train=True)
    running = [""]
    names = hooked(network, lambda name, _: running.append(name), lambda _: running.pop())
    with names, _saved_bytes(cost, running), _Counting(cost, running):
        _train(network, frames)
    times = []
    for _ in range(REPEATS):
        network = probe.network(train=True)
        started = time.perf_counter()
        _train(network, frames)
        times.append(time.perf_counter() - started)
    cost.seconds = min(times)
    return cost


def _train(network: nn.Module, frames: Tensor) -> None:
    seed_all(0)
    reset(network)
    output = network(frames)
    if output.requires_grad:
        torch.autograd.backward(output.sum())


def _saved_bytes(cost: _Cost, running: list[str]) -> torch.autograd.graph.saved_tensors_hooks:
    """Count the memory that the backward pass needs; views of one memory count once."""
    seen = set[int]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            cost.bytes[running[-1]] += storage.nbytes()
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the values that torch's operations read and make; views read none, and kernels of our own are not seen."""

    def __init__(self, cost: _Cost, running: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cost, self._running = cost, running

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            read = tensors_in(args) if func.overloadpacket.__name__ not in GATHERING else ()
            # What is changed in place may be much larger than the change.
            if func._schema.is_mutable:
                read = (tensor for value in args[1:] for tensor in tensors_in(value))
            count = sum(tensor.numel() for tensor in read)
            if not func._schema.is_mutable:
                count += sum(tensor.numel() for tensor in tensors_in(result))
            self._cost.values[self._running[-1]] += count
        return result


def _ratio(costs: list[int]) -> float:
    return (costs[2] - costs[1]) / max(1, costs[1] - costs[0])


def _times(costs: list[int] | list[float]) -> str:
    return f"{costs[-1] / max(costs[0], 1e-9):.1f} times"

"""What runs in the measured processes of benchmarks/stbp.py: training steps, spike counts, and the machine's limits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import synthetic_data
from peers import CLASSES, SIDE, Peer, draw_frames, sltune_network
from torch import Tensor
from torch.nn import functional

from sltune.snn.activity import Meter
from sltune.snn.cpu.layer import product
from sltune.snn.running import rates_of
from sltune.system.memory import keep_freed_memory
from sltune.training.losses import mse
from sltune.training.optim import make_optimizer

LAYERS = {"conv1": (20, 126, 126), "conv2": (50, 61, 61), "fc1": (200,), "fc2": (CLASSES,)}
"""Shape of each layer's neurons, for one time step of one sample."""
MULTIPLY_ADDS = {"conv1": 20 * 126**2 * 18, "conv2": 50 * 61**2 * 180, "fc1": 200 * 45_000, "fc2": CLASSES * 200}
"""Multiplications with an addition in each layer's forward pass, for one time step of one sample."""
FLOP = 2 * (3 * sum(MULTIPLY_ADDS.values()) - MULTIPLY_ADDS["conv1"])
"""Floating-point operations for one time step of one training sample.

The forward pass, the gradient of the weights and that of the inputs take as many each; frames need no gradient.
"""
SLOW_S = 20.0
"""A step that takes longer is measured once, without a warm-up."""
COPIED_VALUES = 1 << 27
"""Values of a copy that measures the memory: more than any cache holds."""
SMOKE_VALUES = 1 << 16
"""Values of the copy in the smoke size, which measures nothing."""
LEARNING_RATE = 1e-6
"""Low, so that all steps do the same work: at 1e-3 and on such frames the network falls silent after a few."""


class Shape(NamedTuple):
    batch: int
    steps: int

    @property
    def sample_steps(self) -> int:
        return self.batch * self.steps

    def __str__(self) -> str:
        return f"B={self.batch}, T={self.steps}"


@dataclass
class Run:
    """step_ms: of each timed step. memory: bytes beyond those held before the first step. loss: of the first step."""

    step_ms: list[float] = field(default_factory=list)
    memory: int = 0
    loss: float = 0.0
    failure: str = ""

    def add(self, other: Run) -> None:
        self.step_ms += other.step_ms
        self.memory = max(self.memory, other.memory)
        self.loss, self.failure = other.loss, other.failure

    @property
    def median(self) -> float:
        return statistics.median(self.step_ms)


class Clock:
    """Marks between steps. On a GPU these are events: the host runs ahead as it does in training."""

    def __init__(self, device: str) -> None:
        self.is_cuda = device == "cuda"
        self.marks: list[Any] = []

    def mark(self) -> None:
        if self.is_cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def laps_ms(self) -> list[float]:
        if self.is_cuda:
            torch.cuda.synchronize()
            return [a.elapsed_time(b) for a, b in zip(self.marks, self.marks[1:], strict=False)]
        return [1000 * (b - a) for a, b in zip(self.marks, self.marks[1:], strict=False)]


def train(peer: Peer, shape: Shape, device: str, warm_up: int, steps: int) -> Run:
    """Take steps and measure them; runs in a process of its own."""
    network, frames, labels = prepared(peer, shape, device)
    step = stepper(network, labels)
    held = bytes_held(device)
    first = Clock(device)
    first.mark()
    loss = float(step(rates_of(network, frames)))
    first.mark()
    times = first.laps_ms()
    if peer.compiles or times[0] < 1000 * SLOW_S:
        for _ in range(warm_up - 1):
            step(rates_of(network, frames))
        clock = Clock(device)
        clock.mark()
        for _ in range(steps):
            step(rates_of(network, frames))
            clock.mark()
        times = clock.laps_ms()
    return Run(times, peak_bytes(device) - held, loss)


def prepared(peer: Peer, shape: Shape, device: str) -> tuple[torch.nn.Module, Tensor, Tensor]:
    """Return a network with the weights that all have, frames and labels."""
    if peer.module == "sltune":
        # As a trial does; other libraries leave the C library as it is.
        keep_freed_memory()
    torch.manual_seed(0)
    weights = [(2 if weight.dim() > 1 else 1) * weight.detach() for weight in sltune_network().parameters()]
    network = peer.build()
    with torch.no_grad():
        for weight, value in zip(network.parameters(), weights, strict=True):
            weight.copy_(value)
    labels = torch.arange(shape.batch) % CLASSES
    return network.to(device).train(), draw_frames(shape.batch, shape.steps).to(device), labels.to(device)


def stepper(network: torch.nn.Module, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what takes the rest of a training step from firing rates on, as fit.train_epoch does."""
    optimizer = make_optimizer("adam", network.parameters(), LEARNING_RATE)

    def step(rates: Tensor) -> Tensor:
        loss = mse(rates, labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def counting(peer: Peer, shape: Shape, settings: Any, training: bool) -> list[list[float]]:
    """Return ms without and with counting, turn and turn about; settings are those of stbp.py."""
    network, frames, labels = prepared(peer, shape, settings.device)
    step = stepper(network, labels)
    found: list[list[float]] = [[], []]
    for number in range(settings.warm_up + settings.steps * settings.rounds):
        for count in (False, True):
            clock = Clock(settings.device)
            clock.mark()
            with torch.set_grad_enabled(training):
                with Meter(network) if count else nullcontext():
                    rates = rates_of(network, frames)
                if training:
                    step(rates)
            clock.mark()
            if number >= settings.warm_up:
                found[count] += clock.laps_ms()
    return found


@torch.no_grad()
def firing_rates(peer: Peer, shape: Shape, device: str) -> tuple[float, float, dict[str, float]]:
    """Return how many pixels are filled, how many 3×3 windows are not empty, and per layer how many neurons fire."""
    network, frames, _ = prepared(peer, shape, device)
    with Meter(network) as meter:
        network(frames)
    return *density_of(frames), meter.firing_rates()


def density_of(frames: Tensor) -> tuple[float, float]:
    windows = functional.max_pool2d(frames.flatten(0, 1).amax(1, keepdim=True), 3, 1)
    return float(frames.mean()), float(windows.mean())


def simulated_density(recordings: int) -> tuple[float, float]:
    """Return the same of what sltune's simulator writes."""
    from sltune.events.dataset import open_dataset
    from sltune.events.frames import FrameFormat
    from sltune.training.batches import BatchSource

    with TemporaryDirectory() as folder:
        samples = open_dataset(synthetic_data(Path(folder), recordings)).samples
        source = BatchSource(samples, np.arange(len(samples)), FrameFormat((SIDE, SIDE), 30), 17, torch.device("cpu"))
        rng = np.random.default_rng(0)
        found = [density_of(next(batch.views)) for batch in source.training(19, "random", rng, None)]
    pixels, windows = np.mean(found, axis=0)
    return float(pixels), float(windows)


def limits(device: str, smoke: bool) -> tuple[float, list[str]]:
    """Return GFLOP/s of a large product of float32 matrices, and lines about it and the memory."""
    size = 256 if smoke else 8192 if device == "cuda" else 4096
    copied_values = SMOKE_VALUES if smoke else COPIED_VALUES
    gflops, bandwidth = product_gflops(device, size), copy_gb_per_s(device, copied_values)
    lines = [f"Limits measured: {gflops:.0f} GFLOP/s (float32, {size}³ product), {bandwidth:.0f} GB/s read and written"]
    if device == "cpu":
        # Of torch's libraries, MKL uses half of each register on other vendors' processors.
        cached = cached_product_gflops()
        gflops = max(gflops, cached)
        lines[0] = lines[0].replace("product)", f"product; {cached:.0f} with sltune's, within the cache)")
    lines.append(
        f"(copy of {copied_values * 4 / 1e6:.1f} MB). One time step of one sample takes {FLOP / 1e6:.0f} MFLOP,"
    )
    if device == "cuda":
        lines.append("(torch lets cuDNN's convolutions use TF32, which passes this limit),")
    lines.append(f"so the first allows {gflops * 1e9 / FLOP:.0f} of them a second in training.")
    return gflops, lines


def product_gflops(device: str, size: int) -> float:
    """Return how many float32 operations a product of two square matrices takes a second, in GFLOP/s."""
    matrix = torch.rand(size, size, device=device)
    return 2 * size**3 / fastest_ms(lambda: torch.mm(matrix, matrix), device) / 1e6


def copy_gb_per_s(device: str, copied_values: int) -> float:
    """Return how much a copy of so many values reads and writes a second."""
    values = torch.rand(copied_values, device=device)
    target = torch.empty_like(values)
    return 2 * values.nbytes / fastest_ms(lambda: target.copy_(values), device) / 1e6


def cached_product_gflops() -> float:
    rows, inner, columns = 256, 256, 2048
    left, right = torch.rand(rows, inner), torch.rand(inner, columns)
    return 2 * rows * inner * columns / fastest_ms(lambda: product(left, right), "cpu", times=50) / 1e6


def fastest_ms(work: Callable[[], Any], device: str, times: int = 6) -> float:
    return min(laps_ms(work, device, times))


def laps_ms(work: Callable[[], Any], device: str, times: int) -> list[float]:
    """Return how long each of some calls in a row takes."""
    clock = Clock(device)
    for _ in range(times):
        clock.mark()
        work()
    clock.mark()
    return clock.laps_ms()


def bytes_held(device: str) -> int:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return status_bytes("VmRSS")


def peak_bytes(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    """Read a figure of this process; ru_maxrss would start from that of the process that started this one."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])

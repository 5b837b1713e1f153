"""How fast does a network train, beside other libraries? Prints results/stbp.md; about half an hour on two cores.

pip install --no-deps --target PEERS -r benchmarks/requirements.txt
PYTHONPATH=PEERS python benchmarks/stbp.py > benchmarks/results/stbp.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from peers import CLASSES, OTHERS, SIDE, Peer, draw_frames, sltune_network, sltune_peer
from torch import Tensor
from torch.nn import functional

from sltune.training.fit import training_loss
from sltune.training.memory import keep_freed_memory
from sltune.training.optim import OptimizerOptions, make_optimizer

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PACKAGES = ("torch", "numba", "triton", "numpy", "spikingjelly", "snntorch", "norse")
MULTIPLY_ADDS = {"conv1": 20 * 126**2 * 18, "conv2": 50 * 61**2 * 180, "fc1": 200 * 45_000, "fc2": CLASSES * 200}
"""Of one time step of one sample, forward."""
FLOP = 2 * (3 * sum(MULTIPLY_ADDS.values()) - MULTIPLY_ADDS["conv1"])
"""Of one time step of one training sample: forward, and gradients of weights and inputs, of which frames need none."""
SLOW_S = 20.0
"""A step that takes longer is measured once, without a warm-up."""
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


SHAPES = [Shape(8, 17), Shape(4, 50), Shape(2, 145), Shape(2, 290)]
LINEAR = [Shape(2, 50), Shape(2, 145), Shape(2, 290)]


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


class Stopped(Exception):
    """A measurement that gave no result."""


@dataclass(frozen=True)
class Settings:
    """What all runs share. A process that takes longer than limit_s is stopped."""

    device: str
    threads: int
    warm_up: int
    steps: int
    rounds: int
    limit_s: float

    def measured(self, function: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] = {}) -> Any:
        """Return what the function returns in a fresh process.

        Raises:
            Stopped: it takes longer than the limit, raises something or is killed.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send_result, args=(sender, self.threads, function, arguments), daemon=True)
        before = dict(os.environ)
        # The child reads them when it imports torch and numba, before any code of ours runs there.
        os.environ.update({name: str(self.threads) for name in THREADS} | dict(environment))
        process.start()
        os.environ.clear()
        os.environ.update(before)
        sender.close()
        if not receiver.poll(self.limit_s):
            process.kill()
            raise Stopped(f"> {self.limit_s:.0f} s")
        try:
            result, failure = receiver.recv()
        except EOFError:
            raise Stopped("killed, perhaps for want of memory") from None
        process.join()
        if failure:
            raise Stopped(f"failed: {failure}")
        return result

    def trained(self, peer: Peer, shape: Shape) -> Run:
        """Return a run of one peer; whatever stops it is its failure."""
        arguments = (peer, shape, self.device, self.warm_up, self.steps)
        try:
            run: Run = self.measured(train, *arguments, environment=peer.environment)
        except Stopped as reason:
            run = Run(failure=str(reason))
        print(peer.name, shape, run.failure or f"{run.median:.0f} ms", sep=": ", file=sys.stderr, flush=True)
        return run


def _send_result(sender: Any, threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    try:
        sender.send((function(*arguments), ""))
    except Exception as error:
        sender.send((None, f"{type(error).__name__}: {str(error)[:100]}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--warm-up", type=int, default=2, help="steps of a process before those that are timed")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes a peer and shape, turn and turn about")
    parser.add_argument("--limit-s", type=float, default=180, help="for a process; larger shapes are then left out")
    parser.add_argument("--shapes", type=shapes_of, default=SHAPES, help="such as 8x17,4x50 (batch x time steps)")
    parser.add_argument(
        "--sltune-backends", default="", help="such as numba,reference (the first is the base of ratios)"
    )
    parser.add_argument("--density", action="store_true", help="only compare the frames with the simulator's")
    arguments = vars(parser.parse_args())
    if arguments.pop("density"):
        print("pixels filled, 3x3 windows not empty: simulator", simulated_density(12), end="; ")
        print("here", density_of(draw_frames(64, 17)))
        return
    shapes, backends = arguments.pop("shapes"), arguments.pop("sltune_backends")
    settings = Settings(**arguments)
    ours = [sltune_peer(name) for name in backends.split(",")]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.threads])
    for line in benchmark(settings, ours, shapes):
        print(line, flush=True)


def shapes_of(text: str) -> list[Shape]:
    return [Shape(*map(int, part.split("x"))) for part in text.split(",")]


def benchmark(settings: Settings, ours: Sequence[Peer], shapes: Sequence[Shape]) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    yield f"# Training steps\n\n`python benchmarks/stbp.py {' '.join(sys.argv[1:])}`, {machine(settings.device)},"
    yield f"{settings.threads} of {os.cpu_count()} cores, Python {platform.python_version()}, {versions()}.\n"
    gflops, lines = settings.measured(limits, settings.device)
    yield from lines
    yield from frames_lines(settings, ours[0], shapes[0])
    others = [peer for peer in OTHERS if settings.device in peer.devices]
    if absent := sorted({peer.module for peer in others if not peer.is_importable}):
        yield f"Absent, and so left out: {', '.join(absent)}."
    peers = [*ours, *(peer for peer in others if peer.is_importable)]
    yield NOTES.format(rounds=settings.rounds, steps=settings.steps, warm_up=settings.warm_up, slow=SLOW_S)
    yield from (f"- {peer.name}: {peer.note}." for peer in peers)
    runs: dict[tuple[str, Shape], Run] = {}
    for shape in shapes:
        yield from shape_lines(settings, peers, shape, runs, gflops)
    if set(LINEAR[1:]) <= set(shapes):
        yield from linearity_lines(settings, ours, runs)
    yield from counting_lines(settings, ours, shapes[0])


NOTES = """
A step is forward, mean squared error, backward and Adam on the same frames and initial weights; the loss of the first
step shows that all compute the same network, but for spikes that rounding decides. Medians of {rounds} × {steps} steps
after {warm_up} that are not timed (none, and one timed, where a step takes more than {slow:.0f} s), ranges in brackets,
every row in processes of its own, turn and turn about. Memory: the peak beyond what model, frames and optimizer take
before the first step.
"""


def frames_lines(settings: Settings, ours: Peer, shape: Shape) -> Iterator[str]:
    density, windows, rates = settings.measured(
        firing_rates, ours, shape, settings.device, environment=ours.environment
    )
    layers = ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in rates.items())
    yield f"\nFrames: SYNTHETIC, binary, {100 * density:.1f} % of the pixels filled, {100 * windows:.0f} % of the 3×3"
    yield f"windows not empty ({shape}). Weights: torch's initial ones × 2, seed 0. Neurons that fire in a step:"
    yield f"{layers}."


def shape_lines(
    settings: Settings, peers: Sequence[Peer], shape: Shape, runs: dict[tuple[str, Shape], Run], gflops: float
) -> Iterator[str]:
    too_long = {name: run.failure for (name, _), run in runs.items() if run.failure.startswith(">")}
    for number in range(settings.rounds):
        for peer in peers:
            key = (peer.name, shape)
            if peer.name in too_long:
                runs[key] = Run(failure=too_long[peer.name])
            elif number == 0:
                runs[key] = settings.trained(peer, shape)
            elif not runs[key].failure and runs[key].median < 1000 * SLOW_S:
                runs[key].add(settings.trained(peer, shape))
    base = runs[peers[0].name, shape]
    yield f"\n## {shape}: {shape.sample_steps * FLOP / 1e9:.1f} GFLOP a step\n"
    yield "| | ms a step | samples/s | time, ratio | peak memory, MB | memory, ratio | GFLOP/s | of the limit | loss |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for peer in peers:
        yield row(peer.name, shape, runs[peer.name, shape], base, gflops)


def row(name: str, shape: Shape, run: Run, base: Run, gflops: float) -> str:
    if run.failure:
        return f"| {name} | {run.failure} |" + " |" * 7
    speed = shape.sample_steps * FLOP / run.median / 1e6
    ratios = ("–", "–")
    if not base.failure:
        ratios = (f"{run.median / base.median:.2f}", f"{run.memory / base.memory:.2f}")
    return (
        f"| {name} | {spread_of(run.step_ms)} | {1000 * shape.batch / run.median:.2f} | {ratios[0]} "
        f"| {run.memory / 1e6:.0f} | {ratios[1]} | {speed:.1f} | {100 * speed / gflops:.0f} % | {run.loss:.4f} |"
    )


def linearity_lines(settings: Settings, ours: Sequence[Peer], runs: Mapping[tuple[str, Shape], Run]) -> Iterator[str]:
    yield "\n## Linear in time: ms more for one more time step of a sample\n"
    yield f"| | from {LINEAR[0]} to {LINEAR[1].steps} | from {LINEAR[1].steps} to {LINEAR[2].steps} | ratio |"
    yield "|---|--:|--:|--:|"
    for peer in ours:
        first = settings.trained(peer, LINEAR[0])
        for _ in range(1, settings.rounds):
            first.add(settings.trained(peer, LINEAR[0]))
        taken = [first, *(runs[peer.name, shape] for shape in LINEAR[1:])]
        if failures := [run.failure for run in taken if run.failure]:
            yield f"| {peer.name} | {failures[0]} | | |"
            continue
        more = [
            (taken[i + 1].median - taken[i].median) / (LINEAR[i + 1].sample_steps - LINEAR[i].sample_steps)
            for i in range(2)
        ]
        yield f"| {peer.name} | {more[0]:.3f} | {more[1]:.3f} | {more[1] / more[0]:.3f} |"


def counting_lines(settings: Settings, ours: Sequence[Peer], shape: Shape) -> Iterator[str]:
    yield f"\n## What counting spikes costs ({shape})\n"
    yield "| | without, ms | with, ms | ratio |\n|---|--:|--:|--:|"
    for peer in ours:
        for name, training in (("no_grad", False), ("training step", True)):
            arguments = (peer, shape, settings, training)
            without, with_counts = settings.measured(counting, *arguments, environment=peer.environment)
            ratio = statistics.median(with_counts) / statistics.median(without)
            yield f"| {peer.name}, {name} | {spread_of(without)} | {spread_of(with_counts)} | {ratio:.3f} |"


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
    loss = float(step(network(frames)))
    first.mark()
    times = first.laps_ms()
    if peer.compiles or times[0] < 1000 * SLOW_S:
        for _ in range(warm_up - 1):
            step(network(frames))
        clock = Clock(device)
        clock.mark()
        for _ in range(steps):
            step(network(frames))
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
    optimizer = make_optimizer(network.parameters(), OptimizerOptions(learning_rate=LEARNING_RATE))

    def step(rates: Tensor) -> Tensor:
        loss = training_loss(rates, labels, "mse")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def counting(peer: Peer, shape: Shape, settings: Settings, training: bool) -> list[list[float]]:
    """Return ms without and with counting, turn and turn about."""
    network, frames, labels = prepared(peer, shape, settings.device)
    step = stepper(network, labels)
    found: list[list[float]] = [[], []]
    for number in range(settings.warm_up + settings.steps * settings.rounds):
        for count in (False, True):
            clock = Clock(settings.device)
            clock.mark()
            with torch.set_grad_enabled(training):
                rates = network.simulate(frames, count_spikes=count).output.mean(0)
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
    activity = network.simulate(frames, count_spikes=True).activity
    neurons = {"conv1": 20 * 126**2, "conv2": 50 * 61**2, "fc1": 200, "fc2": CLASSES}
    rates = {name: int(activity[name]) / shape.sample_steps / count for name, count in neurons.items()}
    return *density_of(frames), rates


def density_of(frames: Tensor) -> tuple[float, float]:
    windows = functional.max_pool2d(frames.flatten(0, 1).amax(1, keepdim=True), 3, 1)
    return float(frames.mean()), float(windows.mean())


def simulated_density(recordings: int) -> tuple[float, float]:
    """Return the same of what sltune's simulator writes."""
    from sltune.events.dataset import open_dataset
    from sltune.events.frames import FrameFormat
    from sltune.events.importing import import_source
    from sltune.events.slanimals import open_slanimals
    from sltune.events.synthetic import write_dataset
    from sltune.training.batches import BatchSource

    with TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "source", recordings)
        import_source(open_slanimals(Path(folder) / "source"), Path(folder) / "data")
        samples = open_dataset(Path(folder) / "data").samples
        source = BatchSource(samples, np.arange(len(samples)), FrameFormat((SIDE, SIDE), 30), 17, torch.device("cpu"))
        rng = np.random.default_rng(0)
        found = [density_of(next(batch.views)) for batch in source.training(19, "random", rng, None)]
    pixels, windows = np.mean(found, axis=0)
    return float(pixels), float(windows)


def limits(device: str) -> tuple[float, list[str]]:
    """Return GFLOP/s of a large product of float32 matrices, and lines about it and the memory."""
    size = 8192 if device == "cuda" else 4096
    matrix = torch.rand(size, size, device=device)
    product_ms = fastest_ms(lambda: torch.mm(matrix, matrix), device)
    values = torch.rand(1 << 27, device=device)
    target = torch.empty_like(values)
    copy_ms = fastest_ms(lambda: target.copy_(values), device)
    gflops, bandwidth = 2 * size**3 / product_ms / 1e6, 2 * values.nbytes / copy_ms / 1e6
    lines = [f"Limits measured: {gflops:.0f} GFLOP/s (float32, {size}³ product), {bandwidth:.0f} GB/s read and written"]
    lines.append(f"(copy of {values.nbytes / 1e6:.0f} MB). One time step of one sample takes {FLOP / 1e6:.0f} MFLOP,")
    if device == "cuda":
        lines.append("(torch lets cuDNN's convolutions use TF32, which passes this limit),")
    lines.append(f"so the first allows {gflops * 1e9 / FLOP:.0f} of them a second in training.")
    return gflops, lines


def fastest_ms(work: Callable[[], Any], device: str) -> float:
    clock = Clock(device)
    for _ in range(6):
        clock.mark()
        work()
    clock.mark()
    return min(clock.laps_ms())


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


def spread_of(values: Sequence[float]) -> str:
    digits = 2 if max(values) < 10 else 1 if max(values) < 1000 else 0
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def versions() -> str:
    found = []
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def machine(device: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{processor}, {torch.cuda.get_device_name()}" if device == "cuda" else processor


if __name__ == "__main__":
    main()

"""What does a training step spend its time on, and how close are its kernels to the limits of the device?

    python benchmarks/kernels.py --device cuda > benchmarks/results/kernels.md

For each shape and precision: the time of a step, how much of it the device works, and the kernels that take longest, as
torch's profiler sees them. Then the neurons of each layer alone, forward and backward, and the bytes that their kernels
ask for, of which caches may hold some: current read, spikes and last state written; backward, current and gradient
read, potentials written and read once, gradient written. Behind batch normalisation, as in the residual network, images
are read once more for their statistics, and in the backward pass twice more beside the gradient, which is then read and
written again. A large copy within the device's memory gives the limit. At last the connections alone, for which a large
product of matrices gives it.
Needs numba and pyarrow beside torch (and triton for a GPU), but neither ray nor optuna, tonic or pydantic.
"""

from __future__ import annotations

import argparse
import collections
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peers import sltune_peer
from smoke import parse_arguments
from stbp import shapes_of
from steps import (
    COPIED_VALUES,
    LAYERS,
    MULTIPLY_ADDS,
    SMOKE_VALUES,
    Shape,
    copy_gb_per_s,
    laps_ms,
    prepared,
    product_gflops,
    stepper,
)
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from sltune.snn.backends import backend_of
from sltune.snn.neurons.backend import Norm
from sltune.snn.neurons.lif import LIFParameters
from sltune.snn.running import rates_of
from sltune.training.fit import autocast

SHAPES = [Shape(8, 17), Shape(4, 50), Shape(2, 145)]
SHOWN, FLOAT_BYTES, NAME_LENGTH = 12, 4, 70
NORMED = {"stem": (32, 128, 128), "block 2": (32, 32, 32)}
"""Shapes of the residual network's normalised neurons, for one time step of one sample."""


@dataclass(frozen=True)
class Timing:
    """Where to measure and how often. steps: those that are timed, after ``warm_up`` that are not."""

    device: str
    steps: int
    warm_up: int

    def median_ms(self, work: Callable[[], Any]) -> float:
        laps_ms(work, self.device, self.warm_up)
        return statistics.median(laps_ms(work, self.device, self.steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--shapes", type=shapes_of, default=SHAPES, help="such as 8x17,4x50 (batch x time steps)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before those that are timed")
    arguments = parse_arguments(parser, device="cpu", shapes=[Shape(1, 2)], steps=2, warm_up=1)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; to try the script: --device cpu")
    timing = Timing(arguments.device, arguments.steps, arguments.warm_up)
    for line in benchmark(timing, arguments.shapes, SMOKE_VALUES if arguments.smoke else COPIED_VALUES):
        print(line, flush=True)


def benchmark(timing: Timing, shapes: Sequence[Shape], copied_values: int) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    device = timing.device
    name = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} cores"
    bandwidth = copy_gb_per_s(device, copied_values)
    yield "# Kernels\n"
    yield f"`python benchmarks/kernels.py {' '.join(sys.argv[1:])}`, {time.strftime('%Y-%m-%d')}, {name}, Python"
    yield f"{platform.python_version()}, torch {torch.__version__}. A copy reads and writes {bandwidth:.0f} GB/s."
    for shape in shapes:
        for precision in ("float32", "bfloat16"):
            yield from step_lines(timing, shape, precision)
    yield "\n## Neurons alone (float32)\n"
    yield "| layer | | | ms | MB | GB/s | of a copy's |\n|---|---|---|--:|--:|--:|--:|"
    for shape in shapes:
        for layer in LAYERS:
            yield from neuron_lines(timing, shape, layer, bandwidth)
        for layer, size in NORMED.items():
            yield from normed_lines(timing, Images(f"normed {layer}", shape, size), bandwidth)
    gflops = product_gflops(device, 256 if copied_values == SMOKE_VALUES else 8192 if device == "cuda" else 4096)
    yield f"\n## Connections alone (float32; a large product takes {gflops:.0f} GFLOP/s)\n"
    yield "| layer | | ms | GFLOP | GFLOP/s | of a product's |\n|---|---|--:|--:|--:|--:|"
    for shape in shapes:
        yield from connection_lines(timing, shape, gflops)


def step_lines(timing: Timing, shape: Shape, precision: str) -> Iterator[str]:
    device = timing.device
    network, frames, labels = prepared(sltune_peer(""), shape, device)
    finish = stepper(network, labels)

    def step() -> None:
        with autocast(frames.device, precision):
            rates = rates_of(network, frames)
        finish(rates)

    median = timing.median_ms(step)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiler:
        for _ in range(timing.steps):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
    found = kernel_us(profiler, device)
    busy = sum(us for _, us in found.values()) / timing.steps / 1000
    yield f"\n## {shape}, {precision}: {median:.2f} ms a step, {busy:.2f} ms of it on the device\n"
    yield "| kernel | calls a step | ms a step | share |\n|---|--:|--:|--:|"
    for name, (calls, us) in sorted(found.items(), key=lambda item: -item[1][1])[:SHOWN]:
        each = us / timing.steps / 1000
        yield f"| {name[:NAME_LENGTH]} | {calls / timing.steps:.1f} | {each:.3f} | {100 * each / busy:.0f} % |"


def kernel_us(profiler: Any, device: str) -> dict[str, tuple[int, float]]:
    """Return calls and microseconds of each kernel, or of each of torch's operations where the device is the host."""
    found: dict[str, tuple[int, float]] = collections.defaultdict(lambda: (0, 0.0))
    for event in profiler.events():
        # A range that torch marks on the device's time line, such as the optimizer's step, is no kernel.
        if event.device_type.name == device.upper() and not (device == "cuda" and event.is_user_annotation):
            us = event.time_range.elapsed_us() if device == "cuda" else event.self_cpu_time_total
            calls, before = found[event.name]
            found[event.name] = calls + 1, before + us
    return found


def neuron_lines(timing: Timing, shape: Shape, layer: str, bandwidth: float) -> Iterator[str]:
    """Give a line for each pass of the neurons of a layer; convolutions pool."""
    size, is_image = LAYERS[layer], len(LAYERS[layer]) > 1
    for layout in ("channels first", "channels last") if is_image else ("",):
        current = torch.rand(shape.steps, shape.batch, *size, device=timing.device) * 1.5 - 0.5
        if layout == "channels last":
            current = current.movedim(2, -1).contiguous().movedim(-1, 2)
        current.requires_grad_()
        backend = backend_of(current)
        run = backend.pooled_layer if is_image else backend.layer
        spikes = run(current, LIFParameters()).spikes
        gradient = torch.rand_like(spikes)
        current_bytes, spike_bytes = current.numel() * FLOAT_BYTES, spikes.numel() * FLOAT_BYTES
        state_bytes = 2 * current[0].numel() * FLOAT_BYTES
        passes: dict[str, tuple[Callable[[], Any], int]] = {
            "forward": (partial(run, current, LIFParameters()), current_bytes + spike_bytes + state_bytes),
            "backward": (
                partial(torch.autograd.grad, spikes, current, gradient, retain_graph=True),
                4 * current_bytes + spike_bytes,
            ),
        }
        yield from pass_lines(timing, f"{layer}, {shape} | {layout}", passes, bandwidth)


def pass_lines(
    timing: Timing, label: str, passes: dict[str, tuple[Callable[[], Any], int]], bandwidth: float
) -> Iterator[str]:
    """Give a line for each pass, of which is said what it does and how many bytes it moves."""
    for name, (work, moved_bytes) in passes.items():
        ms = timing.median_ms(work)
        speed = moved_bytes / ms / 1e6
        share = 100 * speed / bandwidth
        yield f"| {label} | {name} | {ms:.3f} | {moved_bytes / 1e6:.0f} | {speed:.0f} | {share:.0f} % |"


@dataclass(frozen=True)
class Images:
    """What goes into a layer of neurons. size: of one time step of one sample."""

    name: str
    shape: Shape
    size: tuple[int, ...]

    def draw(self, device: str) -> Tensor:
        return torch.rand(self.shape.steps, self.shape.batch, *self.size, device=device) * 1.5 - 0.5


def normed_lines(timing: Timing, given: Images, bandwidth: float) -> Iterator[str]:
    """Give a line for each pass of neurons behind batch normalisation."""
    images = given.draw(timing.device).requires_grad_()
    channels = given.size[0]
    weight, bias = (torch.ones(channels, device=timing.device).requires_grad_() for _ in range(2))
    run = partial(backend_of(images).normed_layer, images, Norm(weight, bias, None, None, 1e-5), LIFParameters())
    spikes = run()[0].spikes
    gradient = torch.rand_like(spikes)
    image_bytes, state_bytes = images.numel() * FLOAT_BYTES, 2 * images[0].numel() * FLOAT_BYTES
    passes: dict[str, tuple[Callable[[], Any], int]] = {
        "forward": (run, 3 * image_bytes + state_bytes),
        "backward": (
            partial(torch.autograd.grad, spikes, (images, weight, bias), gradient, retain_graph=True),
            9 * image_bytes + state_bytes,
        ),
    }
    yield from pass_lines(timing, f"{given.name}, {given.shape} | channels first", passes, bandwidth)


def connection_lines(timing: Timing, shape: Shape, gflops: float) -> Iterator[str]:
    """Give a line for each pass of the connections of the SL-Animals network; frames get no gradient."""
    device = timing.device
    sizes = {"conv1": ((2, 128, 128), (20, 2, 3, 3)), "conv2": ((20, 63, 63), (50, 20, 3, 3))}
    for name, (size, weights) in {**sizes, "fc1": ((45_000,), (200, 45_000))}.items():
        values = Images(name, shape, size).draw(device).requires_grad_(name != "conv1")
        weight = torch.rand(weights, device=device).requires_grad_()
        bias = torch.zeros(weights[0], device=device).requires_grad_()
        backend = backend_of(values)
        if name == "fc1":
            run = partial(backend.dense, values.flatten(0, 1), weight, bias)
        else:
            run = partial(backend.convolve, values, weight, bias, 0)
        currents = run()
        asked = [one for one in (values, weight, bias) if one.requires_grad]
        back = partial(torch.autograd.grad, currents, asked, torch.rand_like(currents), retain_graph=True)
        forward = 2 * MULTIPLY_ADDS[name] * shape.sample_steps
        for which, work, flop in (("forward", run, forward), ("backward", back, forward * (len(asked) - 1))):
            ms = timing.median_ms(work)
            speed = flop / ms / 1e6
            share = 100 * speed / gflops
            yield f"| {name}, {shape} | {which} | {ms:.3f} | {flop / 1e9:.2f} | {speed:.0f} | {share:.0f} % |"


if __name__ == "__main__":
    main()

"""What does a training step spend its time on, and how close are the neurons' kernels to the memory's bandwidth?

    python benchmarks/kernels.py --device cuda > benchmarks/results/kernels.md

For each shape and precision: the time of a step, how much of it the device works, and the kernels that take longest, as
torch's profiler sees them. Then the neurons of each layer alone, forward and backward, and the bytes that their kernels
ask for, of which caches may hold some: current read, spikes and last state written; backward, current and gradient
read, potentials written and read once, gradient written. A large copy within the device's memory gives the limit.
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
from steps import COPIED_VALUES, LAYERS, SMOKE_VALUES, Shape, copy_gb_per_s, laps_ms, prepared, stepper
from torch.profiler import ProfilerActivity, profile

from sltune.snn.backends import backend_of
from sltune.snn.neurons.lif import LIFParameters
from sltune.snn.running import rates_of
from sltune.training.fit import autocast

SHAPES = [Shape(8, 17), Shape(4, 50), Shape(2, 145)]
SHOWN, FLOAT_BYTES, NAME_LENGTH = 12, 4, 70


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
        for name, (work, moved_bytes) in passes.items():
            ms = timing.median_ms(work)
            speed = moved_bytes / ms / 1e6
            yield (
                f"| {layer}, {shape} | {layout} | {name} | {ms:.3f} | {moved_bytes / 1e6:.0f} | {speed:.0f} "
                f"| {100 * speed / bandwidth:.0f} % |"
            )


if __name__ == "__main__":
    main()

"""How fast does the residual network train, beside other libraries? Prints results/deep.md; ten minutes on two cores.

pip install --no-deps --target PEERS -r benchmarks/requirements.txt
PYTHONPATH=PEERS python benchmarks/deep.py > benchmarks/results/deep.md
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from peers import CLASSES, DECAY, V_THRESHOLD, WIDTH, Peer, channels_last, snntorch, spikingjelly
from smoke import parse_arguments
from stbp import Settings, Stopped, machine, shapes_of, spread_of, versions
from steps import Clock, Run, Shape, bytes_held, peak_bytes
from torch import Tensor, nn
from torch.nn import functional

from sltune.snn.running import rates_of
from sltune.system.memory import keep_freed_memory

MAPS = 32


class Residual(nn.Module):
    """The network of ``sltune.snn.deep.sew`` of the layers of another library, which are made by fold and neurons."""

    def __init__(self, side: int, fold: Callable[..., nn.Module], neurons: Callable[[], nn.Module]) -> None:
        super().__init__()

        def spiking(channels: int) -> nn.Module:
            return nn.Sequential(fold(nn.Conv2d(channels, MAPS, 3, padding=1), nn.BatchNorm2d(MAPS)), neurons())

        blocks = (side // 2).bit_length() - 2
        self.stem = spiking(2)
        self.blocks = nn.ModuleList(nn.Sequential(spiking(MAPS), spiking(MAPS)) for _ in range(blocks))
        self.pool = fold(nn.MaxPool2d(2))
        self.fc = fold(nn.Linear(MAPS * (side >> blocks + 1) ** 2, CLASSES))

    def forward(self, frames: Tensor) -> Tensor:
        spikes = self.pool(self.stem(frames))
        for block in self.blocks:
            spikes = self.pool(spikes + block(spikes))
        outputs: Tensor = self.fc(spikes.flatten(2))
        return outputs.mean(0)


def ours(side: int) -> nn.Module:
    from sltune.snn.deep import sew
    from sltune.snn.network import NetworkOptions
    from sltune.snn.neurons.lif import LIFParameters

    options = NetworkOptions(LIFParameters(V_THRESHOLD, DECAY, "rectangular", WIDTH))
    return sew((2, side, side), CLASSES, options, width=MAPS)


def peers(side: int) -> list[Peer]:
    network = partial(Residual, side)
    rect = partial(spikingjelly, "Rect", network=network)
    operator = partial(spikingjelly, "PiecewiseQuadratic", network=network)
    of_snntorch = partial(snntorch, network=network)
    found = [
        Peer("sltune", "sltune", partial(ours, side), "this tree: sew of 32 maps"),
        Peer(
            "SpikingJelly, Rect", "spikingjelly", rect, "multi-step LIFNode under autograd, time folded into the batch"
        ),
        Peer(
            "SpikingJelly, Rect, channels-last", "spikingjelly", partial(channels_last, rect), "the same, channels-last"
        ),
        Peer(
            "SpikingJelly, operator, channels-last",
            "spikingjelly",
            partial(channels_last, operator),
            "its own operator with a written backward pass, which knows no rectangular window",
        ),
        Peer("snnTorch", "snntorch", of_snntorch, "Leaky, reset to zero, time folded into the batch"),
        Peer("snnTorch, channels-last", "snntorch", partial(channels_last, of_snntorch), "the same, channels-last"),
    ]
    return [peer for peer in found if peer.is_importable]


def train(peer: Peer, side: int, shape: Shape, settings: Settings) -> Run:
    """Take training steps and time them; runs in a process of its own."""
    if peer.module == "sltune":
        keep_freed_memory()
    torch.manual_seed(0)
    device = settings.device
    network = peer.build().to(device).train()
    rng = np.random.default_rng(0)
    filled = rng.random((shape.steps, shape.batch, 2, side, side), np.float32) < 0.05
    frames = torch.from_numpy(filled).float().to(device)
    labels = (torch.arange(shape.batch) % CLASSES).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-5, fused=True)
    held, clock = bytes_held(device), Clock(device)
    for number in range(settings.warm_up + settings.steps):
        if number >= settings.warm_up:
            clock.mark()
        loss = functional.cross_entropy(rates_of(network, frames), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    clock.mark()
    return Run(clock.laps_ms(), peak_bytes(device) - held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--against", default="spikingjelly,snntorch", help="modules of others (default: both)")
    parser.add_argument("--side", type=int, default=128, help="of the frames, in pixels")
    parser.add_argument("--shapes", type=shapes_of, default=[Shape(8, 16)], help="such as 8x16 (batch x time steps)")
    parser.add_argument("--warm-up", type=int, default=2, help="steps of a process before those that are timed")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes a peer, turn and turn about")
    parser.add_argument("--limit-s", type=float, default=180, help="for a process")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    smallest = {"side": 8, "shapes": [Shape(1, 2)], "warm_up": 0, "steps": 1, "rounds": 1, "threads": 1}
    arguments = vars(parse_arguments(parser, **smallest))
    side, shapes, against = (arguments.pop(name) for name in ("side", "shapes", "against"))
    found = [peer for peer in peers(side) if peer.module in ["sltune", *against.split(",")]]
    for line in benchmark(Settings(**arguments), found, side, shapes):
        print(line, flush=True)


def benchmark(settings: Settings, found: Sequence[Peer], side: int, shapes: Sequence[Shape]) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    parameters = sum(one.numel() for one in ours(side).parameters())
    yield f"# Training steps of the residual network\n\n`python benchmarks/deep.py {' '.join(sys.argv[1:])}`,"
    yield f"{machine(settings.device)}, {settings.threads} of {os.cpu_count()} cores, Python"
    yield f"{platform.python_version()}, {versions()}.\n"
    yield f"{side}×{side} pixels, {parameters:,} parameters. A step is forward, cross-entropy, backward and AdamW on"
    yield "random binary frames of which 5 % are filled. Every row was measured in processes of its own, turn and turn"
    yield f"about: medians of {settings.rounds} × {settings.steps} steps, ranges in brackets. Memory: the peak beyond"
    yield "what model and frames take.\n"
    yield from (f"- {peer.name}: {peer.note}." for peer in found)
    for shape in shapes:
        yield f"\n## {shape}\n"
        yield "| | ms a step | time, ratio | peak memory, MB | memory, ratio |\n|---|--:|--:|--:|--:|"
        runs = {peer.name: Run() for peer in found}
        for peer in [*found] * settings.rounds:
            measure(settings, peer, side, shape, runs[peer.name])
        base = runs["sltune"]
        yield from (row(name, run, base) for name, run in runs.items())


def measure(settings: Settings, peer: Peer, side: int, shape: Shape, run: Run) -> None:
    """Add a process's steps to a run; one that has failed is not tried again."""
    if run.failure:
        return
    try:
        run.add(settings.measured(train, peer, side, shape, settings))
    except Stopped as reason:
        run.failure = str(reason)
    print(peer.name, shape, run.failure or f"{run.median:.0f} ms", sep=": ", file=sys.stderr, flush=True)


def row(name: str, run: Run, base: Run) -> str:
    if run.failure:
        return f"| {name} | {run.failure} |" + " |" * 3
    ratios = ("–", "–")
    if not base.failure:
        ratios = (f"{run.median / base.median:.2f}", f"{run.memory / base.memory if base.memory else 1.0:.2f}")
    return f"| {name} | {spread_of(run.step_ms)} | {ratios[0]} | {run.memory / 1e6:.0f} | {ratios[1]} |"


if __name__ == "__main__":
    main()

"""How fast does the residual network train, beside other libraries? Prints results/deep.md; ten minutes on two cores.

pip install --no-deps --target PEERS -r benchmarks/requirements.txt
PYTHONPATH=PEERS python benchmarks/deep.py > benchmarks/results/deep.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from peers import CLASSES, DECAY, V_THRESHOLD, WIDTH, Peer, channels_last, snntorch, spikingjelly
from smoke import OPTIMIZER, forks_after, parse_arguments, processor
from stbp import THREADS, versions
from steps import Clock, Run, bytes_held, peak_bytes
from torch import Tensor, nn
from torch.nn import functional

from sltune.snn.running import rates_of
from sltune.system.memory import keep_freed_memory

MAPS = 32


@dataclass(frozen=True)
class Size:
    """How large everything is. side: of the frames in pixels."""

    side: int
    batch: int
    steps: int

    def __str__(self) -> str:
        return f"{self.side}×{self.side} pixels, B={self.batch}, T={self.steps}"


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


def train(peer: Peer, size: Size, warm_up: int, steps: int) -> Run:
    """Take training steps and time them; runs in a process of its own."""
    if peer.module == "sltune":
        keep_freed_memory()
    torch.manual_seed(0)
    network = peer.build().train()
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.random((size.steps, size.batch, 2, size.side, size.side), np.float32) < 0.05).float()
    labels = torch.arange(size.batch) % CLASSES
    optimizer = torch.optim.AdamW(network.parameters(), 1e-5, fused=True)
    held, clock = bytes_held("cpu"), Clock("cpu")
    for number in range(warm_up + steps):
        if number >= warm_up:
            clock.mark()
        loss = functional.cross_entropy(rates_of(network, frames), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    clock.mark()
    return Run(clock.laps_ms(), peak_bytes("cpu") - held)


def in_a_process(threads: int, smoke: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a fresh process, which has the threads to itself."""
    context = forks_after(OPTIMIZER, "sltune.snn.deep") if smoke else multiprocessing.get_context("spawn")
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    with context.Pool(1, torch.set_num_threads, (threads,)) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="of the frames, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--time-steps", type=int, default=16)
    parser.add_argument("--warm-up", type=int, default=2, help="steps of a process before those that are timed")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes a peer, turn and turn about")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    smallest = {"side": 8, "batch": 1, "time_steps": 2, "warm_up": 0, "steps": 1, "rounds": 1, "threads": 1}
    given = parse_arguments(parser, **smallest)
    size, found = Size(given.side, given.batch, given.time_steps), dict[str, Run]()
    for _ in range(given.rounds):
        for peer in peers(given.side):
            arguments = (train, peer, size, given.warm_up, given.steps)
            run = in_a_process(given.threads, given.smoke, *arguments)
            print(peer.name, f"{run.median:.0f} ms", sep=": ", file=sys.stderr, flush=True)
            found.setdefault(peer.name, Run()).add(run)
    command = " ".join(["python benchmarks/deep.py", *sys.argv[1:]])
    print(f"# Training steps of the residual network\n\n`{command}`, {processor()},")
    print(f"{given.threads} of {os.cpu_count()} cores, Python {platform.python_version()}, {versions()}.\n")
    parameters = sum(one.numel() for one in ours(given.side).parameters())
    print(f"{size}, {parameters:,} parameters. A step is forward, cross-entropy, backward and AdamW")
    print(
        "on random binary frames of which 5 % are filled. Every row was measured in processes of its own, turn and turn"
    )
    print(
        f"about: medians of {given.rounds} × {given.steps} steps. Memory: the peak beyond what model and frames take.\n"
    )
    for peer in peers(given.side):
        print(f"- {peer.name}: {peer.note}.")
    print("\n| | ms a step | time, ratio | peak memory, MB | memory, ratio |\n|---|--:|--:|--:|--:|")
    base = found["sltune"]
    for name, run in found.items():
        ms = run.median
        ratio, of_memory = ms / base.median, run.memory / base.memory if base.memory else 1.0
        span = f"{ms:.0f} [{min(run.step_ms):.0f}, {max(run.step_ms):.0f}]"
        print(f"| {name} | {span} | {ratio:.2f} | {run.memory / 1e6:.0f} | {of_memory:.2f} |")


if __name__ == "__main__":
    main()

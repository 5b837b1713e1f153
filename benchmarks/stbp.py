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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from peers import OTHERS, Peer, draw_frames, sltune_peer
from smoke import OPTIMIZER, forks_after, parse_arguments, processor
from steps import (
    FLOP,
    SLOW_S,
    Run,
    Shape,
    counting,
    density_of,
    firing_rates,
    limits,
    simulated_density,
    train,
)

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PACKAGES = ("torch", "numba", "triton", "numpy", "spikingjelly", "snntorch", "norse")
SHAPES = [Shape(8, 17), Shape(4, 50), Shape(2, 145), Shape(2, 290)]
LINEAR = [Shape(2, 50), Shape(2, 145), Shape(2, 290)]


class Stopped(Exception):
    """A measurement that gave no result."""


@dataclass(frozen=True)
class Settings:
    """What all runs share. A process that takes longer than limit_s is stopped.

    smoke: all processes are forks, which cannot have environments of their own as some peers need.
    """

    device: str
    threads: int
    warm_up: int
    steps: int
    rounds: int
    limit_s: float
    smoke: bool

    def measured(self, function: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] = {}) -> Any:
        """Return what the function returns in a fresh process.

        Raises:
            Stopped: it takes longer than the limit, raises something or is killed.
        """
        imports = (OPTIMIZER, "sltune.snn.network", "sltune.training.fit")
        context = forks_after(*imports) if self.smoke else multiprocessing.get_context("spawn")
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
    modules = sorted({peer.module for peer in OTHERS})
    parser.add_argument("--against", default=",".join(modules), help="modules of others (default: all); '' for none")
    parser.add_argument("--density", action="store_true", help="only compare the frames with the simulator's")
    arguments = vars(parse_arguments(parser, threads=1, warm_up=0, steps=1, rounds=1, shapes=[Shape(1, 2)]))
    if arguments.pop("density"):
        print("pixels filled, 3x3 windows not empty: simulator", simulated_density(12), end="; ")
        print("here", density_of(draw_frames(64, 17)))
        return
    shapes, backends = arguments.pop("shapes"), arguments.pop("sltune_backends")
    against = arguments.pop("against").split(",")
    others = [peer for peer in OTHERS if peer.module in against]
    settings = Settings(**arguments)
    ours = [sltune_peer(name) for name in backends.split(",")]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.threads])
    for line in benchmark(settings, ours, others, shapes):
        print(line, flush=True)


def shapes_of(text: str) -> list[Shape]:
    return [Shape(*map(int, part.split("x"))) for part in text.split(",")]


def benchmark(
    settings: Settings, ours: Sequence[Peer], others: Sequence[Peer], shapes: Sequence[Shape]
) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    yield f"# Training steps\n\n`python benchmarks/stbp.py {' '.join(sys.argv[1:])}`, {machine(settings.device)},"
    yield f"{settings.threads} of {os.cpu_count()} cores, Python {platform.python_version()}, {versions()}.\n"
    gflops, lines = settings.measured(limits, settings.device, settings.smoke)
    yield from lines
    yield from frames_lines(settings, ours[0], shapes[0])
    others = [peer for peer in others if settings.device in peer.devices]
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
    return f"{processor()}, {torch.cuda.get_device_name()}" if device == "cuda" else processor()


if __name__ == "__main__":
    main()

"""What do augmentations cost beside a training step? Prints results/augmentations.md; five minutes on one core.

python benchmarks/augmentations.py > benchmarks/results/augmentations.md
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from datasets import synthetic_data, trivial_data
from peers import CLASSES, DECAY, V_THRESHOLD, WIDTH
from smoke import parse_arguments, processor
from stbp import versions
from torch import Tensor, nn
from torch.nn import functional

from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.dataset import open_dataset
from sltune.events.frames import FrameFormat
from sltune.events.samples import Samples
from sltune.extensions.code import NO_CODE
from sltune.extensions.kinds import KINDS, named
from sltune.snn.deep import sew
from sltune.snn.network import NetworkOptions, slanimals
from sltune.snn.neurons.lif import LIFParameters
from sltune.snn.running import rates_of
from sltune.system.memory import keep_freed_memory
from sltune.training.batches import BatchSource
from sltune.training.mixing import Mixer

SIDE, BIN_MS, BINS, BATCH = 128, 30, 17, 8
"""Those of search_spaces/optimized.toml."""
AUGMENTATIONS = (
    "event_drop(probability=0.1)",
    "time_jitter(std_us=2000)",
    "polarity_flip(probability=1)",
    "time_scale(fraction=0.2)",
    "time_drop(fraction=0.2)",
    "hot_pixels(pixels=20, rate_hz=50)",
    "nda(operations=2)",
    "spatial_shift(pixels=10)",
    "rotation(degrees=15)",
    "horizontal_flip(probability=1)",
    "zoom(fraction=0.2)",
    "shear(fraction=0.2)",
    "elastic(fraction=0.05)",
    "area_drop(share=0.2)",
)
MIXTURES: tuple[Literal["cutmix", "eventmix"], ...] = ("cutmix", "eventmix")
NETWORKS = {"slanimals": slanimals, "sew": sew}


@dataclass(frozen=True)
class Epochs:
    """The batches of a dataset, at one size of frames."""

    samples: Samples
    side: int

    def ms(self, augment: str = "", mix: Literal["none", "cutmix", "eventmix"] = "none") -> float:
        """Return CPU time a batch, from store to float32 frames, of all that are whole."""
        frames = FrameFormat((SIDE, SIDE), BIN_MS, resized=(self.side, self.side))
        indices = np.arange(len(self.samples) // BATCH * BATCH)
        source = BatchSource(self.samples, indices, frames, BINS, torch.device("cpu"))
        rng = np.random.default_rng(0)
        changes = [named(KINDS["sampling.augment"], augment, NO_CODE)] if augment else []
        batches = source.training(BATCH, "random", rng, rng, Augmenter(changes, rng) if augment else None)
        mixed = batches if mix == "none" else Mixer(mix, 1.0, CLASSES, rng).mixed(batches)
        started = time.process_time()
        count = sum(1 for batch in mixed for _ in batch.views)
        return 1000 * (time.process_time() - started) / count


def stepper(name: str, side: int) -> Callable[[], float]:
    """Return what takes a training step of a network and returns its CPU time in ms."""
    torch.manual_seed(0)
    options = NetworkOptions(LIFParameters(V_THRESHOLD, DECAY, "rectangular", WIDTH))
    network: nn.Module = NETWORKS[name]((2, side, side), CLASSES, options=options)
    optimizer = torch.optim.Adam(network.parameters(), 1e-6)
    generator = torch.Generator().manual_seed(0)
    frames: Tensor = (torch.rand((BINS, BATCH, 2, side, side), generator=generator) < 0.05).float()
    labels = torch.arange(BATCH) % CLASSES

    def step() -> float:
        started = time.process_time()
        loss = functional.cross_entropy(rates_of(network, frames), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return 1000 * (time.process_time() - started)

    return step


def lines(samples: Samples, sides: list[int], rounds: int) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    command = " ".join(["python benchmarks/augmentations.py", *sys.argv[1:]])
    yield f"# What augmentations cost\n\n`{command}`, {processor()}, Python {platform.python_version()},"
    yield f"{versions()}.\n"
    yield f"Batches of {BATCH} random crops of {BINS * BIN_MS} ms of simulated recordings in {BINS} time bins, as in"
    yield "search_spaces/optimized.toml; steps on random binary frames of which 5 % are filled. Everything ran on one"
    yield f"core: the least CPU time of {rounds} rounds, turn and turn about. What an augmentation adds is the time of"
    yield "a batch with it minus that of one without.\n"
    for side in sides:
        epochs = Epochs(samples, side)
        ways = {"none": epochs.ms, **{text: partial(epochs.ms, text) for text in AUGMENTATIONS}}
        ways |= {f'mix = "{mix}"': partial(epochs.ms, mix=mix) for mix in MIXTURES}
        ways |= {name: stepper(name, side) for name in NETWORKS}
        least = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, way in ways.items():
                least[name] = min(least[name], way())
        steps = {name: least.pop(name) for name in NETWORKS}
        plain = least.pop("none")
        yield f"## Frames of {side}×{side} pixels\n"
        yield (
            "A batch without augmentation takes "
            + f"{plain:.1f} ms, a step "
            + " and ".join(f"{ms:.0f} ms with `{name}`" for name, ms in steps.items())
            + ".\n"
        )
        yield "| | ms a batch | adds, ms | " + " | ".join(f"of a step of `{name}`, %" for name in steps) + " |"
        yield "|---" + "|--:" * (2 + len(steps)) + "|"
        for name, ms in least.items():
            shares = " | ".join(f"{100 * (ms - plain) / step:.1f}" for step in steps.values())
            yield f"| `{name}` | {ms:.1f} | {ms - plain:.1f} | {shares} |"
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=3, help="simulated ones, of 19 samples each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 64], help="of the frames, in pixels")
    given = parse_arguments(parser, recordings=1, rounds=1, sides=[16])
    torch.set_num_threads(1)
    keep_freed_memory()
    with TemporaryDirectory() as folder:
        data = trivial_data(Path(folder), SIDE) if given.smoke else synthetic_data(Path(folder), given.recordings)
        for line in lines(open_dataset(data).samples, given.sides, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()

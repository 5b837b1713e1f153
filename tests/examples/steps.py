"""What an example does in a few steps of training; as a script, in the environment of the example's library.

python -m tests.examples.steps NAME DATASET [KEY=VALUE ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.splits.split import split_of
from sltune.events.store import read_table
from sltune.runs.record import TrialKey
from sltune.settings.space import load_space
from sltune.snn.activity import Meter
from sltune.training.fit import train_epoch
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer
from tests.small import CLASSES, SENSOR

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = 5
# The dataset of tests/small.py has samples of 200 ms, 16×16 pixels, and 30 to train with.
SMALL = (
    "sampling.time_bin_ms=20", "sampling.train_crop_ms=200", "sampling.eval_crop_ms=200", "sampling.downsample=1",
    "training.batch_size=4", "training.learning_rate=0.01", "network.options.decay=0.5",
)  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """What evaluation counts: spikes of each layer, synaptic operations."""

    spikes: dict[str, int]
    operations: int


@dataclass(frozen=True)
class Outcome:
    """The loss of each step, and the network's weights before the first and after the last one."""

    losses: list[float]
    before: dict[str, list[float]]
    after: dict[str, list[float]]


def trainer_of(name: str, dataset: Path, overrides: Sequence[str] = ()) -> Trainer:
    """Return what trains an example on a dataset of tests/small.py."""
    space = load_space(EXAMPLES / name / "space.toml", [*SMALL, *overrides])
    configuration = space.configuration()
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    job = Job(TrialKey("c0000", 0, 0), configuration, SENSOR, len(CLASSES), code=space.code)
    return Trainer(job, samples, split_of(configuration, samples.recordings(), 0, 0), torch.device("cpu"))


def train(trainer: Trainer) -> Outcome:
    """Train on the first batches of an epoch."""
    before = _weights(trainer.network)
    losses = [train_epoch(trainer.learner, [batch])[0][0] for batch in islice(trainer.train_batches(1), STEPS)]
    return Outcome(losses, before, _weights(trainer.network))


def count(name: str) -> Counts:
    """Count what an example's network does that has one map and weights of zero but for a few.

    An event of the first polarity adds 1 to the potential of the neuron in its place, and above 0 in a quarter of the
    image 0.5 to that of the first class and 0.25 to that of the second.
    """
    space = load_space(EXAMPLES / name / "space.toml")
    network: nn.Module = space.code.load("nets.py:Net")(frame_shape=(2, 4, 4), classes=2, maps=1, decay=0.5)
    weights = dict(network.named_parameters())
    frames = torch.zeros(3, 1, 2, 4, 4)
    frames[0, 0, 0, 1, 1] = frames[2, 0, 0, 0, 0] = 1
    with torch.no_grad(), Meter(network.eval()) as meter:
        for weight in weights.values():
            weight.zero_()
        weights["conv.weight"][0, 0, 1, 1] = 1
        weights["fc.weight"][0], weights["fc.weight"][1] = 2, 1
        meter.add_frames(frames)
        network(frames)
    return Counts(meter.spikes(), meter.operations())


def _weights(network: nn.Module) -> dict[str, list[float]]:
    return {name: _flat(weight) for name, weight in network.named_parameters()}


def _flat(weight: Tensor) -> list[float]:
    values: list[float] = weight.detach().flatten().tolist()
    return values


if __name__ == "__main__":
    outcome = train(trainer_of(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
    print(json.dumps({"outcome": asdict(outcome), "counts": asdict(count(sys.argv[1]))}))

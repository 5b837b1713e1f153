"""The same data and networks on both sides: sltune's and those of tests/reference_impl.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sltune.events.formats.aedat import SPECIAL_BIT, write_aedat
from sltune.events.frames import FrameFormat
from sltune.events.samples import Samples
from sltune.events.sources.slanimals.source import load_recording
from sltune.events.splits.split import split_of
from sltune.events.store import Sample, encode_samples
from sltune.events.synthetic.gestures import GESTURES
from sltune.events.synthetic.recordings import simulate_recording
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import load_space
from sltune.snn.activity import Meter
from sltune.training.batches import Batch, BatchSource
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer
from tests import reference_impl as reference

CPU = torch.device("cpu")
DVS128 = (128, 128)
MODES = {"binary": "OR", "count": "SUM", "normalized": "SUM_NORM"}
SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
SIGNS = 7
Counts = NDArray[np.int16]


def write_signs(folder: Path, names: Sequence[str]) -> None:
    """Write synthetic recordings of seven signs each, thinned to a quarter, and their tags.

    Every 500th event is a special one, and classes do not come in the order of rows.
    """
    for part in ("recordings", "tags"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        recording = simulate_recording(name, seed=3, gestures=GESTURES[:SIGNS])
        address = recording.address[::4].copy()
        address[::500] |= SPECIAL_BIT
        write_aedat(folder / "recordings" / f"{name}.aedat", address, recording.time_us[::4])
        rows = [
            f"{(row * 5 + number) % 19 + 1},{start // 4},{end // 4}"
            for row, (_, start, end) in enumerate(recording.tags.tolist())
        ]
        (folder / "tags" / f"{name}.csv").write_text("\n".join(["class,startTime_ev,endTime_ev", *rows]) + "\n")


def load_signs(folder: Path, names: Sequence[str]) -> list[Sample]:
    """Read what write_signs wrote as an import does, without its complaint that classes are missing."""
    files = [(folder / "recordings" / f"{name}.aedat", folder / "tags" / f"{name}.csv") for name in names]
    return [sample for recording, tags in files for sample in load_recording(recording, tags)[0]]


def in_memory(samples: Sequence[Sample], sensor: tuple[int, int] = DVS128) -> Samples:
    """Return samples as a trial sees them."""
    return Samples([pq.read_table(pa.BufferReader(encode_samples(samples, sensor, {})))])


def sample_of(address: NDArray[np.uint16], time_us: NDArray[np.int64], name: str = "user00_indoor") -> Sample:
    """Return a sample with these events, in the order of time."""
    start_us = int(time_us[0])
    subject = name.partition("_")[0]
    relative = (time_us - start_us).astype(np.uint32)
    return Sample(f"{name}_01", name, subject, "S3", 0, "cat", start_us, address, relative)


def whole_frames(samples: Samples, index: int, frames: FrameFormat) -> NDArray[np.float32]:
    """Return sltune's frames of all time bins of a sample, shape (T, P, H, W)."""
    (batch,) = BatchSource(samples, np.array([index]), frames, None, CPU).evaluation(1)
    return next(batch.views)[:, 0].numpy()


@dataclass(frozen=True, eq=False)
class Signs:
    """A folder of recordings in sltune's form and in the reference's; counts are Tonic's at 32×32, 30 ms a bin."""

    names: tuple[str, ...]
    samples: Samples
    plain: tuple[reference.PlainSample, ...]
    counts: tuple[Counts, ...]

    def of(self, names: Sequence[str]) -> list[tuple[Counts, int]]:
        """Return counts and label of each sample, recordings in the order of names."""
        pairs = list(zip(self.plain, self.counts, strict=True))
        return [(counts, plain.label) for name in names for plain, counts in pairs if plain.recording == name]

    def trainer(self, configuration: Configuration, fold: int = 0, seed: int = 0) -> Trainer:
        job = Job(TrialKey("c0000", seed, fold), configuration, DVS128, classes=19)
        return Trainer(job, self.samples, split_of(configuration, self.samples.recordings(), fold, seed), CPU)

    def fold(self, configuration: Configuration, fold: int = 0, seed: int = 0) -> reference.PlainFold:
        """Return the predecessor's fold; the reduced set goes by file names."""
        evaluation = configuration.evaluation
        is_full = evaluation.sessions == "all" or "S3" in evaluation.sessions
        kept = [name for name in self.names if is_full or not name.endswith("_indoor")]
        return reference.predecessor_folds(kept, seed, evaluation.protocol == "train-val-test")[fold]

    def training_batches(
        self, names: Sequence[str], configuration: Configuration, rng: np.random.Generator
    ) -> list[reference.Batch]:
        """Return one epoch of training batches in the predecessor's order; rng draws the starts of crops."""
        sampling, mode = configuration.sampling, MODES[configuration.sampling.binning]
        steps = sampling.train_crop_ms // sampling.time_bin_ms
        pairs = self.of(names)
        inputs = [
            reference.bin_values(
                reference.crop(counts, expected_start(sampling.train_crop, len(counts), steps, rng), steps), mode
            )
            for counts, _ in pairs
        ]
        return reference.make_batches(inputs, [label for _, label in pairs], configuration.training.batch_size)

    def evaluation_batches(self, names: Sequence[str], configuration: Configuration) -> list[reference.Batch]:
        """Return the batches of a validation or test part: crops from the start."""
        sampling, mode = configuration.sampling, MODES[configuration.sampling.binning]
        length_ms = sampling.train_crop_ms if sampling.eval_crop_ms == "train" else int(sampling.eval_crop_ms)
        pairs = self.of(names)
        inputs = [
            reference.bin_values(reference.first_steps(counts, length_ms // sampling.time_bin_ms), mode)
            for counts, _ in pairs
        ]
        return reference.make_batches(inputs, [label for _, label in pairs], configuration.training.eval_batch_size)


def read_signs(folder: Path, names: Sequence[str]) -> Signs:
    """Read a folder twice, once with each implementation."""
    plain = reference.read_samples(folder, names)
    counts = tuple(plain_counts(sample.events, downsample=4) for sample in plain)
    return Signs(tuple(names), in_memory(load_signs(folder, names)), tuple(plain), counts)


def plain_counts(events: NDArray[np.void], downsample: int = 1, time_bin_ms: int = 30) -> Counts:
    """Return Tonic's counts of DVS128_EVENT events."""
    row, column = events["row"] // downsample, events["column"] // downsample
    return reference.tonic_frames(
        row, column, events["polarity"], events["time_us"], time_bin_ms, sensor=128 // downsample
    )


def expected_start(crop: str, bins: int, steps: int, rng: np.random.Generator) -> int:
    """Return where a crop starts when each start is as likely as any other."""
    if crop == "random-predecessor":
        return reference.predecessor_random_start(bins, steps, rng)
    return int(rng.integers(0, bins - steps + 1)) if crop == "random" and bins > steps else 0


def configuration(space: str, *overrides: str) -> Configuration:
    """Return a space file's configuration at a quarter of the resolution."""
    return load_space(SPACES / f"{space}.toml", ["sampling.downsample=4", *overrides]).configuration()


def amplify(network: nn.Module) -> None:
    """Double all weights: from PyTorch's own start no output neuron fires, and then most mistakes go unseen."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters by their order, which must be the same in both networks."""
    with torch.no_grad():
        for mine, theirs in zip(source.parameters(), target.parameters(), strict=True):
            assert mine.shape == theirs.shape
            theirs.copy_(mine)


def plain_network(configuration: Configuration, input_size: int = 32) -> reference.PlainSLANIMALSNet:
    neuron = configuration.neuron
    return reference.PlainSLANIMALSNet(
        input_size,
        neuron.v_threshold,
        neuron.decay,
        neuron.surrogate_width,
        neuron.surrogate,
        configuration.network.init,
    )


def time_last(frames: Tensor) -> Tensor:
    """Turn sltune's (T, N, P, H, W) into the reference's (N, P, H, W, T)."""
    return frames.movedim(0, -1)


def taken(batches: Iterator[Batch]) -> list[reference.Batch]:
    """Return sltune's batches in the reference's form."""
    return [(time_last(frames.clone()), batch.labels) for batch in batches for frames in batch.views]


def firing_rates(network: nn.Module, frames: Tensor) -> dict[str, float]:
    """Return spikes per neuron and time step of each layer."""
    with torch.no_grad(), Meter(network) as meter:
        network(frames)
    return meter.firing_rates()


def first(trainer: Trainer, steps: int) -> Iterator[Batch]:
    """Give the first training batches of a trial, over as many epochs as that takes."""
    epochs = (trainer.train_batches(epoch) for epoch in itertools.count(1))
    return itertools.islice(itertools.chain.from_iterable(epochs), steps)

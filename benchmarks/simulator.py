"""Is the simulator more than a toy? Prints results/simulator.md; about 20 minutes on one core.

python benchmarks/simulator.py > benchmarks/results/simulator.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from smoke import parse_arguments

from sltune.events.formats.aedat import SENSOR_SIZE
from sltune.events.frames import FrameFormat
from sltune.events.samples import Samples
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.sources.slanimals.tags import GESTURES
from sltune.events.splits.split import split_of
from sltune.events.store import Sample, encode_samples, read_table
from sltune.events.synthetic.recordings import SIGNERS, SignersName, write_dataset
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.system.files import write_whole
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import run_job

FOLDS = 4
WINDOW_STARTS_MS = (0, 500, 1000, 1500)
REGULARISATIONS = (0.001, 0.01, 0.1, 1.0)
SENSOR = (SENSOR_SIZE, SENSOR_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=12)
    parser.add_argument("--signers", choices=SIGNERS, default="similar", help="how much signers differ")
    parser.add_argument("--seed", type=int, default=0, help="of the simulator; folds and networks always have seed 0")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--windows-ms", type=int, nargs="+", default=WINDOW_STARTS_MS, help="starts of short samples")
    parser.add_argument("--strengths", type=float, nargs="+", default=REGULARISATIONS, help="of the regularisation")
    arguments = parse_arguments(parser, recordings=4, epochs=1, windows_ms=[500], strengths=[0.01])
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        for line in benchmark(Path(folder), arguments):
            print(line, flush=True)


def benchmark(folder: Path, arguments: argparse.Namespace) -> Iterable[str]:
    """Give the lines of the report while it is being measured."""
    recordings, seed, epochs = arguments.recordings, arguments.seed, arguments.epochs
    made = f"--recordings {recordings} --signers {arguments.signers} --seed {seed}"
    command = f"python benchmarks/simulator.py {made} --epochs {epochs}"
    yield f"# Simulator\n\n`{command}`, {FOLDS}-fold, leave-signers-out, 19 classes, chance 5.3 %.\n"
    events, seconds = simulate(folder / "source", recordings, seed, arguments.signers)
    speed = f"written in {seconds:.1f} s of one core ({events / seconds / 1e6:.1f} M/s)"
    yield f"{recordings} recordings, {events:,} events, {speed}.\n"
    parts = load(folder / "source")
    samples = in_memory(folder / "samples", parts)
    yield "| what sees what | test accuracy (%), mean ± std (ddof 0) | folds |\n|---|--:|--:|"
    yield row("logistic regression, counts of the whole sample", logistic_regression(samples, arguments.strengths))
    crops = {"train_crop": "random", "train_crop_ms": 510, "eval_crop_ms": 3000}
    yield row("network, trained on random 510 ms, tested on the first 3000 ms", spiking_network(samples, crops, epochs))
    crops = {"train_crop": "start", "train_crop_ms": 510, "eval_crop_ms": "train"}
    for start_ms in arguments.windows_ms:
        moved = in_memory(folder / f"from{start_ms}", [[starting_at(s, start_ms) for s in part] for part in parts])
        title = f"network, trained and tested on {start_ms} to {start_ms + 510} ms"
        yield row(title, spiking_network(moved, crops, epochs))
    yield NOTES.format(epochs=epochs)


NOTES = """
Frames of 32×32 (downsample 4), 30 ms, binary. Logistic regression: the best of log1p counts with and without
polarity, standardised, and of four strengths of regularisation, chosen on the test folds in its favour. Network:
that of SL-Animals with default neurons, Adam 1e-3, batch 8, shuffled, {epochs} epochs, tested at its lowest validation
loss."""


def simulate(out: Path, recordings: int, seed: int, signers: SignersName) -> tuple[int, float]:
    """Write a dataset; return its events and the seconds of one core that it took."""
    counts: list[int] = []
    started = time.process_time()
    write_dataset(out, recordings, seed, lambda _, events: counts.append(events), signers)
    return sum(counts), time.process_time() - started


def load(source: Path) -> list[list[Sample]]:
    """Return the samples of each recording.

    Raises:
        SystemExit: the checks of the import find something.
    """
    parts, findings = zip(*(file.load() for file in open_slanimals(source).files), strict=True)
    if any(findings):
        sys.exit(f"the import is not content: {findings}")
    return list(parts)


def in_memory(folder: Path, parts: Sequence[Sequence[Sample]]) -> Samples:
    for part in parts:
        write_whole(folder / f"{part[0].recording}.parquet", encode_samples(part, SENSOR, {}))
    return Samples([read_table(file) for file in sorted(folder.iterdir())])


def starting_at(sample: Sample, start_ms: int) -> Sample:
    """Return what is left of a sample after its first start_ms; its last event where nothing is."""
    start_us = min(start_ms * 1000, sample.duration_us)
    kept = sample.time_us >= start_us
    return replace(
        sample,
        start_us=sample.start_us + start_us,
        address=sample.address[kept],
        time_us=(sample.time_us[kept] - np.uint32(start_us)),
    )


def configuration(sampling: dict[str, object], epochs: int) -> Configuration:
    return Configuration.model_validate(
        {
            "sampling": {"time_bin_ms": 30, "downsample": 4, "binning": "binary", **sampling},
            "training": {"epochs": epochs, "shuffle": True},
            "evaluation": {"folds": FOLDS, "protocol": "train-val-test"},
        }
    )


def spiking_network(samples: Samples, sampling: dict[str, object], epochs: int) -> list[float]:
    """Return the test accuracy of each fold."""
    accuracies = []
    for fold in range(FOLDS):
        job = Job(TrialKey("c0000", seed=0, fold=fold), configuration(sampling, epochs), SENSOR, len(GESTURES))
        *_, outcome = run_job(job, samples, torch.device("cpu"))
        accuracies.append(float(outcome.metrics["test_accuracy"]))
    return accuracies


def logistic_regression(samples: Samples, strengths: Sequence[float]) -> list[float]:
    """Return the test accuracy of each fold; training and validation parts are both trained on."""
    counts = np.stack([pixel_counts(samples, index) for index in range(len(samples))])
    features = [counts.sum(axis=1).reshape(len(counts), -1), counts.reshape(len(counts), -1)]
    trials = [
        [fold_accuracy(samples, np.log1p(some), fold, strength) for fold in range(FOLDS)]
        for some, strength in product(features, strengths)
    ]
    return max(trials, key=sum)


def pixel_counts(samples: Samples, index: int) -> NDArray[np.int64]:
    """Return the events of a sample, shape (polarity, row, column)."""
    frames = FrameFormat(SENSOR, time_bin_ms=30, downsample=4)
    address, _ = samples.events(index)
    shape = (2, *frames.size)
    return np.bincount(frames.pixel[address], minlength=int(np.prod(shape))).reshape(shape)


def fold_accuracy(samples: Samples, features: NDArray[np.float64], fold: int, strength: float) -> float:
    split = split_of(configuration({}, 1), samples.recordings(), fold, seed=0)
    train, test = samples.indices_of([*split.train, *split.val]), samples.indices_of(split.test)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    model.fit(features[train], samples.label[train])
    return float(model.score(features[test], samples.label[test]))


def row(title: str, accuracies: Sequence[float]) -> str:
    percent = 100 * np.array(accuracies)
    folds = ", ".join(f"{value:.1f}" for value in percent)
    return f"| {title} | {percent.mean():.1f} ± {percent.std():.1f} | {folds} |"


if __name__ == "__main__":
    main()

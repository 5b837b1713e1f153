"""How does throughput grow with trials that share a GPU, and how long does a whole cross-validation take?

    python benchmarks/packing.py > benchmarks/results/packing.md

So many trials at once (--together), each in a process of its own as Ray has them, train --epochs epochs on synthetic
recordings of the full set's size, with validation after each and the test at the end: the code of a trial, less Ray.
Data are in memory and everything is compiled before the clock starts, after the first epoch of all. The whole run is
what as many trials as there are folds need for the epochs of the space file, from their own measured epochs. Memory is
that of torch's tensors; a process takes some hundred MB more. Where there is no GPU, --device cpu gives each trial its
share of the cores. Needs numba, pyarrow, pydantic and scikit-learn beside torch (and triton for a GPU), but neither ray
nor optuna nor tonic.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import numpy as np
import torch
from datasets import synthetic_data, trivial_data
from smoke import OPTIMIZER, forks_after, parse_arguments
from steps import fastest_ms

from sltune.events.crop import bins_of
from sltune.events.dataset import open_dataset
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import load_space
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import run_job

ROOT = Path(__file__).parent.parent
LIMIT_S = 300.0
"""A process that waits longer for the others gives up."""
PLACED = 32
"""Samples of a batch of evaluation, whose events the host places."""


@dataclass(frozen=True)
class Settings:
    """epochs: that each trial trains. cores: of the machine, which trials share."""

    space: Path
    data: Path
    device: str
    epochs: int
    cores: int
    smoke: bool = False

    def configuration(self) -> Configuration:
        """Return that of the space file with fewer epochs, of which the first and the last keep their shares."""
        training = load_space(self.space).configuration().training
        share = self.epochs / training.epochs
        fewer = {"epochs": self.epochs} | {
            name: int(share * getattr(training, name)) for name in ("warmup_epochs", "average_epochs")
        }
        return load_space(self.space, [f"training.{name}={value}" for name, value in fewer.items()]).configuration()


@dataclass(frozen=True)
class Trained:
    """One trial. ready_s: from the start of its process to the end of its first epoch. memory: bytes on the GPU.

    epoch_s: of each further epoch. ended_s: of all of these and the test together.
    """

    ready_s: float
    epoch_s: list[float]
    ended_s: float
    samples: int
    memory: int
    test_accuracy: float

    def whole_s(self, epochs: int) -> float:
        """Return what so many epochs and the test would have taken, everything before them included."""
        test_s = self.ended_s - sum(self.epoch_s)
        return self.ready_s + (epochs - 1) * statistics.mean(self.epoch_s) + test_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "optimized.toml")
    parser.add_argument("--recordings", type=int, default=59, help="synthetic ones to make; 59 is the full set")
    parser.add_argument("--data", type=Path, help="a dataset that is there already, instead")
    parser.add_argument("--epochs", type=int, default=40, help="of each trial, 2 at least")
    parser.add_argument("--together", type=numbers_of, default=[1, 2, 4, 8], help="trials at once, such as 1,2,4")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    space = ROOT / "search_spaces" / "demo.toml"
    arguments = parse_arguments(parser, space=space, epochs=2, together=[1, 2], device="cpu")
    if arguments.epochs < 2:
        parser.error("--epochs must be 2 at least, since the first of each trial is not timed")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; to try the script: --device cpu")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = arguments.data
        if data is None:
            data = trivial_data(folder, 128) if arguments.smoke else synthetic_data(folder, arguments.recordings)
        cores = len(os.sched_getaffinity(0))
        settings = Settings(arguments.space, data, arguments.device, arguments.epochs, cores, arguments.smoke)
        for line in benchmark(settings, arguments.together):
            print(line, flush=True)


def numbers_of(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def benchmark(settings: Settings, together: Sequence[int]) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    whole = load_space(settings.space).configuration()
    folds, epochs = whole.evaluation.folds, whole.training.epochs
    manifest = open_dataset(settings.data).manifest
    kind = "SYNTHETIC data" if manifest.synthetic else manifest.name
    yield "# Trials that share a device\n"
    yield f"`python benchmarks/packing.py {' '.join(sys.argv[1:])}`, {machine(settings)}"
    yield f"{kind}: {manifest.samples} samples, {manifest.events:,} events; {settings.space.name},"
    yield f"{settings.epochs} epochs a trial.\n"
    yield "| trials at once | epoch, s | training samples/s, all | ratio to the first row | GPU memory each, MB |"
    yield "|--:|--:|--:|--:|--:|"
    base = None
    whole_run = ""
    for number in together:
        try:
            trials = train_together(settings, number)
        except RuntimeError as error:
            yield f"| {number} | {error} | | | |"
            continue
        samples = sum(trial.samples * len(trial.epoch_s) for trial in trials)
        speed = samples / max(sum(trial.epoch_s) for trial in trials)
        base = base or speed
        seconds = [second for trial in trials for second in trial.epoch_s]
        spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"
        memory = max(trial.memory for trial in trials) / 1e6
        yield f"| {number} | {spread} | {speed:.0f} | {speed / base:.2f} | {memory:.0f} |"
        if number == folds:
            minutes = max(trial.whole_s(epochs) for trial in trials) / 60
            accuracies = ", ".join(f"{100 * trial.test_accuracy:.1f} %" for trial in trials)
            whole_run = (
                f"\nA whole run of {folds} folds × {epochs} epochs, all folds at once, from {settings.epochs}\n"
                f"epochs of each: **{minutes:.1f} min**. After these epochs, test accuracy was {accuracies}."
            )
    yield whole_run
    yield f"\nPlacing the events of a sample of its evaluation takes the host {placing_ms(settings):.2f} ms."


def train_together(settings: Settings, number: int) -> list[Trained]:
    """Train so many trials at once, fold after fold, further seeds where there are more trials than folds.

    Raises:
        RuntimeError: some failed.
    """
    imports = (OPTIMIZER, "sklearn.model_selection", "sltune.tuning.trial.trainer")
    context = forks_after(*imports) if settings.smoke else multiprocessing.get_context("spawn")
    barrier = context.Barrier(number)
    folds = settings.configuration().evaluation.folds
    pipes, processes = [], []
    for place in range(number):
        receiver, sender = context.Pipe(duplex=False)
        key = TrialKey("c0000", place // folds, place % folds)
        threads = 1 if settings.device == "cuda" else max(1, settings.cores // number)
        arguments = (sender, settings, key, threads, barrier, time.time())
        process = context.Process(target=_train, args=arguments, daemon=True)
        process.start()
        sender.close()
        pipes.append(receiver)
        processes.append(process)
    results: list[Any] = []
    for pipe in pipes:
        try:
            results.append(pipe.recv())
        except EOFError:
            # The others shall not wait for it.
            barrier.abort()
            results.append("killed, perhaps for want of memory")
    for process in processes:
        process.join()
    if failures := {result for result in results if isinstance(result, str)}:
        raise RuntimeError("; ".join(sorted(failures)))
    return results


def _train(sender: Any, settings: Settings, key: TrialKey, threads: int, barrier: Any, started: float) -> None:
    torch.set_num_threads(threads)
    try:
        sender.send(_trained(settings, key, barrier, started))
    except BrokenBarrierError:
        sender.send("stopped with another")
    except Exception as error:
        # Whoever waits for this one shall not wait for ever.
        barrier.abort()
        sender.send(f"{key.name}: {type(error).__name__}: {error}")


def _trained(settings: Settings, key: TrialKey, barrier: Any, started: float) -> Trained:
    dataset = open_dataset(settings.data)
    job = Job(key, settings.configuration(), dataset.manifest.sensor, len(dataset.manifest.classes))
    outcomes = run_job(job, dataset.samples, torch.device(settings.device))
    next(outcomes)
    ready_s = time.time() - started
    barrier.wait(LIMIT_S)
    began = time.perf_counter()
    marks, memory = [began], 0
    for outcome in outcomes:
        if outcome.status != "running":
            break
        marks.append(time.perf_counter())
        memory = max(memory, *(int(row.get("device_memory_bytes", 0)) for row in outcome.rows))
    if outcome.status != "done" or outcome.split is None:
        raise RuntimeError(f"{outcome.status}: {outcome.error}")
    ended_s = time.perf_counter() - began
    epoch_s = [later - earlier for earlier, later in pairwise(marks)]
    samples = len(dataset.samples.indices_of(outcome.split.train))
    return Trained(ready_s, epoch_s, ended_s, samples, memory, outcome.metrics["test_accuracy"])


def placing_ms(settings: Settings) -> float:
    """Return how long one core takes for a sample, whose events are in memory."""
    dataset, sampling = open_dataset(settings.data), settings.configuration().sampling
    samples, bins = dataset.samples, sampling.eval_bins or sampling.train_bins or 1
    frames = FrameFormat(dataset.manifest.sensor, sampling.time_bin_ms)
    indices = np.arange(min(PLACED, len(samples)))
    windows = [Window(int(i), 0, bins_of(samples.last_ms(int(i)), sampling.time_bin_ms)) for i in indices]
    return fastest_ms(lambda: place_events(samples, windows, frames, bins), "cpu") / len(windows)


def machine(settings: Settings) -> str:
    gpu = f"{torch.cuda.get_device_name()}, " if settings.device == "cuda" else ""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{time.strftime('%Y-%m-%d')}, {gpu}{settings.cores} cores, {versions}."


if __name__ == "__main__":
    main()

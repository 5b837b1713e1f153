"""What the orchestration of trials costs: gaps between trials, time to the first, scaling to two, and to thousands.

    python benchmarks/orchestration.py gaps          # between trials of a trivial network, and to the first of all
    python benchmarks/orchestration.py concurrency DATA     # demo network: two trials at a time against one
    python benchmarks/orchestration.py many          # 1,000 configurations × 4 folds of a trivial network

Every part runs the command ``sltune`` as a user does, with a local Ray, and reads times from the trials' records:
a trial begins when its worker takes it and ends when its worker has its result. DATA is a dataset such as
``sltune demo`` imports. The trivial network is nmnist-mlp2 on 8 signers with 2 samples each, one epoch, so that
orchestration is nearly all there is. Quarters of ``many`` are by the order in which trials ended; memory is the
driver's resident memory, looked at ten times a second.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import tomlkit

from sltune.events.importing import import_source
from sltune.events.source import Source, SourceFile
from sltune.events.store import Sample
from sltune.runs.folder import RunFolder
from sltune.runs.record import Record
from sltune.settings.configuration import Configuration

SIGNERS, SENSOR = 8, (16, 16)
COMMAND = [sys.executable, "-m", "sltune"]
ON_CPU = ("--device", "cpu", "--quiet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["gaps", "concurrency", "many"])
    parser.add_argument("data", nargs="?", type=Path, help="concurrency: a dataset of full-size recordings")
    parser.add_argument("--configurations", type=int, default=1000, help="many: how many")
    parser.add_argument("--concurrent", type=int, default=2, help="many: trials at a time")
    arguments = parser.parse_args()
    print(f"`{' '.join(['python', *sys.argv])}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs, {_versions()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.part == "gaps":
            gaps(folder)
        elif arguments.part == "many":
            many(folder, arguments.configurations, arguments.concurrent)
        elif arguments.data is None:
            parser.error("concurrency needs DATA")
        else:
            concurrency(folder, arguments.data)


def gaps(folder: Path) -> None:
    """One trial after the other: what lies between them."""
    data, space = trivial_data(folder), trivial_space(folder, configurations=25)
    began = time.time()
    run = search(folder, space, data, "gaps", concurrent=1)
    records = trained(run)
    between = [later.timings.started - earlier.timings.ended for earlier, later in pairwise(records)]
    print(f"first trial begins {records[0].timings.started - began:.1f} s after the command (limit 8)")
    median, high = statistics.median(between), float(np.percentile(between, 90))
    print(
        f"between trials, {len(records)} of them: median {1000 * median:.0f} ms (limit 60), 90 % {1000 * high:.0f} ms"
    )


def concurrency(folder: Path, data: Path) -> None:
    """Eight trainings of the demo network, one at a time and two at a time."""
    rates = {}
    for concurrent in (1, 2):
        name = f"concurrent{concurrent}"
        space = Path(__file__).parent.parent / "search_spaces" / "demo.toml"
        seeds = ["--set", "evaluation.seeds=[0, 1]"]
        flags = ["--run", name, "--results", str(folder), "--max-concurrent", str(concurrent), "--cpus-per-trial", "1"]
        call(["evaluate", str(space), "--data", str(data), *seeds, *flags])
        records = trained(RunFolder(folder / name))
        seconds = records[-1].timings.ended - min(record.timings.started for record in records)
        rates[concurrent] = len(records) / seconds
        print(f"{concurrent} at a time: {len(records)} trainings in {seconds:.1f} s, {rates[concurrent]:.3f} a second")
    print(f"ratio {rates[2] / rates[1]:.2f} (limit 1.7)")


def many(folder: Path, configurations: int, concurrent: int) -> None:
    """Time per trial and the driver's memory, quarter by quarter."""
    data, space = trivial_data(folder), trivial_space(folder, configurations)
    run = RunFolder(folder / "many")
    arguments = ["tune", str(space), "--data", str(data), "--run", "many", "--results", str(folder), *ON_CPU]
    process = subprocess.Popen([*COMMAND, *arguments, "--max-concurrent", str(concurrent)], stdout=subprocess.DEVNULL)
    memory: list[tuple[float, float]] = []
    while process.poll() is None:
        if run.trials.exists():
            memory.append((time.time(), resident_mb(process.pid)))
        time.sleep(0.1)
    assert process.returncode == 0, f"ended with {process.returncode}"
    records = trained(run)
    print(f"{len(records)} trials, {concurrent} at a time\n")
    print("| quarter | ms a trial | driver's memory, MB |\n|---|--:|--:|")
    times, highest = [], []
    for number, quarter in enumerate(np.array_split(np.arange(len(records)), 4), start=1):
        first, last = (records[int(quarter[end])].timings.ended for end in (0, -1))
        seen = [megabytes for moment, megabytes in memory if first <= moment <= last]
        times.append(1000 * (last - first) / (len(quarter) - 1))
        highest.append((min(seen), max(seen)))
        print(f"| {number} | {times[-1]:.1f} | {min(seen):.0f} to {max(seen):.0f} |")
    low, high = min(span[0] for span in highest[2:]), max(span[1] for span in highest[2:])
    middle = (low + high) / 2
    print(f"\nlast quarter {times[3] / times[1]:.2f}× the second (limit 1.2)")
    print(f"memory over the second half: {middle:.0f} MB ± {100 * (high - low) / 2 / middle:.1f} % (limit 10 %)")


def search(folder: Path, space: Path, data: Path, name: str, concurrent: int) -> RunFolder:
    flags = ["--run", name, "--results", str(folder), "--max-concurrent", str(concurrent)]
    call(["tune", str(space), "--data", str(data), *flags])
    return RunFolder(folder / name)


def call(arguments: Sequence[str]) -> None:
    subprocess.run([*COMMAND, *arguments, *ON_CPU], check=True, stdout=subprocess.DEVNULL)


def trained(run: RunFolder) -> list[Record]:
    """Return the records of trials that ran, in the order in which they ended."""
    return sorted((record for record in run.records() if record.was_trained), key=lambda record: record.timings.ended)


def resident_mb(process: int) -> float:
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":" in line
    )
    return int(fields.get("VmRSS", "0 kB").split()[0]) / 1024


def trivial_data(folder: Path) -> Path:
    """Eight signers with a sample of each of two classes."""

    def samples(signer: int) -> list[Sample]:
        rng = np.random.default_rng(signer)
        made = []
        for label in range(2):
            address = rng.integers(0, 2 * SENSOR[0] * SENSOR[1], 50).astype(np.uint16)
            time_us = np.arange(50, dtype=np.uint32) * 4000
            name = f"user{signer:02d}_indoor"
            made.append(Sample(f"{name}_{label + 1:02d}", name, name[:6], "S3", label, str(label), 0, address, time_us))
        return made

    def file(signer: int) -> SourceFile:
        name = f"user{signer:02d}_indoor"
        return SourceFile(name, lambda: name, lambda: (samples(signer), []))

    source = Source("trivial", True, SENSOR, ("0", "1"), tuple(map(file, range(SIGNERS))))
    import_source(source, folder / "data")
    return folder / "data"


def trivial_space(folder: Path, configurations: int) -> Path:
    tables = Configuration.of(
        {
            "sampling.time_bin_ms": 20,
            "sampling.train_crop": "start",
            "sampling.train_crop_ms": 200,
            "sampling.eval_crop_ms": "train",
            "network.name": "nmnist-mlp2",
            "training.epochs": 1,
        }
    ).model_dump(mode="json")
    tables["neuron"]["decay"] = {"low": 0.1, "high": 0.9}
    tables["search"] = {"trials": configurations, "sampler": "random", "fold_pruner": "none"}
    file = folder / "trivial.toml"
    file.write_text(tomlkit.dumps(tables))
    return file


def _versions() -> str:
    import ray
    import torch

    return f"Python {platform.python_version()}, torch {torch.__version__}, ray {ray.__version__}"


if __name__ == "__main__":
    main()

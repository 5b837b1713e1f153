"""What the orchestration of trials costs: gaps between trials, time to the first, scaling to two, and to thousands.

    python benchmarks/orchestration.py gaps          # between trials of a trivial network, and to the first of all
    python benchmarks/orchestration.py concurrency DATA     # demo network: two trials at a time against one
    python benchmarks/orchestration.py many          # 1,000 configurations × 4 folds of a trivial network
    python benchmarks/orchestration.py paused        # between trials of a search that promotes, with 2,000 paused
    python benchmarks/orchestration.py driver        # 200 stubs at a time: epochs and trials a second, and memory

Every part runs the command ``sltune`` as a user does, with a local Ray, and reads times from the trials' records:
a trial begins when its worker takes it and ends when its worker has its result. DATA is a dataset such as
``sltune demo`` imports. The trivial network is nmnist-mlp2 on 8 signers with 2 samples each, one epoch, so that
orchestration is nearly all there is. Quarters of ``many`` are by the order in which trials ended; memory is the
driver's resident memory, looked at ten times a second. With --smoke, ``concurrency`` makes its own data.

``driver`` runs a random search in this process, over stubs (``stubs.py``) whose epochs take 50 ms of sleep. Once all of
them report, lines of epochs.csv are counted for a minute; then each trial ends after an epoch, and records are counted
for another one.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import tomlkit
from datasets import trivial_data
from smoke import parse_arguments

from sltune.runs.folder import RunFolder
from sltune.runs.record import Record
from sltune.settings.configuration import Configuration

COMMAND = [sys.executable, "-m", "sltune"]
ON_CPU = ("--device", "cpu", "--quiet")
CONFIGURATIONS = {"gaps": 25, "many": 1000, "paused": 2000}
PROMOTED = 0.15
"""The share of trainings that promote a configuration instead of beginning one; measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=[*CONFIGURATIONS, "concurrency", "driver"], default="gaps")
    parser.add_argument("data", nargs="?", type=Path, help="concurrency: a dataset of full-size recordings")
    parser.add_argument("--configurations", type=int, help=f"how many; without it {CONFIGURATIONS}")
    parser.add_argument("--concurrent", type=int, help="many, driver: trials at a time; without it 2 and 200")
    parser.add_argument("--epoch-s", type=float, default=0.05, help="driver: seconds of an epoch")
    parser.add_argument("--window-s", type=float, default=60.0, help="driver: seconds to count for")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="concurrency: of the demo network")
    arguments = parse_arguments(parser, configurations=2, seeds=[0], window_s=2.0)
    print(f"`{' '.join(['python', *sys.argv])}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs, {_versions()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.part == "gaps":
            gaps(folder, arguments.configurations or CONFIGURATIONS["gaps"])
        elif arguments.part == "many":
            many(folder, arguments.configurations or CONFIGURATIONS["many"], arguments.concurrent or 2)
        elif arguments.part == "paused":
            paused(folder, arguments.configurations or CONFIGURATIONS["paused"])
        elif arguments.part == "driver":
            driver(
                folder, arguments.concurrent or (2 if arguments.smoke else 200), arguments.epoch_s, arguments.window_s
            )
        elif arguments.data is None and not arguments.smoke:
            parser.error("concurrency needs DATA")
        else:
            concurrency(folder, arguments.data or trivial_data(folder, side=128), arguments.seeds)


def gaps(folder: Path, configurations: int) -> None:
    """One trial after the other: what lies between them."""
    data, space = trivial_data(folder), trivial_space(folder, at_random(configurations))
    began = time.time()
    run = search(folder, space, data, "gaps", concurrent=1)
    records = trained(run)
    between = [later.timings.started - earlier.timings.ended for earlier, later in pairwise(records)]
    print(f"first trial begins {records[0].timings.started - began:.1f} s after the command (limit 8)")
    median, high = statistics.median(between), float(np.percentile(between, 90))
    print(
        f"between trials, {len(records)} of them: median {1000 * median:.0f} ms (limit 60), 90 % {1000 * high:.0f} ms"
    )


def paused(folder: Path, configurations: int) -> None:
    """What lies between the trials of a search that promotes, the more configurations are paused."""
    trainings = round(configurations / (1 - PROMOTED))
    settings = {"strategy": "promote", "trainings": trainings, "sampler": "tpe"}
    data, space = trivial_data(folder), trivial_space(folder, settings)
    records = trained(search(folder, space, data, "paused", concurrent=1))
    between = [1000 * (later.timings.started - earlier.timings.ended) for earlier, later in pairwise(records)]
    print("| trainings | configurations begun | between trials, median, ms | 90 % |\n|---|--:|--:|--:|")
    for part in np.array_split(np.arange(len(between)), min(8, len(between))):
        begun = len({record.config_id for record in records[: part[-1] + 2]})
        times = [between[number] for number in part]
        high = float(np.percentile(times, 90))
        print(f"| {part[0] + 1} to {part[-1] + 1} | {begun} | {statistics.median(times):.0f} | {high:.0f} |")


def concurrency(folder: Path, data: Path, seeds: Sequence[int]) -> None:
    """Four trainings of the demo network a seed, one at a time and two at a time."""
    rates = {}
    for concurrent in (1, 2):
        name = f"concurrent{concurrent}"
        space = Path(__file__).parent.parent / "search_spaces" / "demo.toml"
        flags = ["--run", name, "--results", str(folder), "--max-concurrent", str(concurrent), "--cpus-per-trial", "1"]
        call(["evaluate", str(space), "--data", str(data), "--set", f"evaluation.seeds={[*seeds]}", *flags])
        records = trained(RunFolder(folder / name))
        seconds = records[-1].timings.ended - min(record.timings.started for record in records)
        rates[concurrent] = len(records) / seconds
        print(f"{concurrent} at a time: {len(records)} trainings in {seconds:.1f} s, {rates[concurrent]:.3f} a second")
    print(f"ratio {rates[2] / rates[1]:.2f} (limit 1.7)")


def many(folder: Path, configurations: int, concurrent: int) -> None:
    """Time per trial and the driver's memory, quarter by quarter."""
    data, space = trivial_data(folder), trivial_space(folder, at_random(configurations))
    run = RunFolder(folder / "many")
    arguments = ["tune", str(space), "--data", str(data), "--run", "many", "--results", str(folder), *ON_CPU]
    process = subprocess.Popen([*COMMAND, *arguments, "--max-concurrent", str(concurrent)], stdout=subprocess.DEVNULL)
    memory: list[tuple[float, float]] = []
    while process.poll() is None:
        if run.trials.exists():
            # It may end just now.
            with suppress(FileNotFoundError):
                memory.append((time.time(), resident_mb(driver_of(process.pid))))
        time.sleep(0.1)
    assert process.returncode == 0, f"ended with {process.returncode}"
    records = trained(run)
    print(f"{len(records)} trials, {concurrent} at a time\n")
    print("| quarter | ms a trial | driver's memory, MB |\n|---|--:|--:|")
    times, highest = [], []
    for number, quarter in enumerate(np.array_split(np.arange(len(records)), 4), start=1):
        first, last = (records[int(quarter[end])].timings.ended for end in (0, -1))
        seen = [megabytes for moment, megabytes in memory if first <= moment <= last]
        # A quarter of few trials may fall between two looks.
        seen = seen or [min(memory, key=lambda look: abs(look[0] - last))[1]]
        times.append(1000 * (last - first) / (len(quarter) - 1))
        highest.append((min(seen), max(seen)))
        print(f"| {number} | {times[-1]:.1f} | {min(seen):.0f} to {max(seen):.0f} |")
    low, high = min(span[0] for span in highest[2:]), max(span[1] for span in highest[2:])
    middle = (low + high) / 2
    print(f"\nlast quarter {times[3] / times[1]:.2f}× the second (limit 1.2)")
    print(f"memory over the second half: {middle:.0f} MB ± {100 * (high - low) / 2 / middle:.1f} % (limit 10 %)")


def driver(folder: Path, concurrent: int, epoch_s: float, window_s: float) -> None:
    """What one driver takes: epochs of endless trials, then trials of one epoch."""
    from rich.console import Console
    from stubs import stub_workers

    from sltune.errors import Interrupted
    from sltune.progress.display import Display
    from sltune.settings.space import load_space
    from sltune.tuning.cluster.environment import prepare_environment
    from sltune.tuning.cluster.resources import Request
    from sltune.tuning.starting import NewSearch, start_search

    prepare_environment(None)
    # Where Ray's workers find the stubs.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    data, run, ending = trivial_data(folder), RunFolder(folder / "driver"), folder / "ending"
    space = load_space(trivial_space(folder, at_random(100_000)))
    share = os.cpu_count() / concurrent
    request = Request("cpu", cpus_per_trial=share, max_concurrent=concurrent, baselines=False)
    watch = threading.Thread(target=_watch, args=(run, concurrent, epoch_s, window_s, ending), daemon=True)
    watch.start()
    display = Display(Console(file=io.StringIO()), "quiet")
    with stub_workers(epoch_s, ending), suppress(Interrupted):
        start_search(space, data, run, request, display, NewSearch())
    watch.join()


def _watch(run: RunFolder, concurrent: int, epoch_s: float, window_s: float, ending: Path) -> None:
    """Count what the driver of this process writes, print it, and interrupt the driver."""
    began = time.monotonic()
    while len(list(run.trials.glob("*/epochs.csv"))) < concurrent:
        time.sleep(0.5)
    offered = concurrent / epoch_s
    print(f"{concurrent} stubs report after {time.monotonic() - began:.0f} s, and offer {offered:,.0f} epochs a second")
    ended, memory = 0, 0.0
    for unit, pattern in (("epochs", "epochs.csv"), ("trials", "record.json")):
        time.sleep(min(5.0, window_s))
        before, moment, cpu = _count(run, pattern), time.monotonic(), time.process_time()
        time.sleep(window_s)
        seconds, busy = time.monotonic() - moment, time.process_time() - cpu
        ended, memory = _count(run, pattern) - before, resident_mb(os.getpid())
        print(f"{ended / seconds:,.1f} {unit} a second; driver busy for {100 * busy / seconds:.0f} %, {memory:.0f} MB")
        ending.touch()
    os.kill(os.getpid(), signal.SIGINT)


def _count(run: RunFolder, name: str) -> int:
    files = run.trials.glob(f"*/{name}")
    return sum(len(file.read_bytes().splitlines()) - 1 for file in files) if name.endswith("csv") else len([*files])


def search(folder: Path, space: Path, data: Path, name: str, concurrent: int) -> RunFolder:
    flags = ["--run", name, "--results", str(folder), "--max-concurrent", str(concurrent)]
    call(["tune", str(space), "--data", str(data), *flags])
    return RunFolder(folder / name)


def call(arguments: Sequence[str]) -> None:
    subprocess.run([*COMMAND, *arguments, *ON_CPU], check=True, stdout=subprocess.DEVNULL)


def trained(run: RunFolder) -> list[Record]:
    """Return the records of trials that ran, in the order in which they ended."""
    return sorted((record for record in run.records() if record.was_trained), key=lambda record: record.timings.ended)


def driver_of(command: int) -> int:
    """Return the process that drives a run: the child of the command, which only watches over it."""
    children = Path(f"/proc/{command}/task/{command}/children").read_text().split()
    return int(children[0]) if children else command


def resident_mb(process: int) -> float:
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":" in line
    )
    return int(fields.get("VmRSS", "0 kB").split()[0]) / 1024


def trivial_space(folder: Path, search: Mapping[str, object]) -> Path:
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
    tables["search"] = dict(search)
    file = folder / "trivial.toml"
    file.write_text(tomlkit.dumps(tables))
    return file


def at_random(configurations: int) -> dict[str, object]:
    return {"trials": configurations, "sampler": "random", "fold_pruner": "none"}


def _versions() -> str:
    import ray
    import torch

    return f"Python {platform.python_version()}, torch {torch.__version__}, ray {ray.__version__}"


if __name__ == "__main__":
    main()

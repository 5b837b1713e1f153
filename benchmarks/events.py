"""How fast is the event path? Prints results/events.md; about five minutes on two cores, 4 GB of disk.

python benchmarks/events.py > benchmarks/results/events.md
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from smoke import forks_after, parse_arguments, processor

from sltune.events.dataset import open_dataset
from sltune.events.formats.aedat import SENSOR_SIZE, read_aedat
from sltune.events.frames import FrameFormat
from sltune.events.importing import import_source, in_threads
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.sources.slanimals.source import cut_recording, open_slanimals
from sltune.events.sources.slanimals.tags import Tag, read_tags
from sltune.events.store import encode_samples, read_table
from sltune.events.synthetic.recordings import write_dataset
from sltune.training.batches import BatchSource

SENSOR = (SENSOR_SIZE, SENSOR_SIZE)
BIN_MS, BATCH = 30, 8
CROPS = {"510 ms": 17, "1500 ms": 50}
REAL_RECORDING = Path(__file__).parents[2] / "shared" / "data" / "MovingDarkBox.aedat"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--imported", type=int, default=8, help="recordings whose import is timed")
    parser.add_argument("--recordings", type=int, default=59, help="of the large dataset")
    parser.add_argument("--real", type=Path, default=REAL_RECORDING, help="a recording whose size on disk is measured")
    arguments = parse_arguments(parser, repeats=1, imported=1, recordings=1)
    with TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "source", arguments.imported, signers="similar")
        write_dataset(Path(folder) / "large-source", arguments.recordings, signers="similar")
        for line in benchmark(Path(folder), arguments.repeats, arguments.real):
            print(line, flush=True)


def benchmark(folder: Path, repeats: int, real: Path) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "tonic", "torch", "ray"))
    yield f"# The event path\n\n`python benchmarks/events.py {' '.join(sys.argv[1:])}`,"
    yield f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}. SYNTHETIC data."
    yield "Medians of fresh processes, each bound to its cores, files in the page cache; ranges in brackets.\n"
    yield from import_lines(folder, repeats)
    yield from size_lines(folder, real)
    import_source(open_slanimals(folder / "large-source"), folder / "large")
    yield from batch_lines(folder, repeats)
    yield from opening_lines(folder / "large", repeats)
    yield from memory_lines(folder)


def import_lines(folder: Path, repeats: int) -> Iterator[str]:
    recordings = len([*(folder / "source" / "recordings").iterdir()])
    yield f"## Import of {recordings} full-size recordings, the second one of a process\n"
    yield "| route | cores | M events/s | ratio | bytes an event |\n|---|--:|--:|--:|--:|"
    events = measured(import_with_sltune, folder / "source", folder / "data", 1, cores=1)[0]
    rates: dict[tuple[str, int], list[float]] = {}
    routes: dict[str, Callable[..., tuple[int, float]]] = {"sltune": import_with_sltune, "Tonic": import_with_tonic}
    # Turn and turn about, so that a slow spell of the machine meets all of them.
    for repeat in range(repeats):
        for (name, route), cores in [(item, cores) for item in routes.items() for cores in (1, 2)]:
            if name == "sltune" or cores == 1:
                out = folder / f"{name}-{cores}-{repeat}"
                seconds = measured(second_time, route, folder / "source", out, cores, cores=cores)
                rates.setdefault((name, cores), []).append(events / seconds / 1e6)
    one = statistics.median(rates["sltune", 1])
    for (name, cores), values in rates.items():
        label = "Tonic's readers, slice_events_at_indices, np.save" if name == "Tonic" else "sltune, with hashes"
        size = stored_bytes(folder / f"{name}-{cores}-0") / events
        yield f"| {label} | {cores} | {spread_of(values)} | {statistics.median(values) / one:.2f} | {size:.2f} |"
    yield ""


def size_lines(folder: Path, real: Path) -> Iterator[str]:
    synthetic = read_manifest(folder / "data")
    sizes = {f"{len(synthetic.files)} synthetic recordings": stored_bytes(folder / "data") / synthetic.events}
    if real.exists():
        recording = read_aedat(real)
        edges = np.linspace(0, len(recording), 20).astype(int)
        tags = [Tag(row + 1, row, int(edges[row]), int(edges[row + 1])) for row in range(19)]
        sizes[real.name] = len(encode_samples(cut_recording(recording, tags, "user00", "S3"), SENSOR, {})) / len(
            recording
        )
    for name, size in sizes.items():
        yield f"On disk, {name}: {size:.2f} bytes an event."
    yield ""


def batch_lines(folder: Path, repeats: int) -> Iterator[str]:
    yield f"## A training batch on one core: {BATCH} random crops, binary frames, from store to float32 frames\n"
    yield "| crop | sltune, ms | np.load, ToFrame, crop, pad: ms | ratio | np.load, crop, ToFrame, pad: ms | ratio |"
    yield "|---|--:|--:|--:|--:|--:|"
    export_events(folder / "data", folder / "npy")
    for name, bins in CROPS.items():
        found: dict[Callable[..., Any], list[float]] = {}
        for _ in range(repeats):
            for route in (batches_with_sltune, batches_with_tonic, batches_with_tonic_cut_first):
                found.setdefault(route, []).append(1000 * measured(route, folder, bins, cores=1))
        ours, *peers = (statistics.median(values) for values in found.values())
        texts = [spread_of(values) for values in found.values()]
        yield f"| {name} | {texts[0]} | {texts[1]} | {peers[0] / ours:.1f} | {texts[2]} | {peers[1] / ours:.1f} |"
    yield ""


def opening_lines(root: Path, repeats: int) -> Iterator[str]:
    manifest = read_manifest(root)
    yield f"## From opening a dataset of {manifest.samples} samples ({manifest.events:,} events) to the first batch\n"
    for name, shuffled in (("in the order of the file", False), ("shuffled", True)):
        for cores in (1, 2):
            seconds = [measured(seconds_to_first_batch, root, shuffled, cores=cores) for _ in range(repeats)]
            yield f"- {name}, {cores} core{'s' * (cores > 1)}: {spread_of(seconds)} s"
    yield ""


def memory_lines(folder: Path) -> Iterator[str]:
    """Measure a Ray worker that has read every event of a dataset in the object store, batch by batch."""
    yield "## Memory of a trial's worker after an epoch of batches (8 × 510 ms), events in Ray's object store\n"
    yield "| recordings | events | in the object store, MB | the worker's own, MB | with shared pages, MB |"
    yield "|--:|--:|--:|--:|--:|"
    names = [file.stem for file in sorted((folder / "large-source" / "recordings").glob("*.aedat"))]
    eighth = max(1, len(names) // 8)
    for count in dict.fromkeys((eighth, min(len(names), 8 * eighth))):
        events, own, resident = measured(worker_memory, folder / "large", count, cores=os.cpu_count() or 1)
        yield f"| {count} | {events:,} | {6 * events / 1e6:.0f} | {own / 1e6:.0f} | {resident / 1e6:.0f} |"


def measured(function: Callable[..., Any], *arguments: Any, cores: int) -> Any:
    """Return what the function returns in a fresh process on so many cores."""
    context = forks_after("torch", "sltune.events.importing", "sltune.training.batches")
    with ProcessPoolExecutor(1, context, _bind, (cores,)) as pool:
        return pool.submit(function, *arguments).result()


def _bind(cores: int) -> None:
    os.sched_setaffinity(0, set(range(cores)))
    torch.set_num_threads(cores)


def second_time(route: Callable[..., tuple[int, float]], source: Path, out: Path, threads: int) -> float:
    """Return the seconds of a second import of a process: here the first one mostly waits for the machine's memory."""
    route(source, out.with_name(f"{out.name}-first"), threads)
    return route(source, out, threads)[1]


def import_with_sltune(source: Path, out: Path, threads: int) -> tuple[int, float]:
    """Return events and seconds."""
    started = time.perf_counter()
    manifest = import_source(open_slanimals(source), out, spread=in_threads(threads))
    return manifest.events, time.perf_counter() - started


def import_with_tonic(source: Path, out: Path, _: int) -> tuple[int, float]:
    """Do what a user of Tonic does today; its read_dvs_128 itself fails on every file."""
    from tonic.io import get_aer_events_from_file, make_structured_array, read_aedat_header_from_file
    from tonic.slicers import slice_events_at_indices

    out.mkdir()
    started, count = time.perf_counter(), 0
    for file in sorted((source / "recordings").glob("*.aedat")):
        data_version, data_start, _ = read_aedat_header_from_file(str(file))
        raw = get_aer_events_from_file(str(file), data_version, data_start)
        address = raw["address"]
        events = make_structured_array(
            (address >> 8) & 127, (address >> 1) & 127, address & 1, raw["timeStamp"], dtype=TONIC_EVENT
        )
        tags, _ = read_tags(source / "tags" / f"{file.stem}.csv")
        slices = slice_events_at_indices(events, [tag.start for tag in tags], [tag.end for tag in tags])
        for tag, piece in zip(tags, slices, strict=True):
            np.save(out / f"{file.stem}_{tag.row:02d}.npy", piece)
            count += len(piece)
    return count, time.perf_counter() - started


TONIC_EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("p", bool), ("t", np.int64)])


def export_events(data: Path, out: Path) -> None:
    """Write each sample as Tonic's route leaves it, times in ms from the sample's first."""
    out.mkdir()
    samples = open_dataset(data).samples
    for index in range(len(samples)):
        address, time_us = samples.events(index)
        events = np.empty(len(address), TONIC_EVENT)
        events["x"], events["y"], events["p"] = address >> 8, (address >> 1) & 127, address & 1
        events["t"] = (time_us.astype(np.int64) + samples.phase_us(index)) // 1000
        np.save(out / f"{index}.npy", events)


def batches_with_sltune(folder: Path, bins: int) -> float:
    """Return seconds a batch."""
    samples = loaded(folder / "data")
    source = BatchSource(samples, np.arange(len(samples)), FrameFormat(SENSOR, BIN_MS), bins, torch.device("cpu"))

    def epoch() -> int:
        rng = np.random.default_rng(0)
        return sum(1 for batch in source.training(BATCH, "random", rng, rng) for _ in batch.views)

    epoch()
    started = time.perf_counter()
    return (batches := epoch()) and (time.perf_counter() - started) / batches


def batches_with_tonic(folder: Path, bins: int) -> float:
    """As the predecessor does: all frames of a sample, of which the crop is taken."""
    from tonic.transforms import ToFrame

    to_frames = ToFrame((SENSOR_SIZE, SENSOR_SIZE, 2), time_window=BIN_MS)

    def crop(events: NDArray[np.void], rng: np.random.Generator) -> NDArray[Any]:
        frames = to_frames(events)
        start = int(rng.integers(max(1, len(frames) - bins + 1)))
        return frames[start : start + bins]

    return seconds_a_batch(folder, bins, crop)


def batches_with_tonic_cut_first(folder: Path, bins: int) -> float:
    """As a user may who knows what is slow: only the crop's events become frames."""
    from tonic.transforms import ToFrame

    to_frames = ToFrame((SENSOR_SIZE, SENSOR_SIZE, 2), time_window=BIN_MS, include_incomplete=True)

    def crop(events: NDArray[np.void], rng: np.random.Generator) -> NDArray[Any]:
        start = int(rng.integers(max(1, events["t"].max() // BIN_MS - bins + 1))) * BIN_MS
        first, last = np.searchsorted(events["t"], [start, start + bins * BIN_MS])
        return to_frames(events[first:last])[:bins] if last > first else np.zeros((0, 2, *SENSOR))

    return seconds_a_batch(folder, bins, crop)


def seconds_a_batch(folder: Path, bins: int, crop: Callable[..., NDArray[Any]], batches: int = 6) -> float:
    """Load, cut and pad batches of samples in random order."""
    rng = np.random.default_rng(0)
    files = rng.permutation(sorted(map(str, (folder / "npy").glob("*.npy"))))[: BATCH * batches]
    started = time.perf_counter()
    for first in range(0, len(files), BATCH):
        padded = np.zeros((bins, BATCH, 2, *SENSOR), np.float32)
        for slot, file in enumerate(files[first : first + BATCH]):
            frames = crop(np.load(file), rng)
            padded[: len(frames), slot] = frames > 0
        torch.from_numpy(padded)
    return (time.perf_counter() - started) / batches


def seconds_to_first_batch(root: Path, shuffled: bool) -> float:
    started = time.perf_counter()
    samples = open_dataset(root).samples
    frames = FrameFormat(SENSOR, BIN_MS)
    source = BatchSource(samples, np.arange(len(samples)), frames, CROPS["510 ms"], torch.device("cpu"))
    rng = np.random.default_rng(0)
    next(next(source.training(BATCH, "random", rng, rng if shuffled else None)).views)
    return time.perf_counter() - started


def worker_memory(root: Path, recordings: int) -> tuple[int, int, int]:
    """Return events, and bytes of a worker that are its own, and resident ones."""
    import ray
    from ray import cloudpickle

    # A worker does not find this file by its name.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    files = read_manifest(root).files[:recordings]
    events = sum(file.events for file in files)
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=7 * events + (256 << 20),
        logging_level="error",
        log_to_driver=False,
    )
    references = [ray.put(read_table(root / file.file, file.sha256)) for file in files]
    result: tuple[int, int] = ray.get(ray.remote(num_cpus=1)(_memory_after_an_epoch).remote(references))
    ray.shutdown()
    return events, *result


def _memory_after_an_epoch(references: list[Any]) -> tuple[int, int]:
    import ray

    torch.set_num_threads(1)
    samples = Samples(ray.get(references))
    source = BatchSource(samples, np.arange(len(samples)), FrameFormat(SENSOR, BIN_MS), 17, torch.device("cpu"))
    rng = np.random.default_rng(0)
    # As many batches of as many different samples for every size of dataset, then all events once.
    for batch in islice(source.training(BATCH, "random", rng, rng), 16):
        next(batch.views)
    touched = sum(int(samples.events(index)[0].max()) for index in range(len(samples)))
    assert touched > 0
    kilobytes = {
        line.split(":")[0]: int(line.split()[1])
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    }
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return 1024 * own, 1024 * kilobytes["Rss"]


def loaded(root: Path) -> Samples:
    """Return a dataset's samples, all read already as in a trial."""
    samples = open_dataset(root).samples
    for index in range(len(samples)):
        samples.events(index)
    return samples


def stored_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for suffix in ("parquet", "npy") for file in folder.rglob(f"*.{suffix}"))


def spread_of(values: list[float]) -> str:
    digits = 2 if max(values) < 10 else 1
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    sys.exit(main())

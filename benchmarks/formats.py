"""How fast are recordings of each format imported? Prints results/formats.md; some minutes on two cores, 3 GB of disk.

python benchmarks/formats.py > benchmarks/results/formats.md
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
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aedat
import expelliarmus
import format_writers as writers
import h5py
import numpy as np
import pyarrow.csv
import tonic.io
from numpy.typing import NDArray
from smoke import forks_after, parse_arguments, processor

from sltune.events.formats.event_file import needs_time_unit, open_event_file
from sltune.events.importing import import_source, in_threads
from sltune.events.manifest import read_manifest
from sltune.events.sources.listed import open_table
from sltune.events.sources.registry import ImportOptions
from sltune.events.synthetic.recordings import write_dataset

UNITS = {"": time.perf_counter, " a CPU second": time.process_time}
TONIC = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])
SAMPLES = 19


def by_aedat(file: Path) -> NDArray[Any]:
    return np.concatenate([packet["events"] for packet in aedat.Decoder(file) if "events" in packet])


def by_h5py(file: Path) -> NDArray[Any]:
    with h5py.File(file) as opened:
        events: NDArray[Any] = opened["CD/events"][:]
    return events


def by_tonic(file: Path) -> NDArray[Any]:
    """As tonic.io.read_dvs_128 would, if it did not fail on every file."""
    start = tonic.io.read_aedat_header_from_file(str(file))[:2]
    raw = tonic.io.get_aer_events_from_file(str(file), *start)
    address = raw["address"]
    fields = ((address >> 8) & 127, (address >> 1) & 127, raw["timeStamp"], address & 1)
    events: NDArray[Any] = tonic.io.make_structured_array(*fields, dtype=TONIC)
    return events


def by_expelliarmus(encoding: str) -> Callable[[Path], Any]:
    return lambda file: expelliarmus.Wizard(encoding=encoding).read(file)


# The fastest program of others that is installed with sltune's tests; what it gives is in memory, and not checked.
READERS: dict[str, tuple[str, Callable[[Path], Any] | None]] = {
    "dvs128.aedat": ("Tonic", by_tonic),
    "davis346.aedat": ("Tonic", lambda file: tonic.io.read_davis_346(str(file))),
    "aedat4": ("aedat", by_aedat),
    "dat": ("Expelliarmus", by_expelliarmus("dat")),
    "evt2.raw": ("Expelliarmus", by_expelliarmus("evt2")),
    "evt3.raw": ("Expelliarmus", by_expelliarmus("evt3")),
    "ecf.h5": ("none", None),
    "gzip.h5": ("h5py", by_h5py),
    "bin": ("Tonic", lambda file: tonic.io.read_mnist_file(str(file), TONIC)),
    "npy": ("numpy", np.load),
    "csv": ("pyarrow", pyarrow.csv.read_csv),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recordings", type=int, default=8)
    parser.add_argument("--events", type=int, default=4_000_000, help="of each recording, at most")
    arguments = parse_arguments(parser, repeats=1, recordings=1, events=3000)
    with TemporaryDirectory() as folder:
        for line in benchmark(Path(folder), arguments.repeats, arguments.recordings, arguments.events):
            print(line, flush=True)


def benchmark(folder: Path, repeats: int, recordings: int, most: int) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    names = ("numpy", "pyarrow", "numba", "h5py", "tonic", "expelliarmus", "aedat")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    yield f"# Import of recordings by format\n\n`python benchmarks/formats.py {' '.join(sys.argv[1:])}`,"
    yield f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}. SYNTHETIC data."
    yield f"The same events of {recordings} recordings of {SAMPLES} samples in every format, in the page cache."
    yield "*Import* is all that `sltune import --source table` does: hashes, decoding, encoding, compression, writing."
    yield "*Decoding* is sltune's reader alone, *bare* the fastest reader of others, which leaves arrays in memory."
    yield "M events/s, medians of turns of a process that has done each once; ranges in brackets."
    yield "The last column compares CPU time of two cores, which other programs on the machine change less.\n"
    columns = ("format", "bytes an event", "import, 2 cores", "decoding, 1 core", "bare, 1 core", "by", "import / bare")
    yield f"| {' | '.join(columns)} | by CPU time |"
    yield "|---|--:|--:|--:|--:|---|--:|--:|"
    write_dataset(folder / "source", recordings, signers="similar")
    sizes = set()
    for suffix, (name, _) in READERS.items():
        events, size, found = measured(time_format, folder, suffix, repeats, most)
        sizes.add(round(size, 2))
        ratios = [statistics.median(found[f"import{unit}"]) / statistics.median(found[f"bare{unit}"]) for unit in UNITS]
        read = (folder / suffix / "bytes").read_text()
        shown = [spread_of(found[what]) for what in ("import", "decoding", "bare")]
        shown += [name, f"{ratios[0]:.2f}", f"{2 * ratios[1]:.2f}"]
        if not READERS[suffix][1]:
            shown[2:] = ["0.0", name, "0.00", "0.00"]
        yield f"| {suffix} | {int(read) / events:.1f} | {' | '.join(shown)} |"
    yield f"\nOn disk, as imported: {min(sizes):.2f} to {max(sizes):.2f} bytes an event, whatever the format was."


def measured(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the function returns in a fresh process, whose memory nothing has used before."""
    with ProcessPoolExecutor(1, forks_after("sltune.events.importing", "tonic")) as pool:
        return pool.submit(function, *arguments).result()


def time_format(folder: Path, suffix: str, repeats: int, most: int) -> tuple[int, float, dict[str, list[float]]]:
    """Return the number of events, bytes of each on disk after the import, and M events/s of all that is compared."""
    place = folder / suffix
    events = write_recordings(folder / "source", place, suffix, most)
    files = sorted(place.glob(f"*.{suffix}"))
    bare = READERS[suffix][1]
    unit = "us" if needs_time_unit(files[0]) else None
    sensor = None if open_event_file(files[0], unit).sensor else f"{writers.SIDE}x{writers.SIDE}"
    options = ImportOptions("table", root=place, sensor=sensor, time_unit=unit)
    routes: dict[str, Callable[[int], object]] = {
        "import": lambda turn: import_source(
            open_table(folder / f"{suffix}-samples.csv", options),
            folder / f"{suffix}-{turn}",
            spread=in_threads(2),
        ),
        "decoding": lambda _: [decode(file) for file in files],
        "bare": lambda _: [bare(file) for file in files] if bare else None,
    }
    found: dict[str, list[float]] = {f"{name}{unit}": [] for name in routes for unit in UNITS}
    # Turn and turn about, so that a slow spell of the machine meets all of them.
    for turn in range(repeats + 1):
        for name, route in routes.items():
            os.sched_setaffinity(0, range(2) if name == "import" else {0})
            started = [clock() for clock in UNITS.values()]
            route(turn)
            if turn:
                for (unit, clock), start in zip(UNITS.items(), started, strict=True):
                    found[f"{name}{unit}"].append(events / (clock() - start) / 1e6)
    stored = folder / f"{suffix}-0"
    assert read_manifest(stored).events == events
    size = sum(file.stat().st_size for file in stored.rglob("*.parquet")) / events
    return events, size, found


def decode(file: Path) -> int:
    blocks = open_event_file(file, "us" if needs_time_unit(file) else None).blocks()
    return sum(len(block) for block in blocks)


def write_recordings(source: Path, place: Path, suffix: str, most: int) -> int:
    """Write all recordings in a format, with a table of samples; return the number of events."""
    place.mkdir()
    rows, total = ["file,label,start_ev,end_ev"], 0
    for file in sorted((source / "recordings").glob("*.aedat")):
        events = writers.first_events(file, most)
        target = place / f"{file.stem}.{suffix}"
        writers.WRITERS[suffix](target, events)
        edges = np.linspace(0, len(events.x), SAMPLES + 1).astype(int).tolist()
        rows += [f"{target.name},sign{sign},{a},{b}" for sign, (a, b) in enumerate(pairwise(edges))]
        total += len(events.x)
    place.with_name(f"{suffix}-samples.csv").write_text("\n".join(rows) + "\n")
    (place / "bytes").write_text(str(sum(file.stat().st_size for file in place.glob(f"*.{suffix}"))))
    return total


def spread_of(values: list[float]) -> str:
    digits = 2 if max(values) < 10 else 1
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    sys.exit(main())

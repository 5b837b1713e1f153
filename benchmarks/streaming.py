"""CPU time of the samples of an epoch where events lie in memory, and where recordings are read and unpacked.

Only what the host does for a batch is counted: crops of 510 ms and the places of their events.
"""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import torch
from smoke import parse_arguments, processor

from sltune.events.dataset import StreamedDataset, UnpackedFiles, opened_files, read_samples
from sltune.events.frames import FrameFormat
from sltune.events.importing import import_source
from sltune.events.manifest import Manifest, read_manifest
from sltune.events.samples import Samples
from sltune.events.source import Source, SourceFile
from sltune.events.store import Sample
from sltune.training.batches import BatchSource

SENSOR, SAMPLES, LENGTH_US, CROP_BINS, BATCH = (128, 128), 19, 4_000_000, 17, 8


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=8)
    parser.add_argument("--events", type=int, default=136_000, help="of a sample")
    arguments = parse_arguments(parser, recordings=2, events=1000)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sltune-bench-") as folder:
        root = Path(folder) / "data"
        import_source(noise(arguments.recordings, arguments.events), root)
        print(
            f"{processor()}; {arguments.recordings} recordings of {SAMPLES} samples, {arguments.events:,} events each"
        )
        measure(root, read_manifest(root))


def measure(root: Path, manifest: Manifest) -> None:
    started = time.process_time()
    tables = [read_samples(root, file, manifest) for file in manifest.files]
    print(f"\nreading and unpacking a recording: {1000 * (time.process_time() - started) / len(tables):.1f} ms\n")
    print("| events lie | first epoch, ms a sample | second | third |\n|---|--:|--:|--:|")
    short = [file.short for file in opened_files(root, manifest)]
    third = sum(table.nbytes for table in tables) // 3
    streamed = StreamedDataset(root, manifest)
    for name, samples in {
        "in memory": Samples(tables),
        "unpacked on disk": streamed.samples(short, UnpackedFiles()),
        "there, with room for a third": streamed.samples(short, UnpackedFiles(third)),
    }.items():
        print(f"| {name} | {' | '.join(f'{epoch_ms(samples, number):.2f}' for number in range(3))} |", flush=True)


def epoch_ms(samples: Samples, number: int) -> float:
    """Make the batches of an epoch; return the CPU time, in ms a sample."""
    frames = FrameFormat(SENSOR, time_bin_ms=30)
    source = BatchSource(samples, np.arange(len(samples)), frames, CROP_BINS, torch.device("cpu"))
    started = time.process_time()
    for _ in source.training(BATCH, "random", np.random.default_rng(number), np.random.default_rng(number)):
        pass
    return 1000 * (time.process_time() - started) / len(samples)


def noise(recordings: int, events: int) -> Source:
    def sample(recording: int, row: int) -> Sample:
        rng, name = np.random.default_rng([recording, row]), f"user{recording:02d}"
        time_us = np.sort(rng.integers(0, LENGTH_US, events))
        address = rng.integers(0, 2 * SENSOR[0] * SENSOR[1], events).astype(np.uint16)
        start_us, since_us = 10_000_000 * row + int(time_us[0]), (time_us - time_us[0]).astype(np.uint32)
        return Sample(f"{name}_{row:02d}", name, name, "S1", row, f"class {row}", start_us, address, since_us)

    def file(number: int) -> SourceFile:
        name = f"user{number:02d}"
        return SourceFile(name, lambda: name, lambda: ([sample(number, row) for row in range(SAMPLES)], []))

    classes = tuple(f"class {row}" for row in range(SAMPLES))
    return Source("noise", True, SENSOR, classes, tuple(file(number) for number in range(recordings)))


if __name__ == "__main__":
    main()

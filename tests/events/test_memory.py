"""The memory of an import follows from the samples, however long the recording is that they are cut out of."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sltune.events.store import MIN_CHUNK_EVENTS, Sample, encode_samples

EVENTS_PER_US = 10
WIDTH, HEIGHT = 640, 480
TICKS = 4096
"""Times of EVT3 have 12 low bits, after which a word counts their wraps."""
IMPORT = """
import sys, sltune
dataset = sltune.import_recordings(*sys.argv[1:3], kind="table", progress=False)
print(sum(file.events for file in dataset.manifest.files))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def write_recording(file: Path, blocks: int) -> None:
    """Write an EVT3 recording of ten events in each of 4096 · blocks µs, as a busy camera of 640×480 pixels does."""
    rng = np.random.default_rng(0)
    words = np.empty((TICKS, 1 + 2 * EVENTS_PER_US), "<u2")
    words[:, 0] = 0x6000 | np.arange(TICKS)
    with file.open("wb") as handle:
        handle.write(f"% evt 3.0\n% geometry {WIDTH}x{HEIGHT}\n% end\n".encode())
        for block in range(blocks):
            words[:, 1::2] = rng.integers(0, HEIGHT, (TICKS, EVENTS_PER_US))
            x, on = rng.integers(0, WIDTH, (TICKS, EVENTS_PER_US)), rng.integers(0, 2, (TICKS, EVENTS_PER_US))
            words[:, 2::2] = 0x2000 | on << 11 | x
            handle.write(np.array([0x8000 | block], "<u2").tobytes() + words.tobytes())


def peak_of_import(folder: Path, blocks: int) -> tuple[int, int]:
    """Import 8 samples of 50 ms from a recording; return the number of their events, and the peak memory in kB."""
    folder.mkdir()
    write_recording(folder / "a.raw", blocks)
    starts = np.linspace(0, blocks * TICKS - 50_000, 8).astype(int)
    rows = [f"a.raw,{'ab'[i % 2]},s{i % 4},{start},{start + 50_000}" for i, start in enumerate(starts)]
    (folder / "list.csv").write_text("\n".join(["file,label,subject,start_us,end_us", *rows]))
    command = [sys.executable, "-c", IMPORT, str(folder / "list.csv"), str(folder / "data")]
    events, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(events), int(peak)


@pytest.mark.slow
def test_a_recording_of_ten_times_the_length_takes_no_more_memory(tmp_path: Path) -> None:
    """60 million events would take 700 MB; those of the samples, 4 million, are the same in both."""
    (events, short), (others, long) = (peak_of_import(tmp_path / str(blocks), blocks) for blocks in (150, 1500))
    assert events == others == 8 * 50_000 * EVENTS_PER_US
    assert long - short < 100_000


def test_large_samples_are_written_without_a_copy_of_their_events() -> None:
    count, rng = MIN_CHUNK_EVENTS, np.random.default_rng(0)
    address = rng.integers(0, 2 * WIDTH * HEIGHT, count, dtype=np.uint32)
    time_us = np.arange(count, dtype=np.uint32)
    samples = [Sample(f"s{i}", "r", "u", "", 0, "cat", 0, address, time_us) for i in range(4)]
    # The first call imports libraries.
    encode_samples(samples[:1], (HEIGHT, WIDTH), {})
    tracemalloc.start()
    try:
        encode_samples(samples, (HEIGHT, WIDTH), {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Of numpy's arrays, which a copy of all addresses or times would be one of, with 16 MB.
    assert peak < 4 << 20

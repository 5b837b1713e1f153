"""Reads damaged recordings of a format: python -m tests.events.fuzz_formats CASES SEED [SUFFIX…]

Every case must end in events or in a DataError, soon and within the memory that is allowed. Prints a case that
does not, and how the others ended.
"""

from __future__ import annotations

import faulthandler
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from sltune.errors import DataError
from sltune.events.formats import hdf5 as hdf5_reader
from sltune.events.formats.decoders import hdf5_layout
from sltune.events.formats.event_file import needs_time_unit, open_event_file
from tests.events.formats.writers import WRITERS, Events, aedat4, hdf5, random_events
from tests.events.fuzz import ANY_DAMAGE, SECONDS_A_CASE, TAG_DAMAGE, Damage, limit_memory

MAX_EVENTS = 10_000_000
"""No damage makes more of a file of some hundred events; a reader that gives more has lost its place."""
CELLS = (b"-1", b"nan", b"inf", b"1e300", b"70000", b"9" * 40, b"", b"0.5", b"x")
# Other ways to write a format, which are damaged as well.
VARIANTS: dict[str, tuple[Callable[[Events], bytes], ...]] = {
    "aedat4": (aedat4, partial(aedat4, compression=0), partial(aedat4, compression=3)),
    "hdf5": (hdf5, partial(hdf5, chunks=True, compression="gzip", shuffle=True), partial(hdf5, chunks=None)),
}


def change_start(rng: random.Random, content: bytes) -> bytes:
    """Write extreme values among the first bytes, where sizes and offsets stand."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        place, size = rng.randrange(min(len(changed), 3000)), rng.choice([1, 2, 4, 8])
        value = rng.choice([0, 1, -1, 2 ** (8 * size - 1) - 1, rng.randrange(2 ** (8 * size - 1))])
        changed[place : place + size] = value.to_bytes(size, "little", signed=True)
    return bytes(changed)


def change_numbers(rng: random.Random, content: bytes) -> bytes:
    """Put other texts in the place of a number in a header or table."""
    digits = [place for place, byte in enumerate(content[:3000]) if chr(byte).isdigit()]
    place = rng.choice(digits or [0])
    return content[:place] + rng.choice(CELLS) + content[place + 1 :]


DAMAGE: tuple[Damage, ...] = (*ANY_DAMAGE, change_start, change_start, change_numbers)


def in_a_fork(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[bytes]:
    """Run the script that finds the pieces of an HDF5 file, without the start of a Python for each file."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            sys.argv = [*command[2:]]
            os.dup2(output.fileno(), 1)
            hdf5_layout.main()
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), output.read(), b"")


def run(suffix: str, cases: int, seed: int) -> Counter[str]:
    """Read damaged files and count how they ended.

    Raises:
        AssertionError: one ended in any other way; names the case.
    """
    ends, damage = Counter[str](), DAMAGE + (TAG_DAMAGE if suffix == "csv" else ())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"recording.{suffix}"
        for case in range(cases):
            rng = random.Random(seed * 1_000_003 + case)
            events = random_events(np.random.default_rng(case), rng.choice([1, 20, 400]), rng.choice([10, 100_000]))
            write = rng.choice(VARIANTS.get(suffix, (WRITERS[suffix],)))
            content = rng.choice(damage)(rng, write(events))
            # A file in the same place with the same size and time would be taken for the one before.
            file.unlink(missing_ok=True)
            file.write_bytes(content)
            faulthandler.dump_traceback_later(SECONDS_A_CASE, exit=True)
            try:
                ends[read(file)] += 1
            except Exception as error:
                raise AssertionError(f"{suffix}, case {case}: {error!r}") from error
            faulthandler.cancel_dump_traceback_later()
    return ends


def read(file: Path) -> str:
    """Return how it ended."""
    count = 0
    try:
        for block in open_event_file(file, "us" if needs_time_unit(file) else None).blocks():
            count += len(block)
            assert len(block) == len(block.y) == len(block.t_us) == len(block.on), "arrays of different length"
            assert count < MAX_EVENTS, "more events than the file can hold"
    except DataError as error:
        text = str(error)
        assert text.startswith(f"{file}"), text
        assert len(text) < 1000, text
        return "an error"
    return "events"


if __name__ == "__main__":
    for name in ("aedat4", "evt3.raw", "hdf5"):
        # Arrow reserves a GiB of addresses, and numba compiles, before the memory is limited.
        run(name, 1, 0)
    limit_memory()
    for name in sys.argv[3:] or WRITERS:
        with mock.patch.object(hdf5_reader.subprocess, "run", in_a_fork):
            print(name, dict(run(name, int(sys.argv[1]), int(sys.argv[2]))), flush=True)

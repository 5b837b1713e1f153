"""Imports damaged recordings and tag files by the command line: python -m tests.events.fuzz CASES SEED.

Every case must end in a dataset or in an error of sltune's own, soon and within the memory that is allowed.
Prints a case that does not, and how the others ended.
"""

from __future__ import annotations

import faulthandler
import gzip
import io
import os
import random
import resource
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from click.testing import CliRunner

from sltune.cli.main import main
from sltune.events.dataset import open_dataset
from tests.events.conftest import BARE_HEADER, aedat_bytes

# A case takes milliseconds; the first one may import torch while the machine is busy.
SECONDS_A_CASE = 120
MORE_MEMORY = 1 << 30
NAME = "user00_indoor"
HEADERS = (
    b"",
    b"#!AER-DAT1.0\r\n",
    b"#!AER-DAT2.0",
    b"#!AER-DAT2.0\r\n#",
    b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis240C\r\n",
    b"#!AER-DAT2.0\r\n" + b"# x" * 5000 + b"\r\n",
    b"#!AER-DAT2.0\r\n" + b"#\n" * 3000,
    b"#!AER-DAT2.0\r\n#End Of ASCII Header\r\n",
    b"#!AER-DAT3.1\r\n#End Of ASCII Header\r\n",
    b"\xef\xbb\xbf#!AER-DAT2.0\r\n",
)
CELLS = (
    *("", " ", "-1", "0", "20", "1.0", "1e3", "nan", "inf", "None", "0x10", "1_0", "١", '"', "'", "\0", ";", "=1+1"),
    *("9" * 30, "9" * 5000, "-" + "9" * 19, "2147483648", "4294967296", "18446744073709551616", "x" * 200_000),
)

Random = random.Random
Damage = Callable[[Random, bytes], bytes]


def flip_bits(rng: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8, 200])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def cut_out(rng: Random, content: bytes) -> bytes:
    first = rng.randrange(len(content) + 1)
    return content[:first] + content[first + rng.choice([1, 3, 8, 800]) :]


def put_in(rng: Random, content: bytes) -> bytes:
    first = rng.randrange(len(content) + 1)
    return content[:first] + rng.randbytes(rng.choice([1, 4, 8, 64])) + content[first:]


def repeat(rng: Random, content: bytes) -> bytes:
    first = rng.randrange(len(content) + 1)
    return content[:first] + content[first : first + rng.randrange(400)] * rng.randrange(5) + content[first:]


def replace_all(rng: Random, content: bytes) -> bytes:
    return rng.choice([b"", b"\0" * 64, b"#" * 64, rng.randbytes(300), content[::-1]])


def change_header(rng: Random, content: bytes) -> bytes:
    body = content[len("".join(line + "\r\n" for line in BARE_HEADER)) :]
    return rng.choice(HEADERS) + body


def change_times(rng: Random, content: bytes) -> bytes:
    """Write a time, or the high half of an address, into some events."""
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 30)):
        place = len(changed) - 8 * rng.randrange(1, 380) + rng.choice([0, 4, 4, 4])
        changed[place : place + 4] = rng.choice([0, 1, 2**31, 2**32 - 1, rng.randrange(2**32)]).to_bytes(4, "big")
    return bytes(changed)


def swap_bytes(rng: Random, content: bytes) -> bytes:
    """Make a recording little-endian, or move its events by a byte or two, as a blank line does."""
    start = len("".join(line + "\r\n" for line in BARE_HEADER))
    words = [content[place : place + 4][::-1] for place in range(start, len(content), 4)]
    moved = rng.choice([b"", b"", b"\n", b"\r\n", b" \r\n"])
    return content[:start] + moved + (b"".join(words) if rng.random() < 0.5 else content[start:])


def change_separators(rng: Random, content: bytes) -> bytes:
    separator, end = rng.choice([b";", b"\t", b"|", b" ", b".0,", b",,"]), rng.choice([b"\n", b"\r", b"\r\n", b",,\n"])
    return content.replace(b",", separator).replace(b"\n", end)


def change_cells(rng: Random, content: bytes) -> bytes:
    rows = [line.split(",") for line in content.decode("latin-1").split("\n")]
    for _ in range(rng.choice([1, 1, 2, 10])):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    return "\n".join(",".join(row) for row in rows).encode("utf-8")


def change_rows(rng: Random, content: bytes) -> bytes:
    head, *rows = content.split(b"\n")
    rows = [row for row in rows for _ in range(rng.choice([0, 1, 1, 1, 1, 2]))]
    rng.shuffle(rows)
    return b"\n".join(rng.choice([[head, *rows], rows, [head.upper(), *rows], [head + b",class", *rows]]))


def change_encoding(rng: Random, content: bytes) -> bytes:
    return content.decode("latin-1").encode(rng.choice(["utf-16", "utf-8-sig", "utf-32", "cp037"]))


ANY_DAMAGE: tuple[Damage, ...] = (flip_bits, cut, cut_out, put_in, repeat, replace_all)
RECORDING_DAMAGE: tuple[Damage, ...] = (*ANY_DAMAGE, change_header, swap_bytes, change_times, change_times)
TAG_DAMAGE: tuple[Damage, ...] = (
    *ANY_DAMAGE,
    *(change_cells, change_cells, change_separators, change_rows, change_encoding),
)


def write_case(rng: Random, folder: Path, recording: bytes, tags: bytes) -> None:
    """Write a folder of one recording of which something is damaged: recording, tags, or what they are packed in."""
    what = rng.choice(["recording", "tags", "both"])
    if what != "tags":
        recording = rng.choice(RECORDING_DAMAGE)(rng, recording)
    if what != "recording":
        tags = rng.choice(TAG_DAMAGE)(rng, tags)
    for part, suffix, content in (("recordings", "aedat", recording), ("tags", "csv", tags)):
        (folder / part).mkdir(parents=True)
        packing = rng.choice(["plain", "plain", "plain", "gz", "zip", "bomb"] if rng.random() < 0.2 else ["plain"])
        file = folder / part / f"{NAME}.{suffix}"
        if packing == "plain":
            file.write_bytes(content)
            continue
        packed = zipped(file.name, content) if packing == "zip" else gzip.compress(content, mtime=0)
        if packing == "bomb":
            packed = bomb()
        if rng.random() < 0.5:
            packed = rng.choice(ANY_DAMAGE)(rng, packed)
        file.with_name(f"{file.name}.{'zip' if packing == 'zip' else 'gz'}").write_bytes(packed)


@cache
def bomb() -> bytes:
    return gzip.compress(bytes(120 << 20), 1, mtime=0)


def zipped(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(name, content)
    return archive.getvalue()


def original(rng: Random) -> tuple[bytes, bytes]:
    """Return a recording of 19 signs of 20 events, now and then over the wrap of the clock, and its tags."""
    first_us = rng.choice([0, 2**31 - 100_000, 2**32 - 100_000])
    address = [rng.randrange(0x8000) | rng.choice([0] * 30 + [0x8000]) for _ in range(380)]
    tags = "".join(f"{label},{20 * label - 20},{20 * label}\n" for label in range(1, 20))
    recording = aedat_bytes(address, [first_us + 1000 * event for event in range(380)])
    return recording, b"class,startTime_ev,endTime_ev\n" + tags.encode()


def run(cases: int, seed: int) -> Counter[str]:
    """Import damaged folders and count how they ended.

    Raises:
        AssertionError: one ended in any other way; names the case.
    """
    ends = Counter[str]()
    scratch = Path(tempfile.mkdtemp())
    for case in range(cases):
        rng = Random(seed * 1_000_003 + case)
        shutil.rmtree(scratch)
        write_case(rng, scratch / "source", *original(rng))
        flags = rng.choice([[], *[["--skip-bad"]] * 8, ["--strict"]])
        faulthandler.dump_traceback_later(SECONDS_A_CASE, exit=True)
        arguments = ["import", str(scratch / "source"), "--out", str(scratch / "data"), "-q", *flags]
        result = CliRunner().invoke(main, arguments)
        faulthandler.cancel_dump_traceback_later()
        own = result.exception is None or isinstance(result.exception, SystemExit)
        assert own, f"case {case}: {result.exception!r}"
        assert result.exit_code in (0, 3), f"case {case}: exit {result.exit_code}: {result.output}"
        if result.exit_code == 0:
            samples = open_dataset(scratch / "data").samples
            assert all(len(samples.events(index)[0]) for index in range(len(samples))), f"case {case}"
        else:
            assert len(result.output) < 20_000, f"case {case}: {len(result.output)} characters"
        ends["a dataset" if result.exit_code == 0 else "an error"] += 1
    shutil.rmtree(scratch)
    return ends


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    limit_memory()
    print(dict(run(int(sys.argv[1]), int(sys.argv[2]))))

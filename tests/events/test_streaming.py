"""Events of a dataset that memory cannot hold are unpacked on the disk file by file, and are the same events."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sltune.errors import DataError
from sltune.events import dataset as opening
from sltune.events.dataset import StreamedDataset, UnpackedFiles, open_dataset, opened_files
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.system.limits import is_on_disk

ONE_FILE = 6 * 400 * 6 + 100
"""Bytes of the events of a file of the small dataset, and of where they begin."""


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are unpacked, as if it lay on a disk."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(opening, "is_on_disk", lambda _: True)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose events were read."""
    names, read = list[str](), opening.read_samples

    def counted(root: Any, file: Any, manifest: Any) -> Any:
        names.append(file.file)
        return read(root, file, manifest)

    monkeypatch.setattr(opening, "read_samples", counted)
    return names


def streamed(root: Path, limit_bytes: int | None) -> Samples:
    manifest = read_manifest(root)
    short = [file.short for file in opened_files(root, manifest)]
    return StreamedDataset(root, manifest).samples(short, UnpackedFiles(limit_bytes))


@pytest.mark.parametrize("files", [0.5, 2, 20])
def test_samples_are_the_same_in_any_order_and_with_any_room(dataset: Path, files: float) -> None:
    whole, parts = open_dataset(dataset).samples, streamed(dataset, int(files * ONE_FILE))
    assert parts.recordings() == whole.recordings()
    kept = []
    for index in np.random.default_rng(0).permutation(np.repeat(np.arange(48), 2)).tolist():
        kept.append((index, parts.events(index)))
    # What was given stays as it was, also where its file has made room for another since.
    for index, events in kept:
        for one, other in zip(events, whole.events(index), strict=True):
            assert one.dtype == other.dtype
            assert (one == other).all()
            assert not one.flags.writeable


def test_files_are_unpacked_once_while_there_is_room_and_the_oldest_make_room(dataset: Path, reads: list[str]) -> None:
    samples = streamed(dataset, 2 * ONE_FILE)
    for index in (0, 6, 1, 7, 12, 2, 13):
        samples.events(index)
    # Files 0, 1, and 2, which takes the place of 0: the one that was looked at least recently. 0 then takes that of 1.
    numbers = {f"recordings/user{number:02d}_indoor.parquet": number for number in range(8)}
    assert [numbers[name] for name in reads] == [0, 1, 2, 0]


def test_nothing_has_a_name_on_the_disk(dataset: Path, scratch: Path) -> None:
    samples = streamed(dataset, None)
    for index in range(48):
        samples.events(index)
    assert not list(scratch.iterdir())
    held = [os.readlink(file) for file in Path("/proc/self/map_files").iterdir() if str(scratch) in os.readlink(file)]
    assert len(set(held)) == 8


def test_a_full_disk_leaves_one_file_in_memory(
    dataset: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(opening.shutil, "disk_usage", lambda _: opening.shutil._ntuple_diskusage(100, 81, 19))  # type: ignore[attr-defined]
    monkeypatch.setattr(opening.tempfile, "TemporaryFile", full)
    samples = streamed(dataset, None)
    for index in (0, 1, 6, 0):
        assert len(samples.events(index)[0]) == 400
    assert len(reads) == 3


def test_damage_is_found_when_a_file_is_read(dataset: Path) -> None:
    samples = streamed(dataset, None)
    file = dataset / read_manifest(dataset).files[3].file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    samples.events(0)
    with pytest.raises(DataError, match="is damaged: its sha256 is not the manifest's"):
        samples.events(18)


def test_memory_is_told_from_disks(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:2 / /tmp rw - tmpfs tmpfs rw\n"
        "24 23 8:2 / /tmp/big rw - xfs /dev/sdb rw\n"
    )
    found = [is_on_disk(Path(place), tmp_path) for place in ("/var/tmp", "/tmp/x", "/tmp/big/x")]
    assert found == [True, False, True]


LARGE = """
import os, sys
from pathlib import Path
from sltune.events import dataset as opening
from sltune.events.importing import import_source
from tests import small
from tests.events.test_streaming import streamed

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

root = Path(sys.argv[1])
import_source(small.source(1, 1_000_000), root)
opening.is_on_disk = lambda _: True
samples = streamed(root, 12_000_000)
first = [int(samples.events(index)[0].sum()) for index in range(3)]
before = resident()
for index in [*range(8)] * 3:
    samples.events(index)[0].sum()
    print(resident() - before)
"""


def test_a_process_grows_by_no_more_than_it_may_unpack(tmp_path: Path) -> None:
    """The dataset has 48 MB, of which 12 MB may be unpacked."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "large")], capture_output=True, text=True, check=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    grown = max(map(int, done.stdout.split()))
    assert grown < 20_000_000, grown

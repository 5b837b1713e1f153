"""N-MNIST files as a source."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from sltune.errors import DataError
from sltune.events.sources.tonic.source import open_nmnist_folder, read_nmnist
from tests.events.conftest import refused


def event(x: int, y: int, polarity: int, time_us: int) -> bytes:
    """Return one event as N-MNIST writes it: x, y, then polarity and 23 bits of time, big end first."""
    return bytes([x, y]) + (polarity << 23 | time_us).to_bytes(3, "big")


def write(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_a_sample_is_decoded_by_hand(tmp_path: Path) -> None:
    file = write(tmp_path, "7/00042.bin", event(33, 2, 1, 100_000) + event(0, 33, 0, 100_007))
    sample = read_nmnist(file)
    assert sample.address.tolist() == [(2 * 34 + 33) * 2 + 1, (33 * 34 + 0) * 2 + 0]
    assert (sample.start_us, sample.time_us.tolist()) == (100_000, [0, 7])
    assert (sample.label, sample.gesture, sample.session) == (7, "7", "")
    assert sample.sample_id == sample.recording == sample.subject == "7-00042"
    assert (sample.address.dtype, sample.time_us.dtype) == (np.uint16, np.uint32)


def test_every_real_sample_equals_a_decoding_with_numpy(nmnist_folder: Path) -> None:
    source = open_nmnist_folder(nmnist_folder)
    assert (source.name, source.sensor, source.classes) == ("N-MNIST", (34, 34), tuple("0123456789"))
    samples = {}
    for file in source.files:
        loaded, findings = file.load()
        assert findings == []
        samples.update({sample.sample_id: sample for sample in loaded})
    files = sorted(nmnist_folder.glob("NMNIST/Train/*/*.bin"))
    assert len(files) == len(samples) == 1000
    for path in files:
        raw = np.fromfile(path, dtype=np.uint8).reshape(-1, 5).astype(np.int64)
        sample = samples[f"{path.parent.name}-{path.stem}"]
        assert sample.label == int(path.parent.name)
        assert np.array_equal(sample.address, raw[:, 1] * 68 + raw[:, 0] * 2 + raw[:, 2] // 128)
        assert np.array_equal(sample.start_us + sample.time_us, raw[:, 2] % 128 * 65536 + raw[:, 3] * 256 + raw[:, 4])


@pytest.mark.parametrize("nested", ["", "Train", "NMNIST", "NMNIST/Train"])
def test_the_digits_are_found_however_the_archive_was_unzipped_even_if_some_are_absent(
    tmp_path: Path, nested: str
) -> None:
    for digit in (3, 9):
        write(tmp_path / nested, f"{digit}/1.bin", event(1, 1, 1, 5))
    (file,) = open_nmnist_folder(tmp_path).files
    assert [sample.sample_id for sample in file.load()[0]] == ["3-1", "9-1"]


@pytest.mark.parametrize("nested", ["", "NMNIST"])
def test_a_test_folder_beside_the_training_folder_makes_official_parts(tmp_path: Path, nested: str) -> None:
    write(tmp_path / nested, "Train/7/00042.bin", event(1, 1, 1, 5))
    (alone,) = open_nmnist_folder(tmp_path).files
    assert [(one.sample_id, one.split) for one in alone.load()[0]] == [("7-00042", "")]
    # As every version has hashed it.
    facts = ["7-00042", "7-00042", 7, "7", hashlib.sha256(event(1, 1, 1, 5)).hexdigest(), 34, 34]
    assert alone.sha256() == hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    write(tmp_path / nested, "Test/7/00042.bin", event(2, 2, 1, 5))
    (both,) = open_nmnist_folder(tmp_path).files
    samples = [(one.sample_id, one.subject, one.split) for one in both.load()[0]]
    assert samples == [("7-00042", "7-00042", "train"), ("test-7-00042", "test-7-00042", "test")]
    assert both.sha256() != alone.sha256()


def test_a_folder_without_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    for folder in (tmp_path, tmp_path / "absent"):
        with refused(DataError, folder, "holds no N-MNIST samples"):
            open_nmnist_folder(folder)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param(event(1, 1, 1, 5) + b"\1\2", ["truncated", "7 bytes", "multiple of 5"], id="cut"),
        pytest.param(b"", ["truncated", "0 bytes"], id="empty"),
        pytest.param(event(1, 1, 1, 5) + event(34, 1, 0, 6), ["x=34, y=1", "34x34"], id="column outside"),
        pytest.param(event(1, 200, 1, 5), ["x=1, y=200", "34x34"], id="row outside"),
        pytest.param(event(0, 240, 0, 5), ["no pixel event"], id="only a mark of an overflow"),
    ],
)
def test_a_damaged_sample_is_refused(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    file = write(tmp_path, "0/1.bin", content)
    with refused(DataError, file, *parts):
        read_nmnist(file)


def test_a_damaged_sample_is_an_error_beside_the_good_ones(tmp_path: Path) -> None:
    bad = write(tmp_path, "0/1.bin", b"123")
    write(tmp_path, "0/2.bin", event(1, 1, 1, 5))
    samples, (finding,) = open_nmnist_folder(tmp_path).files[0].load()
    assert [sample.sample_id for sample in samples] == ["0-2"]
    assert (finding.place, finding.is_error) == (str(bad), True)
    assert finding.text == "truncated: 3 bytes are no positive multiple of 5"


def test_a_missing_sample_is_refused(tmp_path: Path) -> None:
    with refused(DataError, tmp_path / "0" / "1.bin", "no such file"):
        read_nmnist(tmp_path / "0" / "1.bin")


def test_moving_a_sample_to_another_digit_changes_the_hash(tmp_path: Path) -> None:
    """The bytes keep their order, but the label is the folder's name."""
    write(tmp_path, "3/1.bin", event(1, 1, 1, 5))
    write(tmp_path, "4/9.bin", event(2, 2, 0, 5))
    before = open_nmnist_folder(tmp_path).files[0].sha256()
    (tmp_path / "3/2.bin").write_bytes((tmp_path / "4/9.bin").read_bytes())
    (tmp_path / "4/9.bin").unlink()
    assert open_nmnist_folder(tmp_path).files[0].sha256() != before


def test_files_are_packed_into_shards_of_64_mebibytes(tmp_path: Path) -> None:
    """Sparse files of 30 MiB: two fit, a third would not."""
    for number in range(5):
        with open(write(tmp_path, f"{number}/1.bin", b""), "wb") as file:
            file.truncate(30 << 20)
    assert [shard.name for shard in open_nmnist_folder(tmp_path).files] == ["shard-0000", "shard-0001", "shard-0002"]

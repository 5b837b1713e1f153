"""A stranger's dataset, of which all hashes agree: whatever reads it takes it for right, or names what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sltune.errors import DataError
from sltune.events.dataset import open_dataset, read_samples
from sltune.events.manifest import read_manifest
from sltune.events.store import is_sample_file, read_table, schema, stored_metadata
from sltune.events.verify import verify_dataset
from tests import small
from tests.events.conftest import refused
from tests.events.test_verify import FIRST, rewrite, set_column, vouch

Change = Callable[[pa.Table], pa.Table]


def cast(column: str, kind: pa.DataType) -> Change:
    return lambda table: table.set_column(table.column_names.index(column), column, table[column].cast(kind))


def set_events(column: str, changes: dict[int, int]) -> Change:
    """Change events of the third sample."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column][2].as_py()
        for place, value in changes.items():
            values[place] = value
        return set_column(column, {2: values})(table)

    return change


def with_nulls_in_lists(table: pa.Table) -> pa.Table:
    return set_column("address", {2: [None] * 400})(table)


def open_and_read(root: Path) -> None:
    samples = open_dataset(root).samples
    for index in range(len(samples)):
        samples.events(index)


def read_as_trials_do(root: Path) -> None:
    manifest = read_manifest(root)
    for file in manifest.files:
        read_samples(root, file, manifest)


@pytest.mark.parametrize("read", [open_and_read, read_as_trials_do, verify_dataset])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(cast("label", pa.int64()), "column 'label' is int64, not uint8", id="label of another type"),
        pytest.param(cast("start_us", pa.float64()), "column 'start_us' is double, not uint64", id="start a float"),
        pytest.param(cast("time_us", pa.list_(pa.int64())), "column 'time_us' is list<", id="times of another type"),
        pytest.param(cast("address", pa.list_(pa.uint32())), "column 'address' is list<", id="addresses too wide"),
        pytest.param(
            cast("address", pa.large_list(pa.uint16())), "'address' is large_list", id="lists of another kind"
        ),
        pytest.param(cast("sample_id", pa.binary()), "column 'sample_id' is binary", id="bytes for text"),
        pytest.param(set_column("subject", {1: None}), "'subject' has rows without a value", id="null"),
        pytest.param(with_nulls_in_lists, "'address' has rows without a value", id="nulls within events"),
        pytest.param(set_column("address", {2: None}), "'address' has rows without a value", id="no list of events"),
        pytest.param(set_column("label", {2: 7}), "label 7 is not 'left' in manifest.json", id="label beyond classes"),
        pytest.param(
            set_column("events", {2: 0, 1: 800}), "events is 0, but its events give 400", id="counts that lie"
        ),
        pytest.param(set_column("time_us", {2: [0, 1]}), "400 addresses and 2 times", id="lengths that differ"),
        pytest.param(set_events("time_us", {9: 0}), "backward_steps is 0, but its events give ", id="times not sorted"),
        pytest.param(set_events("address", {7: 512}), "event 7 has address 512, outside", id="beyond the sensor"),
        pytest.param(set_events("time_us", {0: 1}), "its first event lies 1 µs after start_us", id="no event at 0"),
        pytest.param(set_column("duration_us", {2: 9}), "duration_us is 9, but its events give ", id="duration"),
        pytest.param(set_column("backward_steps", {2: 400}), "cannot go back in time 400 times", id="backward steps"),
        pytest.param(set_column("subject", {2: "x"}), "has another subject, session or split", id="two signers in one"),
        pytest.param(set_column("split", {2: "test"}), "has another subject, session or split", id="two parts in one"),
        pytest.param(set_column("split", dict.fromkeys(range(6), "eval")), "split 'eval' is none of", id="no part"),
        pytest.param(set_column("sample_id", {2: "user00_indoor_01"}), "another of this name", id="names twice"),
        pytest.param(set_column("recording", {2: "x"}), "recordings user00_indoor, x, but user00_indoor", id="name"),
        pytest.param(lambda table: table.slice(1), "samples 5, but 6 in manifest.json", id="rows that are not there"),
        pytest.param(lambda table: table.drop_columns(["digest"]), "column 'digest' is missing", id="column missing"),
        pytest.param(
            lambda table: pa.Table.from_arrays([*table.columns, table["label"]], [*table.column_names, "label"]),
            "column 'label' is missing",
            id="column twice",
        ),
    ],
)
def test_a_file_that_its_own_columns_or_the_manifest_belie_is_refused_by_all_that_read_it(
    dataset: Path, change: Change, said: str, read: Callable[[Path], object]
) -> None:
    rewrite(dataset, change)
    with refused(DataError, f"{dataset / FIRST}: ", said, "import the dataset again"):
        read(dataset)


def test_two_files_with_a_sample_of_the_same_name_are_refused(dataset: Path) -> None:
    rewrite(dataset, set_column("sample_id", {0: "user03_indoor_01"}))
    with refused(DataError, dataset / "manifest.json", "two of its files have a sample of the same name"):
        open_dataset(dataset)


def test_a_file_that_is_exchanged_after_it_was_opened_is_refused(dataset: Path) -> None:
    samples = open_dataset(dataset).samples
    rewrite(dataset, set_column("subject", dict.fromkeys(range(6), "x")))
    with refused(DataError, dataset / FIRST, "its sha256 is not the manifest's"):
        samples.events(0)


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_file_that_becomes_shorter_after_it_was_opened_ends_in_an_error_not_in_a_signal(
    dataset: Path, size: int
) -> None:
    samples = open_dataset(dataset).samples
    os.truncate(dataset / FIRST, size)
    with refused(DataError, dataset / FIRST):
        samples.events(0)


def test_a_small_file_that_claims_many_events_is_refused_before_they_are_read(dataset: Path) -> None:
    """12 million equal events, 72 MB in memory, take less than 20 kB."""
    table = read_table(dataset / FIRST).slice(0, 1)
    lists = {"address": np.zeros(12_000_000, np.uint16), "time_us": np.zeros(12_000_000, np.uint32)}
    for name, values in lists.items():
        column = pa.ListArray.from_arrays([0, len(values)], pa.array(values))
        table = table.set_column(table.column_names.index(name), name, column)
    encodings = {"time_us.list.element": "DELTA_BINARY_PACKED"}
    pq.write_table(table, dataset / FIRST, compression="zstd", use_dictionary=False, column_encoding=encodings)
    size = (dataset / FIRST).stat().st_size
    assert size < 40_000
    vouch(dataset, FIRST)
    before = pa.total_allocated_bytes()
    del table, lists, column, values
    for read in (lambda: read_table(dataset / FIRST), lambda: open_dataset(dataset)):
        with refused(DataError, dataset / FIRST, f"its {size:,} bytes claim to be "):
            read()
    assert pa.total_allocated_bytes() <= before
    vouch(dataset, FIRST, events=12_000_000)
    with refused(
        DataError, dataset / "manifest.json", f"{FIRST} has {size:,} bytes, which cannot be 12,000,000 events"
    ):
        read_manifest(dataset)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
@pytest.mark.parametrize("name", [FIRST, "manifest.json"])
def test_only_plain_files_are_opened(dataset: Path, name: str, kind: str) -> None:
    file = dataset / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    reason = "No such file" if kind == "nothing" else "not a plain file"
    for read in (open_dataset, verify_dataset):
        with refused(DataError, dataset if name == "manifest.json" else file, reason):
            read(dataset)
    assert stored_metadata(file) == {}
    assert not is_sample_file(file)


def change_manifest(root: Path, **changes: Any) -> None:
    file = root / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sensor": [10**9, 10**9]}, id="huge sensor"),
        pytest.param({"sensor": [16.0, 16]}, id="fraction of a pixel"),
        pytest.param({"classes": ["left", "left"]}, id="class twice"),
        pytest.param({"classes": [str(number) for number in range(257)]}, id="too many classes"),
        pytest.param({"durations_ms": {"min": 1e999}}, id="infinite duration"),
        pytest.param({"durations_ms": {"min": float("nan")}}, id="duration that is no number"),
        pytest.param({"format": "3"}, id="format a text"),
        pytest.param({"a\x1b[2J": 1}, id="key that clears a terminal"),
        pytest.param({"name": "x", "x" * 100_000: 1}, id="long key"),
        pytest.param({"synthetic": "yes"}, id="truth as text"),
    ],
)
def test_hostile_values_of_a_manifest_are_refused_in_a_line(dataset: Path, changes: dict[str, Any]) -> None:
    change_manifest(dataset, **changes)
    with pytest.raises(DataError) as caught:
        read_manifest(dataset)
    text = str(caught.value)
    assert text.startswith(f"{dataset / 'manifest.json'}: is damaged (")
    assert len(text) < 1000
    assert text.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("[" * 100_000, id="deep lists"),
        pytest.param('{"a":' * 100_000, id="deep objects"),
        pytest.param('{"format": ' + "9" * 5000 + "}", id="5000 digits"),
        pytest.param("\ud800".encode("utf-16", "surrogatepass"), id="half a character"),
        pytest.param(b"\xff" * 100, id="no text"),
    ],
)
def test_a_manifest_that_is_no_sane_json_is_refused(dataset: Path, content: str | bytes) -> None:
    (dataset / "manifest.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(DataError, dataset / "manifest.json", "is damaged"):
        read_manifest(dataset)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"file": "/etc/passwd.parquet"}, "which is not a sample file below it"),
        ({"file": "recordings/../../x.parquet"}, "which is not a sample file below it"),
        ({"file": "../x.parquet"}, "which is not a sample file below it"),
        ({"file": "recordings//user01_indoor.parquet"}, "which is not a sample file below it"),
        ({"file": "recordings/a\x00.parquet"}, "which is not a sample file below it"),
        ({"file": "recordings/\ud800.parquet"}, "is damaged"),
        ({"file": "recordings/user01_indoor.parquet"}, "names 'recordings/user01_indoor.parquet' twice"),
        ({"recordings": ["user01_indoor"]}, "names 'user01_indoor' twice"),
        ({"events": -1}, "has 6 samples of -1 events"),
        ({"samples": -1}, "has -1 samples of 2400 events"),
        ({"samples": 2401}, "has 2401 samples of 2400 events"),
        ({"events": 10**15}, "which cannot be 1,000,000,000,000,000 events"),
    ],
)
def test_what_a_manifest_says_of_a_file_is_checked(dataset: Path, facts: dict[str, Any], said: str) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["files"][0] |= facts
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    with refused(DataError, dataset / "manifest.json", said):
        read_manifest(dataset)


def test_a_dataset_as_imported_is_taken_as_it_is(dataset: Path) -> None:
    manifest = read_manifest(dataset)
    table = read_samples(dataset, manifest.files[0], manifest)
    assert table.schema.equals(schema(small.SENSOR))
    assert table["address"][3].as_py() == small.sample(0, 3, 400).address.tolist()

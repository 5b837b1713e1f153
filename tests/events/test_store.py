"""The Parquet sample store: what goes in comes out, small, and damage is noticed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sltune.errors import DataError
from sltune.events.formats.aedat import read_aedat
from sltune.events.manifest import LeftOut, Manifest, StoredFile, read_manifest
from sltune.events.sources.slanimals.source import Tag, cut_recording
from sltune.events.store import Sample, describe_file, file_sha256, fingerprint, read_table, schema, stored_metadata
from tests.events.conftest import refused
from tests.small import write_samples

DVS128 = (128, 128)
COLUMNS = (
    *("sample_id", "recording", "subject", "session", "split", "gesture", "label"),
    *("start_us", "duration_us", "events", "backward_steps", "digest", "address", "time_us"),
)


def make_sample(address: Any = (1, 2), time_us: Any = (0, 5), bits: int = 16, **facts: Any) -> Sample:
    values: dict[str, Any] = {
        "sample_id": "user00_indoor_01",
        "recording": "user00_indoor",
        "subject": "user00",
        "session": "S3",
        "label": 0,
        "gesture": "cat",
        "start_us": 2**33 + 7,
    }
    events = np.array(address, np.uint16 if bits == 16 else np.uint32), np.array(time_us, np.uint32)
    return Sample(**{**values, **facts}, address=events[0], time_us=events[1])


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    count = draw(st.integers(1, 30))
    address = draw(st.lists(st.integers(0, 2**15 - 1), min_size=count, max_size=count))
    time_us = draw(st.lists(st.integers(0, 2**32 - 1), min_size=count, max_size=count))
    facts = {name: draw(st.text(max_size=8)) for name in ("sample_id", "recording", "subject", "session", "gesture")}
    numbers = {"label": draw(st.integers(0, 255)), "start_us": draw(st.integers(0, 2**64 - 1))}
    return make_sample(address, time_us, **facts, **numbers)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(originals=st.lists(samples(), min_size=1, max_size=4))
def test_every_sample_comes_back_as_it_was(tmp_path: Path, originals: list[Sample]) -> None:
    file = tmp_path / "a.parquet"
    write_samples(file, originals, DVS128, {})
    rows = read_table(file).to_pylist()
    assert len(rows) == len(originals)
    for row, original in zip(rows, originals, strict=True):
        for name in ("sample_id", "recording", "subject", "session", "gesture", "label", "start_us"):
            assert row[name] == getattr(original, name)
        assert row["address"] == original.address.tolist()
        assert row["time_us"] == original.time_us.tolist()
        assert row["events"] == len(row["time_us"])
        assert row["duration_us"] == max(row["time_us"])
        assert row["backward_steps"] == sum(b < a for a, b in zip(row["time_us"], row["time_us"][1:], strict=False))
        assert row["digest"] == original.digest


@pytest.mark.parametrize(("sensor", "kind"), [((128, 128), "uint16"), ((181, 181), "uint16"), ((182, 181), "uint32")])
def test_addresses_are_as_wide_as_the_sensor_needs(tmp_path: Path, sensor: tuple[int, int], kind: str) -> None:
    """2 · 181 · 181 = 65,522 and 2 · 182 · 181 = 65,884: 16 bits hold 65,536."""
    largest = 2 * sensor[0] * sensor[1] - 1
    file = tmp_path / "a.parquet"
    write_samples(file, [make_sample([largest], [0], bits=32)], sensor, {})
    table = read_table(file)
    assert str(table.schema.field("address").type) == f"list<element: {kind}>"
    assert table["address"].to_pylist() == [[largest]]


def test_the_columns_are_those_of_the_format(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    write_samples(file, [make_sample()], DVS128, {})
    kinds = {field.name: str(field.type) for field in read_table(file).schema}
    assert tuple(kinds) == COLUMNS
    assert kinds["label"] == "uint8"
    assert kinds["start_us"] == "uint64"
    assert kinds["duration_us"] == "uint32"
    assert kinds["time_us"] == "list<element: uint32>"


def test_a_real_recording_takes_at_most_3_2_bytes_an_event(tmp_path: Path, real_recording: Path) -> None:
    recording = read_aedat(real_recording)
    edges = np.linspace(0, len(recording), 20).astype(int)
    tags = [Tag(row + 1, row, int(edges[row]), int(edges[row + 1])) for row in range(19)]
    originals = cut_recording(recording, tags, "user00", "S3")
    file = tmp_path / "a.parquet"
    write_samples(file, originals, DVS128, {})
    assert file.stat().st_size / len(recording) <= 3.2
    group = pq.read_metadata(file).row_group(0)
    assert pq.read_metadata(file).num_row_groups == 1
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["time_us.list.element"].encodings
    assert "BYTE_STREAM_SPLIT" in columns["address.list.element"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    table = read_table(file)
    assert describe_file(tmp_path, file).events == 489_834
    assert [
        row == original.address.tolist() for row, original in zip(table["address"].to_pylist(), originals, strict=True)
    ]
    together = np.concatenate([sample.time_us + np.uint64(sample.start_us) for sample in originals])
    assert np.array_equal(together, recording.time_us)


def test_what_stands_in_the_metadata_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    write_samples(file, [make_sample()], DVS128, {"source_sha256": "abc", "findings": "[]"})
    assert stored_metadata(file) == {"format": "3", "source_sha256": "abc", "findings": "[]"}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"rubbish" * 9, None])
def test_a_file_that_is_no_sample_file_has_no_metadata(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.parquet"
    if content is not None:
        file.write_bytes(content)
    assert stored_metadata(file) == {}


def test_metadata_of_another_format_are_not_used(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"sltune": '{"format": "1"}'}), file)
    assert stored_metadata(file) == {}


def test_a_file_is_described_from_itself(tmp_path: Path) -> None:
    file = tmp_path / "recordings" / "a.parquet"
    two = [make_sample(recording="b"), make_sample([1, 2, 3], [0, 0, 0], recording="a"), make_sample(recording="b")]
    write_samples(file, two, DVS128, {"source_sha256": "abc"})
    described = describe_file(tmp_path, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert described == StoredFile("recordings/a.parquet", "abc", sha256, ("b", "a"), 3, 7)


def test_the_fingerprint_does_not_depend_on_the_order() -> None:
    assert fingerprint(["a", "b", "c"]) == fingerprint(["c", "a", "b"])
    assert fingerprint(["a", "b"]) != fingerprint(["a", "b", "b"])


@pytest.mark.parametrize(
    "change",
    [
        {"label": 1},
        {"subject": "user01"},
        {"session": "S1"},
        {"start_us": 8},
        {"address": np.array([1, 3], np.uint16)},
        {"time_us": np.array([0, 6], np.uint32)},
        {"address": np.array([1], np.uint16), "time_us": np.array([0], np.uint32)},
        {"address": np.array([2, 1], np.uint16)},
    ],
)
def test_a_change_of_events_label_subject_or_session_changes_the_digest(change: dict[str, Any]) -> None:
    assert dataclasses.replace(make_sample(), **change).digest != make_sample().digest


def test_the_digest_does_not_depend_on_width_or_byte_order_in_memory() -> None:
    wide = make_sample([1, 2], [0, 5], bits=32)
    swapped = dataclasses.replace(make_sample(), time_us=np.array([0, 5], ">u4"))
    every_other = dataclasses.replace(make_sample(), address=np.array([1, 9, 2, 9], np.uint16)[::2])
    assert {wide.digest, swapped.digest, every_other.digest} == {make_sample().digest}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    file = tmp_path / "a.parquet"
    times = np.sort(rng.integers(0, 10**6, 2000))
    write_samples(file, [make_sample(rng.integers(0, 2**15, 2000), times)], DVS128, {})
    return file


def test_one_changed_byte_anywhere_is_noticed_before_arrow_sees_it(written: Path) -> None:
    """Arrow returns other events for most damaged bytes, and ends the process for some."""
    good = written.read_bytes()
    sha256 = file_sha256(written)
    for position in (0, 4, len(good) // 3, len(good) // 2, len(good) - 500, len(good) - 1):
        changed = bytearray(good)
        changed[position] ^= 0x41
        written.write_bytes(changed)
        with refused(DataError, written, "damaged", "import the dataset again"):
            read_table(written, sha256)
    written.write_bytes(good)
    assert read_table(written, sha256).num_rows == 1


@pytest.mark.parametrize("keep", [0, 3, 12, 2000, -4])
def test_a_file_that_was_cut_is_refused_also_without_a_checksum(written: Path, keep: int) -> None:
    written.write_bytes(written.read_bytes()[:keep])
    with refused(DataError, written, "is damaged", "import the dataset again"):
        read_table(written)
    with refused(DataError, written):
        describe_file(written.parent, written)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for read in (read_table, file_sha256, lambda file: read_table(file, "0" * 64)):
        with pytest.raises(DataError, match=r"gone\.parquet"):
            read(tmp_path / "gone.parquet")


@pytest.mark.parametrize("missing", COLUMNS)
def test_a_parquet_file_of_something_else_is_refused_with_the_column(written: Path, missing: str) -> None:
    pq.write_table(read_table(written).drop_columns([missing]), written)
    with refused(DataError, written, f"not a sample file: column {missing!r} is missing"):
        read_table(written)


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "1"
    file.write_bytes(b"a" * (1 << 20) + b"b")
    assert file_sha256(file) == hashlib.sha256(b"a" * (1 << 20) + b"b").hexdigest()


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with refused(DataError, f"{pipe}: cannot be read: is a device, pipe or socket, not a plain file"):
        file_sha256(pipe)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    stored = StoredFile("recordings/a.parquet", "abc", "def", ("a", "b"), 2, 7)
    left_out = (LeftOut("c_01", "c.csv row 1: start must lie before end"),)
    durations = {"min": 1.5, "mean": 2.0, "std": 0.5, "max": 2.5}
    return Manifest(
        "N-MNIST", False, (34, 34), ("0", "1"), "f" * 64, (stored,), durations, ("a: odd",), left_out, "0.1.0"
    )


def test_a_manifest_is_read_back_equal(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert read_manifest(tmp_path) == manifest


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with refused(DataError, tmp_path, "is not a dataset", "manifest.json: No such file", f"sltune import {tmp_path}"):
        read_manifest(tmp_path)
    with refused(DataError, tmp_path / "absent", "is not a dataset, as there is no such folder"):
        read_manifest(tmp_path / "absent")


def test_a_file_in_place_of_a_dataset_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    with refused(DataError, file, "is not a dataset", "Not a directory"):
        read_manifest(file)


def test_a_newer_manifest_is_refused_with_both_formats(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({**json.loads(manifest.to_json()), "format": 4, "more": []}))
    with refused(DataError, tmp_path / "manifest.json", "format 4 is newer", "(2 to 3)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[:-9], id="cut"),
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: "[]", id="a list"),
        pytest.param(lambda text: "null", id="null"),
        pytest.param(lambda text: '{"name": "web page"}', id="of something else"),
        pytest.param(lambda text: text.replace('"format": 3', '"format": "one"'), id="format is no number"),
        pytest.param(lambda text: text.replace('"sensor"', '"sensors"'), id="key misspelt"),
        pytest.param(lambda text: text.replace('"events"', '"event"'), id="key of a file misspelt"),
        pytest.param(lambda text: text.replace("[\n", "7, [\n", 1), id="not JSON"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "sensor": [0, 128]}), id="no pixels"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "sensor": [128, -1]}), id="fewer than none"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "sensor": [2**16, 2**16]}), id="too many pixels"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "downsample": 0}), id="no downsampling"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, manifest: Manifest, damage: Callable[[str], str]) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(damage(manifest.to_json()))
    with refused(DataError, file, "is damaged", "sltune import SRC --out DATA"):
        read_manifest(tmp_path)


def test_the_schema_is_the_same_for_all_files_of_a_dataset() -> None:
    assert schema((34, 34)).equals(schema((34, 34)))
    assert tuple(schema((34, 34)).names) == COLUMNS

"""Verification finds what import can never have written, and names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sltune.errors import DataError
from sltune.events.store import encode_samples, file_sha256, fingerprint
from sltune.events.verify import Verified, verify_dataset
from sltune.system.files import write_whole
from tests import small

FIRST = "recordings/user00_indoor.parquet"


def rewrite(root: Path, change: Callable[[pa.Table], pa.Table], file: str = FIRST) -> None:
    """Change a sample file's columns and make the manifest vouch for the result."""
    table = change(pq.read_table(root / file))
    pq.write_table(table, root / file)
    vouch(root, file)


def vouch(root: Path, file: str, **facts: object) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    entry = next(entry for entry in manifest["files"] if entry["file"] == file)
    entry |= {"sha256": file_sha256(root / file), **facts}
    (root / "manifest.json").write_text(json.dumps(manifest))


def set_column(column: str, changes: Mapping[int, Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        for row, value in changes.items():
            values[row] = value
        index = table.column_names.index(column)
        return table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))

    return change


def problem(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        verify_dataset(root)
    return str(caught.value)


def test_a_dataset_as_imported_is_in_order_and_every_file_is_told(dataset: Path) -> None:
    seen = []
    assert verify_dataset(dataset, lambda file: seen.append(file.file)) == Verified(files=8, samples=48)
    assert seen == [f"recordings/user{signer:02d}_indoor.parquet" for signer in range(8)]


def test_a_flipped_byte_is_named_by_its_file(dataset: Path) -> None:
    content = bytearray((dataset / FIRST).read_bytes())
    content[len(content) // 2] ^= 1
    (dataset / FIRST).write_bytes(content)
    assert problem(dataset).startswith(f"{dataset / FIRST}: is damaged: its sha256 is not the manifest's")


def test_all_bad_files_are_named_not_only_the_first(dataset: Path) -> None:
    (dataset / FIRST).unlink()
    (dataset / "recordings" / "user03_indoor.parquet").write_bytes(b"PAR1")
    text = problem(dataset)
    assert f"{dataset / FIRST}: cannot be read" in text
    assert "user03_indoor.parquet: is damaged" in text
    assert len(text.splitlines()) == 2


def test_at_most_20_bad_files_are_named(dataset: Path) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    entry = manifest["files"][0]
    manifest["files"] += [{**entry, "file": f"recordings/x{n}.parquet", "recordings": [f"x{n}"]} for n in range(23)]
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    *named, last = problem(dataset).splitlines()
    assert len(named) == 20
    assert last == "… and 3 more"


def test_a_changed_fingerprint_is_named(dataset: Path) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["fingerprint"] = "0" * 64
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    assert f"{dataset / 'manifest.json'}: fingerprint {'0' * 64} is not that of the samples" in problem(dataset)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("digest", "f" * 64, "digest is not that of its events, label, subject, session and split"),
        ("subject", "user07", "digest is not that of its events"),
        ("duration_us", 3, "duration_us is 3, but its events give "),
        ("events", 401, "events is 401, but its events give 400"),
        ("backward_steps", 2, "backward_steps is 2, but its events give 0"),
        ("gesture", "up", "label 0 is not 'up' in manifest.json"),
        ("label", 7, "label 7 is not 'left' in manifest.json"),
        ("sample_id", "user00_indoor_01", "there is another of this name"),
        ("time_us", [1, 2], "400 addresses and 2 times"),
        ("digest", None, "column 'digest' has rows without a value"),
    ],
)
def test_a_column_that_does_not_fit_the_events_is_named_with_file_and_sample(
    dataset: Path, column: str, value: object, said: str
) -> None:
    rewrite(dataset, set_column(column, {2: value}))
    text = problem(dataset)
    assert text.startswith(f"{dataset / FIRST}: ")
    assert said in text
    assert value is None or column == "sample_id" or "sample user00_indoor_03: " in text


def write_first(root: Path, **changes: Any) -> None:
    """Write the first file anew, as an import would, with its first sample changed."""
    samples = [small.sample(0, row, 400) for row in range(6)]
    samples[0] = replace(samples[0], **changes)
    write_whole(root / FIRST, encode_samples(samples, small.SENSOR, {}))
    events = sum(sample.events for sample in samples)
    others = [small.sample(signer, row, 400) for signer in range(1, 8) for row in range(6)]
    vouch(root, FIRST, events=events)
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["fingerprint"] = fingerprint([sample.digest for sample in [*samples, *others]])
    (root / "manifest.json").write_text(json.dumps(manifest))


def test_an_address_outside_the_sensor_is_named_though_all_hashes_agree(dataset: Path) -> None:
    write_first(dataset)
    assert verify_dataset(dataset).samples == 48
    # 16 × 16 pixels of two polarities have the addresses 0 to 511.
    address = np.array([511, 512, 0], np.uint16)
    write_first(dataset, address=address, time_us=np.array([0, 1, 1], np.uint32))
    assert "sample user00_indoor_01: event 1 has address 512, outside the 16x16 sensor" in problem(dataset)


def test_a_sample_without_events_is_named_and_is_no_crash(dataset: Path) -> None:
    rewrite(dataset, lambda table: set_column("time_us", {0: []})(set_column("address", {0: []})(table)))
    assert "sample user00_indoor_01: 0 addresses and 0 times" in problem(dataset)


def test_counts_of_the_manifest_are_compared(dataset: Path) -> None:
    vouch(dataset, FIRST, samples=7, events=2399, recordings=["user99_indoor"])
    text = problem(dataset)
    assert "recordings user00_indoor, but user99_indoor in manifest.json" in text
    assert "samples 6, but 7 in manifest.json" in text
    assert "events 2400, but 2399 in manifest.json" in text


def test_a_column_of_another_type_is_named(dataset: Path) -> None:
    def widen(table: pa.Table) -> pa.Table:
        index = table.column_names.index("address")
        return table.set_column(index, "address", table["address"].cast(pa.list_(pa.uint32())))

    rewrite(dataset, widen)
    text = problem(dataset)
    assert "column 'address' is list<" in text
    assert "uint32" in text
    assert "uint16" in text


def test_many_problems_of_one_file_stay_one_line(dataset: Path) -> None:
    rewrite(dataset, set_column("duration_us", dict.fromkeys(range(6), 1)))
    (line,) = problem(dataset).splitlines()
    assert "user00_indoor_03" in line
    assert "… and 3 more" in line

"""What an import finds in its folder: nothing of it is lost by mistake, and nothing of a stranger's is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from sltune.cli.main import main
from sltune.errors import DataError, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.existing import refuse_dropping
from sltune.events.importing import Imported, import_source
from sltune.events.listing.shards import pack
from sltune.events.manifest import read_manifest
from sltune.events.source import Finding, Source, summarized
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.store import read_table
from sltune.events.verify import verify_dataset
from tests.events.conftest import TinyFolder, content, refused
from tests.events.listing.test_shards import SENSOR, item
from tests.events.test_verify import set_column, vouch

NAMES = tuple(f"user{user:02d}_dc" for user in range(35, 43))


def import_again(source: Path, out: Path, *flags: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["import", str(source), "--out", str(out), "-q", *flags])
    return result.exit_code, result.stderr


def take_away(source: Path, *names: str) -> None:
    for name in names:
        (source / "recordings" / f"{name}.aedat").unlink()
        (source / "tags" / f"{name}.csv").unlink()


def test_an_import_of_fewer_recordings_is_refused_with_their_names_unless_it_is_confirmed(
    tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    source, out = tiny_folder(names=NAMES, events=20), tmp_path / "data"
    assert import_again(source, out)[0] == 0
    before = content(out)
    take_away(source, *NAMES[1:])
    code, said = import_again(source, out)
    assert code == 2
    assert f"{out}: holds 8 recordings, of which 7 are not in the source any more: user36_dc, user37_dc, " in said
    assert "user40_dc, … and 2 more; nothing was changed. Choose another --out, or drop them" in said
    assert content(out) == before
    assert import_again(source, out, "--replace")[0] == 0
    assert [file.recordings for file in read_manifest(out).files] == [("user35_dc",)]
    assert len(list(out.glob("recordings/*"))) == 1


def test_what_a_killed_import_has_left_is_not_dropped_either(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(names=NAMES, events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    (out / "manifest.json").unlink()
    take_away(source, "user36_dc")
    code, said = import_again(source, out)
    assert code == 2
    assert "of which 1 are not in the source any more: user36_dc;" in said


def test_more_recordings_and_other_content_of_the_same_ones_need_no_confirmation(
    tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    source, out = tiny_folder(names=NAMES[:2], events=20), tmp_path / "data"
    assert import_again(source, out)[0] == 0
    tiny_folder(names=NAMES, events=21)
    assert import_again(source, out)[0] == 0
    assert read_manifest(out).recordings == 8


def test_samples_that_left_a_shard_are_noticed_though_the_number_of_shards_is_the_same(tmp_path: Path) -> None:
    def of(*names: str) -> Source:
        items = [item((1, 1, 0, 1), name=name) for name in names]
        return Source("digits", False, SENSOR, ("cat", "dog"), pack(items, SENSOR))

    import_source(of("a", "b", "c"), tmp_path / "data")
    refuse_dropping(of("c", "b", "a", "d"), tmp_path / "data")
    with refused(UsageError, "holds 3 recordings, of which 1 are not in the source any more: b;"):
        refuse_dropping(of("a", "c"), tmp_path / "data")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(set_column("label", {1: 200}), id="label beyond classes"),
        pytest.param(lambda table: table.drop_columns(["events"]), id="no column events"),
        pytest.param(lambda table: table.set_column(1, "recording", pa.array(range(table.num_rows))), id="other types"),
        pytest.param(
            lambda table: table.replace_schema_metadata({"sltune": '{"format": "3", "source_sha256": "0"}'}),
            id="no findings",
        ),
        pytest.param(
            lambda table: table.replace_schema_metadata(
                {"sltune": json.dumps({"format": "3", "source_sha256": "0", "findings": '[{"place": 1}]'})}
            ),
            id="findings that are none",
        ),
        pytest.param(
            lambda table: table.replace_schema_metadata({"sltune": '{"format": "3", "findings": [1]}'}),
            id="metadata that are no texts",
        ),
        pytest.param(lambda table: table.replace_schema_metadata({"sltune": "[" * 10_000}), id="deep metadata"),
    ],
)
@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_file_that_no_import_can_have_written_is_made_anew(
    tiny_folder: TinyFolder, tmp_path: Path, change: Callable[[pa.Table], pa.Table], has_manifest: bool
) -> None:
    source, out = tiny_folder(names=NAMES[:2], events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    whole = content(out)
    name = f"recordings/{NAMES[0]}.parquet"
    pq.write_table(change(pq.read_table(out / name)), out / name)
    vouch(out, name)
    if not has_manifest:
        (out / "manifest.json").unlink()
    done = list[Imported]()
    import_source(open_slanimals(source), out, done=done.append)
    assert [imported.reused for imported in sorted(done, key=lambda imported: imported.name)] == [False, True]
    assert content(out) == whole


def test_many_findings_of_a_file_become_one_that_keeps_what_is_lost() -> None:
    found = [Finding(f"row {n}", "odd", is_error=n == 400, lost=(f"s{n}",) if n > 250 else ()) for n in range(401)]
    first, *others, last = summarized("a.csv", found)
    assert (first.place, len(others)) == ("row 400", 199)
    assert (str(last), last.is_error) == ("a.csv: … and 201 more", False)
    assert last.lost == tuple(f"s{n}" for n in range(251, 400))
    assert summarized("a.csv", found[:200]) == tuple(found[:200])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param(["1,0,10"] * 1001, "has 1,001 rows, where 19 are right and 1000 allowed", id="rows"),
        pytest.param(["1,0,10"] * 300_000, "may have", id="300,000 rows"),
        pytest.param([f"{n},0,500" for n in range(1, 20)], "cut out 9,500 events of a recording of 513", id="overlaps"),
    ],
)
def test_tags_that_would_cost_much_are_refused(
    tiny_folder: TinyFolder, tmp_path: Path, rows: list[str], said: str
) -> None:
    """19 signs of 20 events, and 7 before each."""
    source = tiny_folder(names=NAMES[:1], events=20)
    (source / "tags" / f"{NAMES[0]}.csv").write_text("\n".join(["class,startTime_ev,endTime_ev", *rows]))
    code, text = import_again(source, tmp_path / "data")
    assert code == 3
    assert f"{NAMES[0]}.csv: " in text
    assert said in text
    assert len(text) < 5000


def test_a_manifest_grows_no_faster_than_the_tags(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    """1000 rows of one class: each is lost, and each reason names the rows."""
    source, out = tiny_folder(names=NAMES[:2], events=20), tmp_path / "data"
    file = source / "tags" / f"{NAMES[0]}.csv"
    file.write_text("\n".join(["class,startTime_ev,endTime_ev", *["1,0,10"] * 1000]))
    assert import_again(source, out, "--skip-bad")[0] == 0
    size = sum(name.stat().st_size for name in (out / "manifest.json", out / "warnings.csv"))
    assert size < 100 * file.stat().st_size
    left_out: list[Any] = [left.name for left in read_manifest(out).left_out]
    assert len(set(left_out)) == 999


def rewrite_as_format_2(out: Path) -> None:
    """Make a dataset what an import wrote before there were parts: without three facts, and with its number."""
    manifest = json.loads((out / "manifest.json").read_text())
    for entry in manifest["files"]:
        table = pq.read_table(out / entry["file"]).drop_columns(["split"])
        metadata = json.loads(table.schema.metadata[b"sltune"])
        table = table.replace_schema_metadata({"sltune": json.dumps({**metadata, "format": "2"})})
        pq.write_table(table, out / entry["file"], write_page_checksum=True)
        entry["sha256"] = hashlib.sha256((out / entry["file"]).read_bytes()).hexdigest()
    del manifest["orientation"], manifest["downsample"]
    (out / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))


def test_a_dataset_of_format_2_is_read_with_its_fingerprint_and_kept_by_an_import(
    tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    source, out = tiny_folder(names=NAMES[:2], events=20), tmp_path / "data"
    written = import_source(open_slanimals(source), out)
    rewrite_as_format_2(out)
    before = content(out / "recordings")
    dataset = open_dataset(out)
    assert (dataset.manifest.format, dataset.manifest.orientation, dataset.manifest.downsample) == (2, "upside-down", 1)
    assert [recording.split for recording in dataset.samples.recordings()] == ["", ""]
    assert len(dataset.samples.events(0)[0]) == 20
    assert verify_dataset(out).samples == 38
    assert dataset.manifest.fingerprint == written.fingerprint
    done = list[Imported]()
    again = import_source(open_slanimals(source), out, done=done.append)
    assert [each.reused for each in done] == [True, True]
    assert (again.format, again.fingerprint) == (3, written.fingerprint)
    assert content(out / "recordings") == before


def test_a_killed_import_of_format_2_is_continued(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(names=NAMES[:2], events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    rewrite_as_format_2(out)
    (out / "manifest.json").unlink()
    done = list[Imported]()
    import_source(open_slanimals(source), out, done=done.append)
    assert [each.reused for each in done] == [True, True]


def test_a_file_of_format_3_without_parts_is_damaged(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    out = tmp_path / "data"
    import_source(open_slanimals(tiny_folder(names=NAMES[:1], events=20)), out)
    file = next(out.glob("recordings/*"))
    pq.write_table(pq.read_table(file).drop_columns(["split"]), file, write_page_checksum=True)
    with refused(DataError, file, "column 'split' is missing"):
        read_table(file)

"""A lab's own recordings, from a listing or from folders: what is cut, its names, and what is said of mistakes."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sltune.errors import DataError, SltuneError, UsageError
from sltune.events.dataset import Dataset, open_dataset
from sltune.events.formats.event_file import Block
from sltune.events.formats.members import Member
from sltune.events.importing import Imported, import_source
from sltune.events.listing import cutting, recordings
from sltune.events.listing.rows import Cut, read_listing
from sltune.events.manifest import Manifest
from sltune.events.sources import listed
from sltune.events.sources.registry import ImportOptions, open_source
from sltune.events.views.summary import summarize
from tests.events.conftest import refused
from tests.events.formats.writers import WRITERS, random_events

FIRST_US = 1_000_000
"""A clock that begins with the camera, not with the recording."""
EVENTS = 100
STEP_US = 1000

Row = Mapping[str, object]


def events(number: int = 0) -> np.ndarray[Any, Any]:
    """Return 100 events, one a millisecond; event i has pixel (i mod 8, number) and is ON where i is odd."""
    made = np.zeros(EVENTS, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "u1")])
    made["x"], made["y"], made["p"] = np.arange(EVENTS) % 8, number, np.arange(EVENTS) % 2
    made["t"] = FIRST_US + np.arange(EVENTS) * STEP_US
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings below a folder."""
    for number, name in enumerate(("a/one.npy", "a/two.npy", "three.npy")):
        file = tmp_path / "lab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, events(number))
    return tmp_path / "lab"


def as_csv(rows: Sequence[Row], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def imported(
    listing: Path,
    kind: str = "table",
    skip_bad: bool = False,
    done: Callable[[Imported], object] = lambda _: None,
    **flags: Any,
) -> Dataset:
    options = ImportOptions(kind, time_unit=flags.pop("time_unit", "us"), skip_bad=skip_bad, **flags)
    out = listing.parent / "data"
    import_source(open_source(options, listing), out, skip_bad=skip_bad, done=done)
    return open_dataset(out)


def of_rows(folder: Path, *rows: Row, **flags: Any) -> Dataset:
    (folder / "signs.csv").write_text(as_csv(rows))
    return imported(folder / "signs.csv", **flags)


def warnings(manifest: Manifest) -> str:
    return "\n".join(manifest.warnings)


ROWS = [
    dict(zip(("file", "label", "subject", "session", "start_us", "end_us"), values, strict=True))
    for values in [
        ("a/one.npy", "wave", "anna", "at noon", 1_000_000, 1_010_000),
        ("a/one.npy", "nod", "anna", "at noon", 1_020_000, 1_025_000),
        ("three.npy", "nod", "ben", "", 1_090_000, 1_100_000),
    ]
]


def test_rows_cut_files_by_their_own_clock(folder: Path) -> None:
    dataset = of_rows(folder, *ROWS)
    samples = dataset.samples
    assert samples.sample_id == ["a-one_01", "a-one_02", "three"]
    assert [(one.name, one.subject, one.session, one.split) for one in samples.recordings()] == [
        ("a-one", "anna", "at noon", ""),
        ("three", "ben", "", ""),
    ]
    assert dataset.manifest.classes == ("nod", "wave")
    assert (dataset.manifest.name, dataset.manifest.sensor) == ("signs", (3, 8))
    assert samples.label.tolist() == [1, 0, 0]
    # Event 20 has pixel (20 mod 8, 0) and is even: address (0 · 8 + 4) · 2 + 0.
    address, time_us = samples.events(1)
    assert address.tolist() == [8, 11, 12, 15, 0]
    assert time_us.tolist() == [0, 1000, 2000, 3000, 4000]
    assert samples.start_us(1) == 1_020_000
    assert samples.event_count.tolist() == [10, 5, 10]


def test_rows_cut_files_by_numbers_of_events(folder: Path) -> None:
    rows = [{"file": "a/two.npy", "label": "1", "start_ev": start, "end_ev": start + 3} for start in (0, 97)]
    samples = of_rows(folder, *rows).samples
    assert [samples.start_us(index) for index in (0, 1)] == [1_000_000, 1_097_000]
    assert samples.event_count.tolist() == [3, 3]


def test_without_bounds_a_row_is_the_whole_file(folder: Path) -> None:
    samples = of_rows(folder, {"file": "./three.npy", "label": "wave"}).samples
    assert (samples.sample_id, samples.event_count.tolist()) == (["three"], [100])


def test_blocks_that_end_within_a_sample_make_no_difference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of_rows(folder, *ROWS)
    blocks = cutting.open_event_file

    def in_pieces(*arguments: Any) -> Any:
        file = blocks(*arguments)
        read = file.read

        def small(left_out: Any) -> Any:
            for block in read(left_out):
                for start in range(0, len(block), 7):
                    yield block.only((np.arange(len(block)) // 7) * 7 == start)

        object.__setattr__(file, "read", small)
        return file

    monkeypatch.setattr(cutting, "open_event_file", in_pieces)
    (folder / "data" / "manifest.json").unlink()
    next((folder / "data" / "recordings").glob("*")).unlink()
    assert of_rows(folder, *ROWS).manifest.fingerprint == whole.manifest.fingerprint


def test_times_that_go_backwards_are_cut_by_their_times(folder: Path) -> None:
    made = events()
    made["t"][[10, 50]] = made["t"][[50, 10]]
    np.save(folder / "three.npy", made)
    dataset = of_rows(folder, {"file": "three.npy", "label": "wave", "start_us": 1_009_000, "end_us": 1_012_000})
    assert dataset.samples.event_count.tolist() == [3]
    assert "signs.csv row 1: time goes backwards 1 times; sorted when read" in warnings(dataset.manifest)


def test_a_table_may_be_parquet_or_have_semicolons_a_mark_or_other_bytes(folder: Path) -> None:
    text = as_csv(ROWS)
    whole = of_rows(folder, *ROWS).manifest.fingerprint
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    pq.write_table(pa.table({**columns, "note": [[1], [2], [3]]}), folder / "signs.parquet")
    gaps = {**columns, "start_us": [float(row["start_us"]) for row in ROWS]}  # type: ignore[arg-type]
    pq.write_table(pa.table(gaps), folder / "floats.parquet")
    texts = {
        "bom.csv": text.encode("utf-8-sig"),
        "excel.csv": as_csv(ROWS, delimiter=";").encode(),
        "tabs.tsv": as_csv(ROWS, delimiter="\t").encode("utf-16"),
        "spaces.csv": text.replace(",", ", ").replace("\r\n", " ,,\r\n\r\n").encode(),
        "case.csv": text.replace("file", "File", 1).replace("start_us", "Start_US").encode(),
    }
    for name, content in texts.items():
        (folder / name).write_bytes(content)
    for name in ("signs.parquet", "floats.parquet", *texts):
        source = open_source(ImportOptions("table", time_unit="us"), folder / name)
        assert import_source(source, folder / f"{name}.data").fingerprint == whole, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": ""}, "label='': is empty"),
        ({"label": "NaN"}, "label='NaN': is no value"),
        ({"label": "=A1"}, "label='=A1': is a formula"),
        ({"label": "#REF!"}, "label='#REF!': is no value"),
        ({"subject": "an\nna"}, r"subject='an\nna': has a line end or another control character"),
        ({"session": "\x1b[31mred"}, "has a line end or another control character"),
        ({"label": "x" * 201}, "is longer than 200 characters"),
        ({"subject": ""}, "subject='': is empty"),
        ({"file": ""}, "file='': names no file"),
        ({"file": "../one.npy"}, "must be a path below"),
        ({"file": "/etc/passwd"}, "must be a path below"),
        ({"file": "a/four.npy"}, "file='a/four.npy': there is no such file below"),
        ({"file": "a\\one.npy"}, "write / between folders"),
        ({"file": "signs.txt"}, "is not a recording in a known format"),
        ({"split": "exam"}, "split='exam': must be train, val, test or empty"),
        ({"start_us": "later"}, "start_us='later', end_us='1010000': whole numbers of µs are expected"),
        ({"start_us": "1000.5"}, "whole numbers of µs are expected"),
        ({"start_us": "=B2"}, "whole numbers of µs are expected"),
        ({"end_us": ""}, "start_us='1000000': start and end go together"),
        ({"end_us": "1000000"}, "start must lie before end"),
        ({"end_us": "9" * 30}, "no recording goes so far"),
        ({"start_ev": "5"}, "times and numbers of events exclude each other"),
        ({"id": "taken"}, "id='taken': is repeated; it is also that of "),
    ],
)
def test_a_mistake_is_said_with_its_row_and_column_and_costs_that_row_only(
    folder: Path, change: Row, said: str
) -> None:
    (folder / "signs.txt").touch()
    more = {"split": "", "start_ev": "", "id": ""}
    rows = [{**ROWS[2], **more, "id": "taken"}, {**ROWS[0], **more, **change}, {**ROWS[1], **more}]
    with refused(DataError, f"{folder / 'signs.csv'} row 2: ", said):
        of_rows(folder, *rows)
    # A listing is refused before anything is read.
    assert not list((folder / "data").glob("recordings/*"))
    dataset = of_rows(folder, *rows, skip_bad=True)
    assert dataset.samples.label.tolist() == [0, 0]
    (left,) = dataset.manifest.left_out
    assert said in left.reason


def test_mistakes_are_said_before_files_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "find_sensor", lambda *_: pytest.fail("files are read to find their sensor"))
    with refused(DataError, "row 1: label=''"):
        of_rows(folder, {**ROWS[0], "label": ""}, *ROWS)


def test_all_mistakes_are_said_at_once(folder: Path) -> None:
    rows = [{**ROWS[0], "label": "", "file": "no.npy"}, {**ROWS[1], "end_us": ""}, *ROWS]
    with refused(DataError, "row 1: label=", "row 1: file='no.npy'", "row 2: start_us="):
        of_rows(folder, *rows)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"file,label\n", ["has no rows below its header"]),
        (b"", ["has no column 'file'", "has no column 'label'"]),
        (
            b"path,labels\na,b\n",
            ["has no column 'file'", "no column 'label'; did you mean \"labels\"?", "path, labels"],
        ),
        (b"file,label,Label\na,b,c\n", ["has 2 columns 'label'"]),
        (b"file,label,id,id\na,b,c,d\n", ["has 2 columns 'id'"]),
        (b"file,label\na,b,c\n", ["row 1: has 3 cells, where the header has 2 columns"]),
        (b"file,label\na,gr\xfc\xdf\n", ["byte 0xfc in line 2 is not UTF-8"]),
        (b"\xff\xfef", ["is not UTF-8"]),
        (b"file,label\nno.npy,b\n", ["row 1: file='no.npy': there is no such file", "no row is without mistakes"]),
        (b"PAR1" * 9, ["has no column 'file'"]),
        (b'file,label\na,"' + b"b" * 200_000, ["cannot be read as a table: field larger than"]),
    ],
)
def test_a_table_that_is_no_listing_is_refused(folder: Path, content: bytes, parts: list[str]) -> None:
    (folder / "signs.csv").write_bytes(content)
    with refused(DataError, f"{folder / 'signs.csv'}", *parts):
        imported(folder / "signs.csv")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"file": ["three.npy"], "label": [["wave"]]}, "column 'label' holds values of type list<"),
        ({"file": [b"three.npy"], "label": ["wave"]}, "column 'file' holds values of type binary"),
        ({"file": ["three.npy"], "label": [None]}, "row 1: label='': is empty"),
        ({"file": ["three.npy"], "label": [float("nan")]}, "row 1: label='': is empty"),
    ],
)
def test_parquet_columns_of_other_types_are_refused(folder: Path, columns: Any, said: str) -> None:
    pq.write_table(pa.table(columns), folder / "signs.parquet")
    with refused(DataError, folder / "signs.parquet", said):
        imported(folder / "signs.parquet")


def test_a_damaged_parquet_file_and_an_absent_listing_are_refused(folder: Path) -> None:
    (folder / "signs.parquet").write_bytes(b"PAR1" * 9)
    with refused(DataError, folder / "signs.parquet", "cannot be read as a table"):
        imported(folder / "signs.parquet")
    for place, text in ((folder, "is no table; name a CSV or Parquet file"), (folder / "absent.csv", "no such file")):
        with refused(DataError, place, text):
            imported(place)


def test_at_most_256_classes_can_be_stored(folder: Path) -> None:
    rows = [{"file": "three.npy", "label": f"c{number}", "start_ev": 0, "end_ev": 5} for number in range(257)]
    with refused(DataError, "column 'label' has 257 classes, such as c0, c1, c10, c100, c101; at most 256"):
        of_rows(folder, *rows)


def test_classes_are_in_the_order_of_numbers_or_letters(folder: Path) -> None:
    def classes(*labels: str) -> tuple[str, ...]:
        rows = [
            {"file": "three.npy", "label": label, "start_ev": at, "end_ev": at + 1} for at, label in enumerate(labels)
        ]
        dataset = of_rows(folder, *rows)
        assert [dataset.manifest.classes[label] for label in dataset.samples.label] == list(labels)
        return dataset.manifest.classes

    assert classes("10", "9", "-1", "2") == ("-1", "2", "9", "10")
    assert classes("10", "9", "none") == ("10", "9", "none")


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (
            {"start_us": 20_000, "end_us": 30_000},
            [
                "start_us=20000, end_us=30000: no event of ",
                "its times go from 1000000 to 1099000 µs; if the row counts from the start of the recording, add 1",
            ],
        ),
        ({"start_us": 2_000_000, "end_us": 3_000_000}, ["no event of ", "1099000 µs"]),
        ({"start_us": 1_000_001, "end_us": 1_000_999}, ["no event of "]),
        ({"start_ev": 90, "end_ev": 101}, ["start_ev=90, end_ev=101: out of range; ", "three.npy has 100 events"]),
    ],
)
def test_a_row_outside_of_its_file_is_an_error(folder: Path, row: Row, parts: list[str]) -> None:
    with refused(DataError, f"{folder / 'signs.csv'} row 1: ", *parts):
        of_rows(folder, {"file": "three.npy", "label": "wave", **row})


def test_classes_that_differ_only_in_case_are_warned_of(folder: Path) -> None:
    manifest = of_rows(
        folder, *({"file": file, "label": label} for file, label in (("three.npy", "Größe"), ("a/one.npy", "größe")))
    ).manifest
    assert "classes differ only in the case of letters: Größe, größe" in warnings(manifest)


def test_a_row_that_ends_long_after_its_file_is_warned_of(folder: Path) -> None:
    row = {"file": "three.npy", "label": "wave", "start_us": 1_090_000, "end_us": 3_000_000}
    manifest = of_rows(folder, row).manifest
    assert "row 1: start_us=1090000, end_us=3000000: ends after the recording; its times go" in warnings(manifest)


def test_what_cannot_be_read_costs_the_samples_of_its_file_only(folder: Path) -> None:
    content = (folder / "three.npy").read_bytes()
    (folder / "three.npy").write_bytes(content[:-5])
    rows = [
        {"file": "three.npy", "label": "wave", "start_ev": 0, "end_ev": 5},
        {"file": "three.npy", "label": "wave", "start_ev": 90, "end_ev": 100},
        {"file": "a/one.npy", "label": "wave", "start_ev": 0, "end_ev": 5},
    ]
    with refused(DataError, folder / "three.npy", "truncated"):
        of_rows(folder, *rows)
    dataset = of_rows(folder, *rows, skip_bad=True)
    assert {left.name for left in dataset.manifest.left_out} == {"three_02"}
    assert dataset.samples.sample_id == ["three_01", "a-one"]


def test_samples_that_overlap_are_warned_of(folder: Path) -> None:
    rows = [{"file": "three.npy", "label": "wave", "start_ev": start, "end_ev": start + 50} for start in (0, 25, 50)]
    manifest = of_rows(folder, *rows).manifest
    listing = folder / "signs.csv"
    assert f"{listing} row 2: 2 samples overlap others of {folder / 'three.npy'}, such as {listing} row 1" in warnings(
        manifest
    )


def test_without_subjects_each_recording_is_one_and_the_import_says_so(folder: Path) -> None:
    rows = [{"file": file, "label": "wave", "start_ev": 0, "end_ev": 9} for file in ("three.npy", "a/two.npy")]
    dataset = of_rows(folder, *rows)
    assert [one.subject for one in dataset.samples.recordings()] == ["three", "a-two"]
    assert "subjects are unknown: each of the 2 recordings counts as a subject of its own" in warnings(dataset.manifest)
    assert "subjects are unknown" not in warnings(of_rows(folder, *ROWS).manifest)


@pytest.mark.parametrize(
    ("group_by", "subjects"),
    [
        ("sample", ["a-one_01", "a-one_02", "three"]),
        ("light", ["dim", "dim", "sun"]),
        ("folder", ["a", "a", "."]),
        ("path:(.)[.]npy", ["e", "e", "e"]),
        ("recording", ["a-one", "a-one", "three"]),
        (None, ["anna", "anna", "ben"]),
    ],
)
def test_subjects_are_what_group_by_says(folder: Path, group_by: str | None, subjects: list[str]) -> None:
    rows = [{**row, "light": light} for row, light in zip(ROWS, ("dim", "dim", "sun"), strict=True)]
    dataset = of_rows(folder, *rows, group_by=group_by)
    of = {one.name: one.subject for one in dataset.samples.recordings()}
    assert [of[name] for name in dataset.samples.recording] == subjects


def test_a_group_that_is_not_there_is_refused(folder: Path) -> None:
    with refused(UsageError, "--group-by lihgt: there is no such field", "the dataset offers recording, subject"):
        of_rows(folder, *ROWS, group_by="lihgt")


def test_rows_of_a_file_that_differ_in_subject_session_or_part_are_recordings_of_their_own(folder: Path) -> None:
    rows = [
        {
            "file": "three.npy",
            "label": label,
            "subject": subject,
            "session": "S1",
            "split": split,
            "start_ev": at,
            "end_ev": at + 5,
        }
        for at, (label, subject, split) in enumerate(
            [
                ("x", "anna", "train"),
                ("y", "anna", "Train"),
                ("x", "ben", "test"),
                ("y", "ben", "test"),
                ("x", "cem", "val"),
            ]
        )
    ]
    dataset = of_rows(folder, *rows)
    assert [(one.name, one.subject, one.split) for one in dataset.samples.recordings()] == [
        ("three-anna-train", "anna", "train"),
        ("three-ben-test", "ben", "test"),
        ("three_05", "cem", "val"),
    ]
    assert dataset.samples.recording == [
        *["three-anna-train"] * 2,
        *["three-ben-test"] * 2,
        "three_05",
    ]


def test_names_stay_different_where_files_are_called_alike(folder: Path) -> None:
    np.savez(folder / "a" / "one.npz", **{field: events()[field] for field in "xytp"})
    np.save(folder / "a-one.npy", events())
    rows = [{"file": file, "label": "x", "id": ""} for file in ("a/one.npy", "a/one.npz", "a-one.npy")]
    dataset = of_rows(folder, *rows, {"file": "three.npy", "label": "x", "id": "a-one-2"})
    assert dataset.samples.sample_id == ["a-one", "a-one-2-2", "a-one-3", "a-one-2"]
    assert len(set(dataset.samples.recording)) == 4


def test_an_import_is_continued_and_only_what_changed_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "SHARD_BYTES", 1)
    done = list[Imported]()
    first = of_rows(folder, *ROWS, done=done.append)
    assert len(first.manifest.files) == 2
    of_rows(folder, {**ROWS[0], "label": "clap"}, *ROWS[1:], done=done.append)
    of_rows(folder, {**ROWS[0], "label": "clap"}, *ROWS[1:], done=done.append)
    states = [(one.name, one.reused) for one in sorted(done[2:4], key=lambda one: one.name)]
    assert states == [("a-one", False), ("three", False)]
    assert [one.reused for one in done[4:]] == [True, True]


def test_a_large_file_is_read_in_parts_with_the_same_events(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"file": "three.npy", "label": "x", "start_ev": at, "end_ev": at + 10} for at in range(0, 100, 10)]
    whole = of_rows(folder, *rows[::-1]).manifest
    (folder / "data" / "manifest.json").unlink()
    monkeypatch.setattr(recordings, "PART_BYTES", 500)
    monkeypatch.setattr(recordings, "SHARD_BYTES", 500)
    dataset = of_rows(folder, *rows[::-1])
    assert [len(file.recordings) for file in dataset.manifest.files] == [1, 1, 1]
    assert {one.subject for one in dataset.samples.recordings()} == {"three"}
    assert dataset.manifest.fingerprint == whole.fingerprint


def test_events_that_do_not_fit_into_memory_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "MAX_KEPT_EVENTS", 150)
    rows = [{"file": "three.npy", "label": "x", "start_ev": 0, "end_ev": 100} for _ in range(2)]
    with refused(DataError, folder / "three.npy", "have more than 150 events", "make them shorter"):
        of_rows(folder, *rows)


def test_the_sensor_is_the_users_or_what_holds_all_events(folder: Path) -> None:
    assert of_rows(folder, *ROWS, sensor="346x260").manifest.sensor == (260, 346)
    with refused(UsageError, "--sensor 346: must be width and height"):
        of_rows(folder, *ROWS, sensor="346")


def test_more_pixels_than_there_are_addresses_are_refused(folder: Path) -> None:
    made = events()
    made["x"][50], made["y"][50] = 65535, 40_000
    np.save(folder / "three.npy", made)
    with refused(DataError, "65536×40001 pixels has more addresses than 32 bits", "--sensor WxH names the first one"):
        of_rows(folder, *ROWS)
    with refused(DataError, "99999×99999 pixels has more addresses"):
        of_rows(folder, *ROWS, sensor="99999x99999")
    with refused(DataError, "pixel x=65535, y=40000 of event 50 lies outside the 8x3 sensor"):
        of_rows(folder, ROWS[2], sensor="8×3")


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """A listing of a recording of a DAVIS240, one of 128x128 pixels and one that says nothing of its sensor."""
    seen = random_events(np.random.default_rng(0), 200)
    (tmp_path / "cameras").mkdir()
    for suffix in ("davis240.aedat", "dat", "bin"):
        (tmp_path / "cameras" / f"x.{suffix}").write_bytes(WRITERS[suffix](seen))
    (tmp_path / "cameras" / "x.dat.gz").write_bytes(gzip.compress((tmp_path / "cameras" / "x.dat").read_bytes()))
    return tmp_path / "cameras"


def of_cameras(folder: Path, *suffixes: str, **flags: Any) -> Manifest:
    rows = [{"file": f"x.{suffix}", "label": suffix} for suffix in suffixes]
    return of_rows(folder, *rows, time_unit=None, **flags).manifest


def test_the_sensor_is_what_the_files_say(cameras: Path) -> None:
    assert of_cameras(cameras, "dat.gz", "bin").sensor == (128, 128)


def test_files_of_different_sensors_are_refused_unless_one_is_named_into_which_all_fit(cameras: Path) -> None:
    with refused(
        DataError,
        f"{cameras / 'x.davis240.aedat'} has a sensor of 240x180 pixels, {cameras / 'x.dat'} of 128x128",
        "give --sensor 240x180",
    ):
        of_cameras(cameras, "davis240.aedat", "dat")
    manifest = of_cameras(cameras, "davis240.aedat", "dat", sensor="240x180")
    assert manifest.sensor == (180, 240)
    assert f"{cameras / 'x.dat'}: has a sensor of 128x128 pixels; taken as one of 240x180" in warnings(manifest)
    with refused(DataError, cameras / "x.davis240.aedat", "240x180 pixels, more than --sensor 239x180"):
        of_cameras(cameras, "davis240.aedat", sensor="239x180")


def test_what_a_file_holds_beside_events_is_counted(cameras: Path) -> None:
    said = warnings(of_cameras(cameras, "davis240.aedat"))
    assert f"{cameras / 'x.davis240.aedat'}: left out: 2 IMU samples and 12 pixels of frames and 1 triggers" in said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_damaged_listing_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    content = bytearray(as_csv([{**row, "split": "train", "id": row["label"]} for row in ROWS]).encode())
    pieces = [b",", b'"', b"\n", b"\0", b"\xff", b"=1", b"nan", b"9" * 30, b"-1", b";", b"..", b"\t", b"start_ev"]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.sampled_from(pieces))
    (folder / "signs.csv").write_bytes(content)
    with contextlib.suppress(SltuneError):
        read_listing(folder / "signs.csv", folder)


def test_a_pixel_outside_of_the_users_sensor_is_an_error(folder: Path) -> None:
    with refused(DataError, folder / "three.npy", "pixel x=4, y=2 of event 4 lies outside the 4x3 sensor"):
        of_rows(folder, *ROWS, sensor="4x3")


def test_the_unit_of_times_is_asked_for_where_a_format_leaves_it_open(folder: Path) -> None:
    with refused(UsageError, "2 files, such as ", "do not say in which unit", "--time-unit, one of s, ms, us, ns"):
        of_rows(folder, *ROWS, time_unit=None)
    with refused(UsageError, "--time-unit hours: must be one of"):
        of_rows(folder, *ROWS, time_unit="hours")
    (folder / "x.bin").write_bytes(bytes(5))
    with refused(UsageError, "--time-unit us: the formats of all files define their unit"):
        of_rows(folder, {"file": "x.bin", "label": "a"})


def test_paths_may_count_from_another_folder(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "signs.csv").write_text(as_csv(ROWS))
    assert imported(folder / "lists" / "signs.csv", root=folder).manifest.samples == 3


@pytest.fixture
def classes_folder(tmp_path: Path) -> Path:
    """Two classes of two people, in folders."""
    for number, name in enumerate(
        ("left hand/anna/1.npy", "left hand/ben/1.npy", "right/anna/1.npy", "right/ben/1.npy")
    ):
        file = tmp_path / "signs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, events(number))
    return tmp_path / "signs"


def test_folders_are_classes(classes_folder: Path) -> None:
    dataset = imported(classes_folder, "folders")
    assert dataset.manifest.classes == ("left hand", "right")
    assert dataset.manifest.name == "signs"
    assert dataset.samples.sample_id == ["left hand-anna-1", "left hand-ben-1", "right-anna-1", "right-ben-1"]
    assert dataset.samples.label.tolist() == [0, 0, 1, 1]
    assert "subjects are unknown: each of the 4 recordings" in warnings(dataset.manifest)


@pytest.mark.parametrize("group_by", ["folder", "path:([^/]+)/[^/]+$"])
def test_people_are_folders_below_the_classes(classes_folder: Path, group_by: str) -> None:
    dataset = imported(classes_folder, "folders", group_by=group_by)
    assert [one.subject for one in dataset.samples.recordings()] == ["anna", "ben", "anna", "ben"]


def test_folders_train_and_test_above_the_classes_are_the_official_parts(classes_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "parts" / "Train").mkdir(parents=True)
    (tmp_path / "parts" / "test").mkdir()
    (classes_folder / "left hand").rename(tmp_path / "parts" / "Train" / "left hand")
    (classes_folder / "right").rename(tmp_path / "parts" / "test" / "right")
    dataset = imported(tmp_path / "parts", "folders")
    assert [one.split for one in dataset.samples.recordings()] == ["train", "train", "test", "test"]
    assert summarize(dataset).splits == {"train": 2, "test": 2}
    assert "  parts        train 2 samples, test 2 samples\n" in summarize(dataset).to_text(80)
    assert dataset.manifest.classes == ("left hand", "right")


def test_a_class_may_be_called_train(classes_folder: Path) -> None:
    (classes_folder / "right").rename(classes_folder / "train")
    dataset = imported(classes_folder, "folders")
    assert dataset.manifest.classes == ("left hand", "train")
    assert {one.split for one in dataset.samples.recordings()} == {""}


def test_a_zip_archive_of_folders_is_read_as_it_is(classes_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "signs.zip", "w") as archive:
        for file in sorted(classes_folder.rglob("*.npy")):
            archive.write(file, file.relative_to(classes_folder))
    whole = imported(classes_folder, "folders").manifest
    assert (
        import_source(
            open_source(ImportOptions("folders", time_unit="us"), tmp_path / "signs.zip"), tmp_path / "zipped"
        ).fingerprint
        == import_source(
            open_source(ImportOptions("folders", time_unit="us"), classes_folder), tmp_path / "plain"
        ).fingerprint
        == whole.fingerprint
    )


@pytest.mark.parametrize("above", ["", "signs/", "signs-main/Test/"])
def test_the_folder_of_which_an_archive_was_made_is_no_class(classes_folder: Path, tmp_path: Path, above: str) -> None:
    with zipfile.ZipFile(tmp_path / "signs.zip", "w") as archive:
        for file in sorted(classes_folder.rglob("*.npy")):
            archive.write(file, above + file.relative_to(classes_folder).as_posix())
    dataset = imported(tmp_path / "signs.zip", "folders", group_by="folder")
    assert dataset.manifest.classes == ("left hand", "right")
    assert {one.subject for one in dataset.samples.recordings()} == {"anna", "ben"}
    assert {one.split for one in dataset.samples.recordings()} == {"test" if "Test" in above else ""}


def test_a_single_class_is_warned_of(classes_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    classes_folder.rename(tmp_path / "all" / "signs")
    dataset = imported(tmp_path / "all", "folders")
    assert dataset.manifest.classes == ("signs",)
    assert "all samples are of one class, signs, so that there is nothing" in warnings(dataset.manifest)


def test_what_is_no_recording_or_in_no_class_is_left_out_and_said(classes_folder: Path) -> None:
    (classes_folder / "right" / "notes.txt").touch()
    (classes_folder / "right" / ".hidden.npy").touch()
    np.save(classes_folder / "loose.npy", events())
    manifest = imported(classes_folder, "folders").manifest
    assert manifest.samples == 4
    assert f"{classes_folder}: files that are no recordings are left out: 1 .txt" in warnings(manifest)
    assert f"{classes_folder / 'loose.npy'}: is left out, as a recording lies in a folder" in warnings(manifest)


def test_a_folder_without_classes_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    np.save(tmp_path / "b.npy", events())
    with refused(
        DataError, f"{tmp_path}: holds no such recording", "SRC/<class>/<file>", "1 recordings that", "1 .txt"
    ):
        imported(tmp_path, "folders")


def test_files_can_be_read_by_workers_of_a_cluster(folder: Path) -> None:
    (folder / "signs.csv").write_text(as_csv(ROWS))
    source = open_source(ImportOptions("table", time_unit="us"), folder / "signs.csv")
    (file,) = pickle.loads(pickle.dumps(source.files))
    assert file.sha256() == source.files[0].sha256()
    assert [sample.digest for sample in file.load()[0]] == [sample.digest for sample in source.files[0].load()[0]]


def test_a_whole_file_with_two_labels_is_an_error_that_names_both_rows(folder: Path) -> None:
    """As where columns of times are called start and end: all rows would be the same events."""
    listing = folder / "list.csv"
    listing.write_text(
        "file,label,start,end\na/one.npy,wave,0,1\na/one.npy,clap,1,2\nthree.npy,clap,,\nthree.npy,clap,,\n"
    )
    rows, findings = read_listing(listing, folder)
    assert [row.label for row in rows] == ["wave", "clap", "clap"]
    assert [str(finding) for finding in findings] == [
        f"{listing} row 2: label='clap': the whole file has the label 'wave' in {listing} row 1; "
        "columns start_us, end_us say which part a row means"
    ]


@pytest.mark.parametrize(
    ("header", "text"),
    [("start,end_us", "'start_us'; did you mean \"start\""), ("start_ev,end", "'end_ev'; did you mean \"end\"")],
)
def test_a_misspelt_half_of_a_pair_of_columns_is_said_once(folder: Path, header: str, text: str) -> None:
    listing = folder / "list.csv"
    listing.write_text(f"file,label,{header}\na/one.npy,wave,0,1\n")
    with pytest.raises(DataError, match=f"has no column {text}"):
        read_listing(listing, folder)


def test_a_listing_given_as_folders_is_told_its_source(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="use --source table"):
        open_source(ImportOptions("folders"), tmp_path / "list.csv")


def test_a_subject_in_two_official_parts_is_said(folder: Path) -> None:
    rows = [{**row, "split": part} for row, part in zip(ROWS, ("train", "test", "test"), strict=True)]
    said = warnings(of_rows(folder, *rows).manifest)
    assert 'anna is in test and train: evaluation.split = "official" refuses that' in said
    assert "ben is in" not in said
    assert "is in test" not in warnings(of_rows(folder, *ROWS).manifest)


def test_a_set_of_ones_own_is_not_taken_for_slanimals_by_its_name(folder: Path) -> None:
    (folder / "SL-Animals-DVS.csv").write_text(as_csv(ROWS))
    manifest = imported(folder / "SL-Animals-DVS.csv").manifest
    assert (manifest.name, manifest.orientation) == ("SL-Animals-DVS, listed", "upright")


def test_damage_costs_only_the_samples_near_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event a millisecond, in blocks of 100; after 600 the file cannot be read."""

    class Damaged:
        sensor, left_out = (8, 8), Counter[str]()

        def blocks(self) -> Iterator[Block]:
            for first in range(0, 600, 100):
                times = np.arange(first, first + 100) * STEP_US
                yield Block(*(np.zeros(100, np.uint16) for _ in range(2)), times, np.ones(100, bool))
            raise DataError("damaged")

    monkeypatch.setattr(cutting, "open_event_file", lambda *_: Damaged())
    bounds = [(0, 200_000), (300_000, 450_000), (450_000, 590_000), (700_000, 900_000)]
    wanted = [
        cutting.Wanted("row", f"sample {number}", "r", "anna", "", "", 0, "wave", Cut(*bound, is_time=True))
        for number, bound in enumerate(bounds)
    ]
    samples, (finding,) = cutting.load_pieces([cutting.Piece(Member(tmp_path), None, tuple(wanted))], (8, 8))
    assert [(one.sample_id, one.events) for one in samples] == [("sample 0", 200), ("sample 1", 150)]
    assert finding.lost == ("sample 2", "sample 3")

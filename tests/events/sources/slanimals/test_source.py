"""SL-Animals-DVS folders into samples, and every hazard named by file, row and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sltune.errors import DataError
from sltune.events.formats.aedat import read_aedat
from sltune.events.formats.members import Member
from sltune.events.source import Finding
from sltune.events.sources.slanimals.source import cut_recording, load_recording, open_slanimals
from sltune.events.sources.slanimals.tags import GESTURES, Tag, check_tags, read_tags
from tests.events.conftest import TinyFolder, aedat_bytes, refused

NAME = "user00_indoor"
HEAD = "class,startTime_ev,endTime_ev\n"
Edit = Callable[[list[str]], object]


def tag_text(rows: list[str]) -> str:
    return HEAD + "".join(row + "\n" for row in rows)


def nineteen_rows() -> list[str]:
    """Signs of 10 events, one after the other."""
    return [f"{label},{10 * label - 10},{10 * label}" for label in range(1, 20)]


@pytest.fixture
def tag_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        file = tmp_path / f"{NAME}.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


def write_recording(folder: Path, address: list[int], time_us: list[int]) -> Path:
    file = folder / f"{NAME}.aedat"
    file.write_bytes(aedat_bytes(address, time_us))
    return file


def errors_of(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.is_error]


def warnings_of(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if not finding.is_error]


def test_a_whole_folder_gives_19_samples_of_each_recording(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(events=1000, first_us=2**31 + 5)
    source = open_slanimals(folder)
    assert (source.name, source.synthetic, source.sensor) == ("SL-Animals-DVS", False, (128, 128))
    assert (len(source.classes), source.classes[0], source.classes[18]) == (19, "cat", "zebra")
    assert [file.name for file in source.files] == ["user00_indoor", "user18_sunlight", "user25_imse", "user35_dc"]
    sessions = []
    for file in source.files:
        samples, findings = file.load()
        assert findings == []
        assert [sample.label for sample in samples] == list(range(19))
        assert [sample.gesture for sample in samples] == list(GESTURES)
        assert [sample.sample_id for sample in samples] == [f"{file.name}_{row:02d}" for row in range(1, 20)]
        assert {sample.subject for sample in samples} == {file.name.split("_")[0]}
        assert {len(sample.address) for sample in samples} == {1000}
        # 600 µs from event to event; seven events lie before each sign.
        assert [sample.start_us for sample in samples[:2]] == [2**31 + 5 + 7 * 600, 2**31 + 5 + 1014 * 600]
        assert {sample.duration_us for sample in samples} == {999 * 600}
        sessions.append(samples[0].session)
    assert sessions == ["S3", "S4", "S1", "S2"]


def test_recordings_without_tags_and_with_wrong_names_are_all_named_at_once(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=("user00_indoor", "user01_indoor", "user02_kitchen", "user٣_dc", "bob_dc"), events=1)
    (folder / "tags" / "user00_indoor.csv").unlink()
    recordings = folder / "recordings"
    with refused(
        DataError,
        f"{recordings / 'user00_indoor.aedat'}: no tag file user00_indoor.csv",
        f"{recordings / 'user02_kitchen.aedat'}: name is not userNN_SESSION",
        f"{recordings / 'user٣_dc.aedat'}: name is not userNN_SESSION",
        f"{recordings / 'bob_dc.aedat'}: name is not userNN_SESSION",
        "imse, dc, indoor, sunlight",
    ):
        open_slanimals(folder)


def test_tags_without_a_recording_are_a_warning(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=("user00_indoor", "user01_indoor"), events=1)
    (folder / "recordings" / "user01_indoor.aedat").unlink()
    source = open_slanimals(folder)
    assert [file.name for file in source.files] == ["user00_indoor"]
    orphan = folder / "tags" / "user01_indoor.csv"
    assert source.findings == (Finding(str(orphan), "has no recording and is left out"),)


def test_one_synthetic_recording_makes_the_dataset_synthetic(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(events=1)
    lines = ["#!AER-DAT2.0", "# synthetic: sltune synth --seed 0"]
    (folder / "recordings" / "user25_imse.aedat").write_bytes(aedat_bytes([1], [1], lines))
    assert open_slanimals(folder).synthetic


def test_a_folder_opens_although_its_first_recording_is_damaged(tiny_folder: TinyFolder) -> None:
    """Otherwise --skip-bad could not leave it out."""
    folder = tiny_folder(events=1)
    damaged = folder / "recordings" / "user00_indoor.aedat"
    damaged.write_bytes(b"rubbish")
    source = open_slanimals(folder)
    assert len(source.files) == 4
    with refused(DataError, damaged, "not an AEDAT-2.0 file"):
        source.files[0].load()


def test_the_hash_of_a_source_file_covers_events_and_tags(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=(NAME,), events=1)
    hashes = set()
    for file in (folder / "recordings" / f"{NAME}.aedat", folder / "tags" / f"{NAME}.csv"):
        hashes.add(open_slanimals(folder).files[0].sha256())
        file.write_bytes(file.read_bytes()[:-1] + b"\n ")
    hashes.add(open_slanimals(folder).files[0].sha256())
    assert len(hashes) == 3


def test_a_link_to_nowhere_is_named(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=(NAME,), events=1)
    broken = folder / "recordings" / "user99_dc.aedat"
    broken.symlink_to(folder / "absent")
    (folder / "tags" / "user99_dc.csv").write_text(HEAD)
    with refused(DataError, broken, "No such file"):
        open_slanimals(folder).files[1].sha256()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tag_text(["3,5,9", "1,9,12"]), id="plain"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).rstrip("\n"), id="no line end at the end"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).replace("\n", "\r\n"), id="CRLF"),
        pytest.param(b"\xef\xbb\xbf" + tag_text(["3,5,9", "1,9,12"]).encode(), id="byte order mark"),
        pytest.param("class , startTime_ev, endTime_ev \n 3 , 5, 9\n1, 9 ,12\n", id="spaces"),
        pytest.param("endTime_ev,note,class,startTime_ev\n9,a,3,5\n12,,1,9\n", id="another order and a column more"),
        pytest.param(tag_text(["3,5,9", "1,9,12", "", ""]), id="empty lines at the end"),
        pytest.param(tag_text(["3,5,9", ",,", "1,9,12", "  ", ", ,", ",,,,"]), id="wholly empty rows"),
        pytest.param("\n\r\n" + tag_text(["3,5,9", "1,9,12"]), id="empty lines at the start"),
        pytest.param(tag_text(["3.0,5.0,9.0", "1.0,9.00,12.000000"]), id="floats"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).replace("\n", ",\n"), id="a comma at the end"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).replace(",", ";"), id="semicolons"),
        pytest.param(tag_text(["3,5,9,", "1,9,12,"]).replace(",", ";"), id="semicolons, one more in the rows"),
        pytest.param("class;startTime_ev;endTime_ev\n3,0;5,0;9,0\n1,0;9,0;12,0\n", id="semicolons and decimal commas"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).replace(",", "\t"), id="tabs"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).replace("\n", "\r"), id="CR alone"),
        pytest.param("CLASS,STARTTIME_EV,EndTime_ev\n3,5,9\n1,9,12\n", id="another case"),
        pytest.param('"class","startTime_ev","endTime_ev"\n"3","5","9"\n"1","9","12"\n', id="quoted"),
        pytest.param(",class,startTime_ev,endTime_ev\n0,3,5,9\n1,1,9,12\n", id="a column of pandas' index"),
        pytest.param("\tclass\tstartTime_ev\tendTime_ev\n0\t3\t5\t9\n1\t1\t9\t12\n", id="tabs and an index"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).encode("utf-16"), id="UTF-16"),
        pytest.param(tag_text(["3,5,9", "1,9,12"]).replace(",", "\t").encode("utf-16"), id="UTF-16 of a spreadsheet"),
        pytest.param(
            "class,startTime_ev,endTime_ev,señas\n3,5,9,araña\n1,9,12,\n".encode("latin-1"), id="notes in Latin-1"
        ),
    ],
)
def test_a_tag_file_is_read_whatever_wrote_it(tag_file: Callable[..., Path], content: str | bytes) -> None:
    tags, findings = read_tags(tag_file(content))
    assert tags == [Tag(1, 2, 5, 9), Tag(2, 0, 9, 12)]
    assert findings == []


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("3,five,9", "class='3', startTime_ev='five', endTime_ev='9'"),
        ("3,5.5,9", "startTime_ev='5.5'"),
        ("3,5.01,9", "startTime_ev='5.01'"),
        ("3,5.000,9", "startTime_ev='5.000'"),
        ("3,5e3,9", "startTime_ev='5e3'"),
        ("3,5.,9", "startTime_ev='5.'"),
        ("3,,9", "startTime_ev=''"),
        ("3,5", "endTime_ev=''"),
        ("cat,5,9", "class='cat'"),
        ("nan,5,9", "class='nan'"),
    ],
)
def test_a_row_that_holds_no_three_numbers_is_an_error_with_its_values(
    tag_file: Callable[..., Path], row: str, shown: str
) -> None:
    file = tag_file(tag_text(["1,0,5", row, "2,9,12"]))
    tags, findings = read_tags(file)
    assert [tag.row for tag in tags] == [1, 3]
    (error,) = errors_of(findings)
    assert error.startswith(f"{file} row 2: ")
    assert shown in error
    assert "three whole numbers are expected" in error


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param(b"", ["no column 'class'", "only nothing"], id="empty"),
        pytest.param(
            b"class,start,endTime_ev\n1,0,5\n", ["no column 'startTime_ev'", "class, start, end"], id="column"
        ),
        pytest.param(HEAD.encode()[:-1] + b",Class\n1,0,5,2\n", ["has 2 columns 'class'"], id="a column twice"),
        pytest.param(b"class|startTime_ev|endTime_ev\n1|0|5\n", ["no column 'class'", "class|start"], id="bars"),
        pytest.param(b"1,0,5\n2,5,9\n", ["no column 'class'", "only 1, 0, 5"], id="no head"),
        pytest.param(b"PK\x03\x04\x1b[31m" + bytes(80), ["only PK\\x03\\x04\\x1b[31m"], id="a spreadsheet"),
        pytest.param(bytes(range(128, 256)), ["no column 'class'", "\\x80\\x81"], id="binary"),
        pytest.param(HEAD.encode("utf-16")[:-1], ["cannot be read as a tag file"], id="UTF-16, cut"),
        pytest.param(HEAD.encode("utf-32-be"), ["no column 'class'"], id="UTF-32"),
        pytest.param(b'"' + b"x" * 200_000, ["cannot be read as a tag file", "131072"], id="an endless cell"),
    ],
)
def test_a_file_that_holds_no_tags_is_refused(tag_file: Callable[..., Path], content: bytes, parts: list[str]) -> None:
    file = tag_file(content)
    with refused(DataError, file, *parts):
        read_tags(file)


def test_a_folder_in_place_of_a_tag_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: is a folder, not a plain file"):
        read_tags(tmp_path)


def check(tmp_path: Path, rows: list[str], events: int = 190) -> tuple[list[str], list[str]]:
    """Return errors and warnings without the file's name, which each must begin with."""
    file = tmp_path / f"{NAME}.csv"
    file.write_text(tag_text(rows))
    findings = check_tags(Member(file), read_tags(file)[0], events)
    assert all(finding.place.startswith(str(file)) for finding in findings)
    return tuple([line.removeprefix(str(file)) for line in part(findings)] for part in (errors_of, warnings_of))


def test_19_signs_side_by_side_have_nothing_wrong(tmp_path: Path) -> None:
    assert check(tmp_path, nineteen_rows()) == ([], [])


@pytest.mark.parametrize(
    ("edit", "errors"),
    [
        pytest.param(lambda rows: rows.pop(18), [": class 19 (zebra) is missing"], id="missing class"),
        pytest.param(
            lambda rows: rows.append("2,180,190"), [" rows 2, 20: class 2 (dog) is repeated"], id="repeated class"
        ),
        pytest.param(
            lambda rows: rows.__setitem__(4, "0,40,50"),
            [" row 5: class=0: only 1…19 exist", ": class 5 (sheep) is missing"],
            id="class 0",
        ),
        pytest.param(lambda rows: rows.append("20,180,190"), [" row 20: class=20: only 1…19 exist"], id="class 20"),
        pytest.param(lambda rows: rows.append("-1,180,190"), [" row 20: class=-1: only 1…19 exist"], id="class −1"),
        pytest.param(
            lambda rows: rows.__setitem__(18, "19,180,191"),
            [" row 19: startTime_ev=180, endTime_ev=191: out of range, the recording has 190 events"],
            id="end beyond the file",
        ),
        pytest.param(
            lambda rows: rows.__setitem__(0, "1,-1,10"),
            [" row 1: startTime_ev=-1, endTime_ev=10: out of range, the recording has 190 events"],
            id="negative start",
        ),
        pytest.param(
            lambda rows: rows.__setitem__(2, "3,25,25"),
            [" row 3: startTime_ev=25, endTime_ev=25: start must lie before end"],
            id="start equals end",
        ),
        pytest.param(
            lambda rows: rows.__setitem__(2, "3,30,20"),
            [" row 3: startTime_ev=30, endTime_ev=20: start must lie before end"],
            id="start after end",
        ),
        pytest.param(
            lambda rows: rows.__setitem__(18, f"19,180,{10**30}"),
            [f" row 19: startTime_ev=180, endTime_ev={10**30}: out of range, the recording has 190 events"],
            id="a number of no integer type",
        ),
    ],
)
def test_tags_that_make_no_sense_are_errors(tmp_path: Path, edit: Edit, errors: list[str]) -> None:
    rows = nineteen_rows()
    edit(rows)
    assert sorted(check(tmp_path, rows)[0]) == sorted(errors)


def test_no_rows_at_all_are_19_missing_classes(tmp_path: Path) -> None:
    errors, _ = check(tmp_path, [])
    assert len(errors) == 19


def test_overlapping_tags_are_a_warning_also_where_one_covers_several(tmp_path: Path) -> None:
    rows = nineteen_rows()
    rows[2] = "3,20,52"
    assert check(tmp_path, rows) == (
        [],
        [
            " row 4: startTime_ev=30 overlaps row 3, ending 52",
            " row 5: startTime_ev=40 overlaps row 3, ending 52",
            " row 6: startTime_ev=50 overlaps row 3, ending 52",
        ],
    )


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    assert check(tmp_path, nineteen_rows()[::-1]) == ([], [])


def test_the_label_comes_from_the_class_column_and_the_name_from_the_row(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=(NAME,), events=1000)
    tags = folder / "tags" / f"{NAME}.csv"
    head, *rows = tags.read_text().splitlines()
    tags.write_text("\n".join([head, *rows[::-1]]))
    samples, findings = open_slanimals(folder).files[0].load()
    assert findings == []
    assert [sample.label for sample in samples] == list(range(18, -1, -1))
    assert (samples[0].sample_id, samples[0].gesture) == ("user00_indoor_01", "zebra")
    # The zebra still begins where it did: after 18 signs of 1007 events and a gap of 7.
    assert samples[0].start_us == (18 * 1007 + 7) * 600


def test_special_events_count_in_the_indices_and_are_dropped_after_the_cut(tmp_path: Path) -> None:
    file = write_recording(tmp_path, [1, 0x8000, 2, 3, 0x8001, 4, 5], [10, 11, 12, 13, 14, 15, 16])
    recording = read_aedat(file)
    first, second = cut_recording(recording, [Tag(1, 0, 1, 5), Tag(2, 7, 5, 7)], "user00", "S3")
    assert (first.address.tolist(), first.start_us, first.time_us.tolist()) == ([2, 3], 12, [0, 1])
    assert (second.address.tolist(), second.start_us, second.time_us.tolist()) == ([4, 5], 15, [0, 1])
    assert (first.address.dtype, first.time_us.dtype) == (np.uint16, np.uint32)
    assert (first.gesture, second.gesture) == ("cat", "squirrel")


def test_a_sample_begins_at_its_earliest_event_and_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    recording = read_aedat(write_recording(tmp_path, [1, 2, 3], [2**32 - 5, 2**32 - 9, 2**32 + 3]))
    (sample,) = cut_recording(recording, [Tag(1, 0, 0, 3)], "user00", "S3")
    assert (sample.start_us, sample.time_us.tolist(), sample.address.tolist()) == (2**32 - 9, [4, 0, 12], [1, 2, 3])
    assert (sample.duration_us, sample.backward_steps) == (12, 1)


def load(
    folder: Path, address: list[int], time_us: list[int], rows: list[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return the samples' names, and errors and warnings."""
    file = write_recording(folder, address, time_us)
    tags = folder / f"{NAME}.csv"
    tags.write_text(tag_text(rows))
    samples, findings = load_recording(file, tags)
    return [sample.sample_id for sample in samples], errors_of(findings), warnings_of(findings)


def test_odd_samples_are_warnings_and_are_kept(tmp_path: Path) -> None:
    times = list(range(190))
    times[3], times[7] = 0, 0
    address = [0] * 190
    address[55] = 0x8000
    names, errors, warnings = load(tmp_path, address, times, nineteen_rows())
    assert errors == []
    assert len(names) == 19
    place = f"{tmp_path / NAME}.aedat"
    assert f"{place} sample user00_indoor_01: holds only 10 events" in warnings
    assert f"{place} sample user00_indoor_06: holds only 9 events" in warnings
    assert f"{place} sample user00_indoor_01: time goes backwards 2 times; sorted when read" in warnings
    assert f"{place}: 1 special events are counted by the tags and then dropped" in warnings
    assert f"{place}: lasts 189 µs; 19 signs take about 76 s; are its times in s instead of µs?" in warnings
    assert len(warnings) == 19 + 1 + 1 + 1


def test_a_sample_of_special_events_only_is_an_error(tmp_path: Path) -> None:
    names, errors, _ = load(tmp_path, [0x8000] * 10 + [0] * 180, list(range(190)), nineteen_rows())
    assert names[0] == "user00_indoor_02"
    assert errors == [f"{tmp_path / NAME}.aedat sample user00_indoor_01: holds no pixel event"]


def test_of_a_repeated_class_the_first_valid_row_is_kept(tmp_path: Path) -> None:
    rows = nineteen_rows()
    rows[3] = "4,40,30"
    rows += ["4,30,40", "4,35,40", "bad,1,2", "20,1,2"]
    names, errors, _ = load(tmp_path, [0] * 190, list(range(190)), rows)
    assert names == [f"user00_indoor_{row:02d}" for row in (1, 2, 3, *range(5, 21))]
    assert len(errors) == 4


def test_a_sample_longer_than_32_bits_can_tell_is_an_error(tmp_path: Path) -> None:
    """Ten steps of 2·10⁹ µs in the second sign: its times would not fit, and must not be folded in silence."""
    times = [*range(10), *(n * 2 * 10**9 for n in range(1, 11)), *(2 * 10**10 + n for n in range(170))]
    names, errors, _ = load(tmp_path, [0] * 190, times, nineteen_rows())
    assert len(names) == 18
    assert errors == [
        f"{tmp_path / NAME}.csv row 2: lasts longer than 2³² µs (71 minutes); the times of the recording are damaged "
        "or not in µs"
    ]

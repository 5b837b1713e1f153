"""Recordings and their tags, whatever the folders and archives are called in which a user has them."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sltune.errors import DataError
from sltune.events.importing import import_source
from sltune.events.manifest import read_manifest
from sltune.events.sources.slanimals.pairs import find_pairs, sha256_of_pair
from sltune.events.sources.slanimals.source import open_slanimals
from tests.events.conftest import TinyFolder, refused

NAMES = ("user00_indoor", "user18_sunlight")
Layout = Callable[[Path, Path, Path], object]


def pack(archive: Path, folder: Path, below: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in sorted(folder.iterdir()):
            opened.write(file, f"{below}{file.name}")
    return archive


def as_handed_out(recordings: Path, tags: Path, to: Path) -> None:
    recordings.rename(to / "allusers_aedat")
    tags.rename(to / "tags_updated_19_08_2020")


def nested(recordings: Path, tags: Path, to: Path) -> None:
    (to / "SL Animals" / "raw").mkdir(parents=True)
    recordings.rename(to / "SL Animals" / "raw" / "allusers_aedat")
    tags.rename(to / "etiquetas")


def all_in_one_folder(recordings: Path, tags: Path, to: Path) -> None:
    for file in (*recordings.iterdir(), *tags.iterdir()):
        file.rename(to / file.name)


def two_archives(recordings: Path, tags: Path, to: Path) -> None:
    pack(to / "allusers_aedat.zip", recordings, "allusers_aedat/")
    pack(to / "TAGS.ZIP", tags)


def an_archive_beside_a_folder(recordings: Path, tags: Path, to: Path) -> None:
    pack(to / "allusers_aedat.zip", recordings)
    tags.rename(to / "tags_updated_19_08_2020")


def capitals(recordings: Path, tags: Path, to: Path) -> None:
    as_handed_out(recordings, tags, to)
    for file in list(to.glob("*/*")):
        file.rename(file.with_name(file.name.upper()))


def one_in_capitals(recordings: Path, tags: Path, to: Path) -> None:
    as_handed_out(recordings, tags, to)
    file = to / "tags_updated_19_08_2020" / "user00_indoor.csv"
    file.rename(file.with_name("User00_Indoor.CSV"))


def gzipped(recordings: Path, tags: Path, to: Path) -> None:
    as_handed_out(recordings, tags, to)
    for file in list(to.glob("*/*")):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def links(recordings: Path, tags: Path, to: Path) -> None:
    (to / "recordings").symlink_to(recordings)
    (to / "tags").mkdir()
    for file in tags.iterdir():
        (to / "tags" / file.name).symlink_to(file)


def with_all_that_lies_beside(recordings: Path, tags: Path, to: Path) -> None:
    """What macOS, Windows, other loaders and the authors' page leave there; the RAR archive has been unpacked."""
    as_handed_out(recordings, tags, to)
    (to / "allusers_aedat.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    (to / "tags_updated_19_08_2020.tar.gz").write_bytes(gzip.compress(b""))
    (to / "allusers_aedat" / "._user00_indoor.aedat").write_bytes(bytes(4))
    (to / "tags_updated_19_08_2020" / "._user00_indoor.csv").write_bytes(bytes(4))
    (to / "tags_updated_19_08_2020" / "user00_indoor_layer1.csv").write_text("class\n")
    for name in ("allusers_aedat/Thumbs.db", "desktop.ini", "SL-Animals-DVS_gestures_definitions.csv", ".DS_Store"):
        (to / name).write_bytes(bytes(4))
    (to / "SL_animal_splits").mkdir()
    (to / "SL_animal_splits" / "user00_indoor_1_0.pckl").write_bytes(bytes(4))


def an_archive_beside_what_was_unpacked_from_it(recordings: Path, tags: Path, to: Path) -> None:
    two_archives(recordings, tags, to)
    as_handed_out(recordings, tags, to)


LAYOUTS: tuple[Layout, ...] = (
    *(as_handed_out, nested, all_in_one_folder, two_archives, an_archive_beside_a_folder, capitals, one_in_capitals),
    *(gzipped, links, with_all_that_lies_beside, an_archive_beside_what_was_unpacked_from_it),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_same_dataset_comes_out_however_the_files_lie(
    tiny_folder: TinyFolder, tmp_path: Path, layout: Layout
) -> None:
    plain, place = tiny_folder(names=NAMES), tmp_path / "place"
    expected = import_source(open_slanimals(plain), tmp_path / "expected", strict=True)
    place.mkdir()
    layout(plain / "recordings", plain / "tags", place)
    source = open_slanimals(place)
    assert source.findings == ()
    assert [file.name for file in source.files] == list(NAMES)
    manifest = import_source(source, tmp_path / "data", strict=True)
    assert manifest == expected
    assert read_manifest(tmp_path / "data").files == expected.files


def test_the_folder_may_be_the_current_one(
    tiny_folder: TinyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_folder(names=NAMES, events=1))
    assert [pair.name for pair in find_pairs(Path())[0]] == list(NAMES)
    shutil.rmtree("recordings")
    with refused(DataError, ".: holds no .aedat file", "tags: 2 .csv"):
        find_pairs(Path())


def test_a_copy_is_read_once_and_the_plain_one_is_taken(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=NAMES[:1], events=20)
    recording = folder / "recordings" / "user00_indoor.aedat"
    pack(folder / "a.zip", folder / "recordings")
    recording.with_name("user00_indoor.aedat.gz").write_bytes(gzip.compress(recording.read_bytes()))
    (folder / "copy").mkdir()
    shutil.copy(folder / "tags" / "user00_indoor.csv", folder / "copy")
    ((pair,), findings) = find_pairs(folder)
    assert findings == []
    assert pair.recording.path == recording
    assert [len(files) for files in (pair.recordings, pair.tag_files)] == [3, 2]
    tags = folder / "tags" / "user00_indoor.csv"
    assert sha256_of_pair(pair) == hashlib.sha256(recording.read_bytes() + tags.read_bytes()).hexdigest()


@pytest.mark.parametrize("part", ["recordings", "tags"])
@pytest.mark.parametrize("packed", [False, True])
def test_two_that_differ_are_an_error_that_names_both(
    tiny_folder: TinyFolder, tmp_path: Path, part: str, packed: bool
) -> None:
    folder = tiny_folder(names=NAMES, events=1000)
    file = next((folder / part).glob("user00*"))
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes().replace(b"1,7,1007", b"1,7,1008") if part == "tags" else file.read_bytes()[:-8])
    if packed:
        where = f"{pack(folder / 'older.zip', other.parent)}/{file.name}"
    else:
        where = str(shutil.copytree(other.parent, folder / "tags_older") / file.name)
    with refused(DataError, f"{file}: is not the same as {where}; keep the one that is right"):
        import_source(open_slanimals(folder), tmp_path / "data")
    manifest = import_source(open_slanimals(folder), tmp_path / "data", skip_bad=True)
    assert [left.name for left in manifest.left_out] == ["user00_indoor"]


def test_names_that_differ_in_case_only_are_one_recording(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    folder = tiny_folder(names=NAMES[:1], events=20)
    file = folder / "recordings" / "user00_indoor.aedat"
    shutil.copy(file, file.with_name("USER00_indoor.aedat"))
    assert len(find_pairs(folder)[0]) == 1
    file.write_bytes(file.read_bytes()[:-8])
    with refused(DataError, file, "USER00_indoor.aedat", "is not the same as"):
        import_source(open_slanimals(folder), tmp_path / "data")


@pytest.mark.parametrize("packed", [False, True])
def test_recordings_still_in_a_rar_archive_are_told_to_be_unpacked(
    tiny_folder: TinyFolder, tmp_path: Path, packed: bool
) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    shutil.rmtree(folder / "recordings")
    (folder / "allusers_aedat.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    (folder / "notes").touch()
    place = Path(shutil.make_archive(str(tmp_path / "set"), "zip", folder)) if packed else folder
    within = " within another archive" if packed else ""
    with refused(
        DataError,
        f"{place}: holds no .aedat file",
        "userNN_SESSION.aedat",
        "the folders in it may have any names",
        f"{place} holds:\n  .: 1 .rar\n  .: 1 without a suffix\n  tags: 2 .csv",
        f"{place}/allusers_aedat.rar: is a .rar archive{within}; unpack it",
    ):
        find_pairs(place)


@pytest.mark.parametrize("name", ["all.rar", "ALL.7Z", "all.tar", "all.tar.gz", "all.tgz", "user00_indoor.aedat.xz"])
def test_an_archive_of_another_kind_is_named_as_place_and_beside_what_was_found(
    tiny_folder: TinyFolder, name: str
) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    archive = folder / name
    archive.write_bytes(b"x" * 100)
    with refused(DataError, f"{archive}: is a .", " archive; name the folder or zip archive"):
        find_pairs(archive)
    pairs, (finding,) = find_pairs(folder)
    assert [pair.name for pair in pairs] == list(NAMES)
    assert str(finding).startswith(f"{archive}: is a .")
    assert "not looked into; unpack it if something is missing" in finding.text


def test_an_archive_within_an_archive_is_not_passed_over(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    pack(folder / "tags.zip", folder / "tags")
    place = Path(shutil.make_archive(str(tmp_path / "set"), "zip", folder))
    pairs, (finding,) = find_pairs(place)
    assert len(pairs) == 2
    assert str(finding).startswith(f"{place}/tags.zip: is a .zip archive within another archive")
    shutil.rmtree(folder / "tags")
    place = Path(shutil.make_archive(str(tmp_path / "set"), "zip", folder))
    with refused(DataError, "holds no .csv file", f"{place}/tags.zip: is a .zip archive within another", "unpack it"):
        find_pairs(place)


def test_a_single_recording_or_tag_file_is_told_to_be_the_folder(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    for file in (folder / "recordings" / "user00_indoor.aedat", folder / "tags" / "user00_indoor.csv"):
        with refused(DataError, f"{file}: is a single file; name the folder"):
            find_pairs(file)


def test_one_of_the_two_folders_alone_says_what_is_in_it(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    with refused(DataError, f"{folder / 'recordings'}: holds no .csv file", "holds:\n  .: 2 .aedat"):
        find_pairs(folder / "recordings")
    (tmp_path / "empty").mkdir()
    with refused(DataError, f"{tmp_path / 'empty'}: holds no .aedat and no .csv file; name the folder"):
        find_pairs(tmp_path / "empty")


def test_a_recording_without_tags_is_named_with_what_there_is(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    tags = folder / "tags" / "user00_indoor.csv"
    tags.rename(tags.with_name("user00_indoor.xlsx"))
    with refused(
        DataError,
        f"{folder / 'recordings' / 'user00_indoor.aedat'}: no tag file user00_indoor.csv",
        "  tags: 1 .csv\n  tags: 1 .xlsx",
    ):
        find_pairs(folder)


def test_a_long_list_of_problems_is_cut(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=[f"user{user:02d}_indoor" for user in range(25)], events=1)
    for user in range(1, 25):
        (folder / "tags" / f"user{user:02d}_indoor.csv").unlink()
        (folder / f"{user:02d}").mkdir()
        (folder / f"{user:02d}" / "notes.txt").touch()
    with refused(DataError, "user20_indoor.csv\n… and 4 more", "  19: 1 .txt", "20: 1 .txt\n  … and 6 more"):
        find_pairs(folder)


def test_a_name_that_is_not_utf_8_is_refused_where_it_is_needed(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    Path(os.fsdecode(bytes(folder) + b"/notes\xff.txt")).touch()
    assert len(find_pairs(folder)[0]) == 2
    Path(os.fsdecode(bytes(folder) + b"/user\xff_dc.csv")).touch()
    with refused(DataError, r"user\udcff_dc.csv: its name is not UTF-8; rename it"):
        find_pairs(folder)


def test_control_characters_of_names_are_shown_as_escapes(tiny_folder: TinyFolder) -> None:
    folder = tiny_folder(names=NAMES, events=1)
    (folder / "tags" / "user00_indoor.csv").unlink()
    (folder / "\x1b[31mred").mkdir()
    (folder / "recordings" / "user00_indoor.aedat").rename(folder / "\x1b[31mred" / "user00_indoor.aedat")
    with pytest.raises(DataError) as caught:
        find_pairs(folder)
    assert "\x1b" not in str(caught.value)
    assert f"{folder}/\\x1b[31mred/user00_indoor.aedat: no tag file" in str(caught.value)

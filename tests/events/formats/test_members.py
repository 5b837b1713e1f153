"""Files that are plain, gzipped, or members of archives, and what is wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sltune.errors import DataError
from sltune.events.formats.members import Member, find_members, sha256_of
from sltune.events.importing import import_source
from sltune.events.manifest import read_manifest
from sltune.events.sources.slanimals.source import open_slanimals
from tests.events.conftest import TinyFolder, refused

CONTENT = b"#!AER-DAT2.0\r\n" + bytes(range(256)) * 50


def zipped(file: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def gzipped(file: Path, content: bytes) -> Path:
    file.write_bytes(gzip.compress(content))
    return file


def test_the_content_is_the_same_however_it_is_packed(tmp_path: Path) -> None:
    plain = tmp_path / "a.aedat"
    plain.write_bytes(CONTENT)
    members = [
        Member(plain),
        Member(gzipped(tmp_path / "b.aedat.gz", CONTENT)),
        Member(zipped(tmp_path / "c.zip", {"x/c.aedat": CONTENT}), "x/c.aedat"),
        Member(zipped(tmp_path / "d.zip", {"d.aedat": CONTENT}, zipfile.ZIP_STORED), "d.aedat"),
        Member(zipped(tmp_path / "e.zip", {"e.aedat.gz": gzip.compress(CONTENT)}), "e.aedat.gz"),
    ]
    assert [member.content() for member in members] == [CONTENT] * 5
    assert [(member.name, member.stem) for member in members] == [(f"{name}.aedat", name) for name in "abcde"]
    assert len({sha256_of(member) for member in members}) == 1
    assert sha256_of(members[0], members[1]) == hashlib.sha256(2 * CONTENT).hexdigest()
    assert str(members[2]) == f"{tmp_path / 'c.zip'}/x/c.aedat"


def test_members_are_found_in_folders_and_in_the_archives_there(tmp_path: Path) -> None:
    for name in ("a.aedat", "notes.txt"):
        (tmp_path / name).write_bytes(CONTENT)
    gzipped(tmp_path / "b.aedat.gz", CONTENT)
    zipped(tmp_path / "c.zip", {"in/c.aedat": CONTENT, "in/": b"", "./d.csv": b""})
    (tmp_path / "folder.aedat").mkdir()
    found = find_members(tmp_path)
    assert [member.name for member in found] == ["a.aedat", "b.aedat", "d.csv", "c.aedat", "notes.txt"]
    assert [member.suffix for member in found] == [".aedat", ".aedat", ".csv", ".aedat", ".txt"]
    assert [member.inside for member in find_members(tmp_path / "c.zip")] == ["./d.csv", "in/c.aedat"]


JUNK = (
    *("._a.aedat", ".a.aedat", ".trash/a.aedat", "__MACOSX/in/a.aedat", "in/__macosx/a.aedat"),
    *("Thumbs.db", "in/desktop.ini", "$RECYCLE.BIN/$R1.aedat", "lost+found/a.aedat"),
)


@pytest.mark.parametrize("packed", [False, True])
def test_what_operating_systems_leave_behind_is_passed_over(tmp_path: Path, packed: bool) -> None:
    place = tmp_path / "set"
    for name in ("in/a.aedat", *JUNK):
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(CONTENT)
    if packed:
        place = zipped(tmp_path / "set.zip", dict.fromkeys(("in/a.aedat", *JUNK), CONTENT))
    assert [str(member) for member in find_members(place)] == [str(place / "in/a.aedat")]


def test_an_archive_with_backslashes_has_the_same_members(tmp_path: Path) -> None:
    names = ["set\\in\\a.aedat", "set\\in\\._a.aedat", "set\\in\\"]
    (member,) = find_members(zipped(tmp_path / "a.zip", dict.fromkeys(names, CONTENT)))
    assert (member.name, member.stem, member.content()) == ("a.aedat", "a", CONTENT)


def test_a_damaged_or_foreign_archive_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.aedat": CONTENT})
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-30])
    with refused(DataError, archive, "is not a zip archive, or is damaged"):
        find_members(tmp_path)
    changed = bytearray(whole)
    changed[60] ^= 0x41
    archive.write_bytes(changed)
    with refused(DataError, archive, "cannot be unpacked"):
        Member(archive, "a.aedat").content()
    archive.write_bytes(whole)
    with refused(DataError, archive, "has no such member"):
        Member(archive, "b.aedat").content()


@pytest.mark.parametrize("keep", [0, 5, 40, -4])
def test_a_gzipped_file_that_was_cut_is_refused(tmp_path: Path, keep: int) -> None:
    file = gzipped(tmp_path / "a.aedat.gz", CONTENT)
    file.write_bytes(file.read_bytes()[:keep])
    if keep == 0:
        assert Member(file).content() == b""
        return
    with refused(DataError, file, "cannot be unpacked"):
        Member(file).content()


@pytest.mark.parametrize("packed", ["gz", "zip"])
def test_the_beginning_of_a_packed_file_is_had_without_unpacking_the_rest(tmp_path: Path, packed: str) -> None:
    """What follows the beginning is damaged, which only the whole content runs into."""
    noise = CONTENT + os.urandom(1 << 18)
    file = tmp_path / f"a.aedat.{packed}"
    member = Member(gzipped(file, noise)) if packed == "gz" else Member(zipped(file, {"a.aedat": noise}), "a.aedat")
    changed = bytearray(file.read_bytes())
    changed[-20_000] ^= 0x41
    file.write_bytes(changed)
    assert member.content(at_most=14) == b"#!AER-DAT2.0\r\n"
    with refused(DataError, member, "CRC"):
        member.content()


def test_what_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """Zeros shrink to a thousandth; a recording does not."""
    bomb = bytes(65 << 20)
    for member in (
        Member(gzipped(tmp_path / "a.aedat.gz", bomb)),
        Member(zipped(tmp_path / "a.zip", {"a.aedat": bomb}), "a.aedat"),
    ):
        with refused(DataError, member, "unpacks to more than 67 MB; no recording or tag file does"):
            member.content()


def test_a_named_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.aedat")
    with refused(DataError, tmp_path / "a.aedat", "is a device, pipe or socket, not a plain file"):
        Member(tmp_path / "a.aedat").content()


@pytest.mark.parametrize("change", ["shorter", "longer", "begun again"])
@pytest.mark.parametrize("packing", ["plain", "gz", "zip"])
def test_a_file_that_changes_while_it_is_read_ends_in_an_error_not_in_a_signal(
    tmp_path: Path, packing: str, change: str
) -> None:
    """As a copy that is begun again, or a network drive that loses the file, does."""
    file, noise = tmp_path / f"a.aedat.{packing}", os.urandom(1 << 20)
    file.write_bytes({"plain": noise, "gz": gzip.compress(noise)}.get(packing, b""))
    member = Member(zipped(file, {"a.aedat": noise}), "a.aedat") if packing == "zip" else Member(file)
    pieces = member.pieces()
    next(pieces)
    size = file.stat().st_size
    with open(file, "r+b") as copy:
        copy.truncate({"shorter": size // 2, "longer": size + 4096, "begun again": 0}[change])
    with refused(DataError, member):
        list(pieces)


def test_a_file_whose_times_alone_tell_that_it_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.aedat"
    file.write_bytes(bytes(1 << 20))
    pieces = Member(file).pieces()
    next(pieces)
    os.utime(file, (1, 1))
    with refused(DataError, file, "changed while it was read; import again when it is no longer being copied"):
        list(pieces)


def test_a_file_of_an_implausible_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Nothing but its size lies on the disk."""
    file = tmp_path / "a.aedat"
    with open(file, "wb") as handle:
        handle.truncate(1 << 40)
    with refused(DataError, file, "has 1,099,512 MB, more than the 4,295 MB that such a file may have"):
        Member(file).content()


def test_a_packed_set_gives_the_same_dataset_as_a_plain_one(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    plain = tiny_folder(events=200)
    expected = import_source(open_slanimals(plain), tmp_path / "plain-data")
    packed = tmp_path / "packed"
    (packed / "recordings").mkdir(parents=True)
    first, second, *others = sorted((plain / "recordings").iterdir())
    gzipped(packed / "recordings" / f"{first.name}.gz", first.read_bytes())
    zipped(packed / "recordings" / f"{second.stem}.zip", {second.name: second.read_bytes()})
    for file in others:
        (packed / "recordings" / file.name).write_bytes(file.read_bytes())
    tags = {f"tags/{file.name}": file.read_bytes() for file in (plain / "tags").iterdir()}
    zipped(packed / "tags.zip", tags)
    all_in_one = zipped(
        tmp_path / "all.zip", {f"SL/{file.parent.name}/{file.name}": file.read_bytes() for file in plain.glob("*/*")}
    )
    for place in (packed, all_in_one):
        out = tmp_path / f"{place.stem}-data"
        assert import_source(open_slanimals(place), out).fingerprint == expected.fingerprint
        assert [file.recordings for file in read_manifest(out).files] == [file.recordings for file in expected.files]


def test_an_archive_without_tags_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"user00_indoor.aedat": CONTENT})
    with refused(DataError, archive, "holds no .csv file"):
        open_slanimals(archive)


def test_members_are_found_in_all_folders_below_and_through_links_each_once(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for file in (place / "in/deep/a.aedat", place / "B.AEDAT", elsewhere / "c.aedat"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(CONTENT)
    gzipped(place / "in" / "d.AEDAT.GZ", CONTENT)
    zipped(place / "in" / "E.ZIP", {"e.aedat": CONTENT})
    # In a circle, to a folder that is found anyway, and out of the set.
    for link, target in (("in/round", place), ("again", place / "in"), ("out", elsewhere), ("self", place / "self")):
        (place / link).symlink_to(target)
    members = [member for member in find_members(place) if member.suffix == ".aedat"]
    assert [str(member).removeprefix(f"{place}/") for member in members] == [
        *("B.AEDAT", "in/E.ZIP/e.aedat", "in/d.AEDAT.GZ", "in/deep/a.aedat", "out/c.aedat"),
    ]
    assert {member.content() for member in members} == {CONTENT}


def test_folders_may_lie_deeper_than_python_calls_itself(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1200):
        folder /= "d"
        folder.mkdir()
    (folder / "a.aedat").touch()
    try:
        assert [member.name for member in find_members(tmp_path)] == ["a.aedat"]
    finally:
        # Python's own way to delete such folders, which pytest uses, calls itself.
        (folder / "a.aedat").unlink()
        while folder != tmp_path:
            folder.rmdir()
            folder = folder.parent


def test_a_folder_below_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so that a refusal has to be made up here."""
    closed = tmp_path / "in" / "closed"
    closed.mkdir(parents=True)
    iterate = Path.iterdir

    def deny(folder: Path) -> Iterator[Path]:
        if folder == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return iterate(folder)

    monkeypatch.setattr(Path, "iterdir", deny)
    with refused(DataError, f"{closed}: cannot be read: Permission denied"):
        find_members(tmp_path)

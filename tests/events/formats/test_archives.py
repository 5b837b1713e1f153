"""Zip archives of strangers: read in place, once, and never beyond what they hold."""

from __future__ import annotations

import os
import socket
import struct
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sltune.errors import DataError
from sltune.events.formats import archives
from sltune.events.formats.members import Member, find_members, sha256_of
from tests.events.conftest import refused

CONTENT = b"#!AER-DAT2.0\r\n" + bytes(range(256)) * 50


def zipped(file: Path, members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        # Of names that are there already.
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return file


def change_directory(file: Path, offset: int, value: bytes) -> None:
    """Write into the first entry of an archive's directory."""
    content = bytearray(file.read_bytes())
    place = content.index(b"PK\x01\x02") + offset
    content[place : place + len(value)] = value
    file.write_bytes(content)


def test_the_directory_of_an_archive_is_read_once_however_many_members_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "a.zip", [(f"{n}.aedat", b"%d" % n) for n in range(1000)])
    opened, original = list[object](), zipfile.ZipFile

    def open_and_count(*arguments: object) -> zipfile.ZipFile:
        opened.append(arguments)
        return original(*arguments)  # type: ignore[arg-type,call-overload,no-any-return]

    monkeypatch.setattr(zipfile, "ZipFile", open_and_count)
    members = find_members(archive)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(Member.content, members))
        assert len(set(pool.map(sha256_of, members))) == 1000
    assert [b"%d.aedat" % int(content) for content in contents] == [member.inside.encode() for member in members]
    assert all(member.size > 0 for member in members)
    assert len(opened) == 1


def test_an_archive_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    for content in (b"first", b"second", b"the third"):
        assert Member(zipped(tmp_path / "a.zip", [("a.aedat", content)]), "a.aedat").content() == content


@pytest.mark.parametrize("name", ["../a.aedat", "/etc/a.aedat", "x/../../a.aedat", "x\\..\\a.aedat", "a\x1b[2J.aedat"])
def test_names_that_lead_elsewhere_or_move_the_cursor_are_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", [("b.aedat", CONTENT), (name, CONTENT)])
    with pytest.raises(DataError) as caught:
        find_members(archive)
    assert str(caught.value).startswith(f"{archive}: names a file ")
    assert "which no archive should" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", [("a.aedat", CONTENT), ("b.aedat", b""), ("a.aedat", b"other")])
    with refused(DataError, f"{archive}: holds 'a.aedat' twice"):
        find_members(archive)


def test_an_encrypted_member_is_refused_with_what_to_do(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", [("a.aedat", CONTENT)])
    change_directory(archive, 8, struct.pack("<H", 1))
    with refused(DataError, f"{archive}/a.aedat: is encrypted; unpack the archive"):
        Member(archive, "a.aedat").content()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 77])
def test_methods_that_unpack_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    archive = zipped(tmp_path / "a.zip", [("a.aedat", CONTENT)])
    change_directory(archive, 10, struct.pack("<H", method))
    with refused(DataError, f"{archive}/a.aedat: is packed by ", "only deflate is read; unpack the archive"):
        Member(archive, "a.aedat").content()


def test_what_unpacks_to_much_is_refused_whatever_the_archive_says_of_its_size(tmp_path: Path) -> None:
    """70 MB of zeros in 70 kB; the directory claims that they take 700 kB, so that 70 MB would seem plausible."""
    archive = zipped(tmp_path / "a.zip", [("a.aedat", bytes(70_000_000))])
    with refused(DataError, archive, "unpacks to more than 67 MB"):
        Member(archive, "a.aedat").content()
    change_directory(archive, 20, struct.pack("<I", 700_000))
    with refused(DataError, archive, "its members would have more bytes than it has"):
        Member(archive, "a.aedat").content()


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Every entry of the directory names the same bytes, of which the archive has 12,000 and would have 120,000."""
    noise = os.urandom(12_000)
    archive = zipped(tmp_path / "a.zip", [("0.aedat", noise)])
    content = archive.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    entries = b"".join(entry.replace(b"0.aedat", b"%d.aedat" % n) for n in range(10))
    tail = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 10, 10, len(entries), start, 0)
    archive.write_bytes(content[:start] + entries + tail)
    assert len(zipfile.ZipFile(archive).namelist()) == 10
    with refused(DataError, archive, "its members would have more bytes than it has"):
        find_members(archive)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "nothing"])
@pytest.mark.parametrize("name", ["a.zip", "a.aedat", "a.csv.gz"])
def test_only_plain_files_are_opened(tmp_path: Path, kind: str, name: str) -> None:
    file = tmp_path / name
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        # Its whole path may have 107 characters.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{os.open(tmp_path, os.O_RDONLY)}/{name}")
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    member = Member(file, "a.aedat") if name == "a.zip" else Member(file)
    with refused(DataError, file, "No such " if kind in ("nothing", "socket") else "not a plain file"):
        member.content()
    assert member.size >= 0
    if name == "a.zip" and kind not in ("folder", "nothing"):
        with refused(DataError, file, "cannot be read"):
            find_members(tmp_path)


def test_archives_stay_open_in_a_small_number(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(40):
        Member(zipped(tmp_path / f"{number}.zip", [("a.aedat", CONTENT)]), "a.aedat").content()
    assert len(os.listdir("/proc/self/fd")) <= before + archives.MAX_OPEN_ARCHIVES

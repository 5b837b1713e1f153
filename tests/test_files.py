"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sltune.errors import UsageError
from sltune.files import open_plain, parse_json, read_plain, whole_file, write_whole


def test_a_file_gets_its_content_and_its_folders(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c.txt"
    write_whole(file, "größe")
    assert file.read_bytes() == b"gr\xc3\xb6\xc3\x9fe"
    write_whole(file, b"\x00\x01")
    assert file.read_bytes() == b"\x00\x01"
    assert list(file.parent.iterdir()) == [file]


def test_others_may_read_the_file(tmp_path: Path) -> None:
    """A temporary file is its owner's alone; the file that it becomes must not be."""
    write_whole(tmp_path / "a", "x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_nothing_is_seen_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_whole(file, "old")
    with whole_file(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert not temporary.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_debris(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "a"
    write_whole(file, "old")

    def fail() -> None:
        with whole_file(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_told_with_the_file_and_the_reason(tmp_path: Path) -> None:
    def fill() -> None:
        with whole_file(tmp_path / "a"):
            raise OSError(28, "No space left on device")

    with pytest.raises(UsageError) as caught:
        fill()
    assert str(caught.value) == f"{tmp_path / 'a'}: cannot be written: No space left on device"
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_an_error_without_a_number_is_told_in_its_own_words(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_file(tmp_path / "a"):
            raise OSError("IOError: disk on fire")

    with pytest.raises(UsageError, match="a: cannot be written: IOError: disk on fire"):
        fail()


def test_what_is_no_file_is_never_replaced_and_neither_is_a_link(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe: cannot be written: is a device, not a file"):
        write_whole(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="a: cannot be written: Is a directory"):
        write_whole(tmp_path / "a", "x")
    (tmp_path / "b").touch()
    with pytest.raises(UsageError, match=r"c: cannot be written: (Not a directory|File exists)"):
        write_whole(tmp_path / "b" / "c", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_plain(tmp_path / "a", max_bytes=5) == b"12345"
    with open_plain(tmp_path / "a") as handle:
        assert handle.read(2) == b"12"


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file, kind in ((tmp_path / "pipe", "pipe"), (Path("/dev/zero"), "device"), (tmp_path, "folder")):
        with pytest.raises(OSError, match=kind):
            read_plain(file)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(OSError, match=r"1,099,512 MB, more than the 67 MB"):
        read_plain(tmp_path / "a")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": NaN}', "[Infinity]", "[-Infinity]", "1" * 5000, "{", b"\xff"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_json(text)


def test_json_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, "NaN", null]}') == {"a": [1, 2.5, "NaN", None]}

"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sltune.errors import UsageError
from sltune.system.files import (
    append_whole,
    named_by_user,
    open_plain,
    parse_json,
    read_plain,
    remove,
    whole_file,
    write_whole,
)
from sltune.system.locks import locked


def test_a_file_gets_its_content_and_its_folders(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c.txt"
    write_whole(file, "größe")
    assert file.read_bytes() == b"gr\xc3\xb6\xc3\x9fe"
    write_whole(file, b"\x00\x01")
    assert file.read_bytes() == b"\x00\x01"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "new" / "a", "x")
        write_whole(tmp_path / "new" / "a", "y")
        with locked(tmp_path / "new" / ".lock"):
            assert stat.S_IMODE((tmp_path / "new" / ".lock").stat().st_mode) == mode
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "a").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~umask


def test_nothing_is_seen_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_whole(file, "old")
    with whole_file(file) as handle:
        handle.write(b"new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_debris(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "a"
    write_whole(file, "old")

    def fail() -> None:
        with whole_file(file) as handle:
            handle.write(b"half")
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


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe: cannot be written: is a device, not a file"):
        write_whole(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", "x")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "x"
    assert (tmp_path / "target").read_text() == "kept"


def test_a_file_that_a_user_names_may_be_a_link_to_one_of_his(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(named_by_user(tmp_path / "link"), "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"
    assert named_by_user(tmp_path / "target") == tmp_path / "target"


def test_below_a_folder_no_link_of_a_folder_is_followed(tmp_path: Path) -> None:
    """The folder itself may be named by a link, as scratch space often is."""
    real, mine = tmp_path / "real", tmp_path / "mine"
    (real / "a").mkdir(parents=True)
    mine.mkdir()
    (tmp_path / "run").symlink_to(real)
    run = tmp_path / "run"
    write_whole(run / "a" / "b" / "c.txt", "x", inside=run)
    assert (real / "a" / "b" / "c.txt").read_text() == "x"
    (mine / "c.txt").write_text("kept")
    for link in (run / "a" / "l", run / "l"):
        link.symlink_to(mine)
        for write in (write_whole, append_whole):
            with pytest.raises(UsageError, match="l: is a link, through which nothing is written"):
                write(link / "c.txt", "x", inside=run)
        with pytest.raises(UsageError, match="is a link"):
            write_whole(link / "deeper" / "c.txt", "x", inside=run)
        with pytest.raises(UsageError, match="is a link"):
            remove(link / "c.txt", inside=run)
    assert [file.name for file in mine.iterdir()] == ["c.txt"]
    assert (mine / "c.txt").read_text() == "kept"


def test_nothing_is_written_outside_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="lies outside of"):
        write_whole(tmp_path / "run" / ".." / "a", "x", inside=tmp_path / "run")
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    for write in (write_whole, append_whole):
        with pytest.raises(UsageError, match="run: is gone; it was deleted, moved or unmounted"):
            write(tmp_path / "run" / "a", "x", inside=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_added_to_a_file_of_ours_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    append_whole(tmp_path / "a", "y")
    assert (tmp_path / "a").read_text() == "xy"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(UsageError, match="link: is a link, which sltune does not make; remove it"):
        append_whole(tmp_path / "link", "z")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"pipe: (cannot be written|is no plain file)"):
        append_whole(tmp_path / "pipe", "z")
    with pytest.raises(UsageError, match="b: cannot be written: No such file"):
        append_whole(tmp_path / "b", "z")
    assert (tmp_path / "a").read_text() == "xy"


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "x")
    remove(tmp_path / "a")
    remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


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

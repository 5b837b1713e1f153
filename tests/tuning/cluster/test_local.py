"""How a Ray of our own is started: where its files lie, what it may use, and what is said where it cannot start."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sltune.errors import SltuneError, UsageError
from sltune.tuning.cluster import connection as cluster
from sltune.tuning.cluster import local, resources
from sltune.tuning.cluster.connection import connected
from sltune.tuning.cluster.environment import prepare_environment
from sltune.tuning.cluster.local import private_folder


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path for Ray's files; TMPDIR and RAY_TMPDIR are not set."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_the_folder_lies_below_tmpdir_is_closed_to_others_and_goes_at_the_end(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(place))
    with private_folder() as folder:
        assert folder.parent == place
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "r" / "session").mkdir(parents=True)
    assert not folder.exists()


def test_what_killed_commands_have_left_is_deleted_and_what_others_hold_stays(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(place))
    left, begun, unlike = (place / name for name in ("sltune-abcd_123", "sltune-abcd_456", "sltune-tune-abcd_789"))
    for folder in (left, begun, unlike):
        (folder / "r").mkdir(parents=True)
    with private_folder() as held:
        for folder in (left, unlike, held):
            os.utime(folder, (0, 0))
        with private_folder() as other:
            assert {*place.iterdir()} == {begun, unlike, held, other}


def test_rays_own_variable_counts_before_tmpdir(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    with private_folder() as folder:
        assert folder.parent == place


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 80, "is longer than"),
        ("é", "has characters that Ray cannot take"),
        ("a b", "has characters that Ray cannot take"),
        ("absent", "No such file"),
        ("file", "Not a directory"),
        ("shared", "everybody may rename"),
    ],
)
def test_where_ray_cannot_work_another_folder_is_taken_or_the_variable_to_set_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    chosen = place / name
    if name == "file":
        chosen.touch()
    elif name != "absent":
        chosen.mkdir()
    if name == "shared":
        chosen.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(chosen))
    with private_folder() as folder:
        assert folder.parent == Path("/tmp")

    monkeypatch.setattr(local, "_places", lambda: [chosen])
    with pytest.raises(UsageError, match=f"set TMPDIR to a folder .*{name}: {reason}"), private_folder():
        pass


def test_a_full_disk_is_no_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 0, 1000 if path == place else 1 << 40))
    monkeypatch.setenv("TMPDIR", str(place))
    with private_folder() as folder:
        assert folder.parent == Path("/tmp")


def test_a_folder_that_may_not_be_written_is_no_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdtemp = tempfile.mkdtemp

    def refuse(prefix: str, dir: Path) -> str:
        if dir == place:
            # As of a read-only file system, and for root, whom permissions do not stop.
            raise OSError(30, os.strerror(30), str(dir))
        return mkdtemp(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setenv("TMPDIR", str(place))
    with private_folder() as folder:
        assert folder.parent == Path("/tmp")


def test_the_paths_of_rays_sockets_fit_in_the_longest_folder(place: Path) -> None:
    longest = place / ("x" * (local._max_path_bytes() - len(str(place)) - 1))
    longest.mkdir()
    local._check(longest)
    folder = Path(tempfile.mkdtemp(prefix="sltune-", dir=longest))
    # As Ray builds it, with a process number of the most digits that Linux has.
    socket = folder / "r" / "session_2026-11-30_04-02-58_734828_4194304" / "sockets" / "plasma_store"
    assert len(os.fsencode(socket)) <= 103
    longer = longest.with_name(f"{longest.name}x")
    longer.mkdir()
    with pytest.raises(OSError, match="longer"):
        local._check(longer)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray would be started with, instead of Ray."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **given: arguments.update(given))
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    return arguments


def test_ray_gets_the_cpus_that_this_process_may_use(started: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "usable_cpus", lambda: 3)
    with connected(None, 0):
        pass
    assert started["num_cpus"] == 3


def test_data_for_which_a_container_has_no_memory_get_none_and_are_read_from_their_files(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "usable_bytes", lambda: 4_000_000_000)
    with connected(None, 9_000_000_000):
        pass
    assert started["object_store_memory"] == resources.STORE_HEADROOM


def test_a_container_without_memory_for_ray_is_refused(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "usable_bytes", lambda: 200_000_000)
    with pytest.raises(UsageError, match="Ray needs 268 MB of memory, but this job may use 200 MB"):
        connected(None, 9_000_000_000).__enter__()
    assert not started


def test_ray_that_does_not_come_up_is_one_sentence_and_leaves_no_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_out(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because of load.")

    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", time_out)
    with pytest.raises(SltuneError) as caught:
        connected(None, 0).__enter__()
    assert caught.value.exit_code == 1
    expected = "Ray did not start on this machine: The current node timed out during startup. This could happen because"
    assert str(caught.value) == f"{expected} of load."
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("first", ["/elsewhere/bin", ""])
def test_workers_get_neither_the_working_folder_nor_that_of_the_script(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [first, *sys.path])
    with connected(None, 0):
        pass
    assert started["job_config"]._py_driver_sys_path == []
    # What Ray asks before it adds folders of its own.
    assert started["job_config"]._runtime_env_has_working_dir()


def test_workers_find_the_package_in_the_checkout_in_which_the_command_found_it(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `python -m sltune` there."""
    checkout = Path(cluster.__file__).parents[3]
    monkeypatch.setattr(sys, "path", [str(checkout), *sys.path])
    with connected(None, 0):
        pass
    assert started["job_config"]._py_driver_sys_path == [str(checkout)]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has not imported Ray, of a user without a token."""
    variables = {"HOME": str(tmp_path)}
    monkeypatch.setattr(os, "environ", variables)
    monkeypatch.delitem(sys.modules, "ray")
    return variables


def test_each_local_ray_has_a_token_of_its_own_and_stays_on_the_loopback_interface(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment.update(RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="that of a cluster")
    tokens = set()
    for _ in range(2):
        prepare_environment(None)
        tokens.add(environment["RAY_AUTH_TOKEN"])
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert len(tokens) == 2
    assert all(len(token) >= 64 for token in tokens)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_has_its_own_token_and_addresses(environment: dict[str, str]) -> None:
    prepare_environment("10.0.0.1:6379")
    assert not {"RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"} & environment.keys()
    environment["RAY_AUTH_TOKEN_PATH"] = "/some/file"
    prepare_environment("10.0.0.1:6379")
    assert environment["RAY_AUTH_MODE"] == "token"


def test_a_user_whom_the_system_does_not_know_gets_a_home_without_which_ray_cannot_be_imported(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del environment["HOME"]

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    prepare_environment(None)
    assert environment["HOME"] == "/"


def test_ray_packs_no_working_folder_below_uv_unless_told_to(environment: dict[str, str]) -> None:
    prepare_environment(None)
    assert environment["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    environment["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "1"
    prepare_environment(None)
    assert environment["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "1"


def test_a_process_that_has_imported_ray_keeps_the_environment_that_ray_knows(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", cluster.ray)
    before = dict(environment)
    prepare_environment(None)
    assert environment == before

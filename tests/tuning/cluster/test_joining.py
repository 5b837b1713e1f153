"""Which cluster a command joins, and what it says of one that it cannot join, within a minute."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from sltune.errors import UsageError
from sltune.tuning.cluster import joining
from sltune.tuning.cluster.joining import Raylet, chosen, joined, raylets
from tests.events.conftest import write_tiny_recording
from tests.small import quick
from tests.tuning.clusters import PROMPT_S, ended, environment, sltune, wait_for

LAB = Raylet("10.0.0.1:6379", "/tmp/ray", "ada")
OTHER = Raylet("10.0.0.2:6379", "/scratch/ray", "ada")
OF_BOB = Raylet("10.0.0.3:6379", "/tmp/ray", "bob")
PRIVATE = Raylet("127.0.0.1:40000", "/tmp/sltune-ab12cd34/r", "ada")


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_user", lambda: "ada")


@pytest.mark.parametrize(
    ("running", "latest", "place"),
    [
        ([LAB], None, LAB.address),
        # Several nodes of one cluster.
        ([LAB, LAB], None, LAB.address),
        ([LAB, OTHER], OTHER.address, OTHER.address),
        # What `ray start` has noted may be dead by now.
        ([LAB], "10.9.9.9:6379", LAB.address),
        ([OF_BOB], None, OF_BOB.address),
        # One's own before a stranger's.
        ([OF_BOB, LAB], OF_BOB.address, LAB.address),
        ([PRIVATE, LAB], None, LAB.address),
    ],
)
def test_auto_is_the_cluster_of_this_machine(running: list[Raylet], latest: str | None, place: str) -> None:
    assert chosen("auto", "", running, latest) == place


def test_auto_is_what_the_environment_names() -> None:
    assert chosen("auto", "10.0.0.7:6379", [LAB], None) == "10.0.0.7:6379"
    assert chosen("10.0.0.1:6379", "10.0.0.7:6379", [LAB], None) == "10.0.0.1:6379"


@pytest.mark.parametrize(
    ("address", "running", "text"),
    [
        ("auto", [], "no Ray cluster runs on this machine; `ray start --head` begins one"),
        ("auto", [PRIVATE], "no Ray cluster runs on this machine, and those of other sltune commands are theirs alone"),
        ("auto", [LAB, OTHER], "several clusters run here; name one of 10.0.0.1:6379, 10.0.0.2:6379"),
        ("127.0.0.1:40000", [PRIVATE], "is the Ray of another sltune command, which ends with it"),
        ("10.0.0.1", [], "must be auto or HOST:PORT of the cluster's head, but got '10.0.0.1'"),
        ("ray://10.0.0.1:10001", [], "must be auto or HOST:PORT"),
        (":6379", [], "must be auto or HOST:PORT"),
    ],
)
def test_what_is_no_cluster_or_no_clear_choice_is_refused(address: str, running: list[Raylet], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(address, "", running, None)
    assert text in str(caught.value)


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Give the address of something that is no Ray: None accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def serve() -> None:
            connection, _ = server.accept()
            connections.append(connection)
            if answer is not None:
                connection.recv(100)
                connection.sendall(answer)
                connection.close()

        Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def refusal(place: str) -> str:
    with pytest.raises(UsageError) as caught, joined(place, {}):
        raise AssertionError("joined")
    return str(caught.value)


def test_where_nobody_listens_it_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        assert refusal(place) == f"no Ray cluster could be reached at {place}: [Errno 111] Connection refused"


def test_what_listens_and_is_no_ray_is_told_from_it() -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as place:
        text = f"no Ray cluster could be reached at {place}: what listens there is no head of a Ray cluster"
        assert refusal(place) == text


def test_what_takes_connections_and_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a head that is frozen; Ray would wait for 14 minutes."""
    monkeypatch.setattr(joining, "ANSWER_S", 0.2)
    with listener(None) as place:
        assert refusal(place) == f"no Ray cluster could be reached at {place}: no answer within 0.2 s"


def test_a_name_that_takes_long_to_look_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "ANSWER_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
    assert refusal("no.such.host:6379").endswith("no answer within 0.2 s")


def test_a_name_that_does_not_exist_is_no_cluster() -> None:
    assert "no Ray cluster could be reached at no-such-host.invalid:6379: [Errno -" in refusal(
        "no-such-host.invalid:6379"
    )


def test_nodes_on_this_machine_are_found_with_their_cluster_and_user() -> None:
    flags = ["--temp_dir=/tmp/sltune-ab12cd34/r", "--gcs-address=127.0.0.1:40000"]
    process = subprocess.Popen(["/opt/raylet", "-c", "sleep 60; true", *flags], executable="/bin/bash")
    try:
        wait_for(lambda: "127.0.0.1:40000" in {raylet.address for raylet in raylets()}, None)
        (found,) = [raylet for raylet in raylets() if raylet.address == "127.0.0.1:40000"]
    finally:
        process.kill()
        process.wait()
    assert found == Raylet("127.0.0.1:40000", "/tmp/sltune-ab12cd34/r", getpass.getuser())
    assert found.is_private
    assert not LAB.is_private


@pytest.mark.processes
@pytest.mark.parametrize("verb", ["evaluate", "import"])
def test_without_any_network_a_command_ends_at_once_with_the_reason(dataset: Path, tmp_path: Path, verb: str) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a namespace without interfaces takes root")
    source = tmp_path / "slanimals"
    for part in ("recordings", "tags"):
        (source / part).mkdir(parents=True)
    write_tiny_recording(source, "user20_sunlight", 300, 600, first_us=0, seed=0)
    (tmp_path / "space.toml").touch()
    arguments = {
        "evaluate": ["evaluate", tmp_path / "space.toml", "--data", dataset, "--results", tmp_path],
        "import": ["import", source, "--out", tmp_path / "out"],
    }[verb]
    command = [*("unshare", "-n", sys.executable, "-m", "sltune"), *map(str, arguments)]
    began = time.monotonic()
    process = subprocess.run(
        [*command, "--address", "10.255.255.1:6379"], capture_output=True, text=True, check=False, env=environment()
    )
    assert process.returncode == 2, process.stderr
    assert "no Ray cluster could be reached at 10.255.255.1:6379: [Errno 101] Network is unreachable" in process.stderr
    assert "token" not in process.stderr
    assert time.monotonic() - began < PROMPT_S


@pytest.mark.processes
@pytest.mark.slow
def test_the_ray_of_another_command_is_no_cluster_for_this_one(dataset: Path, tmp_path: Path) -> None:
    import tomlkit

    space = tmp_path / "space.toml"
    space.write_text(tomlkit.dumps(quick(training__epochs=3000).model_dump(mode="json")))
    command = ("evaluate", space, "--data", dataset, "--results", tmp_path, "--device", "cpu")
    first = sltune(*command, "--run", "first")
    wait_for((tmp_path / "first" / "run.json").exists, first)
    (private,) = [raylet for raylet in raylets() if raylet.is_private]
    said = ended(sltune(*command, "--run", "second", "--address", private.address), 2)
    assert "is the Ray of another sltune command, which ends with it" in said
    with pytest.raises(UsageError, match="those of other sltune commands are theirs alone"):
        chosen("auto", "", [private], None)
    first.terminate()
    ended(first, 130)

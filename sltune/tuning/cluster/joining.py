"""Joins a Ray cluster that somebody has started: which, whose, whether it answers, and if not, why."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import ray

from sltune.errors import UsageError
from sltune.tuning.cluster.errors import lacks_token, reason_of
from sltune.tuning.cluster.local import is_private
from sltune.tuning.cluster.signals import own_sigterm, without_signals

AUTO = "auto"
ANSWER_S = 15.0
"""How long a name may take to be found, and a head to answer: Ray itself tries for a quarter of an hour."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How a client of gRPC begins: the preface of HTTP/2 and empty settings (RFC 9113, 3.4), which the server answers."""
SETTINGS = 4
"""Type of the frame by which a server of HTTP/2 begins, in the fourth byte."""


@dataclass(frozen=True)
class Raylet:
    """A node that runs on this machine. address: of its cluster's head. folder: where Ray keeps its sessions."""

    address: str
    folder: str
    user: str

    @property
    def is_private(self) -> bool:
        """Whether it belongs to a command of sltune's, and ends with it."""
        return is_private(self.folder)


@contextmanager
def joined(address: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Connect to a cluster within the block.

    Args:
        address: HOST:PORT of its head, or "auto" for the one that runs on this machine.
        options: further arguments of ray.init.

    Raises:
        UsageError: there is none, it does not answer, or it wants another token.
    """
    running = list(raylets())
    place = chosen(address, os.environ.get("RAY_ADDRESS", ""), running, _latest())
    try:
        _join(place, bool(running), options)
        yield
    finally:
        # Also where Ctrl-C came while the process was connecting.
        with without_signals(ending=True):
            ray.shutdown()


def _join(place: str, is_node: bool, options: Mapping[str, Any]) -> None:
    try:
        _within(ANSWER_S, lambda: _greet(place))
        if not is_node:
            raise ConnectionError(f"this machine is no node of it; `ray start --address={place}` makes it one")
        with own_sigterm():
            # Fails at once over a wrong token, with which ray.init would try again twenty times.
            ray._raylet.GcsClient(address=place)  # type: ignore[attr-defined]
            ray.init(address=place, **options)
    except Exception as error:
        text = f"no Ray cluster could be reached at {place}: {reason_of(error)}"
        if lacks_token(error):
            text = f"the Ray cluster at {place} refused the token: ~/.ray/auth_token must be that of the cluster's head"
        raise UsageError(text) from error


def chosen(address: str, from_environment: str, running: list[Raylet], latest: str | None) -> str:
    """Return the address of the cluster that is meant.

    Args:
        from_environment: what RAY_ADDRESS names, which stands for "auto".
        running: all nodes on this machine.
        latest: the cluster that `ray start` began last.

    Raises:
        UsageError: there is none, several, or it is the private one of a command.
    """
    place = from_environment if address == AUTO and from_environment else address
    private = {raylet.address for raylet in running if raylet.is_private}
    if place != AUTO:
        if place in private:
            raise UsageError(f"--address {place}: is the Ray of another sltune command, which ends with it")
        host, _, port = place.rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise UsageError(f"--address must be auto or HOST:PORT of the cluster's head, but got {place!r}")
        return place
    users = {raylet.address: raylet.user for raylet in running if not raylet.is_private}
    own = [place for place, user in users.items() if user == _user()]
    candidates = own or list(users)
    if latest in candidates:
        return str(latest)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UsageError(f"--address auto: several clusters run here; name one of {', '.join(sorted(candidates))}")
    others = ", and those of other sltune commands are theirs alone" if private else ""
    raise UsageError(f"--address auto: no Ray cluster runs on this machine{others}; `ray start --head` begins one")


def described() -> str:
    """Return which cluster the process is connected to, whose it is, and how much of it is free."""
    node: Any = ray._private.worker._global_node
    try:
        owner = Path(node.get_session_dir_path()).owner()
    except (OSError, KeyError):
        owner = "?"
    return f"Ray cluster {node.gcs_address} of user {owner}: {free()}"


def free() -> str:
    """Return in words how much of the cluster nobody uses."""
    has, left = ray.cluster_resources(), ray.available_resources()  # type: ignore[no-untyped-call]
    amounts = [f"{left.get(kind, 0):g} of {has.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU")]
    return f"{' and '.join(amounts)} are free"


def raylets() -> Iterator[Raylet]:
    """Give the nodes that run on this machine."""
    # Comes with Ray, which puts it on the path.
    import psutil  # type: ignore[import-untyped]

    for process in psutil.process_iter(["cmdline", "username"]):
        line = process.info["cmdline"] or [""]
        if Path(line[0]).name == "raylet":
            flags = {name: value for name, _, value in (part.partition("=") for part in line[1:])}
            folder = flags.get("--temp_dir", flags.get("--temp-dir", ""))
            yield Raylet(flags.get("--gcs-address", ""), folder, process.info["username"] or "?")


def _latest() -> str | None:
    found: str | None = ray._private.utils.read_ray_address()
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A user id without a name, as in containers.
        return str(os.getuid())


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Do some work; raise what it raises, or a TimeoutError if it takes longer: a look-up of names cannot be ended."""
    errors: list[BaseException | None] = []

    def do() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)
        else:
            errors.append(None)

    thread = Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    if not errors:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if errors[0] is not None:
        raise errors[0]


def _greet(place: str) -> None:
    """Raise an OSError unless a server of gRPC answers at an address, for which Ray would wait for minutes."""
    host, _, port = place.rpartition(":")
    # Without a time limit of its own, which would run out at the same moment and say it in other words.
    with socket.create_connection((host.strip("[]"), int(port))) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        connection.sendall(HELLO)
        answer = b""
        while len(answer) < SETTINGS and (part := connection.recv(SETTINGS - len(answer))):
            answer += part
    if len(answer) < SETTINGS or answer[3] != SETTINGS:
        raise ConnectionError("what listens there is no head of a Ray cluster")

"""Real processes: clusters begun by ``ray start``, sltune as a command, and what it takes to kill them."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

SCRIPTS = Path(sys.executable).parent
PATIENCE_S = 300
PROMPT_S = 120
"""What takes a few seconds ends within this time even on a machine that has ten other things to do."""


def environment() -> dict[str, str]:
    """Variables of a user's shell; those that Ray has set in this process would reach its children."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until the condition holds, and meanwhile that the process has not ended."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()[1]}")
        time.sleep(0.02)


def sltune(
    *arguments: object,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Start the command, which listens to Ctrl-C even where these tests run in the background and do not.

    Args:
        variables: further ones of the environment.
        folder: the working folder; None for that of the tests. The command there is that of a shell.
        prefix: a command that runs it.
    """
    command = [sys.executable, "-m", "sltune"] if folder is None else [str(SCRIPTS / "sltune")]
    return subprocess.Popen(
        [*prefix, *command, *map(str, arguments)],
        env={**environment(), **(variables or {})},
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Nothing runs between fork and exec but this call.
        preexec_fn=_listen,  # noqa: PLW1509
    )


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: subprocess.Popen[str], exit_code: int) -> str:
    """Return what a command said on stderr, once it has ended as expected."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == exit_code, errors
    return errors


def below(process: int) -> dict[int, bytes]:
    """Return the command lines of all processes below one."""
    parents, lines = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                lines[int(entry.name)] = (entry / "cmdline").read_bytes()
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {}
    for number in parents:
        above = number
        while above in parents and above != process:
            above = parents[above]
        if above == process and number != process:
            found[number] = lines[number]
    return found


def workers_below(process: int) -> list[int]:
    """Return the processes of trials below one, by what Ray calls them."""
    return sorted(number for number, line in below(process).items() if b"Trainable" in line or b"TrialWorker" in line)


class Node:
    """A node of a cluster, begun by ``ray start``; without an address of a head it is the head itself.

    hidden: folders that the node's processes see as empty, as another host would. variables: more of its environment.
    """

    def __init__(
        self,
        flags: Sequence[str],
        address: str | None = None,
        hidden: Sequence[Path] = (),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        # Ray's sockets lie in the folder, and the paths of sockets must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True)
        self.address = address or f"127.0.0.1:{free_port()}"
        role = [f"--address={address}"] if address else ["--head", f"--port={self.address.partition(':')[2]}"]
        role += [] if address else ["--include-dashboard=false", f"--temp-dir={self._folder.name}"]
        ray = [str(SCRIPTS / "ray"), "start", "--block", "--disable-usage-stats", "--object-store-memory=80000000"]
        command = [*ray, *role, *flags]
        if hidden:
            covers = [f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in hidden]
            empty = [f'test -z "$(ls -A {shlex.quote(str(folder))})"' for folder in hidden]
            command = ["unshare", "-m", "sh", "-c", " && ".join([*covers, *empty, f"exec {shlex.join(command)}"])]
        self._log = Path(self._folder.name) / "log"
        # A node shows the token of the head, as a command does, only if told to.
        variables = {**environment(), **({"RAY_AUTH_MODE": "token"} if address else {}), **variables}
        with open(self._log, "w") as output:
            self._process = subprocess.Popen(
                command, env=variables, stdout=output, stderr=output, cwd=self._folder.name, text=True
            )
        wait_for(lambda: "Ray runtime started" in self._log.read_text() or self._process.poll() is not None)
        assert self._process.poll() is None, self._log.read_text()

    def raylet(self) -> int:
        """Return the process that is the node to the rest of the cluster."""
        (found,) = [number for number, line in below(self._process.pid).items() if b"raylet/raylet" in line[:200]]
        return found

    def kill(self) -> None:
        """Kill everything on the node at once, as a power cut does."""
        for number in [*below(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the node."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        self.kill()
        self._folder.cleanup()


@contextmanager
def ray_here(num_cpus: int, num_gpus: int = 0, store_mib: int = 80) -> Iterator[None]:
    """Start a Ray that the commands of this process use; its GPUs exist only in its books."""
    import ray

    for last_try in (False, False, True):
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                object_store_memory=store_mib << 20,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
            )
            break
        except Exception as error:
            # Ray gives a node 30 s to start, which others that work on the machine may take from it.
            ray.shutdown()
            if last_try or "timed out during startup" not in str(error):
                raise
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def cluster(*flags: str) -> Iterator[Callable[..., Node]]:
    """Give what adds nodes to a cluster with this head; the head's address is that of each."""
    nodes = [Node(flags)]

    def add(*more: str, hidden: Sequence[Path] = ()) -> Node:
        nodes.append(Node(more, nodes[0].address, hidden))
        return nodes[-1]

    try:
        yield add
    finally:
        for node in reversed(nodes):
            node.close()

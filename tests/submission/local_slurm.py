"""A real Slurm of two nodes on this machine, for tests; needs root and Debian's slurm-wlm and munge."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.tuning.clusters import SCRIPTS, below, environment, free_port

NODES = ("n1", "n2")
PATIENCE_S = 900
SWITCH = "10.213.77.254"
"""The address of this machine in the network of nodes that have addresses of their own."""
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")


@dataclass
class LocalSlurm:
    """A cluster; folder: where its files and the users' data lie."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a user's shell on the login node."""
        path = f"{SCRIPTS}:{os.environ['PATH']}"
        return {**environment(), "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def call(self, *words: object) -> str:
        """Run a command as a user would; it has to succeed."""
        command = [str(word) for word in words]
        result = subprocess.run(
            command, env=self.variables, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def submit(self, *words: object) -> str:
        """Run `sltune submit --slurm` with these words; return the number of the job."""
        return self.call("sltune", "submit", "--slurm", *words).split()[-1]

    def facts(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job."""
        shown = self.call("scontrol", "--oneliner", "show", "job", job)
        return {name: value for name, _, value in (part.partition("=") for part in shown.split())}

    def wait_for(self, job: str, *states: str) -> dict[str, str]:
        """Wait until a job has one of these states."""
        end = time.monotonic() + PATIENCE_S
        while (facts := self.facts(job))["JobState"] not in states:
            assert time.monotonic() < end, facts
            assert facts["JobState"] in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED"), facts
            time.sleep(0.5)
        return facts

    def processes(self, node: str) -> list[int]:
        """Return what a node's daemon and the jobs on it consist of."""
        daemon = self.daemons[node].pid
        wanted = {f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.folder / 'slurm.conf'}"}
        of_jobs = [number for number in _numbers() if wanted <= set(_read(number, "environ").split("\0"))]
        parents = {int(_read(number, "stat").rpartition(")")[2].split()[1]) for number in of_jobs}
        steps = [number for number in parents if _read(number, "cmdline").startswith("slurmstepd:")]
        return [daemon, *below(daemon), *steps, *of_jobs]


def _numbers() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(number: int, file: str) -> str:
    """Return a file in which Linux describes a process; one that has ended has parent 0 and nothing else."""
    with suppress(OSError):
        return Path(f"/proc/{number}/{file}").read_text(errors="replace")
    return ") Z 0" if file == "stat" else ""


def _run(variables: dict[str, str], *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, **more)


def _line(entry: Path) -> str:
    with suppress(OSError):
        return (entry / "cmdline").read_bytes().decode(errors="replace")
    return ""


def _node_of(entry: Path) -> str:
    with suppress(OSError):
        words = (entry / "environ").read_bytes().split(b"\0")
        return next((word[14:].decode() for word in words if word.startswith(b"SLURMD_NODENAME=")), "")
    return ""


def _munge() -> None:
    """Start the daemon that vouches for users, if none runs; it is the machine's, and stays."""
    key, place = Path("/etc/munge/munge.key"), Path("/run/munge")
    place.mkdir(exist_ok=True)
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
    for path in (key, place):
        shutil.chown(path, "munge", "munge")
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True)


def _configure(folder: Path, addresses: dict[str, str], controller: str) -> None:
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    lines = [
        "ClusterName=test",
        f"SlurmctldHost={host}({controller})",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        # A job that was requeued waits for so long.
        "AuthInfo=cred_expire=10",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool/%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd.%n.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd.%n.log",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        f"SlurmctldPort={free_port()}",
        "SlurmdTimeout=20",
        "KillWait=15",
        "ReturnToService=2",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "MpiDefault=none",
        *(
            f"NodeName={node} NodeHostname={host} NodeAddr={addresses[node]} Port={free_port()} CPUs=2 RealMemory=8000"
            for node in NODES
        ),
        f"PartitionName=p Nodes={','.join(NODES)} Default=YES MaxTime=60 State=UP",
    ]
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")


@contextmanager
def separate_nodes() -> Iterator[dict[str, str]]:
    """Give two network namespaces, by name, with addresses of their own on a bridge of this machine."""
    if shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("ip not found: apt-get install iproute2")
    # Network interfaces have short names, and another test may run beside this one.
    mark = f"{os.getpid() % 100_000:x}"
    bridge, names = f"slt{mark}", {f"slt{mark}-{node}": f"10.213.77.{number + 1}" for number, node in enumerate(NODES)}

    def ip(*words: str) -> None:
        result = _run(dict(os.environ), "ip", *words)
        if result.returncode:
            pytest.skip(f"no network namespaces: ip {' '.join(words)}: {result.stderr}")

    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{SWITCH}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, (name, address) in enumerate(names.items()):
            outer = f"v{mark}{number}"
            ip("netns", "add", name)
            ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", outer, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            _run(dict(os.environ), "ip", "netns", "del", name)
        _run(dict(os.environ), "ip", "link", "del", bridge)


@contextmanager
def local_slurm(folder: Path, separate: Mapping[str, str] | None = None) -> Iterator[LocalSlurm]:
    """Start Slurm of two nodes within the block; skip the test where there is none.

    Args:
        separate: network namespaces of the nodes with their addresses. Each node then has processes and a /tmp of its
            own, too, as other machines have: `ray stop` on it ends nothing else. None for two nodes that are both this
            machine.
    """
    if missing := [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]:
        pytest.skip(f"{', '.join(missing)} not found: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("the daemons of Slurm need root here")
    _munge()
    places = dict(zip(NODES, separate or (), strict=False))
    addresses = {node: (separate or {}).get(places.get(node, ""), "127.0.0.1") for node in NODES}
    _configure(folder, addresses, SWITCH if separate else "127.0.0.1")
    slurm = LocalSlurm(folder)
    try:
        slurm.daemons["controller"] = _daemon(slurm, "slurmctld", "-D")
        for node in NODES:
            slurm.daemons[node] = _daemon(slurm, "slurmd", "-D", "-N", node, prefix=_apart(places.get(node)))
        _wait_until_idle(slurm)
        yield slurm
    finally:
        _end(slurm)


def _apart(place: str | None) -> Sequence[str]:
    """Return the command that runs another one as on a machine of its own, in a network namespace."""
    if place is None:
        return ()
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # Not `ip netns exec`, which hides /sys, where slurmd looks for control groups.
    return ("nsenter", f"--net=/run/netns/{place}", *alone, "sh", "-c", 'mount -t tmpfs none /tmp && exec "$@"', "sh")


def _daemon(slurm: LocalSlurm, *command: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    variables = {**slurm.variables, "PATH": f"{slurm.variables['PATH']}:/usr/sbin"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*prefix, *command], env=variables, stdout=quiet, stderr=quiet, start_new_session=True)


def _wait_until_idle(slurm: LocalSlurm) -> None:
    end = time.monotonic() + 120
    while True:
        shown = _run(slurm.variables, "sinfo", "-h", "-N", "-o", "%N %t").stdout
        if shown.count(" idle") == len(NODES) and "idle*" not in shown:
            return
        assert time.monotonic() < end, shown
        time.sleep(0.5)


def _end(slurm: LocalSlurm) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        jobs = _run(slurm.variables, "squeue", "-h", "-o", "%A", timeout=20).stdout.split()
        if jobs:
            _run(slurm.variables, "scancel", *jobs, timeout=20)
            time.sleep(3)
    numbers = {number for node in NODES if node in slurm.daemons for number in slurm.processes(node)}
    for daemon in slurm.daemons.values():
        daemon.terminate()
    for daemon in slurm.daemons.values():
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(20)
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    for daemon in slurm.daemons.values():
        daemon.wait()

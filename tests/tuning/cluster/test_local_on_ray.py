"""A Ray of our own as other processes and users of the machine meet it, and whatever the user's environment is like."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest
import tomlkit

from sltune.events.importing import import_source
from sltune.runs.folder import RunFolder
from tests.small import quick, source
from tests.tuning.clusters import PATIENCE_S, below, ended, sltune, wait_for

pytestmark = pytest.mark.processes

TOKEN = re.compile(rb"RAY_AUTH_TOKEN=([0-9a-f]{64})\0")
GCS = re.compile(rb"--gcs-address=([0-9.]+:\d+)")
ENDLESS = "training.epochs=100000"
ASK = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=None, timeout=20))
"""


class Run:
    """A run of sltune in a folder of its own: ``home/`` is the working folder, ``tmp/`` is where Ray's files lie."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.root = folder
        self.home, self.tmp = folder / "home", folder / "tmp"
        for made in (self.home, self.tmp):
            made.mkdir()
        import_source(source(), self.home / "data")
        (self.home / "space.toml").write_text(tomlkit.dumps(quick().model_dump(mode="json")))
        self.folder = RunFolder(self.home / "results" / "run")
        self.processes: list[subprocess.Popen[str]] = []
        self.overrides = [flag for override in overrides for flag in ("--set", override)]

    def start(self, *prefix: str, **variables: str) -> subprocess.Popen[str]:
        command = ["evaluate", "space.toml", "--data", "data", "--run", "run", "--device", "cpu", *self.overrides]
        # One at a time, since others test at the same time.
        command += ["--max-concurrent", "1"]
        variables = {"TMPDIR": str(self.tmp), **variables}
        self.processes.append(sltune(*command, variables=variables, folder=self.home, prefix=prefix))
        return self.processes[-1]

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)

    def private_folders(self) -> list[Path]:
        return list(self.tmp.glob("sltune-" + "?" * 8))

    def trains(self) -> bool:
        return bool(self._tables())

    def outcome(self) -> list[tuple[int, str, int]]:
        """Return fold, state and number of epochs of every trial that has ended."""
        epochs = {file.parent.name: len(file.read_text().splitlines()) - 1 for file in self._tables()}
        return [(record.fold, record.status, epochs[record.key.name]) for record in self.folder.records()]

    def _tables(self) -> list[Path]:
        return list(self.folder.trials.glob("*/epochs.csv"))


@contextmanager
def placed(*overrides: str) -> Iterator[Run]:
    """Give a run in a folder that all may enter, whose path is short enough for Ray's sockets; end what it started."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        run = Run(Path(folder), *overrides)
        try:
            yield run
        finally:
            run.stop()


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run with the overrides of the test's parameter, or with 2 epochs."""
    with placed(*getattr(request, "param", ())) as run:
        yield run


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Run, int]]:
    """A run that trains, where much is in its way, and its process."""
    with placed(ENDLESS) as run:
        # Modules of Python's and of a checkout, which workers must not take for those of the command.
        (run.home / "profile.py").write_text("raise RuntimeError('the file of the user')")
        (run.home / "sltune").mkdir()
        (run.home / "sltune" / "__init__.py").write_text("raise RuntimeError('another version')")
        # Nobody can write there, not even root, and no cluster answers.
        process = run.start(HOME="/proc/home", RAY_ADDRESS="127.0.0.1:1", RAY_AUTH_MODE="disabled")
        wait_for(run.trains, process)
        yield run, process.pid


def listening(processes: set[int]) -> set[str]:
    """Return the addresses at which any of the processes listens."""
    own = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            try:
                own.add(os.readlink(descriptor))
            except FileNotFoundError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in own:
                # Linux writes words of four bytes as numbers of this machine.
                words = bytes.fromhex(local.partition(":")[0])
                number = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                address = ip_address(number)
                found.add(str((isinstance(address, IPv6Address) and address.ipv4_mapped) or address))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks Linux who listens")
def test_all_of_ray_listens_on_the_loopback_interface_alone(running: tuple[Run, int]) -> None:
    addresses = listening(set(below(running[1])))
    assert addresses
    assert all(ip_address(address).is_loopback for address in addresses), addresses


def token_and_gcs(process: int) -> tuple[str, str]:
    lines = below(process)
    (gcs,) = {match[1].decode() for match in map(GCS.search, lines.values()) if match}
    tokens = {found[1] for number in lines if (found := TOKEN.search(Path(f"/proc/{number}/environ").read_bytes()))}
    (token,) = tokens
    return token.decode(), gcs


@pytest.mark.parametrize("knows_token", [True, False])
def test_only_who_knows_the_token_is_let_in(running: tuple[Run, int], knows_token: bool) -> None:
    token, gcs = token_and_gcs(running[1])
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token if knows_token else "0" * 64}
    client = [sys.executable, "-c", ASK, gcs]
    found = subprocess.run(client, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert (found.returncode == 0) == knows_token, found.stderr
    assert knows_token or "nauthenticated" in found.stderr


def test_the_token_stands_in_no_file_and_in_no_command_line(running: tuple[Run, int]) -> None:
    run, process = running
    token, _ = token_and_gcs(process)
    files = [file for file in run.root.rglob("*") if file.is_file()]
    assert any(file.name == "raylet.out" for file in files)
    assert [file for file in files if token.encode() in file.read_bytes()] == []
    assert [line for line in below(process).values() if token.encode() in line] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_can_neither_see_nor_replace_the_sockets(running: tuple[Run, int]) -> None:
    (folder,) = running[0].private_folders()
    sockets = [file for file in folder.rglob("*") if file.is_socket()]
    assert len(sockets) >= 2
    for command in (["ls", folder], ["cp", sockets[0], "/dev/null"], ["mv", sockets[0], folder / "mine"]):
        other = subprocess.run(command, user="nobody", capture_output=True, text=True, check=False, extra_groups=[])
        assert other.returncode != 0
        assert "Permission denied" in other.stderr


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="no supervisor on this system")
@pytest.mark.parametrize("run", [[ENDLESS]], indirect=True)
def test_a_killed_command_leaves_neither_a_process_nor_a_folder(run: Run) -> None:
    process = run.start()
    wait_for(lambda: bool(run.private_folders()) and "raylet" in str(below(process.pid).values()), process)
    began = below(process.pid)
    (command,) = (number for number, line in began.items() if b"evaluate" in line)
    os.kill(command, signal.SIGKILL)
    ended(process, 128 + signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in began))
    assert list(run.tmp.iterdir()) == []


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
HAS_ADDRESS = "ip addr add {} dev d0 && ip route add default dev d0"
IN_A_NETWORK = f"ip link set lo up && ip link add d0 type veth && ip link set d0 up && {HAS_ADDRESS}"


@needs_root
@pytest.mark.skipif(not (shutil.which("ip") and shutil.which("nsenter")), reason="needs ip and nsenter")
@pytest.mark.slow
@pytest.mark.parametrize("run", [["training.epochs=100"]], indirect=True)
def test_a_run_survives_a_change_of_the_machines_address(run: Run) -> None:
    network = IN_A_NETWORK.format("192.0.2.10/24")
    process = run.start("unshare", "-n", "sh", "-c", f'{network} && exec "$0" "$@"')
    wait_for(run.trains, process)
    moved = f"ip addr flush dev d0 && {HAS_ADDRESS.format('198.51.100.7/24')}"
    subprocess.run(["nsenter", "-t", str(process.pid), "-n", "sh", "-c", moved], check=True)
    assert len(run.folder.records()) < 4
    ended(process, 0)
    assert run.outcome() == [(fold, "done", 100) for fold in range(4)]


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.slow
def test_a_run_needs_no_home_and_no_entry_in_the_list_of_users(run: Run) -> None:
    """As in containers that run under any user's number."""
    for file in [run.root, *run.root.rglob("*")]:
        os.chown(file, 12345, 12345)
    # Python and the package may lie where only root can read.
    reads_all = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    user = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *reads_all)
    ended(run.start("env", "-u", "HOME", *user), 0)
    assert run.outcome() == [(fold, "done", 2) for fold in range(4)]


@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")
@pytest.mark.slow
def test_a_run_works_below_uv_in_a_project_of_the_user(run: Run) -> None:
    project = '[project]\nname = "mine"\nversion = "0.1"\nrequires-python = ">=3.11"\ndependencies = []\n'
    (run.root / "pyproject.toml").write_text(project)
    ended(run.start("uv", "run", "--active", "--no-sync", VIRTUAL_ENV=sys.prefix), 0)
    assert run.outcome() == [(fold, "done", 2) for fold in range(4)]


@pytest.mark.slow
def test_two_runs_at_once_do_not_meet() -> None:
    with placed("training.epochs=100") as first, placed("training.epochs=100") as second:
        for process in [first.start(), second.start()]:
            ended(process, 0)
        assert [run.outcome() for run in (first, second)] == [[(fold, "done", 100) for fold in range(4)]] * 2

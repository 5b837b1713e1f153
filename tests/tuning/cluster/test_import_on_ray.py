"""An import whose files are read on the nodes of a cluster, and written by the driver alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from sltune.errors import DataError, UsageError
from sltune.events.importing import Encoded, Task, import_source
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.tuning.cluster.importing import import_spread
from tests.events.conftest import content, write_tiny_recording
from tests.small import SENSOR, sample
from tests.tuning.clusters import PATIENCE_S, Node, sltune

pytestmark = pytest.mark.processes

NODES = 3


@pytest.fixture(scope="module", autouse=True)
def address() -> Iterator[str]:
    """Three nodes of one core on this machine."""
    cluster = Cluster()
    for _ in range(NODES):
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20, include_dashboard=False)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def tasks(count: int) -> list[Task]:
    return [Task(file(number), SENSOR, None) for number in range(count)]


def file(number: int, load: Callable[[], object] | None = None) -> SourceFile:
    name = f"user{number:02d}_indoor"
    return SourceFile(name, lambda: name, load or (lambda: ([sample(number, 0, 50)], [])))  # type: ignore[arg-type]


def test_the_dataset_is_byte_for_byte_that_of_an_import_on_one_machine(address: str, tmp_path: Path) -> None:
    source = tmp_path / "slanimals"
    for part in ("recordings", "tags"):
        (source / part).mkdir(parents=True)
    for user in range(6):
        write_tiny_recording(source, f"user{user + 20}_sunlight", 300 + 100 * user, 600, first_us=0, seed=0)
    import_source(open_slanimals(source), tmp_path / "here")
    with import_spread(address, print) as spread:
        import_source(open_slanimals(source), tmp_path / "there", spread=spread)
        again = []
        import_source(open_slanimals(source), tmp_path / "there", spread=spread, done=again.append)
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert [imported.reused for imported in again] == [True] * 6


def test_files_are_read_on_all_nodes(address: str) -> None:
    def where(task: Task) -> Encoded:
        import time

        # Long enough for no node to take all.
        time.sleep(0.3)
        return Encoded(task.file.name, findings=(Finding(ray.get_runtime_context().get_node_id(), "here"),))

    with import_spread(address, print) as spread:
        results = list(spread(where, tasks(4 * NODES)))
    assert sorted(result.name for result in results) == [task.file.name for task in tasks(4 * NODES)]
    assert len({result.findings[0].place for result in results}) == NODES


def test_a_file_that_cannot_be_read_names_the_node(address: str, tmp_path: Path) -> None:
    def fail() -> None:
        raise DataError("/disk/user01_indoor.aedat: cannot be read: No such file or directory")

    source = Source("two sides", True, SENSOR, ("left", "right"), (file(0), file(1, fail)))
    with import_spread(address, print) as spread, pytest.raises(DataError) as caught:
        import_source(source, tmp_path / "data", spread=spread)
    host = os.uname().nodename
    expected = f"/disk/user01_indoor.aedat: cannot be read: No such file or directory (on node {host})"
    assert str(caught.value) == expected


def test_a_worker_that_dies_is_replaced(address: str, tmp_path: Path) -> None:
    marker = tmp_path / "died"

    def die_once(task: Task) -> Encoded:
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Encoded(task.file.name)

    with import_spread(address, print) as spread:
        assert len(list(spread(die_once, tasks(4)))) == 4
    assert marker.exists()


def test_a_file_that_kills_every_worker_ends_the_import_with_a_plain_error(address: str) -> None:
    def die(task: Task) -> Encoded:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with (
        import_spread(address, print) as spread,
        pytest.raises(UsageError, match=r"the cluster lost a file: .*import again"),
    ):
        list(spread(die, tasks(1)))


def test_the_verb_reaches_a_cluster_that_ray_start_began(tmp_path: Path) -> None:
    """Such a cluster asks for the token, which Ray shows to an explicit address only if told so before its import."""
    source = tmp_path / "slanimals"
    for part in ("recordings", "tags"):
        (source / part).mkdir(parents=True)
    write_tiny_recording(source, "user20_sunlight", 300, 600, first_us=0, seed=0)
    head = Node(["--num-cpus=1"])
    try:
        command = ["import", source, "--out", tmp_path / "data", "--address", head.address]
        output, errors = (process := sltune(*command)).communicate(timeout=PATIENCE_S)
    finally:
        head.close()
    assert process.returncode == 0, errors
    assert "1 recording, 19 samples" in output

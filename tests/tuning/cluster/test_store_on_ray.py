"""Events lie in the object store of each node once, however many trials read them there."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
import ray
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sltune.events.samples import Samples
from sltune.tuning.cluster.objects import SharedEvents
from sltune.tuning.cluster.resources import Request
from sltune.tuning.execution.worker import SharedData
from tests.small import table_of

pytestmark = pytest.mark.processes

NODES, READERS, EVENTS = 3, 4, 8_000_000


@pytest.fixture(scope="module", autouse=True)
def nodes() -> Iterator[None]:
    cluster = Cluster()
    for _ in range(NODES):
        cluster.add_node(num_cpus=READERS, object_store_memory=200 << 20, include_dashboard=False)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()
    cluster.shutdown()


@ray.remote(num_cpus=1)
class Reader:
    """Holds the samples as a trial's worker does."""

    def read(self, tables: list[object]) -> int:
        self._samples = Samples(ray.get(tables))
        return int(self._samples.events(0)[0].sum())


def in_stores() -> dict[str, int]:
    """Bytes in the object store of every node."""
    return {
        node["NodeID"]: node_stats(
            node["NodeManagerAddress"], node["NodeManagerPort"]
        ).store_stats.object_store_bytes_used
        for node in ray.nodes()
        if node["Alive"]
    }


def test_a_node_holds_the_events_once_with_several_readers() -> None:
    table: pa.Table = table_of(EVENTS)
    before = in_stores()
    reference = ray.put(table)
    readers = [
        Reader.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in before
        for _ in range(READERS)
    ]
    sums = ray.get([reader.read.remote([reference]) for reader in readers])
    assert len(sums) == NODES * READERS
    assert len(set(sums)) == 1
    grown = [after - before[node] for node, after in in_stores().items()]
    assert all(table.nbytes <= bytes_used < 1.1 * table.nbytes for bytes_used in grown), (table.nbytes, grown)


def test_what_all_trials_share_travels_as_references() -> None:
    """Tune puts what it is given again for every trial; references of the events are a few bytes."""
    events = SharedEvents([ray.put(table_of(100_000))])
    shared = SharedData(events, {}, {}, (128, 128), 19, "f", Request(device="cpu"), None)  # type: ignore[arg-type]
    assert len(ray.cloudpickle.dumps(shared)) < 2000

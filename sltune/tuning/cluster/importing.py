"""The import of a dataset on a cluster: its nodes read and encode the files, and the driver writes what comes back."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import ray

from sltune.errors import UsageError
from sltune.events.importing import Encoded, Spread, Task
from sltune.tuning.cluster.connection import connected
from sltune.tuning.cluster.errors import reason_of
from sltune.tuning.cluster.joining import described
from sltune.tuning.cluster.nodes import Nodes


@contextmanager
def import_spread(address: str, say: Callable[[str], None]) -> Iterator[Spread]:
    """Give what reads and encodes files of a source on the nodes of a cluster; the driver writes what comes back.

    Args:
        say: is told which cluster it is, and of nodes that are left aside.

    Raises:
        UsageError: nothing answers at the address, or no node can be used.
    """
    with connected(address, store_bytes=0):
        say(described())
        nodes = Nodes(say)
        nodes.first()
        yield partial(_on_nodes, nodes)


def _on_nodes(nodes: Nodes, work: Callable[[Task], Encoded], tasks: Sequence[Task]) -> Iterator[Encoded]:
    remote = ray.remote(num_cpus=1, label_selector=nodes.selector())(_on_this_node)
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes.usable()))
    waiting, running = deque(tasks), list[Any]()
    while waiting or running:
        # As in threads of one process: one more than can run.
        while waiting and len(running) <= cores:
            running.append(remote.remote(work, waiting.popleft()))
        (finished,), running = ray.wait(running)
        try:
            yield ray.get(finished)
        except ray.exceptions.RayError as error:
            raise UsageError(f"the cluster lost a file: {reason_of(error)}; import again") from error


def _on_this_node(work: Callable[[Task], Encoded], task: Task) -> Encoded:
    """Do the work; where it fails, say on which node, since not every node may see the source."""
    encoded = work(task)
    if encoded.content is not None or encoded.is_known:
        return encoded
    here = f"(on node {socket.gethostname()})"
    findings = tuple(replace(finding, text=f"{finding.text} {here}") for finding in encoded.findings)
    return replace(encoded, findings=findings)

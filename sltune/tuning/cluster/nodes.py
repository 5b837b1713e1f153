"""Which nodes of a cluster a command may use: those whose sltune, Python, torch and Ray are its own.

A node with other code would train other networks under the same settings, without a word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sltune.errors import UsageError
from sltune.tuning.cluster.errors import reason_of
from sltune.tuning.cluster.versions import difference, own_versions, version_reader

PROBE_S = 180.0
"""How long a node may take to start a worker before it is left aside for the time being."""
NODE_ID = "ray.io/node-id"
"""Label that Ray gives each node."""


Node = Mapping[str, Any]
"""What ray.nodes says of one."""


class Nodes:
    """The nodes of the cluster that this process is connected to, as they come and go.

    Args:
        say: is told, once, of each node that is left aside, and why.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._asked: dict[str, Any] = {}
        self._reasons: dict[str, str] = {}
        self._used: dict[str, None] = {}

    def first(self) -> list[Node]:
        """Return the nodes that can be used at the start; waits until all have said what they have.

        Raises:
            UsageError: there is none.
        """
        end = time.monotonic() + PROBE_S
        while True:
            usable = self.usable()
            pending = [node for node in living() if node["NodeID"] in self._asked]
            if not pending or time.monotonic() > end:
                break
            time.sleep(0.02)
        if not usable:
            reasons = [*self._reasons.values(), *(f"{name_of(node)} does not answer" for node in pending)]
            raise UsageError(f"no node of the cluster can be used: {'; '.join(reasons)}")
        return usable

    def usable(self) -> list[Node]:
        """Return the living nodes that can be used, and ask those that have come what they have."""
        nodes = {node["NodeID"]: node for node in living()}
        for number, node in nodes.items():
            if not self._is_known(number):
                self._asked[number] = ask_versions(number)
            self._hear(number, node)
        self._asked = {number: asked for number, asked in self._asked.items() if number in nodes}
        return [node for number, node in nodes.items() if number in self._used]

    def selector(self) -> dict[str, str]:
        """Return the labels of nodes on which Ray may place what this command starts."""
        return {NODE_ID: f"in({','.join(self._used)})"}

    def _is_known(self, number: str) -> bool:
        return number in self._used or number in self._reasons or number in self._asked

    def _hear(self, number: str, node: Node) -> None:
        """Take a node's answer, if it has come."""
        asked = self._asked.get(number)
        if asked is None or not ray.wait([asked], timeout=0)[0]:
            return
        del self._asked[number]
        try:
            reason = difference(own_versions(), ray.get(asked))
        except RayError as error:
            reason = f"cannot say which sltune it has: {reason_of(error)}"
        if not reason:
            self._used[number] = None
            return
        self._reasons[number] = f"node {name_of(node)} {reason}"
        self._say(f"{self._reasons[number]}; the node is left aside")


def living() -> list[Node]:
    """Return all nodes of the cluster that are alive."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def ask_versions(number: str) -> Any:
    """Return a reference to the versions that a node has, as own_versions gives them; number: its NodeID."""
    here = NodeAffinitySchedulingStrategy(number, soft=False)
    probe: Any = ray.remote(version_reader())
    return probe.options(num_cpus=0, scheduling_strategy=here).remote()


def name_of(node: Node) -> str:
    """Return what messages call a node."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"

"""Which nodes of a cluster a command may use: those whose sltune, Python, torch and Ray are its own.

A node with other code would train other networks under the same settings, without a word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sltune.errors import UsageError
from sltune.tuning.cluster.errors import reason_of

PROBE_S = 180.0
"""How long a node may take to start a worker before it is left aside for the time being."""
NODE_ID = "ray.io/node-id"
"""Label that Ray gives each node."""
COMPARED = ("sltune", "python", "torch", "ray")
NOTED = ("numpy", "pyarrow", "numba", "triton")
"""Packages whose other versions give other roundings, or other compiled kernels, but the same networks."""


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


def difference(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Say in which way a node's code is not that of this process; "" where they agree."""
    for name in COMPARED:
        if own[name] != other[name]:
            return f"has {name} {other[name]}, and this command {own[name]}" if other[name] else f"has no {name}"
    if own["code"] != other["code"]:
        codes = [f"{versions['code'][:8]} in {versions['place']}" for versions in (other, own)]
        return f"has other code of sltune {own['sltune']} ({codes[0]}) than this command ({codes[1]})"
    return ""


@cache
def own_versions() -> Mapping[str, str]:
    """Return what this process runs: versions by name, the digest of sltune's code, and the place of that."""
    return _reader()()


def ask_versions(number: str) -> Any:
    """Return a reference to the versions that a node has, as own_versions gives them; number: its NodeID."""
    here = NodeAffinitySchedulingStrategy(number, soft=False)
    probe: Any = ray.remote(_reader())
    return probe.options(num_cpus=0, scheduling_strategy=here).remote()


def name_of(node: Node) -> str:
    """Return what messages call a node."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _reader() -> Callable[[], dict[str, str]]:
    """Return what reads the versions where it is called; as an inner function, Ray sends its code and not its name."""

    def read() -> dict[str, str]:
        # Nothing of sltune, which may be another there, or none.
        import hashlib
        import importlib.metadata
        import importlib.util
        import platform
        import re
        from pathlib import Path

        def version(package: str) -> str:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return ""

        spec = importlib.util.find_spec("sltune")
        root = Path(spec.origin).parent if spec and spec.origin else None
        digest, text = hashlib.sha256(), ""
        if root is not None:
            text = (root / "__init__.py").read_text(encoding="utf-8")
            for file in sorted(root.rglob("*.py")):
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
        own = re.search(r'^__version__ = "(.*)"$', text, re.MULTILINE)
        return {
            "sltune": own.group(1) if own else "",
            "python": ".".join(platform.python_version_tuple()[:2]),
            "torch": ".".join(version("torch").split(".")[:2]),
            "ray": version("ray"),
            **{name: version(name) for name in ("numpy", "pyarrow", "numba", "triton")},
            "code": digest.hexdigest(),
            "place": str(root),
        }

    return read

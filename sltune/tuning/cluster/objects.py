"""The data as all trials reach them: in Ray's object store, or, where that is too small, in their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sltune.errors import SltuneError, UsageError
from sltune.events.dataset import StreamedDataset, UnpackedFiles, data_bytes, opened_files, read_samples
from sltune.events.manifest import Manifest, read_manifest
from sltune.events.samples import Samples
from sltune.system.remote import AnyPath
from sltune.tuning.cluster.nodes import Node

LARGER_STORE = "start Ray there with a larger --object-store-memory"


def store_bytes(node: Node) -> float:
    """Return how much the object store of a node holds."""
    return float(node["Resources"].get("object_store_memory", 0))


@dataclass(frozen=True)
class SharedEvents:
    """The dataset as trials reach it.

    tables: references of a table for each file of the dataset, in the object store; where that is too small for the
    events, of all other columns. streamed: then the reference of the StreamedDataset that reads them; else None. note:
    what a user should know of it; "" for nothing.
    """

    tables: Sequence[Any]
    streamed: Any = None
    note: str = ""

    def samples(self) -> Samples:
        """Return the samples, in any process of the cluster."""
        tables = ray.get(list(self.tables))
        return Samples(tables) if self.streamed is None else ray.get(self.streamed).samples(tables, UnpackedFiles())


def share_dataset(root: AnyPath, manifest: Manifest, nodes: Sequence[Node]) -> SharedEvents:
    """Put each file into the object store, once; where a node's store is too small, have trials read them themselves.

    The driver puts them, because what a task puts dies with its node.

    Raises:
        UsageError: a node has no room for the data in its object store, and some node cannot read them itself.
        DataError: a file cannot be read or is not the one that was imported.
    """
    need = data_bytes(manifest)
    smallest = min(nodes, key=store_bytes)
    if need <= store_bytes(smallest):
        return SharedEvents([ray.put(read_samples(root, file, manifest)) for file in manifest.files])
    lack = f"the data need {need / 1e6:.0f} MB of Ray's object store, but node {smallest['NodeManagerHostname']} has "
    lack += f"{store_bytes(smallest) / 1e6:.0f} MB"
    root = root.absolute() if isinstance(root, Path) else root
    if reason := _unreadable(root, manifest, nodes):
        hint = f"put the data where all nodes see them (a shared folder, s3://…), or {LARGER_STORE}"
        raise UsageError(f"{lack}; {reason}; {hint}")
    tables = [ray.put(file.short) for file in opened_files(root, manifest)]
    note = f"{lack}: each trial reads recordings from {root}, and unpacks them on its node's disk, in TMPDIR"
    return SharedEvents(tables, ray.put(StreamedDataset(root, manifest)), note)


def _unreadable(root: AnyPath, manifest: Manifest, nodes: Sequence[Node]) -> str:
    """Say which node does not see the dataset itself, and why; "" where all do."""
    look: Any = ray.remote(_fingerprint_at)
    asked = []
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append(look.options(num_cpus=0, scheduling_strategy=here).remote(root))
    for node, answer in zip(nodes, asked, strict=True):
        found, reason = ray.get(answer)
        if found != manifest.fingerprint:
            return f"node {node['NodeManagerHostname']} cannot read them itself ({reason or 'has other data there'})"
    return ""


def _fingerprint_at(root: AnyPath) -> tuple[str, str]:
    """Return the fingerprint of the dataset there; "" and the reason where there is none."""
    try:
        return read_manifest(root).fingerprint, ""
    except SltuneError as error:
        return "", str(error)

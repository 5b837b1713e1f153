"""The data in Ray's object store, from which all trials read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from sltune.errors import UsageError
from sltune.events.dataset import read_samples
from sltune.events.manifest import Manifest
from sltune.events.store import TIME_TYPE, address_type
from sltune.system.remote import AnyPath
from sltune.tuning.cluster.nodes import Node

LARGER_STORE = "start Ray there with a larger --object-store-memory"


def store_bytes(node: Node) -> float:
    """Return how much the object store of a node holds."""
    return float(node["Resources"].get("object_store_memory", 0))


def data_bytes(manifest: Manifest) -> int:
    """Return about how much memory the dataset takes in the object store."""
    bits_per_event: int = address_type(manifest.sensor).bit_width + TIME_TYPE.bit_width
    return bits_per_event // 8 * manifest.events


def put_dataset(root: AnyPath, manifest: Manifest, nodes: Sequence[Node]) -> list[Any]:
    """Put each file into the object store, once, and return the references in the manifest's order.

    The driver puts them, because what a task puts dies with its node.

    Raises:
        UsageError: a node's object store could not hold the data; Ray would spill to disk without a word.
        DataError: a file cannot be read or is not the one that was imported.
    """
    need = data_bytes(manifest)
    for node in nodes:
        if need > (store := store_bytes(node)):
            raise UsageError(
                f"the data need {need / 1e6:.0f} MB of Ray's object store, but node {node['NodeManagerHostname']} has "
                f"{store / 1e6:.0f} MB; {LARGER_STORE}"
            )
    references = []
    for file in manifest.files:
        references.append(ray.put(read_samples(root, file, manifest)))
    return references

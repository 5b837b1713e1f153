"""Connects to Ray: joins a cluster, or starts a Ray of our own on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from sltune.tuning.cluster.errors import in_our_words
from sltune.tuning.cluster.joining import joined
from sltune.tuning.cluster.local import local_ray
from sltune.tuning.cluster.signals import orderly_end


@contextmanager
def connected(address: str | None, store_bytes: int) -> Iterator[None]:
    """Connect to the cluster at an address, or start a local one that ends with the block.

    A Ray that the process has already started is used as it is and left running.

    Raises:
        UsageError: nothing answers at the address, or Ray failed within the block.
    """
    if ray.is_initialized():
        with in_our_words():
            yield
        return
    options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False, "job_config": _OwnPaths()}
    place = joined(address, options) if address else local_ray(store_bytes, options)
    with in_our_words(), place, orderly_end():
        yield


class _OwnPaths(JobConfig):
    """Has workers find modules where their own Python finds them, and sltune where this command found it.

    Ray would put the folders of the command and of its script first, where a file ``profile.py`` of the user's, or a
    checkout of another version, hides what the command itself has imported.
    """

    def __init__(self) -> None:
        root = Path(__file__).parents[3]
        # As under `python -m` in a checkout, where workers would not find it, or another one.
        is_beside = bool(sys.path) and Path(sys.path[0]).absolute() == root
        super().__init__(_py_driver_sys_path=[str(root)] if is_beside else [])

    def _runtime_env_has_working_dir(self) -> bool:
        # With one, Ray adds no folders.
        return True

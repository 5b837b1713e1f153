"""Connects to Ray: joins a cluster, or starts a Ray of our own on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import ray
from ray.job_config import JobConfig

from sltune.events.manifest import read_manifest
from sltune.tuning.cluster.errors import in_our_words
from sltune.tuning.cluster.joining import joined
from sltune.tuning.cluster.local import local_ray
from sltune.tuning.cluster.objects import data_bytes
from sltune.tuning.cluster.resources import Request, check_fraction
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


@contextmanager
def begun(request: Request, data: Path, importing: str) -> Iterator[None]:
    """Connect to Ray, or start it for a dataset, and import a module meanwhile, as Ray mostly waits.

    Raises:
        UsageError, DataError: as connected and read_manifest do.
    """
    manifest = read_manifest(data)
    check_fraction(request.gpus_per_trial or 0)
    Thread(target=_import, args=(importing,), daemon=True).start()
    with connected(request.address, data_bytes(manifest)):
        yield


def _import(name: str) -> None:
    # The caller gets the same error when it imports the module itself.
    with suppress(Exception):
        import_module(name)

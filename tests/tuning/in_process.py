"""Runs whose trials are trained in this process instead of by Ray, so that they can be stopped at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from rich.console import Console

from sltune.progress.display import Display
from sltune.tuning import preparation
from sltune.tuning.cluster.resources import Request
from sltune.tuning.execution import executor
from sltune.tuning.execution.callbacks import Callbacks
from sltune.tuning.execution.worker import REPORT, TrialWorker

QUIET = Display(Console(stderr=True), "quiet")
REQUEST = Request(device="cpu", gpus_per_trial=0, max_concurrent=1, checkpoint_minutes=0)


class OneNode:
    """A node of this machine, as far as it is asked for."""

    def __init__(self, say: object) -> None:
        pass

    def first(self) -> list[Any]:
        return [{"NodeManagerHostname": "here", "Resources": {"CPU": 1.0, "object_store_memory": 1e9}}]

    def usable(self) -> list[Any]:
        return self.first()

    def selector(self) -> dict[str, str]:
        return {}


class Worker(TrialWorker):
    """A worker in this process."""

    trial_resources = None

    def __init__(self, config: dict[str, Any], shared: Any) -> None:
        self.setup(config, shared)


class TuneTrial:
    """What is asked of a trial of Tune's."""

    def __init__(self, config: dict[str, Any], worker: Worker) -> None:
        self.config = config
        go_on_from = SimpleNamespace(remote=worker.go_on_from)
        self.temporary_state = SimpleNamespace(ray_actor=SimpleNamespace(go_on_from=go_on_from))
        self.run_metadata = SimpleNamespace(metric_analysis={}, metric_n_steps={})


def run(callbacks: Callbacks, trial: Any, worker: Worker) -> None:
    callbacks.watch(None, trial)
    callbacks.on_trial_start(0, [], trial)
    stops = False
    while not stops:
        result = worker.step()
        # As Tune does, which asks the scheduler first, but not of a last result.
        stops = result.get("done", False) or callbacks.epochs(trial, *result[REPORT])
        callbacks.on_trial_result(0, [], trial, result)
    callbacks.on_trial_complete(0, [], trial)


def train_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run trials one after the other in this process."""

    @contextmanager
    def connected(address: str | None, store_bytes: int) -> Iterator[None]:
        yield

    def fit(self: executor.Executor, callbacks: Callbacks) -> None:
        while isinstance(config := callbacks.next_trial(), dict):
            worker = Worker(config, self.shared)
            try:
                run(callbacks, TuneTrial(config, worker), worker)
            finally:
                worker.cleanup()

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(ray, "get_gpu_ids", list)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
    monkeypatch.setattr(executor, "Nodes", OneNode)
    monkeypatch.setattr(executor.Executor, "_fit", fit)
    monkeypatch.setattr(preparation, "connected", connected)

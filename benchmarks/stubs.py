"""Trials that train nothing, to measure what drives them.

A worker of sltune's takes 350 MB; those here import Ray alone, so that hundreds of them fit on a small machine. They
report what a worker reports, batched by the same code, and their driver is that of any run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Light: the rest is imported by the driver alone.
from sltune.tuning.execution.batching import UnsentRows

LAYERS = 8
METRICS = {"val_loss": 0.5, "val_accuracy": 0.75, "test_loss": 0.5, "test_accuracy": 0.75, "best_epoch": 1}
JOB, REPORT = "job", "report"


class Said:
    """What a stub reports; it becomes a Report of sltune's where it arrives."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return _reported, (self._values,)


def _reported(values: dict[str, Any]) -> tuple[Any, None]:
    from sltune.tuning.trial.report import Report

    return Report(**values), None


class StubWorker:
    """Stands for a TrialWorker whose epochs take a fixed time.

    Args:
        epoch_s: seconds. ending: a file that lets trials end after an epoch, once it is there.
    """

    def __init__(self, config: dict[str, Any], epoch_s: float, ending: str) -> None:
        self._epoch_s, self._ending = epoch_s, ending
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._config, self._started = config, time.time()
        self._epoch = self._iteration = 0
        self._unsent = UnsentRows()

    def reset(self, config: dict[str, Any]) -> bool:
        self._begin(config)
        return True

    def train(self) -> dict[str, Any]:
        self._iteration += 1
        self._unsent.begin()
        ends = False
        while not (ends or (self._epoch and self._unsent.are_due)):
            ends = self._epoch > 0 and os.path.exists(self._ending)
            if not ends:
                time.sleep(self._epoch_s)
                self._epoch += 1
                self._unsent.add([row(self._epoch, self._epoch_s)])
        device = {"name": "stub", "host": "stub", "pid": os.getpid(), "num_cpus": 0.01, "num_gpus": 0.0}
        said = {
            "status": "done" if ends else "running",
            "rows": self._unsent.take(),
            "metrics": METRICS if ends else {},
            "timings": {"started": self._started, "ended": time.time()},
            "device": {**device, "node": "stub", "gpu_ids": [], "threads": 1},
            "versions": {"sltune": "stub"},
        }
        # Beside the report stands what Tune adds to every result.
        added = {"time_this_iter_s": self._epoch_s, "training_iteration": self._iteration, "pid": os.getpid()}
        return {REPORT: Said(**said), "done": ends, "config": self._config, "timestamp": int(time.time()), **added}

    def get_auto_filled_metrics(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        return {"pid": os.getpid()}

    def stop(self) -> None:
        """Nothing is held."""


def row(epoch: int, seconds: float) -> dict[str, float]:
    """Return the metrics of an epoch of a network of eight layers."""
    value = 1 / 3 + 1 / epoch
    row = {"epoch": epoch, "train_loss": value, "val_loss": value, "val_accuracy": 0.1 + 0.3 / (1 + 1 / epoch)}
    row |= {"synaptic_ops": 1e6 * value, "spikes": 1e4 * value, "top_class_share": 0.5, "epochs_without_gradient": 0}
    row |= {f"firing_rate_layer{layer}": 0.05 + value / (5 + layer) for layer in range(LAYERS)}
    return {**row, "samples_per_second": 100 / seconds, "seconds": seconds}


@contextmanager
def stub_workers(epoch_s: float, ending: Path) -> Iterator[None]:
    """Let Ray Tune start stubs for the workers of sltune's within the block."""
    import ray
    from ray.tune.execution import tune_controller

    controller = tune_controller.TuneController
    schedule, kwargs = controller._schedule_trial_task, tune_controller._get_trainable_kwargs

    def light_kwargs(trial: Any) -> dict[str, Any]:
        return {"config": {**trial.config}, "epoch_s": epoch_s, "ending": str(ending)}

    def light_task(self: Any, trial: Any, method_name: str, args: Any = None, **more: Any) -> Any:
        if method_name == "reset":
            # The rest of what Tune sends with it can only be read with Tune.
            args, more["kwargs"] = ({**trial.config},), None
        return schedule(self, trial, method_name, args, **more)

    class Classes:
        """Stands for Tune's cache of actors' classes."""

        def get(self, trainable: Any) -> Any:
            return worker

    worker = ray.remote(StubWorker)
    try:
        controller._schedule_trial_task = light_task
        tune_controller._get_trainable_kwargs, tune_controller._ActorClassCache = light_kwargs, Classes
        yield
    finally:
        controller._schedule_trial_task = schedule
        tune_controller._get_trainable_kwargs = kwargs

"""The Ray trainable: one (configuration, fold, seed) in a worker process.

Events are read where Ray's object store has them; results go back to the driver, which alone writes.
"""

from __future__ import annotations

import os
import platform
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray
import torch
from ray import tune

from sltune import __version__
from sltune.config import Configuration
from sltune.errors import SltuneError, UsageError
from sltune.events.samples import Samples
from sltune.record import TrialKey
from sltune.tuning.job import Job, Outcome, describe_lack_of_memory, run_job

JOB = "job"
"""Key of a trial's Tune configuration; the value is what TrialWorker.describe made."""

ROW, OUTCOME = "row", "outcome"
"""Keys of a worker's results: the metrics of an epoch, or how the trial ended."""


@dataclass(frozen=True)
class SharedData:
    """What trials read from the object store, and what they must know of it.

    tables: references of the dataset's tables. weights: those of the weights to start from, by fold.
    sensor: (height, width) in pixels.
    """

    tables: Sequence[Any]
    weights: Mapping[int, Any]
    sensor: tuple[int, int]
    classes: int


class TrialWorker(tune.Trainable):
    """Trains one job after another: a step is an epoch, the last one also tests."""

    @staticmethod
    def describe(key: TrialKey, configuration: Configuration, device: str) -> dict[str, Any]:
        """Return a trial's Tune configuration."""
        return {JOB: {"key": asdict(key), "configuration": configuration.model_dump(mode="json"), "device": device}}

    def setup(self, config: dict[str, Any], shared: SharedData | None = None) -> None:
        """Take a first job."""
        assert shared is not None, "tune.with_parameters passes it"
        self._shared = shared
        self._samples = Samples(ray.get(list(shared.tables)))
        self._begin(config[JOB])

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self._begin(new_config[JOB])
        return True

    def step(self) -> dict[str, Any]:
        """Return an epoch's metrics, or the outcome; an error of ours or of the user's becomes a failed outcome.

        Tune would take an exception for a dead process and try again, and again fail.
        """
        try:
            result = next(self._results)
        except SltuneError as error:
            result = Outcome("failed", str(error), None, {}, None)
        except Exception as error:
            result = Outcome("failed", self._lack_of_memory(error) or traceback.format_exc(), None, {}, None)
        if not isinstance(result, Outcome):
            return {ROW: result}
        if torch.cuda.is_available():
            # Torch keeps what the trial has freed, but others on this GPU may need it.
            torch.cuda.empty_cache()
        return {
            OUTCOME: result,
            "timings": {"started": self._started, "ended": time.time()},
            "device": self._hardware(),
            "versions": _versions(),
            "done": True,
        }

    def _begin(self, job: Mapping[str, Any]) -> None:
        self._started = time.time()
        self._device_choice = job["device"]
        self._configuration = Configuration.model_validate(job["configuration"])
        self._results = self._run(job)

    def _run(self, job: Mapping[str, Any]) -> Iterator[dict[str, float] | Outcome]:
        # Ray sets OMP_NUM_THREADS to 1 below one CPU, and a reused worker keeps its first value.
        torch.set_num_threads(max(1, int(self._held().get("CPU", 1))))
        device = _torch_device(self._device_choice)
        key = TrialKey(**job["key"])
        weights = self._shared.weights.get(key.fold)
        work = Job(
            key,
            self._configuration,
            self._shared.sensor,
            self._shared.classes,
            None if weights is None else ray.get(weights),
        )
        yield from run_job(work, self._samples, device)

    def _lack_of_memory(self, error: Exception) -> str | None:
        hardware = self._hardware()
        share = f"{hardware['num_gpus']:g} of a GPU" if hardware["num_gpus"] else f"{hardware['num_cpus']:g} CPUs"
        device = f"{hardware['name']} of {hardware['host']}, of which the trial has {share}"
        return describe_lack_of_memory(error, self._configuration, device)

    def _held(self) -> dict[str, float]:
        """Return what Ray gave this trial: CPU and GPU."""
        resources = self.trial_resources
        return dict(resources.required_resources) if resources else {}

    def _hardware(self) -> dict[str, Any]:
        held = self._held()
        on_gpu = self._device_choice != "cpu" and torch.cuda.is_available() and held.get("GPU", 0) > 0
        return {
            "name": torch.cuda.get_device_name() if on_gpu else "cpu",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "num_cpus": held.get("CPU", 0),
            "num_gpus": held.get("GPU", 0),
            "gpu_ids": [str(gpu) for gpu in ray.get_gpu_ids()],
            "threads": torch.get_num_threads(),
        }


def _torch_device(choice: str) -> torch.device:
    """Return the device of this worker: a trial that was given a GPU must find one, unless told to use the CPU.

    Raises:
        UsageError: torch sees no GPU here; names the node.
    """
    holds_gpu = bool(ray.get_gpu_ids())
    if choice == "cpu" or (choice == "auto" and not holds_gpu):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError(
            f"the trial holds GPU {ray.get_gpu_ids()} on node {socket.gethostname()}, but torch {torch.__version__} "
            "sees none there; install torch for CUDA on that node or run with --device cpu"
        )
    return torch.device("cuda")


def _versions() -> dict[str, str]:
    return {
        "sltune": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": ray.__version__,
    }

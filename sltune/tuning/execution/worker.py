"""The Ray trainable: one (configuration, fold, seed) in a worker process.

Events are read where Ray's object store has them; results go back to the driver, which alone writes.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import time
import traceback
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import ray
import torch
from ray import tune

from sltune import __version__
from sltune.errors import SltuneError, UsageError
from sltune.events.splits.parts import Split
from sltune.extensions.code import Code
from sltune.extensions.importing import describe_error, users_frames
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.training.process_state import kept_state
from sltune.tuning.cluster.objects import SharedEvents
from sltune.tuning.cluster.resources import Request
from sltune.tuning.execution.batching import UnsentRows
from sltune.tuning.trial.checkpoints import Checkpoints
from sltune.tuning.trial.job import Job, describe_lack_of_memory
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trainer import run_job
from sltune.wording import shortened

JOB = "job"
"""Key of a trial's Tune configuration; the value is what TrialWorker.describe made."""

MAX_ERROR_LENGTH = 100_000
"""Characters of a failed trial's trace; what an exception of the user's says may be any text."""

REPORT = "report"
"""Key of a worker's results; the value is a Report and, where one is due and the driver keeps it, a checkpoint."""


@dataclass(frozen=True)
class SharedData:
    """What trials read from the object store, and what is the same for all of them.

    events: the dataset. weights: those of the weights to start from, by path. splits: the
    recordings of each part, by (seed, fold). sensor: (height, width) in pixels. fingerprint: the dataset's. code: the
    user's, which workers on other hosts cannot read themselves.
    """

    events: SharedEvents
    weights: Mapping[str, Any]
    splits: Mapping[tuple[int, int], Split]
    sensor: tuple[int, int]
    classes: int
    fingerprint: str
    request: Request
    checkpoints: Checkpoints
    code: Code = field(default_factory=Code)

    def job(self, key: TrialKey, configuration: Configuration) -> Job:
        """Return what a trial is to train."""
        weights = self.weights.get(configuration.network.weights_for(key.fold))
        start = None if weights is None else ray.get(weights)
        return Job(key, configuration, self.sensor, self.classes, start, self.fingerprint, self.code)


class TrialWorker(tune.Trainable):
    """Trains one job after another: a step is as many epochs as travel together, the last one also tests."""

    @staticmethod
    def describe(key: TrialKey, configuration: Configuration, alone: bool) -> dict[str, Any]:
        """Return a trial's Tune configuration: a single text, since Tune copies every value of it again and again."""
        job = {"key": asdict(key), "configuration": configuration.model_dump_json()}
        return {JOB: json.dumps(job), "alone": alone}

    @staticmethod
    def key_of(job: str) -> TrialKey:
        """Return which trial a job is."""
        return TrialKey(**json.loads(job)["key"])

    def setup(self, config: dict[str, Any], shared: SharedData | None = None) -> None:
        """Take a first job."""
        assert shared is not None, "tune.with_parameters passes it"
        self._shared = shared
        self._samples = shared.events.samples()
        self._checkpoint: bytes | None = None
        self._saved = self._started = 0.0
        self._unsaved: Report | None = None
        self._unsent = UnsentRows()
        self._reports = _nothing()
        self._begin(config[JOB])

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self._begin(new_config[JOB])
        return True

    def cleanup(self) -> None:
        """Leave the job; Tune calls it before a worker ends."""
        # What a trial has changed in torch is put back now. A generator that is left to the garbage collector would do
        # so at any moment, and switch gradients on in the middle of an evaluation, say.
        self._reports.close()
        self._reports = _nothing()

    def go_on_from(self, checkpoint: bytes) -> None:
        """Take a checkpoint of the job; called before its first step."""
        self._checkpoint = checkpoint

    def step(self) -> dict[str, Any]:
        """Report the epochs since the last report, or the end."""
        # Now, as the driver has asked for more only after it had written down the rows of all epochs.
        self._write_unsaved()
        self._unsent.begin()
        while True:
            report = self._next_report()
            self._unsent.add(report.rows)
            if report.status != "running":
                return self._end(report)
            is_saved = self._must_save(report)
            # Rows are with the driver before the checkpoint after them exists: they would not come again.
            if is_saved or self._unsent.are_due:
                return {REPORT: (self._sent(report), self._save(report) if is_saved else None)}

    def _next_report(self) -> Report:
        """Train an epoch; an error of ours or of the user's ends the trial as failed.

        Tune would take an exception for a dead process and try again, and again fail.
        """
        try:
            return next(self._reports)
        except SltuneError as error:
            return Report("failed", str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A user's network may also call exit(), which would end this process each time that it is tried again.
            lack = self._lack_of_memory(error)
            # Tables and the terminal show the last line, which therefore names the user's.
            last = describe_error(error) if users_frames(error) else ""
            text = shortened(lack or f"{traceback.format_exc()}{last}", MAX_ERROR_LENGTH)
            return Report("failed", text, lacked_memory=lack is not None)

    def _sent(self, report: Report) -> Report:
        """Return what travels of a report, with all rows that have not."""
        timings = {"started": self._started, "ended": time.time()}
        # What makes a checkpoint is the trainer itself, which stays here.
        report = replace(report, rows=self._unsent.take(), checkpoint=None, timings=timings)
        weights = None if self._shared.request.keep_weights == "none" else report.weights
        return replace(report, weights=weights, device=self._hardware(), versions=self._versions())

    def _end(self, report: Report) -> dict[str, Any]:
        sent = self._sent(report)
        # A worker waits for its next trial with nothing of this one.
        self.cleanup()
        if torch.cuda.is_available():
            # Torch keeps what the trial has freed, but others on this GPU may need it.
            torch.cuda.empty_cache()
        return {REPORT: (sent, None), "done": True}

    def _must_save(self, epoch: Report) -> bool:
        is_due = self._shared.checkpoints.is_due(time.monotonic() - self._saved)
        return epoch.checkpoint is not None and is_due

    def _save(self, epoch: Report) -> bytes | None:
        """Return a checkpoint where the driver keeps it; others are written before the next epoch."""
        self._saved = time.monotonic()
        if self._shared.checkpoints.place is None:
            return epoch.checkpoint() if epoch.checkpoint else None
        self._unsaved = epoch
        return None

    def _write_unsaved(self) -> None:
        epoch, self._unsaved = self._unsaved, None
        if epoch is not None and epoch.checkpoint is not None:
            # Training is worth more than its checkpoint; the next one may fit again.
            with suppress(UsageError):
                self._shared.checkpoints.write(self._key, epoch.checkpoint())

    def _begin(self, job: str) -> None:
        self.cleanup()
        self._started, self._saved = time.time(), time.monotonic()
        self._key: TrialKey = self.key_of(job)
        self._configuration = Configuration.model_validate_json(json.loads(job)["configuration"])
        self._checkpoint = None
        self._unsaved = None
        self._unsent = UnsentRows()
        self._reports = self._run()

    def _run(self) -> Generator[Report, None, None]:
        # Ray sets OMP_NUM_THREADS to 1 below one CPU, and a reused worker keeps its first value.
        torch.set_num_threads(max(1, int(self._held().get("CPU", 1))))
        device = torch_device(self._shared.request.device)
        work = self._shared.job(self._key, self._configuration)
        checkpoint, self._checkpoint = self._checkpoint, None
        if self._shared.checkpoints.place is not None:
            checkpoint = self._shared.checkpoints.read(self._key)
        split = self._shared.splits[self._key.seed, self._key.fold]
        # Each trial is to find what it would find in a fresh process.
        self._shared.code.forget()
        with kept_state():
            yield from run_job(work, self._samples, device, checkpoint, split, self._shared.request.details)

    def _versions(self) -> dict[str, str]:
        versions = {
            "sltune": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "ray": ray.__version__,
        }
        digest = self._shared.code.digest
        return {**versions, "code": digest} if digest else versions

    def _lack_of_memory(self, error: BaseException) -> str | None:
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
        on_gpu = self._shared.request.device != "cpu" and torch.cuda.is_available() and held.get("GPU", 0) > 0
        return {
            "name": torch.cuda.get_device_name() if on_gpu else "cpu",
            "host": socket.gethostname(),
            "node": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "num_cpus": held.get("CPU", 0),
            "num_gpus": held.get("GPU", 0),
            "gpu_ids": [str(gpu) for gpu in ray.get_gpu_ids()],
            "threads": torch.get_num_threads(),
        }


def torch_device(choice: str) -> torch.device:
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


def _nothing() -> Generator[Report, None, None]:
    yield from ()

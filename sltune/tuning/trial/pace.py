"""How fast a trial trains and what memory it takes, from a few seconds of its training."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import torch

from sltune.events.samples import Samples
from sltune.events.splits.parts import Split
from sltune.training.batches import Batch
from sltune.training.fit import evaluate, train_epoch
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer


@dataclass(frozen=True)
class Measured:
    """used_bytes: of the device's memory by all processes, or of the host's by this one. total_bytes: of the device.

    peak_bytes: the largest amount that tensors on the GPU took; 0 on a CPU.
    """

    samples: int
    seconds: float
    used_bytes: int
    total_bytes: int
    peak_bytes: int


class TrialPace:
    """A trial that is trained for some seconds at a time, and never to its end.

    Making it trains on one batch and evaluates another, so that all is compiled and the largest tensors have been made.

    Raises:
        SltuneError: the data or saved weights do not fit the configuration.
    """

    def __init__(self, job: Job, samples: Samples, split: Split, device: torch.device) -> None:
        self._device = device
        self._trainer = Trainer(job, samples, split, device)
        self._batches = self._endless()
        self._train_one()
        part = self._trainer.val if split.val else self._trainer.test
        batch_size = job.configuration.training.eval_batch_size
        batches = islice(part.evaluation(batch_size, job.configuration.sampling.eval_crops), 1)
        learner = self._trainer.learner
        evaluate(learner.network, batches, learner.loss, learner.precision, job.classes)

    def measure(self, seconds: float) -> Measured:
        """Train for at least so many seconds, and at least one batch."""
        samples, started = 0, time.perf_counter()
        while True:
            samples += self._train_one()
            taken = time.perf_counter() - started
            if taken >= seconds:
                break
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            return Measured(samples, taken, total - free, total, torch.cuda.max_memory_allocated(self._device))
        return Measured(samples, taken, own_bytes(), 0, 0)

    def _endless(self) -> Iterator[Batch]:
        for epoch in count(1):
            yield from self._trainer.train_batches(epoch)

    def _train_one(self) -> int:
        # train_epoch reads the loss at its end, for which the host waits for the device.
        return train_epoch(self._trainer.learner, [next(self._batches)])[1]


def own_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Return the memory that belongs to this process alone: without Ray's object store, which all processes share."""
    with suppress(OSError, ValueError):
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "RssAnon":
                return int(value.split()[0]) << 10
    # Other systems than Linux say only how much was resident at most; macOS counts it in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10

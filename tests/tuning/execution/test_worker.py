"""What a worker leaves behind between its jobs."""

from __future__ import annotations

from collections.abc import Generator

import torch

from sltune.training.process_state import kept_state
from sltune.tuning.execution.worker import TrialWorker
from sltune.tuning.trial.report import Report


def job() -> Generator[Report, None, None]:
    """A job that changes torch and waits for its next epoch."""
    with kept_state():
        torch.set_default_dtype(torch.float64)
        yield Report("running")


def test_a_job_that_is_left_puts_back_at_once_what_it_changed() -> None:
    """Not when somebody collects garbage, perhaps in the middle of the next job."""
    worker = object.__new__(TrialWorker)
    worker._reports = held = job()
    next(held)
    assert torch.get_default_dtype() == torch.float64
    worker.cleanup()
    assert torch.get_default_dtype() == torch.float32
    assert list(held) == []

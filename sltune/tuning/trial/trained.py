"""The network of a trial that has ended, as it was tested."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sltune.errors import DataError, UsageError
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.places import copied_code
from sltune.runs.record import Record
from sltune.training.process_state import kept_state
from sltune.training.weights import load_weights, read_weights
from sltune.tuning.trial.job import Job
from sltune.wording import as_argument, first_of

MAX_SHOWN_TRIALS = 5
"""A run may have thousands of trials; the first few show what they are called."""


def ended_trial(folder: RunFolder, trial: str) -> tuple[Job, Record]:
    """Return what a trial that has ended was, with the copy of the user's code in the run folder, and its record.

    Args:
        trial: its name, such as c0000-f0-s0.

    Raises:
        UsageError: the run has no record of such a trial.
        DataError: the folder is no run folder, or the code is absent or damaged.
    """
    info, records = read_info(folder), {record.key.name: record for record in folder.records()}
    if trial not in records:
        known = ", ".join(first_of(list(records), MAX_SHOWN_TRIALS)) or "none"
        raise UsageError(f"{folder.root}: has no record of a trial {trial!r}; those with a record: {known}")
    if info.dataset.sensor is None:
        raise DataError(f"{folder.run_json}: was written by an earlier version, and lacks the size of the sensor")
    record, sensor = records[trial], info.dataset.sensor
    classes = len(record.dataset.classes)
    return Job(record.key, record.configuration(), sensor, classes, code=copied_code(folder.code, info.code)), record


def kept_weights(folder: RunFolder, record: Record) -> Path:
    """Return the file with the weights of a trial that has ended.

    Raises:
        DataError: the run has not kept them; says how to get them.
    """
    file, kept = folder.trial(record.key).best_weights, read_info(folder).keep_weights
    if file.exists() or kept == "all" or record.status != "done":
        return file
    whose = "no trial" if kept == "none" else "the best configuration and the Pareto front"
    again = as_argument(folder.root / record.config_id)
    text = f"the run keeps the weights of {whose} (--keep-weights {kept}); to have these, train the configuration again"
    raise DataError(f"{file}: is not there, as {text}: sltune evaluate --from {again} --data DATA")


def trained_network(job: Job, weights: Path) -> nn.Module:
    """Return the network of a job with the weights in a file, in evaluation mode, on the CPU.

    A network of the user's own is made by the job's code, which is run for that.

    Raises:
        CodeError: a network of the user's own cannot be made.
        DataError: the weights are absent or damaged.
    """
    # Making a network draws its initial weights by a seed of its own, which is none of the caller's business.
    with torch.random.fork_rng(devices=[]), kept_state():
        network = job.network()
    load_weights(network, read_weights(weights), str(weights))
    return network.eval()

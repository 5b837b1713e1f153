"""The network of a trial that has ended, as it was tested."""

from __future__ import annotations

import torch
from torch import nn

from sltune.errors import DataError, UsageError
from sltune.runs.folder import RunFolder
from sltune.runs.info import code_of, read_info
from sltune.training.weights import load_weights, read_weights
from sltune.tuning.trial.job import Job
from sltune.wording import first_of

MAX_SHOWN_TRIALS = 5
"""A run may have thousands of trials; the first few show what they are called."""


def trained_network(folder: RunFolder, trial: str) -> nn.Module:
    """Return the network of a trial with the weights of its best epoch, in evaluation mode, on the CPU.

    A network of the user's own is made by the copy of its code in the run folder, which is run for that.

    Args:
        trial: its name, such as c0000-f0-s0.

    Raises:
        UsageError: the run has no record of such a trial.
        CodeError: a network of the user's own cannot be made.
        DataError: the folder is no run folder, or the weights or the code are absent or damaged.
    """
    info, records = read_info(folder), {record.key.name: record for record in folder.records()}
    if trial not in records:
        known = ", ".join(first_of(list(records), MAX_SHOWN_TRIALS)) or "none"
        raise UsageError(f"{folder.root}: has no record of a trial {trial!r}; those with a record: {known}")
    if info.dataset.sensor is None:
        raise DataError(f"{folder.run_json}: was written by an earlier version, and lacks the size of the sensor")
    record = records[trial]
    job = Job(
        record.key, record.configuration(), info.dataset.sensor, len(record.dataset.classes), code=code_of(folder)
    )
    # Making a network draws its initial weights by a seed of its own, which is none of the caller's business.
    with torch.random.fork_rng(devices=[]):
        network = job.network()
    file = folder.trial(record.key).best_weights
    load_weights(network, read_weights(file), str(file))
    return network.eval()

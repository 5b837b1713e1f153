"""Networks to predict with: those of a model, or that of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sltune.errors import DataError
from sltune.runs.folder import RunFolder
from sltune.runs.places import copied_code
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.tuning.final.model import ModelFolder, read_model
from sltune.tuning.trial.trained import ended_trial, kept_weights, trained_network


@dataclass(frozen=True)
class Predictor:
    """Networks whose rates are averaged, and what they take and say.

    sensor: (height, width) in pixels of what they were trained on. classes: the names of what they tell apart. dataset:
    the name of what they were trained on, and downsample: how many of a camera's pixels, in each direction, were merged
    into one of it. splits: of a trial, the recordings of its parts.
    """

    networks: Sequence[nn.Module]
    configuration: Configuration
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    dataset: str
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    downsample: int = 1


def load_predictor(path: Path, device: torch.device) -> Predictor:
    """Return the networks of a model, or that of a trial (``results/RUN/trials/c0000-f0-s0``), on a device.

    Raises:
        DataError: there are none, or a file is broken or of a newer sltune.
        UsageError: the run has no record of that trial.
    """
    folder = ModelFolder(path)
    predictor = _of_model(folder) if folder.model_json.exists() else _of_trial(path)
    for network in predictor.networks:
        network.to(device)
    return predictor


def _of_model(folder: ModelFolder) -> Predictor:
    info = read_model(folder)
    if info.missing:
        text = f"is not ready: seeds {', '.join(map(str, info.missing))} are missing; finish it by the same sltune fit"
        raise DataError(f"{folder.root}: {text}")
    code = copied_code(folder.code, info.code)
    jobs = {seed: info.job(seed, code) for seed in info.config.evaluation.seeds}
    networks = [trained_network(job, folder.weights(seed)) for seed, job in jobs.items()]
    classes, name, downsample = info.dataset.classes, info.dataset.name, info.dataset.downsample
    return Predictor(networks, info.config, info.sensor, classes, name, downsample=downsample)


def _of_trial(path: Path) -> Predictor:
    path = path.absolute()
    run = RunFolder(path.parent.parent if path.parent.name == "trials" else path.parent)
    try:
        key = TrialKey.parse(path.name)
    except ValueError:
        key = None
    if key is None or not run.run_json.exists():
        text = "is neither a model that sltune fit made, nor a trial of a run, such as results/RUN/trials/c0000-f0-s0"
        raise DataError(f"{path}: {text}")
    job, record = ended_trial(run, key.name)
    network = trained_network(job, kept_weights(run, record))
    classes, name, downsample = record.dataset.classes, record.dataset.name, record.dataset.downsample
    return Predictor([network], job.configuration, job.sensor, classes, name, record.splits, downsample)

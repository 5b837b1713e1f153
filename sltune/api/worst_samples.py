"""The samples that a trial got most wrong, with pictures where its dataset is at hand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from sltune.errors import SltuneError
from sltune.events.dataset import Dataset, open_dataset
from sltune.events.views.pictures import Span, frames_picture
from sltune.report.analysis.runs import Run
from sltune.report.trial_pages import WorstSample
from sltune.runs.record import Record
from sltune.system.remote import path_or_uri
from sltune.training.predictions import rates_of_classes, read_predictions

MAX_SAMPLES = 3
"""Of each trial."""


def worst_of(run: Run, record: Record) -> Sequence[WorstSample]:
    """Return the wrongly classed test samples whose true class was furthest behind; none without predictions."""
    file = run.trial(record.key).predictions
    if not file.exists():
        return []
    table = read_predictions(file)
    rates, labels = rates_of_classes(table), table["label"].to_numpy()
    classes, names = record.dataset.classes, table["sample_id"].to_pylist()
    if rates.shape[1] != len(classes) or not len(labels):
        return []
    of_true, guesses = rates[np.arange(len(labels)), labels], rates.argmax(axis=1)
    behind = rates.max(axis=1) - of_true
    order = [place for place in np.argsort(-behind, kind="stable")[:MAX_SAMPLES] if guesses[place] != labels[place]]
    dataset = _dataset_of(run.info.dataset.path, record.dataset.fingerprint)
    return [
        WorstSample(
            names[place], classes[labels[place]], classes[guesses[place]],
            (float(of_true[place]), float(rates[place].max())), _picture(dataset, names[place]),
        )
        for place in order
    ]  # fmt: skip


@cache
def _dataset_of(path: str, fingerprint: str) -> Dataset | None:
    """Return the dataset that a run was trained on; None where it is not there, or another one is."""
    place = path_or_uri(path)
    if not isinstance(place, Path):
        # Whoever hands on a run would choose the server that this machine asks.
        return None
    with suppress(SltuneError, OSError):
        dataset = open_dataset(place)
        if dataset.manifest.fingerprint == fingerprint:
            return dataset
    return None


def _picture(dataset: Dataset | None, sample_id: str) -> bytes | None:
    if dataset is None:
        return None
    with suppress(SltuneError):
        file = io.BytesIO()
        frames_picture(dataset, sample_id, Span(), 1).save(file, "PNG", optimize=True)
        return file.getvalue()
    return None

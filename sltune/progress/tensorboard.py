"""TensorBoard event files, one folder a trial, written by the driver."""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import histogram_raw, hparams, image, text

from sltune.progress.event_file import encoded, opening
from sltune.runs.epochs import EpochRow
from sltune.runs.folder import RunFolder
from sltune.runs.metrics import METRICS, tag_of
from sltune.runs.record import Record, TrialKey
from sltune.system.files import append_whole
from sltune.training.details import Details

_numbers = itertools.count()


class ScalarLog:
    """Writes the event file of each running trial.

    Not through torch's SummaryWriter: that takes 0.8 ms for the scalars of an epoch, and has a thread for each file.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._files: dict[TrialKey, Path] = {}
        self._last: dict[TrialKey, int] = {}
        self._tags: dict[str, str] = {}

    def epochs(self, key: TrialKey, rows: Sequence[EpochRow]) -> None:
        """Add the metrics of epochs; spikes of each layer go to activity/, spikes per neuron and step to firing_rate/.

        Raises:
            UsageError: the file cannot be written.
        """
        first, last = int(rows[0]["epoch"]), int(rows[-1]["epoch"])
        if first != self._last.get(key, 0) + 1:
            self._files.pop(key, None)
        self._add(key, self._events(rows), first)
        self._last[key] = last

    def finish(self, record: Record, details: Details | None = None) -> None:
        """Add the result at the epoch that it belongs to, with the settings that led to it; raises as epochs does."""
        epochs = int(record.timings.epochs or 0)
        step = record.metrics.best_epoch or epochs
        names = [name for name, metric in METRICS.items() if metric.hparam]
        known = {name: value for name in names if (value := record.metrics.number(name)) is not None}
        summaries = [_scalars({f"final/{name}": value for name, value in known.items()})]
        summaries += _looks(details) if details else []
        events = [Event(step=step, wall_time=time.time(), summary=summary) for summary in summaries]
        # Not add_hparams, which makes a folder of its own. Trials without a result name the metrics as well, since
        # TensorBoard takes any one trial's word for all.
        metrics = {f"final/{name}": 0.0 for name in names}
        settings = hparams(settings_of(record), metrics)  # type: ignore[no-untyped-call]
        events += [Event(wall_time=time.time(), summary=summary) for summary in settings]
        self._add(record.key, events, epochs + 1)
        self._files.pop(record.key, None)
        self._last.pop(record.key, None)

    def _add(self, key: TrialKey, events: Iterable[Event], step: int) -> None:
        """Add events to a trial's file; a new one replaces what earlier starts of the trial have from the step on."""
        is_new = key not in self._files
        if is_new:
            name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
            self._files[key] = self._folder.trial(key).path / f"{name}.{next(_numbers):06d}"
        first = opening(step) if is_new else []
        append_whole(self._files[key], encoded([*first, *events]), self._folder.root, create=is_new)

    def _events(self, rows: Sequence[EpochRow]) -> Iterator[Event]:
        # They have come at once, but did not end at once.
        ended = time.time() - sum(row.get("seconds", 0.0) for row in rows)
        for row in rows:
            ended += row.get("seconds", 0.0)
            tags = ((self._tag(name), value) for name, value in row.items())
            summary = _scalars({tag: value for tag, value in tags if tag})
            yield Event(step=int(row["epoch"]), wall_time=ended, summary=summary)

    def _tag(self, column: str) -> str:
        if column not in self._tags:
            self._tags[column] = tag_of(column)
        return self._tags[column]


def _scalars(values: EpochRow) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def settings_of(record: Record) -> dict[str, bool | float | str]:
    """Return what a trial was made of, in the types that the tab HPARAMS knows: settings by dotted key, and status."""
    values: dict[str, bool | float | str] = {
        "config_id": record.config_id,
        "fold": record.fold,
        "seed": record.seed,
        "status": record.status,
    }
    for key, value in record.settings.items():
        values[key] = value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
    return values


def _looks(details: Details) -> list[Summary]:
    """Return the histograms of a trained network's weights, and the picture of its spikes with how to read it."""
    histograms = [
        histogram_raw(  # type: ignore[no-untyped-call]
            f"weights/{name}",
            min=found.least,
            max=found.greatest,
            num=int(found.counts.sum()),
            sum=found.total,
            sum_squares=found.squares,
            bucket_limits=found.upper.tolist(),
            bucket_counts=found.counts.tolist(),
        )
        for name, found in details.weights.items()
    ]
    picture = image("raster", details.raster, dataformats="HWC")  # type: ignore[no-untyped-call]
    return [*histograms, picture, text("raster/reading", details.reading)]  # type: ignore[no-untyped-call]

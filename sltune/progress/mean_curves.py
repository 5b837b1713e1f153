"""Curves of configurations in TensorBoard: means over the trials that are done, and one standard deviation around them.

Event files are read as they grow, and TensorBoard never goes back to a file that has gone. Each set of curves is
therefore a new file, whose beginning tells TensorBoard to drop the points of the earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from sltune.progress.event_file import encoded, opening
from sltune.runs.epochs import read_epochs
from sltune.runs.folder import RunFolder
from sltune.runs.metrics import METRICS
from sltune.runs.record import Record

CATEGORY = "mean ± std over folds and seeds"
BELOW, ABOVE = "mean_minus_std", "mean_plus_std"
MIN_TRIALS = 2
"""The mean of one trial is that trial, and it has no deviation."""
MIN_GROWTH = 1.25
"""Files are written after 2, 3, 4, 5, 7, 9, 12 … trials, so that their size in all grows with the number of trials."""
_NAME = "events.out.tfevents.{}.mean"
_SHOWN = {name: metric.tag for name, metric in METRICS.items() if metric.panel and metric.tag}
_Curves = dict[str, list[tuple[int, float]]]


def update_mean_curves(folder: RunFolder, config_id: str, records: Iterable[Record], ended: bool) -> None:
    """Write the curves of a configuration where more of its trials are done than its newest file has.

    What a process that was killed did not write is made up for by the next call, of whatever process.

    Args:
        records: of its trials that have ended.
        ended: whether no further trial will come.

    Raises:
        UsageError: the file cannot be written.
    """
    done = [record for record in records if record.status == "done"]
    written = 0
    for file in folder.mean_curves(config_id).glob(_NAME.format("*")):
        count = int(part) if (part := file.name.split(".")[-2]).isdecimal() else 0
        # Trials have been deleted since, to run again.
        if count > len(done):
            folder.remove(file)
        else:
            written = max(written, count)
    is_due = len(done) >= MIN_GROWTH * written or ended
    if is_due and len(done) > max(written, MIN_TRIALS - 1) and (curves := _curves(folder, done)):
        file = folder.mean_curves(config_id) / _NAME.format(f"{len(done):010d}")
        folder.write(file, _event_file(curves, max(record.timings.ended or 0.0 for record in done)))


def _curves(folder: RunFolder, done: Iterable[Record]) -> _Curves:
    """Return curves by their tags, over the epochs that every trial has: a mean of some would jump where one ends."""
    files = [folder.trial(record.key).epochs_csv for record in done]
    trials = [{row["epoch"]: row for row in read_epochs(file, skip_bad=True)} for file in files]
    common = sorted(set.intersection(*map(set, trials)))
    curves: _Curves = {}
    for name, tag in _SHOWN.items():
        for epoch in common:
            values = np.array([rows[epoch][name] for rows in trials if name in rows[epoch]])
            if len(values) == len(trials):
                mean, std = values.mean(), values.std(ddof=1)
                for shown, value in ((tag, mean), (f"{BELOW}/{tag}", mean - std), (f"{ABOVE}/{tag}", mean + std)):
                    curves.setdefault(shown, []).append((int(epoch), float(value)))
    return curves


def _event_file(curves: _Curves, time: float) -> bytes:
    events = [*_events(curves)]
    for event in events:
        event.wall_time = time
    return encoded(events)


def _events(curves: _Curves) -> Iterator[Event]:
    # Imports torch, which a process that has nothing to write may never need.
    from torch.utils.tensorboard.summary import custom_scalars

    yield from opening(1)
    shown = [tag for tag in _SHOWN.values() if tag in curves]
    charts = {tag: ["Margin", [tag, f"{BELOW}/{tag}", f"{ABOVE}/{tag}"]] for tag in shown}
    yield Event(summary=custom_scalars({CATEGORY: charts}))  # type: ignore[no-untyped-call]
    for tag, points in curves.items():
        for step, value in points:
            yield Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))

"""TensorBoard event files, one folder a trial, written by the driver."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from sltune.runs.folder import RunFolder
from sltune.runs.metrics import METRICS, tag_of
from sltune.runs.record import Record, TrialKey
from sltune.training.details import Details


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Let the threads that write end without a trace where they cannot: the next call of their writer says why."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        is_writer = type(args.thread).__module__.startswith("tensorboard.")
        if not (is_writer and isinstance(args.exc_value, OSError)):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


class ScalarLog:
    """Keeps a writer open for each running trial."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._writers: dict[TrialKey, SummaryWriter] = {}

    def epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        """Add one epoch's metrics; spikes of each layer go to activity/, spikes per neuron and step to firing_rate/."""
        if row["epoch"] == 1:
            self._close(key)
        writer = self._writer(key)
        for name, value in row.items():
            if tag := tag_of(name):
                writer.add_scalar(tag, value, int(row["epoch"]))

    def finish(self, record: Record, details: Details | None = None) -> None:
        """Add the result at the epoch that it belongs to, with the settings that led to it, and close the file."""
        writer = self._writer(record.key)
        step = record.metrics.best_epoch or int(record.timings.epochs or 0)
        names = [name for name, metric in METRICS.items() if metric.hparam]
        for name in names:
            if (value := record.metrics.number(name)) is not None:
                writer.add_scalar(f"final/{name}", value, step)
        # Not add_hparams, which makes a folder of its own. Trials without a result name the metrics as well, since
        # TensorBoard takes any one trial's word for all.
        metrics = {f"final/{name}": 0.0 for name in names}
        for summary in hparams(settings_of(record), metrics):  # type: ignore[no-untyped-call]
            writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
        if details:
            _add_details(writer, details, step)
        self._close(record.key)

    def close(self) -> None:
        """Close what is open, so that nothing is lost where a run ends early."""
        for key in list(self._writers):
            # Where the folder is gone or the disk full, that is what is to be said, and not that curves lack their end.
            with suppress(OSError):
                self._close(key)

    def _writer(self, key: TrialKey) -> SummaryWriter:
        if key not in self._writers:
            # purge_step: the curves of a trial that starts anew replace those of its earlier start.
            path = str(self._folder.make(self._folder.trial(key).path))
            self._writers[key] = SummaryWriter(path, purge_step=1, flush_secs=10)
        return self._writers[key]

    def _close(self, key: TrialKey) -> None:
        if key in self._writers:
            self._writers.pop(key).close()


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


def _add_details(writer: SummaryWriter, details: Details, step: int) -> None:
    for name, found in details.weights.items():
        writer.add_histogram_raw(
            f"weights/{name}",
            min=found.least,
            max=found.greatest,
            num=int(found.counts.sum()),
            sum=found.total,
            sum_squares=found.squares,
            bucket_limits=found.upper.tolist(),
            bucket_counts=found.counts.tolist(),
            global_step=step,
        )
    writer.add_image("raster", details.raster, step, dataformats="HWC")
    writer.add_text("raster/reading", details.reading, step)

"""TensorBoard event files, one folder a trial, written by the driver."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from sltune.record import Record, RunFolder, TrialKey

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "val_accuracy": "accuracy/val",
    "test_loss": "loss/test",
    "test_accuracy": "accuracy/test",
    "samples_per_second": "speed/samples_per_second",
    "synaptic_ops": "activity/synaptic_ops",
    "device_memory_bytes": "speed/device_memory_bytes",
}


class ScalarLog:
    """Keeps a writer open for each running trial."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._writers: dict[TrialKey, SummaryWriter] = {}

    def epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        """Add one epoch's metrics; spikes of each layer go to activity/."""
        if row["epoch"] == 1:
            self._close(key)
        writer = self._writer(key)
        for name, value in row.items():
            tag = TAGS.get(name, f"activity/{name}" if name.startswith("spikes_") else "")
            if tag:
                writer.add_scalar(tag, value, int(row["epoch"]))

    def finish(self, record: Record) -> None:
        """Add the test result at the epoch that it belongs to, and close the trial's file."""
        writer = self._writer(record.key)
        step = record.metrics.get("best_epoch") or int(record.timings.get("epochs", 0))
        for name in ("test_loss", "test_accuracy"):
            if name in record.metrics:
                writer.add_scalar(f"final/{name}", record.metrics[name], step)
        self._close(record.key)

    def close(self) -> None:
        """Close what is open, so that nothing is lost where a run ends early."""
        for key in list(self._writers):
            self._close(key)

    def _writer(self, key: TrialKey) -> SummaryWriter:
        if key not in self._writers:
            # purge_step: the curves of a trial that starts anew replace those of its earlier start.
            path = str(self._folder.trial(key).path)
            self._writers[key] = SummaryWriter(path, purge_step=1, flush_secs=10)
        return self._writers[key]

    def _close(self, key: TrialKey) -> None:
        if key in self._writers:
            self._writers.pop(key).close()

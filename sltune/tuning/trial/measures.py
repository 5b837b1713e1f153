"""How each metric of ``runs/metrics.py`` is measured: a function for its name, and what epochs and records hold."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from sltune.runs.metrics import METRICS
from sltune.training.fit import EpochMetrics, EvaluationResult

Values = float | dict[str, float]
"""One number, or one for each layer."""

OF_EVALUATION: dict[str, Callable[[EvaluationResult], Values]] = {
    "val_loss": attrgetter("loss"),
    "val_accuracy": attrgetter("accuracy"),
    "test_loss": attrgetter("loss"),
    "test_accuracy": attrgetter("accuracy"),
    "synaptic_ops": attrgetter("synaptic_ops"),
    "spikes": attrgetter("spikes"),
    "firing_rate": attrgetter("firing_rates"),
}
"""What is measured where a network is evaluated: after each epoch, and at the end."""

OF_TRAINING: dict[str, Callable[[EpochMetrics], float]] = {
    "train_loss": attrgetter("train_loss"),
    "samples_per_second": attrgetter("samples_per_second"),
    "seconds": attrgetter("seconds"),
}
"""What is measured while an epoch trains."""


def row_of(epoch: EpochMetrics, selects_on_test: bool) -> dict[str, float]:
    """Return the metrics of an epoch as a row of epochs.csv; those of layers are called ``spikes_conv1``.

    Args:
        selects_on_test: whether the part that was evaluated is the test part, as there is no validation part.
    """
    row: dict[str, float] = {"epoch": epoch.epoch}
    other = "val" if selects_on_test else "test"
    for name, metric in METRICS.items():
        if not metric.by_epoch or metric.part == other:
            continue
        if name in OF_TRAINING:
            row[name] = OF_TRAINING[name](epoch)
        elif name in OF_EVALUATION:
            value = OF_EVALUATION[name](epoch.evaluation)
            row |= {f"{name}_{layer}": x for layer, x in value.items()} if isinstance(value, dict) else {name: value}
    return row


def of_record(selected: EvaluationResult, test: EvaluationResult, selects_on_test: bool) -> dict[str, Values | None]:
    """Return the metrics of a record.

    Args:
        selected: of the part that selects the epoch, at the selected one.
        test: of the test part, with the weights of that epoch.
        selects_on_test: whether there is no validation part; then what is measured on it is None.
    """
    found: dict[str, Values | None] = {}
    for name, measure in OF_EVALUATION.items():
        metric = METRICS[name]
        if metric.in_record:
            missing = metric.part == "val" and selects_on_test
            found[name] = None if missing else measure(test if metric.part == "test" else selected)
    return found

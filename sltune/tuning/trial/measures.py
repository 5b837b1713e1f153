"""How each metric of ``runs/metrics.py`` is measured: a function for its name, and what epochs and records hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from torch import Tensor

from sltune.errors import CodeError
from sltune.extensions.calls import column_of
from sltune.runs.metrics import LARGEST, METRICS
from sltune.settings.energy import DEFAULT_TABLE
from sltune.training.fit import EpochMetrics, EvaluationResult
from sltune.tuning.trial.costs import Costs

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
    "top_class_share": attrgetter("top_class_share"),
}
"""What is measured where a network is evaluated: after each epoch, and at the end."""

OF_TRAINING: dict[str, Callable[[EpochMetrics], float | None]] = {
    "train_loss": attrgetter("train_loss"),
    "samples_per_second": attrgetter("samples_per_second"),
    "seconds": attrgetter("seconds"),
    "epochs_without_gradient": attrgetter("epochs_without_gradient"),
    "device_memory_bytes": attrgetter("device_memory_bytes"),
}
"""What is measured while an epoch trains; None where the device does not measure it."""


@dataclass(frozen=True)
class Selection:
    """What the evaluation after each epoch gave: at the lowest loss, at the highest accuracy, and at the last epoch.

    best_epoch: the one with the lowest loss; None where nothing was trained.
    """

    best_epoch: int | None
    lowest: EvaluationResult
    highest: EvaluationResult
    last: EvaluationResult


OF_SELECTION: dict[str, Callable[[Selection], float | None]] = {
    "best_epoch": attrgetter("best_epoch"),
    "test_loss_min": attrgetter("lowest.loss"),
    "test_accuracy_max": attrgetter("highest.accuracy"),
    "test_loss_last": attrgetter("last.loss"),
    "test_accuracy_last": attrgetter("last.accuracy"),
}
"""What is known once all epochs are over."""

OF_COSTS: dict[str, Callable[[Costs], float | None]] = {
    "effective_acs": attrgetter("effective_acs"),
    "effective_macs": attrgetter("effective_macs"),
    "membrane_updates": attrgetter("membrane_updates"),
    "activation_sparsity": attrgetter("activation_sparsity"),
    "parameters": attrgetter("parameters"),
    "memory_bytes": attrgetter("memory_bytes"),
    "latency_ms": attrgetter("latency_ms"),
    "energy_joules": lambda costs: DEFAULT_TABLE.joules(*_operations(costs)),
    "energy_with_memory_joules": lambda costs: DEFAULT_TABLE.joules_with_memory(*_operations(costs)),
    "gpu_joules": attrgetter("gpu_joules"),
}
"""What the network of the best epoch costs, on the part that has selected it."""


def _operations(costs: Costs) -> tuple[float, float, float]:
    return costs.effective_acs, costs.effective_macs, costs.membrane_updates


def own_metrics(
    functions: Mapping[str, Callable[..., Any]], rates: Tensor | None, labels: Tensor
) -> dict[str, float | None]:
    """Return what metrics of the user's give for the test part; None where the rates are gone, or it is not finite.

    Args:
        functions: by the names that they have in space files. rates: of shape (samples, classes). labels: of shape
            (samples,).

    Raises:
        CodeError: one gives no number.
    """
    found = dict[str, float | None]()
    for text, function in functions.items():
        given = math.nan if rates is None else function(rates, labels)
        try:
            value = float(given)
        except (TypeError, ValueError, RuntimeError) as error:
            got = type(given).__name__
            raise CodeError(f"evaluation.metrics: {text} must return a number, but got {got}") from error
        found[column_of(text)] = value if abs(value) <= LARGEST else None
    return found


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
            measured = OF_TRAINING[name](epoch)
            row |= {} if measured is None else {name: measured}
        elif name in OF_EVALUATION:
            value = OF_EVALUATION[name](epoch.evaluation)
            row |= {f"{name}_{layer}": x for layer, x in value.items()} if isinstance(value, dict) else {name: value}
    return row


def of_record(
    selection: Selection, test: EvaluationResult, costs: Costs | None, selects_on_test: bool
) -> dict[str, Values | None]:
    """Return the metrics of a record.

    Args:
        test: of the test part, with the weights of the epoch that was selected.
        costs: None where there is nothing to measure them on.
        selects_on_test: whether there is no validation part; then what is measured on it is None.
    """
    protocol = "train-test" if selects_on_test else "train-val-test"
    found: dict[str, Values | None] = {
        name: measure(selection) for name, measure in OF_SELECTION.items() if METRICS[name].is_measured_with(protocol)
    }
    for name, measure in OF_EVALUATION.items():
        metric = METRICS[name]
        if metric.in_record:
            judged = test if selects_on_test or metric.part == "test" else selection.lowest
            found[name] = measure(judged) if metric.is_measured_with(protocol) else None
    if costs is not None:
        found |= {name: measure(costs) for name, measure in OF_COSTS.items()}
    if selects_on_test:
        # As the predecessor reports it: each of its own epoch.
        found["test_loss"] = selection.lowest.loss
    return found

"""The one table of metrics: what is measured of a trial, on which part of the data, and how it is shown.

A new metric is an entry in METRICS and a function in ``tuning/trial/measures.py``. Records, epochs.csv, TensorBoard,
tables, frames, plots and pages then have it as its entry says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

LARGEST = 1e18
"""A larger quantity is an error: sums, squares and means of many trials could overflow."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Quantity = Annotated[float, Field(ge=0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]

Part = Literal["train", "val", "test", "selection"]
Multiple = Literal["", "%", "k", "M", "kB", "mJ", "µJ"]
MULTIPLES: dict[Multiple, float] = {"": 1, "k": 1e3, "M": 1e6, "kB": 1e3, "mJ": 1e-3, "µJ": 1e-6}
"""How much of the stored unit each is."""


@dataclass(frozen=True)
class Metric:
    """What there is to know of a metric besides its name.

    part: the part that it is measured on. "selection" is the one that selects the best epoch: validation, or with
    protocol train-test the test part. unit: of the value as it is stored. better: which values are better.

    by_epoch: it is measured after every epoch. in_record: it stands in the record. by_layer: each layer, or each metric
    of the user's, has a value; in tables the column of a layer is called ``spikes_conv1``, say.

    protocol: the one with which alone it is measured. row: what its row in the table of accuracies is called. loss: the
    metric that stands beside it there.

    shown_as: the unit in which it is shown, a multiple of the stored one. column: its heading in the table of costs.
    panel: what its learning curve is called, where {part} stands for the name of the part. tag: that of its curve in
    TensorBoard, where {layer} stands for the name of the layer. hparam: TensorBoard shows it beside the settings of a
    trial. A metric without a row, a column, a panel or a tag is not shown there.
    """

    part: Part = "selection"
    unit: str = "1"
    better: Literal["high", "low", ""] = ""
    by_epoch: bool = True
    in_record: bool = True
    by_layer: bool = False
    protocol: str = ""
    row: str = ""
    loss: str = ""
    shown_as: Multiple = ""
    column: str = ""
    panel: str = ""
    tag: str = ""
    hparam: bool = False

    def shown(self, value: float) -> float:
        """Return a value in the unit in which it is shown."""
        return 100 * value if self.shown_as == "%" else value / MULTIPLES[self.shown_as]

    def is_measured_with(self, protocol: str) -> bool:
        """Say whether trials of a protocol measure it; train-test has no validation part."""
        return self.protocol in ("", protocol) and not (self.part == "val" and protocol == "train-test")

    @property
    def heading(self) -> str:
        """The heading of its column, with the unit."""
        return f"{self.column}, {self.shown_as}" if self.shown_as else self.column

    def axis(self, part: str) -> str:
        """Return the label of the axis of its learning curve, with the unit."""
        return self.panel.format(part=part) + (f" ({self.shown_as})" if self.shown_as else "")


def cost(unit: str, shown_as: Multiple, column: str, better: Literal["high", "low"] = "low") -> Metric:
    """Return what there is to know of a cost, which is measured once, at the end of a training."""
    return Metric(unit=unit, better=better, by_epoch=False, shown_as=shown_as, column=column)


METRICS: dict[str, Metric] = {
    "train_loss": Metric("train", better="low", in_record=False, panel="training loss", tag="loss/train"),
    "best_epoch": Metric(unit="epoch", by_epoch=False),
    "val_loss": Metric("val", better="low", panel="{part} loss", tag="loss/val", hparam=True),
    "val_accuracy": Metric(
        "val",
        better="high",
        row="validation",
        loss="val_loss",
        shown_as="%",
        panel="{part} accuracy",
        tag="accuracy/val",
        hparam=True,
    ),
    "test_loss": Metric("test", better="low", panel="{part} loss", tag="loss/test", hparam=True),
    "test_accuracy": Metric(
        "test",
        better="high",
        row="test",
        loss="test_loss",
        shown_as="%",
        panel="{part} accuracy",
        tag="accuracy/test",
        hparam=True,
    ),
    # Those of the last epoch, and the best of all epochs.
    "test_accuracy_last": Metric(
        "test",
        better="high",
        by_epoch=False,
        protocol="train-test",
        row="test, last epoch",
        loss="test_loss_last",
        shown_as="%",
    ),
    "test_accuracy_max": Metric("test", better="high", by_epoch=False, protocol="train-test", shown_as="%"),
    "test_loss_last": Metric("test", better="low", by_epoch=False, protocol="train-test"),
    "test_loss_min": Metric("test", better="low", by_epoch=False, protocol="train-test"),
    "samples_per_second": Metric("train", "samples/s", in_record=False, tag="speed/samples_per_second"),
    "seconds": Metric("train", "s", in_record=False),
    "synaptic_ops": Metric(
        unit="operations/sample",
        better="low",
        shown_as="M",
        column="synaptic ops",
        tag="activity/synaptic_ops",
        hparam=True,
    ),
    "effective_acs": cost("operations/sample", "M", "ACs"),
    "effective_macs": cost("operations/sample", "M", "MACs"),
    "membrane_updates": cost("updates/sample", "M", "updates"),
    "activation_sparsity": cost("1", "%", "sparsity", better="high"),
    "parameters": cost("1", "k", "parameters"),
    "memory_bytes": cost("bytes", "kB", "memory"),
    "latency_ms": cost("ms", "", "latency, ms"),
    "energy_joules": cost("J/sample", "µJ", "energy"),
    "energy_with_memory_joules": cost("J/sample", "µJ", "with memory"),
    "gpu_joules": cost("J/sample", "mJ", "GPU"),
    "spikes": Metric(
        unit="spikes/sample", better="low", by_layer=True, shown_as="k", column="spikes", tag="activity/spikes_{layer}"
    ),
    "firing_rate": Metric(unit="spikes/neuron/step", in_record=False, by_layer=True, tag="firing_rate/{layer}"),
    "own": Metric("test", by_epoch=False, by_layer=True),
    "top_class_share": Metric(in_record=False, tag="health/top_class_share"),
    "epochs_without_gradient": Metric("train", "epochs", in_record=False, tag="health/epochs_without_gradient"),
    "device_memory_bytes": Metric("train", "bytes", in_record=False, tag="speed/device_memory_bytes"),
}


class TestedRecording(BaseModel):
    """How a recording of the test part went."""

    __test__ = False
    model_config = ConfigDict(strict=True, extra="allow")
    subject: str
    session: str
    samples: Annotated[int, Field(ge=1)]
    correct: Count

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.correct > self.samples:
            raise ValueError(f"{self.correct} of {self.samples} samples cannot be correct")
        return self


class Metrics(BaseModel):
    """The metrics in a record; None for those that were not measured. Those that only another version has are kept.

    Some modules read these fields by their names; ``number`` reads any metric of the table. confusion: of the test
    part, a row for each true class. recordings: those of the test part. own: what functions of the user's have given.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    best_epoch: Count | None = None
    val_loss: Quantity | None = None
    val_accuracy: Fraction | None = None
    test_loss: Quantity | None = None
    test_accuracy: Fraction | None = None
    test_loss_min: Quantity | None = None
    test_accuracy_max: Fraction | None = None
    test_loss_last: Quantity | None = None
    test_accuracy_last: Fraction | None = None
    confusion: list[list[Count]] = Field(default_factory=list)
    recordings: dict[str, TestedRecording] = Field(default_factory=dict)
    spikes: dict[str, Quantity] = Field(default_factory=dict)
    synaptic_ops: Quantity | None = None
    own: dict[str, Signed | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _square(self) -> Self:
        if {len(self.confusion), *map(len, self.confusion)} != {len(self.confusion)}:
            raise ValueError("confusion has not as many columns as rows")
        return self

    @model_validator(mode="after")
    def _added_are_numbers(self) -> Self:
        _ADDED.validate_python({name: value for name, value in (self.model_extra or {}).items() if name in METRICS})
        return self

    def number(self, name: str) -> float | None:
        """Return a metric of the table by its name; of one that is measured by layer, the sum over the layers.

        The input is no layer.
        """
        value: float | dict[str, float] | None = getattr(self, name, None)
        if isinstance(value, dict):
            layers = [count for layer, count in value.items() if layer != "input"]
            return sum(layers) if layers else None
        return value

    def in_columns(self) -> dict[str, float | None]:
        """Return every metric that records have; of those by layer a value for each layer, called ``spikes_conv1``."""
        columns: dict[str, float | None] = {}
        for name, metric in METRICS.items():
            if metric.by_layer:
                columns |= {f"{name}_{layer}": value for layer, value in (getattr(self, name, None) or {}).items()}
            elif metric.in_record:
                columns[name] = self.number(name)
        return columns

    def has(self, name: str) -> bool:
        """Say whether a metric was measured, if only to find that it has no value."""
        return name in self.model_fields_set

    def as_json(self) -> dict[str, Any]:
        """Return what was measured, as it stands in a record."""
        return self.model_dump(mode="json", exclude_unset=True)


_ADDED = TypeAdapter(dict[str, Signed | dict[str, Signed] | None], config=ConfigDict(strict=True))


def tag_of(column: str) -> str:
    """Return the tag in TensorBoard of a column of epochs.csv; "" where it is not shown there."""
    if column in METRICS:
        return METRICS[column].tag
    for name, metric in METRICS.items():
        if metric.by_layer and column.startswith(f"{name}_"):
            return metric.tag.format(layer=column.removeprefix(f"{name}_"))
    return ""


def is_reported(name: str, measured: Iterable[Metrics]) -> bool:
    """Say whether reports of some records have a metric: every version measures it, or one of the records has it."""
    return name in Metrics.model_fields or any(one.has(name) for one in measured)

"""What the metrics and the device of a trial's record may be, so that what reads records can rely on them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST = 1e18
"""Of any quantity: with it, sums, squares and means of many trials are still numbers."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Quantity = Annotated[float, Field(ge=0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Device(BaseModel):
    """Where a trial ran; empty for one that was given up before it did."""

    model_config = ConfigDict(strict=True, extra="allow")
    name: str = ""
    host: str = ""
    num_cpus: Quantity = 0.0
    num_gpus: Quantity = 0.0


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
    """Those that reports read."""

    model_config = ConfigDict(strict=True, extra="allow")
    best_epoch: Quantity | None = None
    val_loss: Quantity | None = None
    val_accuracy: Fraction | None = None
    test_loss: Quantity | None = None
    test_loss_min: Quantity | None = None
    test_loss_last: Quantity | None = None
    test_accuracy: Fraction | None = None
    test_accuracy_last: Fraction | None = None
    test_accuracy_max: Fraction | None = None
    synaptic_ops: Quantity | None = None
    spikes: dict[str, Quantity] = Field(default_factory=dict)
    confusion: list[list[Count]] = Field(default_factory=list)
    recordings: dict[str, TestedRecording] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion has not as many columns as rows")
        return self


def checked_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Return metrics as they are.

    Raises:
        ValidationError: one is none.
    """
    Metrics.model_validate(values)
    return values


def checked_device(values: dict[str, Any]) -> dict[str, Any]:
    """Return where a trial ran as it is.

    Raises:
        ValidationError: it is nowhere.
    """
    Device.model_validate(values)
    return values

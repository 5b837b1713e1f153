"""What the metrics of a trial's record may be, so that what reads records can rely on them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]


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
    """Those that reports read, but for accuracies, which say of themselves where they are wrong."""

    model_config = ConfigDict(strict=True, extra="allow")
    best_epoch: float | None = None
    val_loss: float | None = None
    test_loss: float | None = None
    test_loss_min: float | None = None
    test_loss_last: float | None = None
    synaptic_ops: float | None = None
    spikes: dict[str, float] = Field(default_factory=dict)
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

"""What a trial says after epochs and at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sltune.events.splits.parts import Split
from sltune.runs.record import Status

if TYPE_CHECKING:
    from sltune.training.details import Details


@dataclass(frozen=True)
class Report:
    """What a trial says: all that its record holds and that the driver cannot know.

    The trainer makes it, the worker adds timings, device and versions, and the campaign writes the last one as the
    trial's record.

    status: "running" after an epoch. rows: the metrics of the epochs since the last report. checkpoint: makes what the
    trial can go on from after the last of them; it stays in the trial's process. split: the recordings of each part.
    metrics: those of the record, if the status is "done". weights: of the best epoch. predictions: the content of
    predictions.parquet. lacked_memory: whether the trial failed because its device had no memory left. details: a look
    at the trained network, where one was asked for. note: what a user should know of the node. timings: Unix seconds.
    """

    status: Status | Literal["running"]
    error: str = ""
    rows: Sequence[Mapping[str, float]] = ()
    checkpoint: Callable[[], bytes] | None = None
    split: Split | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    weights: bytes | None = None
    predictions: bytes | None = None
    lacked_memory: bool = False
    details: Details | None = None
    note: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

"""Messages about trials: a line of words for a person, an object for a machine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sltune.runs.health.findings import Finding
from sltune.runs.metrics import METRICS
from sltune.runs.record import Record, TrialKey
from sltune.wording import printable

_PARTS = {"test": "test", "val": "validation"}


@dataclass(frozen=True)
class Message:
    """One thing that has happened to a trial. text follows its name; facts are the rest of the JSON object."""

    key: TrialKey
    text: str
    facts: Mapping[str, Any]

    def words(self, run: str = "") -> str:
        """Return the line for a person; run: the name of the run, where several are shown."""
        return printable(f"{run + '/' if run else ''}{self.key.name}  {self.text}")

    def event(self, run: str = "") -> dict[str, Any]:
        """Return the object for a machine."""
        return {**({"run": run} if run else {}), "trial": self.key.name, **self.facts}


def to_json(values: Mapping[str, Any]) -> str:
    """Return an object as a line of JSON; numbers that JSON does not have become null."""
    return json.dumps({name: _in_json(value) for name, value in values.items()}, allow_nan=False)


def started(key: TrialKey) -> Message:
    """A trial has a worker."""
    return Message(key, "started", {"event": "start"})


def goes_again(key: TrialKey, reason: str) -> Message:
    """A trial runs once more."""
    return Message(key, reason, {"event": "again", "reason": reason})


def left_unfinished(key: TrialKey) -> Message:
    """The process of the run has ended before the trial."""
    return Message(key, "unfinished: no process has the run", {"event": "unfinished"})


def epoch_ended(key: TrialKey, row: Mapping[str, float], epochs: int) -> Message:
    """A trial has ended an epoch; epochs: how many there will be, 0 if that is unknown."""
    part = "val" if "val_accuracy" in row else "test"
    accuracy, speed = 100 * row[f"{part}_accuracy"], row["samples_per_second"]
    text = f"epoch {row['epoch']:g}/{epochs or '?'}  {part} accuracy {accuracy:.1f} %  {speed:.0f} samples/s"
    return Message(key, text, {"event": "epoch", **row})


def trial_ended(record: Record, shows_test: bool) -> Message:
    """A trial has ended; nothing of a search is shown that was measured on the test part."""
    metrics, text = record.metrics.as_json(), str(record.status)
    if not shows_test:
        metrics = {name: value for name, value in metrics.items() if name in METRICS and METRICS[name].part != "test"}
    part = "test" if shows_test else "val"
    accuracy = record.metrics.number(f"{part}_accuracy")
    if accuracy is not None:
        text += f"  {_PARTS[part]} accuracy {100 * accuracy:.1f} %"
    elif record.error:
        text += f": {record.reason}"
    return Message(record.key, text, {"event": "finish", "status": record.status, "metrics": metrics})


def warning(key: TrialKey, finding: Finding) -> Message:
    """Something speaks against the figures of a trial."""
    facts = {"event": "warning", "finding": finding.name, "text": finding.text, "advice": finding.advice}
    return Message(key, f"warning: {finding.sentence}", facts)


def _in_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _in_json(inner) for name, inner in value.items()}
    return [_in_json(inner) for inner in value] if isinstance(value, (list, tuple)) else value

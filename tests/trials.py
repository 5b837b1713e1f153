"""Records and epochs of made-up trials."""

from __future__ import annotations

from typing import Any

from sltune.runs.record import DatasetInfo, Record, Status, TrialKey

DATASET = DatasetInfo(name="hills", synthetic=True, fingerprint="f", classes=("a", "b"))


def record(name: str, val: float | None = None, status: Status = "done", **facts: Any) -> Record:
    """The record of the trial of that name; test accuracy is 0.1 below the validation's. facts override the rest."""
    key = TrialKey.parse(name)
    metrics = {} if val is None else {"val_accuracy": val, "test_accuracy": val - 0.1, "synaptic_ops": 1.0}
    values: dict[str, Any] = {
        "schema_version": 1, "run": "run", "config_id": key.config_id, "config": {}, "fold": key.fold,
        "seed": key.seed, "status": status, "error": "", "splits": {}, "metrics": metrics, "timings": {}, "device": {},
        "versions": {}, "dataset": DATASET,
    }  # fmt: skip
    return Record(**{**values, **facts})


def epoch(number: int, val: float = 0.5, seconds: float = 2.0, **more: float) -> dict[str, float]:
    """The row of an epoch."""
    return {"epoch": number, "val_accuracy": val, "samples_per_second": 100.0, "seconds": seconds, **more}

"""Run folders written by hand, as a run would leave them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
RECORDINGS = {"train": ["user00_indoor"], "val": ["user25_imse"], "test": ["user18_sunlight"]}
DATASET = {
    "name": "SL-Animals-DVS",
    "synthetic": False,
    "fingerprint": "f" * 64,
    "classes": [f"c{i}" for i in range(19)],
}


def make_record(fold: int = 0, test: float | None = None, **facts: Any) -> Spec:
    """Return the content of a record.json; ``facts`` override any of its defaults or add a metric by name."""
    record: Spec = {
        "schema": 1,
        "run": "paper",
        "config_id": "c0000",
        "config": {
            "evaluation": {
                "protocol": facts.pop("protocol", "train-val-test"),
                "sessions": facts.pop("sessions", ["S1", "S2", "S3", "S4"]),
                **{name: facts.pop(name) for name in ("split", "split_lists") if name in facts},
            }
        },
        "fold": fold,
        "seed": 0,
        "status": "done",
        "error": "",
        "splits": {**RECORDINGS, "test": [f"user{18 + fold}_sunlight"]},
        "metrics": {} if test is None else {"test_accuracy": test, "val_accuracy": test},
        "timings": {"started": 1.0, "ended": 2.0, "epochs": 1.0},
        "device": {"name": "cpu"},
        "versions": {"sltune": "0.1.0"},
        "dataset": DATASET | facts.pop("dataset", {}),
    }
    for key, value in facts.items():
        (record if key in record else record["metrics"])[key] = value
    return record


def trial_name(record: Spec) -> str:
    return f"{record['config_id']}-f{record['fold']}-s{record['seed']}"


def write_run(folder: Path, records: Iterable[Spec], planned: Iterable[str] | None = None, **info: Any) -> Path:
    """Write a run folder; trials of an evaluation and steps of a search are those of the records unless given."""
    records = list(records)
    names = [trial_name(record) for record in records] if planned is None else list(planned)
    steps = sorted({(record["seed"], record["fold"]) for record in records})
    plan = {"steps": steps} if info.get("kind") == "tune" else {"trials": names}
    facts = {"schema": 1, "name": folder.name, "kind": "evaluate", "dataset": DATASET, **plan}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(facts | info))
    for record in records:
        trial = folder / "trials" / trial_name(record)
        trial.mkdir(parents=True, exist_ok=True)
        (trial / "record.json").write_text(json.dumps(record))
    return folder

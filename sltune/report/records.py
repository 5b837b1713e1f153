"""All trials of some runs as one tidy table, a row per trial, to start from in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sltune.report.analysis.runs import Run, load_runs
from sltune.runs.folder import RunFolder
from sltune.runs.metrics import METRICS
from sltune.runs.record import Record, TrialKey

_KEYS = ("folder", "run", "config_id", "fold", "seed")
_TEXTS = (
    "folder",
    "run",
    "config_id",
    "status",
    "error",
    "protocol",
    "split",
    "validation",
    "sessions",
    "dataset",
    "fingerprint",
    "host",
    "device",
)


def load_records(*runs: str | Path) -> pd.DataFrame:
    """Return every trial of some run folders, also those without a result, by run, configuration, seed and fold.

    ``status`` is done, pruned, failed or diverged, and for trials without a record running, unfinished (they were
    stopped) or missing (not begun). Accuracies are fractions; times are Unix seconds. Settings are columns such as
    ``neuron.decay``: lists are JSON texts, and so are numbers where other trials have words. Spikes a sample and layer
    are ``spikes_conv1`` and so on. What does not apply to a trial is missing (NaN or None).

    Raises:
        DataError: a folder is no run folder, or a file in it is foreign, broken or of a newer schema.
    """
    return frame_of(load_runs([Path(run) for run in runs]))


def frame_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the trials of runs as load_records does."""
    rows = [row for run in runs for row in _rows(run)]
    columns = dict.fromkeys([*_KEYS, "status", *(name for row in rows for name in row)])
    if "split" in columns:
        rows = [row if "protocol" not in row else {"split": "folds", **row} for row in rows]
    settings = [name for name in columns if "." in name]
    for name in settings:
        _make_alike(rows, name)
    frame = pd.DataFrame(rows, columns=list(columns))
    # Without this, the type of a column would depend on whether some trial has no value.
    kinds = {**dict.fromkeys(_TEXTS, "string"), "synthetic": "boolean"}
    frame = frame.astype({name: kind for name, kind in kinds.items() if name in frame})
    numbers = [name for name in frame if name in METRICS]
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce").astype(float) for name in numbers})


def _make_alike(rows: Sequence[dict[str, Any]], name: str) -> None:
    """Turn the values of a setting into texts if some are numbers and others words, such as "whole" among lengths."""
    kinds = {type(row[name]) for row in rows if row.get(name) is not None}
    if len(kinds) > 1 and kinds != {int, float}:
        for row in rows:
            if row.get(name) is not None:
                row[name] = row[name] if isinstance(row[name], str) else json.dumps(row[name])


def write_records(run: Run) -> Path:
    """Write the frame of a run into its report folder as records.parquet, with numbers for hosts and no paths.

    Raises:
        UsageError: the file cannot be written.
    """
    folder = RunFolder(run.folder)
    file = folder.report / "records.parquet"
    folder.write(file, _as_shared(frame_of([run]), run).to_parquet(index=False))
    return file


def _as_shared(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    changed = {"folder": pd.Series(run.folder.resolve().name, frame.index, "string")}
    if "host" in frame:
        numbers = {host: f"host {number}" for number, host in enumerate(frame["host"].dropna().unique(), 1)}
        changed["host"] = frame["host"].map(numbers).astype("string")
    for name in ("network.weights", "evaluation.split_lists"):
        if name in frame:
            changed[name] = frame[name].map(run.sharing.text, na_action="ignore")
    return frame.assign(**changed)


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    records: dict[TrialKey, Record] = {record.key: record for record in run.records}
    for key in sorted({*records, *run.planned}):
        place = {"folder": str(run.folder), "run": run.name}
        facts = {**place, "config_id": key.config_id, "fold": key.fold, "seed": key.seed}
        if key in records:
            yield facts | _facts(records[key])
        else:
            yield facts | {"status": run.state_of(key)}


def _facts(record: Record) -> dict[str, Any]:
    timings, device = record.timings, record.device
    return {
        "status": record.status,
        "error": record.error or None,
        "protocol": record.judged.protocol or None,
        **({} if record.judged.split == "folds" else {"split": record.judged.split_name}),
        **({"validation": record.validation} if record.validation else {}),
        "sessions": "+".join(record.judged.sessions),
        "dataset": record.dataset.name,
        "synthetic": record.dataset.synthetic,
        "fingerprint": record.dataset.fingerprint,
        "classes": len(record.dataset.classes),
        **record.metrics.in_columns(),
        **{
            f"{part}_recordings": len(record.splits[part]) for part in ("train", "val", "test") if part in record.splits
        },
        "epochs": timings.epochs,
        "started": timings.started,
        "ended": timings.ended,
        "host": device.host,
        "device": device.name,
        "num_cpus": device.num_cpus,
        "num_gpus": device.num_gpus,
        **{key: json.dumps(value) if isinstance(value, list) else value for key, value in record.settings.items()},
    }

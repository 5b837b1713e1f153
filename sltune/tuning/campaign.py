"""A run as a plain object over its folder: hands out trials, takes what comes of them, knows what is left.

Knows no Ray. The records are the only durable truth, so a run that was killed at any moment goes on from them.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sltune.config import Configuration
from sltune.errors import DataError, UsageError
from sltune.files import write_whole
from sltune.record import SCHEMA, DatasetInfo, Record, RunFolder, Status, TrialKey


@dataclass(frozen=True)
class Finished:
    """What a worker reports at the end of a trial; everything of a record that the driver does not know."""

    status: Status
    error: str
    splits: dict[str, list[str]]
    metrics: dict[str, Any]
    weights: bytes | None
    timings: dict[str, float]
    device: dict[str, Any]
    versions: dict[str, str]


class Campaign:
    """A fixed configuration over folds and seeds.

    Args:
        planned: every trial of the run, in the order in which they are handed out.
        retry_failed: hand out trials that failed or diverged earlier once more.

    Raises:
        DataError: the folder holds records of another configuration, which must not share a mean with new ones.
    """

    def __init__(
        self,
        folder: RunFolder,
        configuration: Configuration,
        dataset: DatasetInfo,
        planned: list[TrialKey],
        retry_failed: bool = False,
    ) -> None:
        self.folder = folder
        self.configuration = configuration
        self.dataset = dataset
        self.planned = planned
        self.records: dict[TrialKey, Record] = {record.key: record for record in folder.records()}
        settings = configuration.model_dump(mode="json")
        for record in self.records.values():
            if record.config != settings:
                text = f"{folder.space_toml}: is not the configuration of the record of {record.key.name}"
                raise DataError(f"{text}; restore it, or evaluate the new one in a run of its own")
        again = {key for key, record in self.records.items() if retry_failed and record.status != "done"}
        self._waiting = deque(key for key in planned if key not in self.records or key in again)
        self._open = set(self._waiting)
        self._epochs: dict[TrialKey, int] = {}

    @property
    def left(self) -> int:
        """How many trials are still to be finished."""
        return len(self._open)

    def states(self) -> dict[TrialKey, str]:
        """Return the state of every planned trial: "waiting", or its record's status."""
        return {key: "waiting" if key in self._open else self.records[key].status for key in self.planned}

    def next_trial(self) -> TrialKey | None:
        """Hand out the next trial; None when all are out."""
        return self._waiting.popleft() if self._waiting else None

    def add_epoch(self, key: TrialKey, row: Mapping[str, float]) -> None:
        """Take one epoch's metrics. A trial that starts anew after its process died starts its file anew too."""
        file = self.folder.trial(key).epochs_csv
        first = row["epoch"] == 1
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "w" if first else "a", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, fieldnames=list(row), lineterminator="\n")
                if first:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise UsageError(f"{file}: cannot be written: {error.strerror}") from error
        self._epochs[key] = int(row["epoch"])

    def finish(self, key: TrialKey, finished: Finished) -> Record:
        """Write the trial's weights, then its record, whose presence says that the trial is over.

        A trial that is over already keeps its record: a result may come twice when a worker dies.
        """
        if key not in self._open:
            return self.records[key]
        trial = self.folder.trial(key)
        if finished.weights is not None:
            write_whole(trial.best_weights, finished.weights)
        if finished.error:
            write_whole(trial.error_txt, finished.error + "\n")
        else:
            trial.error_txt.unlink(missing_ok=True)
        record = Record(
            schema_version=SCHEMA,
            run=self.folder.root.name,
            config_id=key.config_id,
            config=self.configuration.model_dump(mode="json"),
            fold=key.fold,
            seed=key.seed,
            status=finished.status,
            error=finished.error,
            splits=finished.splits,
            metrics=finished.metrics,
            timings={**finished.timings, "epochs": self._epochs.pop(key, 0)},
            device=finished.device,
            versions=finished.versions,
            dataset=self.dataset,
        )
        write_whole(trial.next_record_file(), record.to_json())
        self.records[key] = record
        self._open.discard(key)
        return record


def plan(configuration: Configuration) -> list[TrialKey]:
    """Return the trials of a fixed configuration: all folds with the first seed, then all with the next."""
    evaluation = configuration.evaluation
    return [TrialKey("c0000", seed, fold) for seed in evaluation.seeds for fold in range(evaluation.folds)]


def write_run_info(folder: RunFolder, planned: list[TrialKey], facts: Mapping[str, object]) -> None:
    """Write ``run.json``: what the run consists of and where it came from."""
    values = {"schema": SCHEMA, **facts, "trials": [key.name for key in planned]}
    write_whole(folder.run_json, json.dumps(values, indent=1))

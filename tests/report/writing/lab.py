"""Two evaluations of the same signers, as a lab has them before a paper, with numbers that tests compute anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.written_runs import DATASET, Spec, make_record, write_run

SIGNERS, FOLDS, SEEDS, SAMPLES = 24, 4, 3, 19
CLASSES = 19


def recordings(fold: int, skill: float, rng: np.random.Generator) -> Iterator[tuple[str, Spec]]:
    """Give how many samples of each signer of a fold were right; signers differ, the first being the hardest."""
    for signer in range(fold, SIGNERS, FOLDS):
        right = int(rng.binomial(SAMPLES, min(0.97, max(0.05, skill - 0.3 + 0.6 * signer / SIGNERS))))
        facts = {"subject": f"user{signer:02d}", "session": "S1", "samples": SAMPLES, "correct": right}
        yield f"user{signer:02d}_indoor", facts


def confusion(right: int, total: int) -> list[list[int]]:
    """Return a matrix with so many right samples; the others are taken for the next class."""
    matrix = np.zeros((CLASSES, CLASSES), dtype=int)
    for place in range(total):
        matrix[place % CLASSES, (place + (place >= right)) % CLASSES] += 1
    return matrix.tolist()


def write_lab(folder: Path, name: str, skill: float, seed: int = 0, seeds: int = SEEDS, **facts: Any) -> Path:
    """Write an evaluation with baselines; facts: as make_record takes them."""
    rng = np.random.default_rng(seed)
    records, tested = [], []
    for fold in range(FOLDS):
        for number in range(seeds):
            found = dict(recordings(fold, skill, rng))
            right, total = (sum(one[key] for one in found.values()) for key in ("correct", "samples"))
            trained = [f"user{signer:02d}_indoor" for signer in range(SIGNERS) if signer % FOLDS != fold]
            splits = {"train": trained[2:], "val": trained[:2], "test": list(found)}
            cost = {"synaptic_ops": 4e6, "spikes": {"conv1": 1500.0, "fc": 500.0}}
            records.append(
                make_record(
                    fold, right / total, run=name, seed=number, splits=splits, recordings=found,
                    confusion=confusion(right, total), timings={"started": 0.0, "ended": 90.0, "epochs": 30.0},
                    **(cost | facts),
                )
            )  # fmt: skip
            counts = {one: {"samples": SAMPLES, "correct": {"majority": 1, "nearest neighbour": 5}} for one in found}
            tested.append({"seed": number, "fold": fold, "recordings": counts})
    run = write_run(folder / name, records, dataset={**records[0]["dataset"], "path": "/data/signs"})
    baselines = {"fingerprint": DATASET["fingerprint"], "settings": "event counts", "folds": tested}
    (run / "baselines.json").write_text(json.dumps(baselines))
    return run


def read_records(run: Path) -> list[Spec]:
    return [json.loads(file.read_text()) for file in sorted(run.glob("trials/*/record.json"))]

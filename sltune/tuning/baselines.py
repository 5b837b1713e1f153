"""The baselines of a run: classifiers without a network, on counts of events, tested on the folds of its trials.

They say what a network has to beat to be worth its training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.augmentations.events import POLARITIES
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.events.samples import Samples
from sltune.events.splits.parts import Split
from sltune.runs.baselines import Baselines, TestedFold, TestedRecording
from sltune.runs.folder import RunFolder
from sltune.runs.plan import Step

BINS, ROWS, COLUMNS = 8, 16, 16
"""Time bins over the whole of a sample, and the rows and columns of a grid over the sensor, at most its own."""
RIDGE_STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""The strength of ridge regression is chosen among these by the leave-one-out error within the training part."""
MAX_TRAINED = 10_000
"""Samples of a training part that are looked at, drawn from all: more take minutes and gigabytes."""
NAMES = ("majority", "nearest neighbour", "ridge regression")

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What a baseline says of a test part: the number of a class for each sample."""

    name: str
    classes: NDArray[np.int64]


def count_features(samples: Samples, sensor: tuple[int, int], indices: Sequence[int]) -> Features:
    """Return how the events of each sample spread over time, height, width and polarity, shape (samples, features).

    Counts are divided by their sum, and of these shares the square roots are taken: the Euclidean distance of two
    samples is then the Hellinger distance of their spreads, which neither the number of events nor a few busy pixels
    decide.
    """
    frames = FrameFormat(sensor, time_bin_ms=1, resized=(min(ROWS, sensor[0]), min(COLUMNS, sensor[1])), bins=BINS)
    size = BINS * frames.values
    features = np.empty((len(indices), size), np.float32)
    for row, index in zip(features, indices, strict=True):
        counts = np.bincount(place_events(samples, [Window(int(index), 0, BINS)], frames, BINS), minlength=size)
        np.sqrt(counts / max(1, counts.sum()), out=row)
    return features


def predictions(train: Features, labels: NDArray[np.int64], test: Features) -> list[Prediction]:
    """Return what each baseline says of a test part after it has seen a training part.

    Args:
        train, test: features of shape (samples, features). labels: the classes of the training part.
    """
    if len(train) > MAX_TRAINED:
        some = np.sort(np.random.default_rng(0).choice(len(train), MAX_TRAINED, replace=False))
        train, labels = train[some], labels[some]
    # scikit-learn takes a second to import.
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.neighbors import KNeighborsClassifier

    # Of several classes as frequent, the first.
    majority = np.full(len(test), np.bincount(labels).argmax())
    nearest = KNeighborsClassifier(1, algorithm="brute").fit(train, labels).predict(test)
    if len(set(labels.tolist())) == 1:
        ridge = majority
    else:
        ridge = RidgeClassifierCV(RIDGE_STRENGTHS).fit(train, labels).predict(test)
    return [Prediction(name, found) for name, found in zip(NAMES, (majority, nearest, ridge), strict=True)]


def settings() -> str:
    """Say what the baselines are given, for tables."""
    grid = f"{BINS} time bins × {ROWS} × {COLUMNS} × {POLARITIES} polarities"
    strength = "ridge strength by leave-one-out in the training part"
    return f"square roots of shares of events in {grid}; {strength}; at most {MAX_TRAINED:,} training samples"


def add_baselines(
    folder: RunFolder, samples: Samples, sensor: tuple[int, int], splits: Mapping[Step, Split], fingerprint: str
) -> None:
    """Write what the baselines reach on each fold, unless the run has it already.

    Args:
        sensor: (height, width) in pixels. splits: by (seed, fold). fingerprint: that of the data.
    """
    known = None
    # What is damaged is made anew.
    with suppress(DataError):
        known = Baselines.read(folder)
    kept = known if known and (known.fingerprint, known.settings) == (fingerprint, settings()) else None
    folds: list[TestedFold] = []
    features: Features | None = None
    done: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, TestedRecording]] = {}
    for (seed, fold), split in splits.items():
        earlier = kept.fold_of(seed, fold, split.test) if kept else None
        if earlier is None:
            key = (split.train, split.test)
            if features is None:
                features = count_features(samples, sensor, range(len(samples)))
            # Seeds that share their folds need them once.
            done[key] = done.get(key) or _tested(samples, features, split)
            earlier = TestedFold(seed=seed, fold=fold, recordings=done[key])
        folds.append(earlier)
    made = Baselines(fingerprint=fingerprint, settings=settings(), folds=tuple(folds))
    if made != known:
        made.write(folder)


def _tested(samples: Samples, features: Features, split: Split) -> dict[str, TestedRecording]:
    train, test = samples.indices_of(split.train), samples.indices_of(split.test)
    labels: NDArray[np.int64] = samples.label
    found = predictions(features[train], labels[train], features[test])
    recordings = [samples.recording[index] for index in test]
    count = Counter(recordings)
    correct = {
        one.name: Counter(
            name for name, is_right in zip(recordings, one.classes == labels[test], strict=True) if is_right
        )
        for one in found
    }
    return {
        name: TestedRecording(samples=count[name], correct={own: right[name] for own, right in correct.items()})
        for name in split.test
    }

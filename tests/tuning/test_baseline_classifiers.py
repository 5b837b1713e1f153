"""Baselines on counts of events, against a plain histogram and a plain search of the nearest sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sltune.events.dataset import open_dataset
from sltune.events.samples import Samples
from sltune.tuning.baselines import BINS, count_features, predictions
from tests.small import CLASSES, SENSOR


def histogram(samples: Samples, index: int) -> NDArray[np.float64]:
    """Square roots of the shares of events in 8 times of 16 rows, 16 columns and 2 polarities."""
    address, time_us = samples.events(index)
    height, width = SENSOR
    pixel = address.astype(int) // 2
    cells = [
        time_us.astype(np.int64) * BINS // (int(time_us.max()) + 1),
        address.astype(int) % 2,
        pixel // width * min(16, height) // height,
        pixel % width * min(16, width) // width,
    ]
    counts = np.zeros((BINS, 2, min(16, height), min(16, width)))
    np.add.at(counts, tuple(cells), 1)
    return np.sqrt(counts / counts.sum()).ravel()


def test_features_say_how_events_spread_over_time_and_sensor(dataset: Path) -> None:
    samples = open_dataset(dataset).samples
    features = count_features(samples, SENSOR, range(5))
    np.testing.assert_allclose(features, [histogram(samples, index) for index in range(5)], rtol=1e-6)
    np.testing.assert_allclose((features**2).sum(1), 1, rtol=1e-5)


def test_the_nearest_neighbour_has_the_class_of_the_most_similar_training_sample(dataset: Path) -> None:
    samples = open_dataset(dataset).samples
    features, labels = count_features(samples, SENSOR, range(len(samples))), samples.label
    train, test = np.split(np.arange(len(samples)), 2)
    found = {one.name: one.classes for one in predictions(features[train], labels[train], features[test])}
    distance = ((features[test][:, None] - features[train][None]) ** 2).sum(-1)
    assert found["nearest neighbour"].tolist() == labels[train][distance.argmin(1)].tolist()
    assert set(found["majority"].tolist()) == {int(np.bincount(labels[train]).argmax())}
    # Events of one class lie on the left, those of the other on the right.
    assert found["ridge regression"].tolist() == labels[test].tolist()
    assert len(CLASSES) == 2


def test_a_training_part_of_one_class_leaves_no_choice() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.random((2, 4, 6)).astype(np.float32)
    for one in predictions(train, np.full(4, 3), test):
        assert one.classes.tolist() == [3, 3, 3, 3]


def test_no_samples_have_no_features(dataset: Path) -> None:
    samples = open_dataset(dataset).samples
    assert count_features(samples, SENSOR, []).shape == (0, BINS * 2 * min(16, SENSOR[0]) * min(16, SENSOR[1]))

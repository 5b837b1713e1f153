"""Networks that look dead for some epochs and learn after all: a search must not give one of them up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sltune.runs.health.findings import why_hopeless
from sltune.training.batches import Batch, Clip
from sltune.training.fit import EvaluationResult, Learner, evaluate, fit
from sltune.training.optim import make_optimizer
from sltune.tuning.trial.measures import row_of
from tests.networks import NETWORKS

EPOCHS, SAMPLES, MIN_DEAD_EPOCHS = 60, 8, 5
AFTER_MOMENTUM = 1106
"""The seed of a network that momentum alone has moved for 10 epochs before it woke up."""


def batch(frames: Tensor, labels: Tensor) -> Batch:
    return Batch(labels, iter([Clip.of(frames)]))


def samples(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two classes, whose events lie in one half of the image each."""
    labels = torch.arange(SAMPLES) % 2
    frames = (torch.rand(6, SAMPLES, 2, 4, 4, generator=draw) < 0.4).float()
    for place, label in enumerate(labels.tolist()):
        frames[:, place, :, :, 2 - 2 * label : 4 - 2 * label] = 0
    return frames, labels


def rows_of(seed: int) -> Iterator[dict[str, float]]:
    """Train a small network whose first weights are too small, so that it wakes after some epochs or never."""
    torch.manual_seed(seed)
    network = NETWORKS["nmnist-mlp2"]((2, 4, 4), 2)
    draw = torch.Generator().manual_seed(seed)
    gain, rate = 0.35 + 0.3 * float(torch.rand((), generator=draw)), 10 ** (-4 + float(torch.rand((), generator=draw)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(gain)
    frames, labels = samples(draw)
    learner = Learner(network, make_optimizer("adam", network.parameters(), rate))

    def batches(epoch: int) -> list[Batch]:
        # Crops differ by epoch, so that some epochs may be without a gradient.
        first = epoch % 4
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        return [batch(frames[first : first + 3, part], labels[part]) for part in order.split(4)]

    def validate() -> EvaluationResult:
        return evaluate(network, [batch(frames, labels)])

    return (row_of(metrics, selects_on_test=False) for metrics in fit(learner, batches, validate, EPOCHS))


def until_it_blooms(seed: int) -> list[dict[str, float]]:
    """Return the epochs of a network that looks dead at first, up to the one that classes right; none of others."""
    rows = list[dict[str, float]]()
    for row in rows_of(seed):
        rows.append(row)
        if row["epoch"] <= MIN_DEAD_EPOCHS and not (row["top_class_share"] == 1 and row["spikes_fc2"] == 0):
            return []
        if row["val_accuracy"] > 0.9:
            return rows
    return []


@pytest.mark.parametrize("bloomers", [1, pytest.param(500, marks=pytest.mark.slow)])
def test_no_late_bloomer_is_given_up(bloomers: int) -> None:
    found = seed = 0
    while found < bloomers:
        seed += 1
        assert seed < 10 * bloomers, "too few of the networks bloom late"
        if rows := until_it_blooms(seed):
            found += 1
            assert not any(why_hopeless(row) for row in rows), f"seed {seed}"


def test_a_network_that_momentum_alone_wakes_is_not_given_up() -> None:
    rows = until_it_blooms(AFTER_MOMENTUM)
    assert max(row["epochs_without_gradient"] for row in rows) == 10
    assert not any(why_hopeless(row) for row in rows)

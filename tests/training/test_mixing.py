"""Mixtures of samples of a batch: what is where, and labels that say how much of each there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sltune.events.dataset import open_dataset
from sltune.events.splits.split import split_of
from sltune.runs.record import TrialKey
from sltune.training.batches import Batch, Clip
from sltune.training.losses import cross_entropy, mse, tet
from sltune.training.mixing import Mixer
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer, run_job
from tests.small import CLASSES, SENSOR, quick

STEPS, SAMPLES, NUMBER = 6, 5, 7
SHAPE = (STEPS, SAMPLES, 2, 8, 9)
LABELS = torch.tensor([0, 1, 2, 3, 6])


def numbered() -> Tensor:
    """Frames that say of which sample they are: 1, 2, 3 …"""
    return torch.arange(1.0, SAMPLES + 1)[None, :, None, None, None].expand(SHAPE).clone()


def batches(frames: Tensor, count: int = 1) -> Iterator[Batch]:
    return (Batch(LABELS, iter([Clip.of(frames)])) for _ in range(count))


def mixed(kind: Any, frames: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    (batch,) = Mixer(kind, 1.0, NUMBER, np.random.default_rng(seed)).mixed(batches(frames))
    return next(batch.views), batch.labels


@given(seed=st.integers(0, 2**32))
def test_cutmix_takes_one_rectangle_of_another_sample_at_all_times(seed: int) -> None:
    frames, labels = mixed("cutmix", numbered(), seed)
    for sample in range(SAMPLES):
        foreign = frames[:, sample] != sample + 1
        others = set(frames[:, sample][foreign].tolist())
        assert len(others) <= 1
        picture = foreign[0, 0]
        assert (foreign == picture).all()
        rows, columns = picture.any(1).nonzero().ravel(), picture.any(0).nonzero().ravel()
        assert int(picture.sum()) == len(rows) * len(columns)
        if others:
            assert (len(rows), len(columns)) == (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        expected = torch.zeros(NUMBER)
        expected[LABELS[sample]] += 1 - picture.float().mean()
        expected[LABELS[int(others.pop()) - 1] if others else LABELS[sample]] += picture.float().mean()
        if foreign.any():
            torch.testing.assert_close(labels[sample], expected)


@given(seed=st.integers(0, 2**32))
def test_eventmix_shares_out_labels_by_numbers_of_events(seed: int) -> None:
    counts = torch.from_numpy(np.random.default_rng(seed).poisson(0.5, SHAPE).astype(np.float32))
    # Counts of sample n in steps of 1, 10, 100 …: the total tells how much came from which.
    frames, labels = mixed("eventmix", counts, seed)
    permutation = np.random.default_rng(seed)
    permutation.random()
    other = permutation.permutation(SAMPLES)
    for sample in range(SAMPLES):
        own, foreign, found = counts[:, sample], counts[:, other[sample]], frames[:, sample]
        assert bool(((found == own) | (found == foreign)).all())
    of_numbers, same_labels = mixed("eventmix", numbered(), seed)
    kept = of_numbers == numbered()
    for sample in range(SAMPLES):
        mask = kept[:, sample, 0] if other[sample] != sample else torch.ones_like(kept[:, sample, 0])
        own_events = (counts[:, sample] * mask[:, None]).sum()
        share = own_events / frames[:, sample].sum() if frames[:, sample].sum() else torch.tensor(1.0)
        expected = torch.zeros(NUMBER)
        expected[LABELS[sample]] += share
        expected[LABELS[other[sample]]] += 1 - share
        torch.testing.assert_close(labels[sample], expected)
    torch.testing.assert_close(same_labels.sum(1), torch.ones(SAMPLES))


@pytest.mark.parametrize("kind", ["cutmix", "eventmix"])
def test_shares_are_of_every_size(kind: str) -> None:
    """Of 200 batches the share that stays spreads over the whole range."""
    kept = [float((mixed(kind, numbered(), seed)[0] == numbered())[:, 0].float().mean()) for seed in range(200)]
    assert min(kept) < 0.2
    assert max(kept) > 0.9
    assert 0.3 < np.mean(kept) < 0.8


def test_as_many_batches_are_mixed_as_asked() -> None:
    """Of 400, 100 ± 8.7; the bound is at 5 standard deviations."""
    mixer = Mixer("cutmix", 0.25, NUMBER, np.random.default_rng(0))
    count = sum(batch.labels.dim() == 2 for batch in mixer.mixed(batches(numbered(), 400)))
    assert abs(count - 100) < 5 * 8.7


def test_losses_take_shares_as_they_take_labels() -> None:
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(size=(STEPS, SAMPLES, NUMBER)))
    rates, whole = outputs.mean(0), torch.nn.functional.one_hot(LABELS, NUMBER).double()
    for loss in (mse, cross_entropy, tet):
        torch.testing.assert_close(loss(rates, whole), loss(rates, LABELS))
        torch.testing.assert_close(loss(rates, whole, label_smoothing=0.1), loss(rates, LABELS, label_smoothing=0.1))
    torch.testing.assert_close(tet(rates, whole, outputs=outputs), tet(rates, LABELS, outputs=outputs))
    shares = 0.3 * whole + 0.7 * whole.roll(1, 0)
    mixture = 0.3 * cross_entropy(rates, LABELS) + 0.7 * cross_entropy(rates, LABELS.roll(1))
    torch.testing.assert_close(cross_entropy(rates, shares), mixture)
    assert float(mse(rates, shares)) == pytest.approx(((rates - shares) ** 2).mean().item())


@pytest.mark.parametrize("kind", ["cutmix", "eventmix"])
def test_a_trial_trains_on_mixtures_that_depend_on_seed_and_epoch_alone(dataset: Path, kind: str) -> None:
    samples, cpu = open_dataset(dataset).samples, torch.device("cpu")
    job = Job(TrialKey("c0000", 0, 0), quick(training__mix=kind, training__mix_probability=1), SENSOR, len(CLASSES))
    split = split_of(job.configuration, samples.recordings(), 0, 0)

    def epoch(number: int) -> list[tuple[Tensor, Tensor]]:
        trainer = Trainer(job, samples, split, cpu)
        return [(next(batch.views).clone(), batch.labels) for batch in trainer.train_batches(number)]

    for (frames, labels), (again, same), (later, other) in zip(epoch(1), epoch(1), epoch(2), strict=True):
        assert labels.shape == (len(labels), len(CLASSES))
        assert torch.equal(frames, again)
        assert torch.equal(labels, same)
        assert not (torch.equal(frames, later) and torch.equal(labels, other))
    *_, last = run_job(job, samples, cpu)
    assert last.status == "done"

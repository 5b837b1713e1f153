"""What makes a training recipe: label smoothing, TET, warm-up, gradient clipping, and the mean of the last weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from sltune.errors import SltuneError, UsageError
from sltune.events.dataset import open_dataset
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import parse_space
from sltune.snn.layers import ThresholdBatchNorm
from sltune.training.averaging import WeightAverage, renew_statistics
from sltune.training.batches import Batch, Clip
from sltune.training.fit import EvaluationResult, Learner, fit, train_epoch
from sltune.training.losses import Loss, cross_entropy, mse, tet
from sltune.training.optim import make_optimizer, make_schedule, warmed_up
from sltune.tuning.own_code import refuse_unusable
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trainer import run_job
from tests.small import CLASSES, SENSOR, quick

STEPS, SAMPLES, OUTPUTS = 4, 3, 5
LABELS = torch.tensor([0, 4, 2])


@pytest.fixture
def outputs() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(STEPS, SAMPLES, OUTPUTS)))


def smooth_targets(smoothing: float) -> np.ndarray:
    targets = np.full((SAMPLES, OUTPUTS), smoothing / OUTPUTS)
    targets[np.arange(SAMPLES), LABELS.numpy()] += 1 - smoothing
    return targets


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_spreads_a_share_of_each_label_over_all_classes(outputs: Tensor, smoothing: float) -> None:
    rates = outputs[0]
    targets = smooth_targets(smoothing)
    entropy = -(targets * log_softmax(rates.numpy())).sum(1)
    assert float(cross_entropy(rates, LABELS, label_smoothing=smoothing)) == pytest.approx(entropy.mean())
    assert float(cross_entropy(rates, LABELS, "sum", smoothing)) == pytest.approx(entropy.sum())
    squares = (rates.numpy() - targets) ** 2
    assert float(mse(rates, LABELS, label_smoothing=smoothing)) == pytest.approx(squares.mean())
    assert float(mse(rates, LABELS, "sum", smoothing)) == pytest.approx(squares.sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_tet_is_the_mean_cross_entropy_of_the_steps_and_a_pull_towards_one(outputs: Tensor, smoothing: float) -> None:
    entropy = -(smooth_targets(smoothing) * log_softmax(outputs.numpy())).sum(-1)
    wanted = 0.95 * entropy.mean() + 0.05 * ((outputs.numpy() - 1) ** 2).mean()
    found = tet(outputs.mean(0), LABELS, label_smoothing=smoothing, outputs=outputs)
    assert float(found) == pytest.approx(wanted)


def test_tet_evaluates_by_the_cross_entropy_of_the_rates(outputs: Tensor) -> None:
    rates = outputs.mean(0)
    assert tet(rates, LABELS) == cross_entropy(rates, LABELS)
    assert tet(rates, LABELS, "sum") == cross_entropy(rates, LABELS, "sum")


class Recorder(nn.Module):
    """Outputs of every step, or their mean: the weights by class."""

    def __init__(self, over_time: bool = True) -> None:
        super().__init__()
        self.weights, self.over_time = nn.Parameter(torch.arange(OUTPUTS) / 10), over_time

    def forward(self, frames: Tensor) -> Tensor:
        outputs = frames.flatten(2).sum(2)[..., None] * self.weights
        return outputs if self.over_time else outputs.mean(0)


def batch(value: float = 1.0) -> Batch:
    frames = torch.full((STEPS, SAMPLES, 1, 1, 1), value)
    return Batch(LABELS, iter([Clip.of(frames)]))


def learner(network: nn.Module, loss: Loss = mse, rate: float = 1.0, **more: object) -> Learner:
    return Learner(network, SGD(network.parameters(), rate), loss=loss, **more)  # type: ignore[arg-type]


def test_training_gives_a_loss_the_outputs_and_the_smoothing_that_it_takes() -> None:
    seen: list[tuple[object, ...]] = []

    def own(rates: Tensor, labels: Tensor, outputs: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
        assert outputs is not None
        seen.append((tuple(outputs.shape), label_smoothing))
        return mse(rates, labels)

    train_epoch(learner(Recorder(), own, label_smoothing=0.2), [batch()])
    assert seen == [((STEPS, SAMPLES, OUTPUTS), 0.2)]


def test_tet_refuses_a_network_that_has_no_outputs_of_time_steps() -> None:
    with pytest.raises(UsageError, match=r"needs outputs of shape \(T, B, classes\)"):
        train_epoch(learner(Recorder(over_time=False), tet), [batch()])


def test_gradients_are_scaled_down_to_the_norm_and_never_up() -> None:
    def step(clip_norm: float) -> Tensor:
        network = Recorder()
        before = network.weights.detach().clone()
        train_epoch(learner(network, clip_norm=clip_norm), [batch()])
        return before - network.weights.detach()

    whole = step(0.0)
    assert float(whole.norm()) > 0.05
    torch.testing.assert_close(step(0.05), whole * 0.05 / whole.norm(), rtol=1e-4, atol=0)
    torch.testing.assert_close(step(100.0), whole)


def rates_over_epochs(schedule: str, epochs: int, warmup: int) -> list[float]:
    network, rates = Recorder(), list[float]()
    optimizer = make_optimizer("adam", network.parameters(), 1.0)

    def batches(_: int) -> Iterator[Batch]:
        rates.append(optimizer.param_groups[0]["lr"])
        yield batch()

    after = make_schedule(schedule, optimizer, epochs - warmup, 2, 0.1)
    of = Learner(network, optimizer, warmed_up(after, optimizer, warmup))
    list(fit(of, batches, lambda: EvaluationResult(0.0, 0.0, [], {}, 0.0), epochs))
    return rates


@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        ("constant", [1, 1, 1, 1]),
        ("step", [1, 1, 0.1, 0.1]),
        ("cosine", [(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]),
    ],
)
def test_the_learning_rate_rises_in_even_steps_before_the_schedule_begins(schedule: str, after: list[float]) -> None:
    assert rates_over_epochs(schedule, 6, warmup=2) == pytest.approx([1 / 3, 2 / 3, *after])


def test_the_mean_of_the_last_weights_is_evaluated_and_the_network_goes_on_from_its_own() -> None:
    network, average = Recorder(), WeightAverage(Recorder(), first_epoch=3)
    of = learner(network, rate=0.3, average=average)
    weights, judged = [], []

    def validate() -> EvaluationResult:
        weights.append(network.weights.detach().clone())
        judged.append(of.judged.get_parameter("weights").detach().clone())
        return EvaluationResult(0.0, 0.0, [], {}, 0.0)

    list(fit(of, lambda _: [batch()], validate, 5))
    wanted = [*weights[:3], torch.stack(weights[2:4]).mean(0), torch.stack(weights[2:5]).mean(0)]
    torch.testing.assert_close(torch.stack(judged), torch.stack(wanted))
    assert len({tuple(values.tolist()) for values in weights}) == 5, "the weights must change for this to mean anything"


@pytest.mark.parametrize("make", [ThresholdBatchNorm, nn.BatchNorm2d])
def test_statistics_are_the_mean_over_all_batches_of_the_mean_weights(make: type[nn.BatchNorm2d]) -> None:
    layer = make(2)
    layer.running_mean.fill_(99)  # type: ignore[union-attr]
    network = nn.Sequential(_Folded(layer), _Rates())
    rng = np.random.default_rng(1)
    clips = [rng.normal(size=(STEPS, SAMPLES, 2, 3, 3)).astype(np.float32) * (scale + 1) + scale for scale in range(3)]
    renew_statistics(network, map(torch.from_numpy, clips))
    means = [clip.mean((0, 1, 3, 4)) for clip in clips]
    variances = [clip.transpose(2, 0, 1, 3, 4).reshape(2, -1).var(1, ddof=1) for clip in clips]
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean(means, 0), rtol=1e-4)  # type: ignore[union-attr]
    np.testing.assert_allclose(layer.running_var.numpy(), np.mean(variances, 0), rtol=1e-4)  # type: ignore[union-attr]
    assert layer.momentum == 0.1


class _Folded(nn.Module):
    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, frames: Tensor) -> Tensor:
        if isinstance(self.layer, ThresholdBatchNorm):
            return self.layer(frames)
        folded: Tensor = self.layer(frames.flatten(0, 1))
        return folded.unflatten(0, frames.shape[:2])


class _Rates(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((0, 3, 4))


def test_a_frozen_layer_keeps_its_statistics() -> None:
    layer = nn.BatchNorm2d(2)
    renew_statistics(nn.Sequential(_Folded(layer), _Rates()), [torch.ones(STEPS, SAMPLES, 2, 3, 3)], [layer])
    assert layer.running_mean is not None
    assert layer.running_mean.tolist() == [0, 0]


def test_a_recipe_of_everything_goes_on_from_any_checkpoint_as_if_undisturbed(dataset: Path) -> None:
    samples, cpu = open_dataset(dataset).samples, torch.device("cpu")
    recipe = quick(
        network__name="nmnist-cnn",
        network__norm="tdbn",
        training__epochs=4,
        training__loss="tet",
        training__label_smoothing=0.1,
        training__optimizer="adamw",
        training__schedule="cosine",
        training__warmup_epochs=1,
        training__clip_norm=1.0,
        training__average_epochs=2,
    )
    job = Job(TrialKey("c0000", 0, 1), recipe, SENSOR, len(CLASSES))

    def reports(checkpoint: bytes | None = None) -> list[Report]:
        return list(run_job(job, samples, cpu, checkpoint))

    running = run_job(job, samples, cpu)
    checkpoints = [report.checkpoint() for report in running if report.status == "running"]
    *_, undisturbed = reports()
    assert undisturbed.status == "done"
    for checkpoint in checkpoints:
        assert reports(checkpoint)[-1] == undisturbed


def test_what_is_off_stands_in_no_record_so_that_earlier_ones_stay_the_same() -> None:
    off = Configuration().model_dump(mode="json")["training"]
    assert not {"label_smoothing", "warmup_epochs", "clip_norm", "average_epochs"} & off.keys()
    on = quick(training__label_smoothing=0.1, training__clip_norm=2.0).model_dump(mode="json")["training"]
    assert (on["label_smoothing"], on["clip_norm"]) == (0.1, 2.0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"warmup_epochs": 2}, "the learning rate must have risen before the last epoch"),
        ({"average_epochs": 3}, "fewer epochs than weights should be averaged over"),
    ],
)
def test_more_epochs_of_something_than_there_are_are_refused(settings: dict[str, int], reason: str) -> None:
    text = "\n".join(["[training]", "epochs = 2", *(f"{name} = {value}" for name, value in settings.items())])
    with pytest.raises(SltuneError, match=reason):
        parse_space(text, "space")


@pytest.mark.parametrize("smoothing", ["0.1", "{ low = 0.0, high = 0.2 }"])
def test_an_own_loss_without_label_smoothing_is_refused_where_some_is_set(tmp_path: Path, smoothing: str) -> None:
    (tmp_path / "losses.py").write_text("def own(rates, labels):\n    return rates.sum()\n")
    text = f"[training]\nloss = 'losses.py:own'\nlabel_smoothing = {smoothing}"
    with pytest.raises(SltuneError, match="takes no label_smoothing"):
        refuse_unusable(parse_space(text, "space", folder=tmp_path))

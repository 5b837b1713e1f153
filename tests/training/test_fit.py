"""What happens between epochs: the best one, patience, learning rates, and views that are averaged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from sltune.training.batches import Batch, Clip
from sltune.training.fit import EvaluationResult, Learner, evaluate, fit
from sltune.training.optim import make_optimizer, make_schedule
from sltune.training.streams import numpy_stream
from tests.networks import NETWORKS

CLASSES = 3


def network() -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS["nmnist-mlp2"]((2, 4, 4), CLASSES)


def frames(steps: int, value: float) -> torch.Tensor:
    return torch.full((steps, 2, 2, 4, 4), float(value))


def batch(*views: torch.Tensor) -> Batch:
    return Batch(torch.tensor([0, 1]), map(Clip.of, views))


def epochs_with(losses: list[float], patience: int) -> list[tuple[int, bool]]:
    scripted = iter(losses)
    net = network()

    def validate() -> EvaluationResult:
        return EvaluationResult(next(scripted), 0.0, [], {}, 0.0)

    learner = Learner(net, make_optimizer("adam", net.parameters(), 1e-3))
    history = fit(learner, lambda _: [batch(frames(3, 1))], validate, len(losses), patience)
    return [(metrics.epoch, metrics.is_best) for metrics in history]


def test_the_best_epoch_is_the_first_of_the_lowest_validation_losses() -> None:
    assert epochs_with([3, 2, 2, 1], patience=0) == [(1, True), (2, True), (3, False), (4, True)]


def test_patience_ends_training_after_so_many_epochs_without_a_lower_loss() -> None:
    assert epochs_with([3, 2, 2, 2, 1], patience=2) == [(1, True), (2, True), (3, False), (4, False)]


def rates_over_epochs(schedule: str, epochs: int) -> list[float]:
    net = network()
    optimizer = make_optimizer("adam", net.parameters(), 1e-3)
    rates: list[float] = []

    def batches(epoch: int) -> Iterator[Batch]:
        rates.append(optimizer.param_groups[0]["lr"])
        yield batch(frames(1, 1))

    nothing = EvaluationResult(0.0, 0.0, [], {}, 0.0)
    learner = Learner(net, optimizer, make_schedule(schedule, optimizer, epochs, 25, 0.1))
    list(fit(learner, batches, lambda: nothing, epochs))
    return rates


def test_the_step_schedule_divides_by_ten_after_every_25_epochs() -> None:
    assert rates_over_epochs("step", 51) == pytest.approx([1e-3] * 25 + [1e-4] * 25 + [1e-5])


def test_the_cosine_schedule_falls_to_zero_over_all_epochs() -> None:
    # Half of the way down after half of the epochs: (1 + cos(π/2)) / 2.
    assert rates_over_epochs("cosine", 4) == pytest.approx(
        [1e-3, 0.5e-3 * (1 + 2**-0.5), 0.5e-3, 0.5e-3 * (1 - 2**-0.5)]
    )


def test_several_views_of_a_sample_count_with_their_mean_rates() -> None:
    net = network()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        # Any input makes every hidden unit fire at each step, and those the first class alone.
        net.get_parameter("fc1.weight").fill_(1)
        net.get_parameter("fc2.weight")[0] = 1
    views = frames(4, 1), frames(4, 0)
    result = evaluate(net, [batch(*views)])
    # Rates of class 0 are 1 and 0, so 0.5: errors are (0.5, 0, 0) for label 0, and (0.5, −1, 0) for label 1.
    assert result.loss == pytest.approx((0.25 + 1.25) / 2)
    assert result.confusion == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert result.correct == (True, False)


def test_bfloat16_counts_spikes_beyond_256() -> None:
    net = network()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1)
    result = evaluate(net, [batch(frames(301, 1))], precision="bfloat16")
    # All rates are exactly 1: the error of a sample is that of the two wrong classes.
    assert result.loss == pytest.approx(2, abs=1e-6)


def test_optimizers_take_their_settings_and_unknown_names_are_refused() -> None:
    parameters = list(network().parameters())
    sgd = make_optimizer("sgd", parameters, 0.1, momentum=0.8, weight_decay=0.01)
    assert isinstance(sgd, torch.optim.SGD)
    assert {name: sgd.defaults[name] for name in ("lr", "momentum", "weight_decay")} == {
        "lr": 0.1,
        "momentum": 0.8,
        "weight_decay": 0.01,
    }
    assert isinstance(make_optimizer("adamw", parameters, 0.1), torch.optim.AdamW)
    with pytest.raises(ValueError, match="but got 'lion'"):
        make_optimizer("lion", parameters, 0.1)


def test_streams_differ_by_seed_fold_purpose_and_epoch_and_repeat_themselves() -> None:
    keys = [(0, 0, "crop", 1), (1, 0, "crop", 1), (0, 1, "crop", 1), (0, 0, "order", 1), (0, 0, "crop", 2)]
    drawn = [tuple(numpy_stream(*key).integers(0, 1 << 62, 4)) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn == [tuple(numpy_stream(*key).integers(0, 1 << 62, 4)) for key in keys]


def test_epochs_without_any_gradient_are_counted_also_after_a_restart() -> None:
    """Frames of 0 and no bias leave every layer without a gradient; the last batch of the third epoch has one."""
    net = network()
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter).requires_grad_(False)
    torch.nn.init.constant_(net.get_parameter("fc2.weight"), 0.0005)
    torch.nn.init.constant_(net.get_parameter("fc1.weight"), 0.01)
    learner = Learner(net, make_optimizer("sgd", net.parameters(), 1e-6))

    def batches(epoch: int) -> list[Batch]:
        return [batch(frames(3, 0)), batch(frames(3, epoch == 3))]

    def validate() -> EvaluationResult:
        return EvaluationResult(1.0, 0.0, [[2, 0], [1, 0]], {}, 0.0)

    first = list(fit(learner, batches, validate, 2))
    history = [*first, *fit(learner, batches, validate, 4, last=first[-1])]
    assert [metrics.epochs_without_gradient for metrics in history] == [1, 2, 0, 1]
    assert history[0].evaluation.top_class_share == 1.0
    assert EvaluationResult(1.0, 0.0, [[2, 1], [1, 0]], {}, 0.0).top_class_share == 0.75

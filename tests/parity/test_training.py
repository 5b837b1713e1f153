"""Batches, training steps, evaluation and selection against plain loops, with the settings of the space files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sltune.settings.configuration import Configuration
from sltune.training.batches import Batch, Clip
from sltune.training.fit import EvaluationResult, evaluate, train_epoch
from sltune.training.streams import numpy_stream
from sltune.training.weights import load_weights
from sltune.tuning.trial import trainer as trainer_module
from sltune.tuning.trial.trainer import Trainer
from tests import reference_impl as reference
from tests.parity.support import (
    MODES,
    Signs,
    amplify,
    configuration,
    copy_weights,
    expected_start,
    firing_rates,
    first,
    plain_counts,
    plain_network,
    taken,
)

STEPS = 5
SILENT_LOSS = 1 / 19
FULL = "evaluation.sessions=['S1', 'S2', 'S3', 'S4']"
SHORT_CROPS = ["sampling.train_crop_ms=210", "sampling.eval_crop_ms=510"]
REDUCED = "evaluation.sessions=['S1', 'S2', 'S4']"

every_protocol = pytest.mark.parametrize("protocol", ["train-val-test", "train-test"])
every_set = pytest.mark.parametrize("sessions", [FULL, REDUCED], ids=["full", "reduced"])


def crop_stream(epoch: int, fold: int = 0, seed: int = 0) -> np.random.Generator:
    return numpy_stream(seed, fold, "crop", epoch)


def expected_batches(signs: Signs, config: Configuration, steps: int, fold: int = 0) -> list[reference.Batch]:
    """Return the first training batches of a trial, over as many epochs as that takes."""
    names = signs.fold(config, fold).train
    batches: list[reference.Batch] = []
    epoch = 1
    while len(batches) < steps:
        batches += signs.training_batches(names, config, crop_stream(epoch, fold))
        epoch += 1
    return batches[:steps]


def assert_batches_equal(mine: Sequence[reference.Batch], expected: Sequence[reference.Batch]) -> None:
    assert len(mine) == len(expected)
    for (x, labels), (plain_x, plain_labels) in zip(mine, expected, strict=True):
        assert torch.equal(labels, plain_labels)
        assert torch.equal(x, plain_x)


def assert_steps_equal(
    trainer: Trainer, batches: Sequence[reference.Batch], gain: bool, steps: int = STEPS, input_size: int = 32
) -> None:
    """Take the steps on both sides from the same weights; losses must agree to 1e-5 and weights to 1e-4.

    In float64: in float32 rounding flips a spike now and then, and which one differs between kinds of processors.
    """
    training = trainer.config.training
    torch.manual_seed(1)
    plain = plain_network(trainer.config, input_size).double()
    trainer.network.double()
    batches = [(frames.double(), labels) for frames, labels in batches]
    if gain:
        amplify(plain)
        copy_weights(plain, trainer.network)
        assert min(firing_rates(trainer.network, batches[0][0].movedim(-1, 0)).values()) > 0.01
    copy_weights(plain, trainer.network)
    start = [parameter.detach().clone() for parameter in plain.parameters()]
    mine = doubled(first(trainer, steps))
    losses, samples = train_epoch(trainer.learner, mine)
    expected = reference.train_steps(plain, batches, training.learning_rate, training.optimizer)
    assert samples == sum(len(labels) for _, labels in batches)
    assert losses == pytest.approx(expected, abs=1e-5)
    for weight, theirs, before in zip(trainer.network.parameters(), plain.parameters(), start, strict=True):
        torch.testing.assert_close(weight, theirs, rtol=0, atol=1e-4)
        assert not gain or (theirs - before).abs().max() > 5e-4
    if gain:
        assert max(abs(loss - SILENT_LOSS) for loss in expected) > 1e-3


def doubled(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Give the same batches with frames in float64."""

    def clip_of(clip: Clip) -> Clip:
        return Clip(clip.shape, lambda first, last: clip.make(first, last).double())

    return (Batch(batch.labels, map(clip_of, batch.clips)) for batch in batches)


@pytest.mark.parametrize("space", ["paper", "optimized"])
@every_protocol
@every_set
def test_five_training_steps_equal_the_predecessors(signs: Signs, space: str, protocol: str, sessions: str) -> None:
    # Steps over more time bins get smaller batches, since the plain loop takes long.
    batch_size = {"paper": 2, "optimized": 8}[space]
    config = configuration(space, f"evaluation.protocol={protocol}", f"training.batch_size={batch_size}", sessions)
    trainer = signs.trainer(config)
    batches = expected_batches(signs, config, STEPS)
    assert_batches_equal(taken(first(trainer, STEPS)), batches)
    assert_steps_equal(trainer, batches, gain=True)


@pytest.mark.parametrize(
    ("gain", "overrides"),
    [
        (True, ["training.optimizer=sgd", "training.learning_rate=0.1"]),
        (True, ["sampling.binning=count", "training.optimizer=sgd", "training.learning_rate=0.1"]),
        (True, ["sampling.binning=normalized", "network.init=stbp"]),
        (True, ["sampling.train_crop=random-predecessor", "neuron.surrogate=gaussian"]),
        (True, ["neuron.v_threshold=0.5", "neuron.decay=0.8", "neuron.surrogate_width=1.0"]),
        (False, []),
        (False, ["network.init=stbp", "training.optimizer=sgd", "training.learning_rate=0.1"]),
    ],
    ids=["sgd", "count", "normalized-stbp", "predecessor", "neuron", "own-start", "own-stbp-start"],
)
def test_five_training_steps_equal_the_predecessors_with_other_settings(
    signs: Signs, gain: bool, overrides: list[str]
) -> None:
    config = configuration("optimized", "training.batch_size=4", *overrides)
    trainer = signs.trainer(config, fold=1)
    batches = expected_batches(signs, config, STEPS, fold=1)
    assert_batches_equal(taken(first(trainer, STEPS)), batches)
    assert_steps_equal(trainer, batches, gain)


@pytest.mark.parametrize("space", ["paper", "optimized"])
def test_the_space_files_have_the_predecessors_settings(space: str) -> None:
    config = configuration(space)
    assert config.sampling.time_bin_ms == 30
    assert config.sampling.train_bins == {"paper": 50, "optimized": 17}[space]
    assert config.sampling.eval_bins == {"paper": 50, "optimized": 145}[space]
    assert config.sampling.eval_crops == 1
    neuron = config.neuron
    assert (neuron.v_threshold, neuron.decay, neuron.surrogate_width) == (0.3, 0.3, 0.5)
    assert neuron.surrogate == "rectangular"
    assert (config.network.name, config.network.norm, config.network.dropout) == ("slanimals", "none", 0)
    training = config.training
    assert (training.epochs, training.batch_size, training.eval_batch_size) == (400, 8, 32)
    assert (training.optimizer, training.learning_rate, training.weight_decay) == ("adam", 1e-3, 0)
    assert (training.loss, training.schedule, training.patience) == ("mse", "constant", 0)
    assert not training.shuffle
    assert training.precision == "float32"
    evaluation = config.evaluation
    assert (evaluation.folds, evaluation.val_fraction, evaluation.seeds) == (4, 0.15, (0,))
    assert evaluation.sessions == "all"


@pytest.mark.parametrize(
    ("protocol", "sessions", "fold"),
    [("train-val-test", FULL, 0), ("train-val-test", REDUCED, 3), ("train-test", REDUCED, 0), ("train-test", FULL, 3)],
    ids=["train-val-test-full", "train-val-test-reduced", "train-test-reduced", "train-test-full"],
)
def test_an_epoch_is_logged_evaluated_and_tested_as_the_predecessor_does(
    signs: Signs, protocol: str, sessions: str, fold: int
) -> None:
    config = configuration("optimized", "training.epochs=2", *SHORT_CROPS, f"evaluation.protocol={protocol}", sessions)
    trainer = signs.trainer(config, fold)
    torch.manual_seed(2)
    plain = plain_network(config)
    amplify(plain)
    copy_weights(plain, trainer.network)
    parts = signs.fold(config, fold)
    test = signs.evaluation_batches(parts.test, config)
    watched = signs.evaluation_batches(parts.val, config) if parts.val else test

    start = {name: value.clone() for name, value in plain.state_dict().items()}
    batches: list[reference.Batch] = []
    logged, results, tested = [], [], []
    for epoch in (1, 2):
        new = signs.training_batches(parts.train, config, crop_stream(epoch, fold))
        batches += new
        plain.load_state_dict(start)
        # From the start again, because each call has an optimizer of its own.
        losses = reference.train_steps(plain, batches)[-len(new) :]
        logged.append(reference.logged_training_loss(losses, sum(len(labels) for _, labels in new)))
        results.append(reference.evaluate(plain, watched))
        tested.append(reference.evaluate(plain, test))

    epochs = list(trainer.epochs())
    assert [metrics.train_loss for metrics in epochs] == pytest.approx(logged, abs=1e-6)
    assert [metrics.evaluation.loss for metrics in epochs] == pytest.approx([loss for loss, _ in results], abs=1e-5)
    assert [metrics.evaluation.accuracy for metrics in epochs] == [accuracy for _, accuracy in results]
    final = trainer.final_metrics()
    if parts.val:
        best = reference.best_epoch([loss for loss, _ in results])
        assert final["best_epoch"] == best
        assert final["val_loss"] == pytest.approx(results[best - 1][0], abs=1e-5)
        assert final["test_loss"] == pytest.approx(tested[best - 1][0], abs=1e-5)
        assert final["test_accuracy"] == tested[best - 1][1]
    else:
        losses, accuracies = zip(*tested, strict=True)
        assert final["best_epoch"] == reference.best_epoch(losses)
        assert final["test_loss"] == final["test_loss_min"] == pytest.approx(min(losses), abs=1e-5)
        assert final["test_loss_last"] == pytest.approx(losses[-1], abs=1e-5)
        assert final["test_accuracy"] == final["test_accuracy_max"] == max(accuracies)
        assert final["test_accuracy_last"] == accuracies[-1]
    assert sum(map(sum, final["confusion"])) == sum(len(labels) for _, labels in test)


def test_the_evaluation_crop_of_the_space_file_equals_the_predecessors(signs: Signs) -> None:
    config = configuration("optimized")
    trainer = signs.trainer(config)
    batches = signs.evaluation_batches(signs.fold(config).val, config)
    assert_batches_equal(taken(trainer.val.evaluation(config.training.eval_batch_size)), batches)
    plain = plain_network(config).double()
    amplify(plain)
    trainer.network.double()
    copy_weights(plain, trainer.network)
    result = evaluate(trainer.network, doubled(trainer.val.evaluation(32)))
    loss, accuracy = reference.evaluate(plain, [(frames.double(), labels) for frames, labels in batches])
    assert result.loss == pytest.approx(loss, abs=1e-5)
    assert result.accuracy == accuracy


def results_of(losses: Sequence[float], accuracies: Sequence[float]) -> list[EvaluationResult]:
    return [EvaluationResult(loss, accuracy, [], {}, 0.0) for loss, accuracy in zip(losses, accuracies, strict=True)]


def trained_with(
    trainer: Trainer, results: list[EvaluationResult], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, torch.Tensor]]:
    """Train with these results of evaluations in place of real ones; return the weights after each epoch."""
    given = iter(results)
    monkeypatch.setattr(trainer_module, "evaluate", lambda *_: next(given))
    weights = []
    for _ in trainer.epochs():
        weights.append({name: value.clone() for name, value in trainer.network.state_dict().items()})
    return weights


def quick(signs: Signs, *overrides: str) -> Trainer:
    """A trial of one batch an epoch, with weights that move."""
    shortest = ["sampling.train_crop_ms=30", "training.batch_size=99", "evaluation.sessions=['S1', 'S4']"]
    trainer = signs.trainer(configuration("optimized", *shortest, *overrides))
    amplify(trainer.network)
    return trainer


def test_the_first_of_the_lowest_validation_losses_is_tested(signs: Signs, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [0.9, 0.7, 0.8, 0.7, 0.75]
    trainer = quick(signs, "training.epochs=5")
    results = results_of(losses, [0.1, 0.2, 0.9, 0.3, 0.4])
    weights = trained_with(trainer, [*results, *results_of([0.6], [0.25])], monkeypatch)[1]
    monkeypatch.setattr(trainer_module, "evaluate", lambda *_: results_of([0.6], [0.25])[0])
    final = trainer.final_metrics()
    assert final["best_epoch"] == reference.best_epoch(losses) == 2
    assert (final["val_loss"], final["val_accuracy"]) == (0.7, 0.2)
    assert (final["test_loss"], final["test_accuracy"]) == (0.6, 0.25)
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, weights[name])


def test_train_test_reports_the_lowest_loss_and_the_highest_accuracy_each_of_its_own_epoch(
    signs: Signs, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = quick(signs, "training.epochs=5", "evaluation.protocol=train-test")
    losses, accuracies = [0.5, 0.9, 0.4, 0.4, 0.6], [0.2, 0.7, 0.3, 0.7, 0.1]
    results = results_of(losses, accuracies)
    results[1] = replace(results[1], confusion=[[7]], synaptic_ops=5.0)
    weights = trained_with(trainer, results, monkeypatch)
    final = trainer.final_metrics()
    assert final["best_epoch"] == reference.best_epoch(losses) == 3
    assert (final["test_loss"], final["test_loss_min"], final["test_loss_last"]) == (0.4, 0.4, 0.6)
    assert (final["test_accuracy"], final["test_accuracy_max"], final["test_accuracy_last"]) == (0.7, 0.7, 0.1)
    assert (final["val_loss"], final["val_accuracy"]) == (None, None)
    assert (final["confusion"], final["synaptic_ops"]) == ([[7]], 5.0), "they say how the accuracy came about"
    load_weights(trainer.network, trainer.best_weights, "the best epoch")
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, weights[2][name])


@given(
    steps=st.sampled_from([1, 8, 17, 50, 145]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_loss_of_any_rates_is_the_predecessors_to_the_last_bit(steps: int, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = []
    for size in sizes:
        spikes = torch.from_numpy(rng.integers(0, steps + 1, (size, 19))).float()
        batches.append((spikes / steps, torch.from_numpy(rng.integers(0, 19, size))))
    assert evaluated(batches).loss == reference.evaluate(torch.nn.Identity(), batches)[0]


def test_epochs_with_the_same_sum_of_squared_errors_are_equal() -> None:
    """Errors of 0 and 5/8 in two batches of three rates, then 3/8 and 4/8: 25/64 both times, over two samples.

    With the mean of each batch times three, the first epoch would be the better one, by 2·10⁻⁸.
    """
    losses = []
    for errors in ((0, 5), (3, 4)):
        batches = [(torch.tensor([[1 - error / 8, 0, 0]]), torch.tensor([0])) for error in errors]
        losses.append(evaluated(batches).loss)
    assert losses == [25 / 128, 25 / 128]


class Given(nn.Module):
    """A network that returns the given rates, one batch after the other."""

    def __init__(self, rates: Iterable[Tensor]) -> None:
        super().__init__()
        self.rates = iter(rates)

    def forward(self, _: Tensor) -> Tensor:
        return next(self.rates)


def evaluated(batches: Sequence[reference.Batch]) -> EvaluationResult:
    """Evaluate a network that returns these rates."""
    clips = [Clip.of(torch.zeros(1, len(labels), 2, 1, 1)) for _, labels in batches]
    given = [Batch(labels, iter([clip])) for (_, labels), clip in zip(batches, clips, strict=True)]
    return evaluate(Given(rates for rates, _ in batches), given)


def test_the_rate_drops_to_a_tenth_from_epoch_26_on(signs: Signs, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = quick(signs, "training.epochs=51", "training.schedule=step")
    rates: list[float] = []
    trainer.learner.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    trained_with(trainer, results_of([0.5] * 51, [0.5] * 51), monkeypatch)
    assert rates == pytest.approx([1e-3] * 25 + [1e-4] * 25 + [1e-5])


def test_each_epoch_has_random_crops_of_its_own_and_has_them_again_when_asked_again(signs: Signs) -> None:
    trainer = signs.trainer(configuration("optimized"))
    one, again, two = (taken(trainer.train_batches(epoch)) for epoch in (1, 1, 2))
    assert_batches_equal(one, again)
    assert not any(torch.equal(x, other) for (x, _), (other, _) in zip(one, two, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("space", "batch_size"), [("paper", 2), ("optimized", 8)])
def test_a_full_size_training_step_equals_the_predecessors(signs: Signs, space: str, batch_size: int) -> None:
    config = configuration(space, "sampling.downsample=1", f"training.batch_size={batch_size}")
    sampling = config.sampling
    trainer = signs.trainer(config)
    assert sum(parameter.numel() for parameter in trainer.network.parameters()) == 9_013_449
    steps = sampling.train_crop_ms // sampling.time_bin_ms
    rng = crop_stream(epoch=1)
    named = [sample for name in signs.fold(config).train for sample in signs.plain if sample.recording == name]
    counts = [plain_counts(sample.events) for sample in named[:batch_size]]
    starts = [expected_start(sampling.train_crop, len(sample), steps, rng) for sample in counts]
    inputs = [
        reference.bin_values(reference.crop(sample, start, steps), MODES[sampling.binning])
        for sample, start in zip(counts, starts, strict=True)
    ]
    batches = reference.make_batches(inputs, [sample.label for sample in named[:batch_size]], batch_size)
    assert_batches_equal(taken(first(trainer, 1)), batches)
    assert_steps_equal(trainer, batches, gain=True, steps=1, input_size=128)

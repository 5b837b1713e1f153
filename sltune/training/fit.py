"""Training and evaluation of one network on one split, an epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sltune.errors import UsageError
from sltune.extensions.calls import takes
from sltune.snn.activity import Meter
from sltune.snn.running import outputs_of, rates_from, rates_of_clip
from sltune.training.averaging import WeightAverage
from sltune.training.batches import Batch
from sltune.training.losses import Loss, mean_loss, mse, summed_loss, tet
from sltune.training.optim import GradientWatch


@dataclass(frozen=True)
class EvaluationResult:
    """loss: squared error summed over classes (or another loss), mean over samples. accuracy: fraction.

    confusion: counts, a row per true class. spikes: per sample and layer of neurons. synaptic_ops: per sample, for each
    spike that arrives the connections that it drives.
    firing_rates: spikes per neuron and time step, of each layer; of "input", the share of values that are not 0.
    correct: for each sample in the order of the batches, whether the network found its class. rates: of every class,
    float32 of shape (samples, classes) on the CPU; None where a caller has dropped them.
    """

    loss: float
    accuracy: float
    confusion: list[list[int]]
    spikes: dict[str, float]
    synaptic_ops: float
    firing_rates: dict[str, float] = field(default_factory=dict)
    correct: tuple[bool, ...] = ()
    rates: Tensor | None = field(default=None, compare=False)

    @property
    def top_class_share(self) -> float:
        """The share of the samples that are taken for the class that is named most; 1 where all are taken for one."""
        named = [sum(column) for column in zip(*self.confusion, strict=True)]
        return max(named) / sum(named) if named else math.nan


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch, counted from 1. train_loss: sum of the batches' mean losses divided by the number of samples.

    best_epoch, best_loss: the epoch with the lowest validation loss so far, and that loss. device_memory_bytes: the
    largest amount of GPU memory that was allocated in the epoch; None on a CPU. epochs_without_gradient: how many
    epochs, up to this one, have passed since any batch had a gradient that is not 0.
    """

    epoch: int
    train_loss: float
    evaluation: EvaluationResult
    best_epoch: int
    best_loss: float
    samples_per_second: float = field(compare=False)
    seconds: float = field(compare=False)
    device_memory_bytes: int | None = field(default=None, compare=False)
    epochs_without_gradient: int = 0

    @property
    def is_best(self) -> bool:
        """Whether the validation loss is lower than in every epoch before."""
        return self.best_epoch == self.epoch


@dataclass(frozen=True)
class Learner:
    """A network and what trains it.

    schedule: None where the learning rate stays as it is. loss: as in training/losses.py. precision: "float32" or
    "bfloat16". frozen: layers that are not trained, whose normalisation keeps its statistics, too. classes: how many
    there are, where it is known. label_smoothing: of the labels in training. clip_norm: the norm to which gradients of
    all weights together are scaled down; 0 leaves them as they are. average: the mean of the weights over the last
    epochs, which is evaluated instead of the network.
    """

    network: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler | None = None
    loss: Loss = mse
    precision: str = "float32"
    frozen: tuple[nn.Module, ...] = ()
    classes: int | None = None
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    average: WeightAverage | None = None

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated: the one that is trained, or the mean of its weights once there is one."""
        return self.average.network if self.average is not None and self.average.epochs else self.network


class Diverged(ArithmeticError):
    """A loss or a weight is no longer a finite number."""


def fit(
    learner: Learner,
    batches: Callable[[int], Iterable[Batch]],
    validate: Callable[[], EvaluationResult],
    epochs: int,
    patience: int = 0,
    last: EpochMetrics | None = None,
) -> Iterator[EpochMetrics]:
    """Train for at most this number of epochs and evaluate after each.

    Args:
        batches: called with the epoch, from 1, for its training batches.
        validate: called after each epoch; it evaluates ``learner.judged`` on what the caller chooses.
        patience: the number of epochs without a lower validation loss after which training stops; 0 never stops.
        last: the epoch after which the learner was saved, to go on with the next.

    Raises:
        Diverged: a loss or a weight is not finite.
    """
    done, best_loss, best_epoch = (last.epoch, last.best_loss, last.best_epoch) if last else (0, math.inf, 0)
    without_gradient = last.epochs_without_gradient if last else 0
    device = next(learner.network.parameters()).device
    for epoch in range(done + 1, epochs + 1):
        if patience and epoch - 1 - best_epoch >= patience:
            return
        watch, started = GradientWatch(learner.network), _begin_epoch(device)
        losses, samples = train_epoch(learner, batches(epoch), watch)
        trained_seconds = time.perf_counter() - started
        without_gradient = 0 if watch.found else without_gradient + 1
        _end_epoch(learner, epoch, batches)
        evaluation = validate()
        if evaluation.loss < best_loss:
            best_loss, best_epoch = evaluation.loss, epoch
        yield EpochMetrics(
            epoch=epoch,
            train_loss=sum(losses) / samples,
            evaluation=evaluation,
            best_epoch=best_epoch,
            best_loss=best_loss,
            samples_per_second=samples / trained_seconds,
            seconds=time.perf_counter() - started,
            device_memory_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
            epochs_without_gradient=without_gradient,
        )


def _begin_epoch(device: torch.device) -> float:
    """Return the time, for later differences; peaks of memory are those since now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return time.perf_counter()


def _end_epoch(learner: Learner, epoch: int, batches: Callable[[int], Iterable[Batch]]) -> None:
    if learner.average is not None and epoch >= learner.average.first_epoch:
        learner.average.add(learner.network, batches(epoch))
    if learner.schedule is not None:
        learner.schedule.step()


def train_epoch(
    learner: Learner, batches: Iterable[Batch], watch: GradientWatch | None = None
) -> tuple[list[float], int]:
    """Train on each batch once; return the mean loss of each batch and the number of samples.

    Args:
        watch: looks at the gradients of each batch.

    Raises:
        Diverged: a loss or a weight is not finite.
    """
    network, optimizer = learner.network, learner.optimizer
    network.train()
    for module in learner.frozen:
        module.eval()
    # Asked once an epoch, as looking at a function's arguments takes a while.
    taken = [name for name in ("outputs", "label_smoothing") if takes(learner.loss, name)]
    losses: list[Tensor] = []
    samples = 0
    for batch in batches:
        for frames in batch.views:
            with autocast(frames.device, learner.precision):
                outputs = outputs_of(network, frames)
            rates = rates_from(outputs)
            _require_classes(rates, learner.classes)
            loss = _training_loss(learner, rates, outputs, batch.labels, taken)
            if not loss.requires_grad:
                raise UsageError("the network's rates depend on no parameter that is trained: no_grad() or detach()?")
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            if watch:
                watch.look()
            if learner.clip_norm:
                nn.utils.clip_grad_norm_(network.parameters(), learner.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
            samples += len(batch.labels)
    # Losses are read once an epoch: reading each would make the device wait for the host.
    values: list[float] = torch.stack(losses).tolist()
    _require_finite(network, values)
    return values, samples


def _require_finite(network: nn.Module, losses: Sequence[float]) -> None:
    for number, value in enumerate(losses, start=1):
        if not math.isfinite(value):
            raise Diverged(f"the loss of batch {number} is {value}")
    # A potential that is NaN fires no spike, so a network with such weights can still have a finite loss.
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise Diverged(f"{name} has values that are not finite; try a lower learning rate")


def _training_loss(learner: Learner, rates: Tensor, outputs: Tensor, labels: Tensor, taken: Sequence[str]) -> Tensor:
    """Return the loss of a batch; taken: what the loss takes beside rates and labels."""
    more: dict[str, object] = {"label_smoothing": learner.label_smoothing} if learner.label_smoothing else {}
    if outputs.dim() == 3:
        more["outputs"] = outputs
    elif learner.loss is tet:
        raise UsageError('loss "tet" needs outputs of shape (T, B, classes), and the network returns rates')
    return mean_loss(learner.loss, rates, labels, **{name: more[name] for name in taken if name in more})


def _require_classes(rates: Tensor, classes: int | None) -> None:
    """Raise a UsageError unless a network returns a rate for each class: losses may take another number, too."""
    if classes is not None and rates.shape[1] != classes:
        text = f"the network returns {rates.shape[1]} rates for a sample, but there are {classes} classes"
        raise UsageError(f"{text}; their number is its argument ``classes``")


@torch.no_grad()
def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    loss: Loss = mse,
    precision: str = "float32",
    classes: int | None = None,
) -> EvaluationResult:
    """Evaluate on each sample once; the rates of several views of it are averaged. classes: how many, if known.

    Raises:
        UsageError: the network returns something else than a rate for each class.
        Diverged: the loss is not finite.
    """
    network.eval()
    confusion, loss_sum = torch.zeros(0, 0, dtype=torch.int64), 0.0
    correct, every = list[bool](), list[Tensor]()
    with Meter(network) as meter:
        for batch in batches:
            with autocast(batch.labels.device, precision):
                views = [rates_of_clip(network, clip, meter) for clip in batch.clips]
            rates = sum(views[1:], views[0]) / len(views)
            _require_classes(rates, classes)
            # Rounded as the predecessor rounds it, so that the same epochs are equal and the same one is the first of
            # the lowest: a sum in the precision of the rates. A mean times its number of elements would be rounded
            # twice.
            loss_sum += float(summed_loss(loss, rates, batch.labels))
            every.append(rates.float().cpu())
            found = rates.argmax(1)
            correct += (found == batch.labels).tolist()
            confusion = _confusion(batch.labels, found, rates.shape[1]) + (confusion if len(confusion) else 0)
    if not math.isfinite(loss_sum):
        raise Diverged(f"the loss of an evaluation is {loss_sum}")
    samples = len(correct)
    return EvaluationResult(
        loss=loss_sum / samples,
        accuracy=sum(correct) / samples,
        confusion=confusion.tolist(),
        spikes={layer: count / samples for layer, count in meter.spikes().items()},
        synaptic_ops=meter.operations() / samples,
        firing_rates=meter.firing_rates(),
        correct=tuple(correct),
        rates=torch.cat(every),
    )


def _confusion(labels: Tensor, found: Tensor, classes: int) -> Tensor:
    """Return how often each class was taken for which, a row per true class."""
    return torch.bincount((labels * classes + found).cpu(), minlength=classes**2).view(classes, classes)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network computes in "float32" or "bfloat16"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

"""What speaks against the figures of a trial: layers that never fire, one class for all samples, accuracy of guessing.

A finding leaves nothing out. The number of the trial stays, and the finding stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sltune.runs.metrics import TestedRecording
from sltune.runs.record import Record
from sltune.wording import first_of

ALWAYS = 0.99
"""A layer of which this share of the neurons fires in every time step says nothing about its input."""
MAX_EPOCHS_WITHOUT_GRADIENT = 10
"""Of a network that never had a gradient: nothing moves its weights, so that only other crops could wake it."""
MAX_EPOCHS_SINCE_GRADIENT = 30
"""Of one that had a gradient: momentum moves its weights on. With 2 batches an epoch, one woke after 10 such epochs."""
FIRST_WARNING_EPOCH = 2
"""In the first epoch, networks that learn well are often silent, too."""
SAME_LOSS = 1e-6
"""Losses that differ by a smaller share of themselves differ by rounding."""
CHANCE_LEVEL = 0.05
"""Of networks that guess, this share at most is taken for better ones."""
GAP_LEVEL = 0.001
"""Of healthy trials, this share at most is said to have parts far apart; a report may show hundreds of trials."""
TREND_LEVEL, TREND_SHARE, MIN_TREND_EPOCHS = 0.05, 0.25, 4
"""A loss that falls over the last quarter of the epochs is still falling; fewer than 4 values show no trend."""
MAX_SHOWN_LAYERS = 4
"""The first few say which part of the network is meant."""

CURE = (
    'usually helps: network.init = "data", network.norm = "tdbn" or a lower neuron.v_threshold; in a network of yours, '
    "larger weights before the first silent layer"
)
SLOW = 'more training.epochs, another training.learning_rate or network.init = "data" may help'


RATE = "firing_rate_"
"""How the columns of firing rates begin; the name of the layer follows."""
Epoch = Mapping[str, float]
"""A row of ``epochs.csv``."""


@dataclass(frozen=True)
class Finding:
    """name: which of the kinds below it is. text: what was seen, in words. advice: what to do about it.

    is_grave: whether the number that the trial gave hardly says anything about its configuration.
    """

    name: str
    text: str
    advice: str = ""
    is_grave: bool = True

    @property
    def sentence(self) -> str:
        """All that is to be said."""
        return f"{self.text}; {self.advice}" if self.advice else self.text


def findings_of_epoch(row: Epoch) -> list[Finding]:
    """Return what is odd about an epoch while a trial runs, from the second one on."""
    return [*_of_layers([row]), *_of_classes([row])] if row["epoch"] >= FIRST_WARNING_EPOCH else []


def why_hopeless(row: Epoch) -> str:
    """Return why a trial will never learn anything, "" where it may.

    A network that calls all samples the same may yet wake, as long as any weight has a gradient or momentum.
    """
    epochs = row.get("epochs_without_gradient", 0)
    most = MAX_EPOCHS_SINCE_GRADIENT if epochs < row["epoch"] else MAX_EPOCHS_WITHOUT_GRADIENT
    if epochs < most or row.get("top_class_share", 0) < 1:
        return ""
    layers = f", and {finding.text}" if (finding := next(_of_layers([row]), None)) else ""
    return f"silent: no weight had a gradient in {epochs:g} epochs, all samples are taken for one class{layers}"


def findings(rows: Sequence[Epoch], record: Record) -> list[Finding]:
    """Return what speaks against the figures of a trial that has its result.

    Args:
        rows: its epochs; none where they are not known.
    """
    best = record.metrics.best_epoch
    tested = [row for row in rows if row["epoch"] == best] or list(rows[-1:])
    # Who takes all samples for one class guesses.
    guesses = list(_of_confusion(record)) or list(_of_classes(tested)) or list(_of_chance(record))
    # Networks that have learned all there is to learn have a constant loss, too.
    stuck = _of_losses(rows) if guesses else ()
    return [*_of_layers(tested, len(rows)), *stuck, *guesses, *_of_last_epochs(rows, best), *_of_parts(record)]


def findings_of_rates(rates: Mapping[str, float], where: str = "") -> Iterator[Finding]:
    """Give what is odd about firing rates, by the names of layers, of which "input" is none."""
    layers = {layer: rate for layer, rate in rates.items() if layer != "input"}
    if silent := [layer for layer, rate in layers.items() if rate == 0]:
        yield Finding("silent-layers", f"{_named(silent)} never fired{where}", CURE)
    if saturated := [layer for layer, rate in layers.items() if rate >= ALWAYS]:
        text = f"{_named(saturated)} fired in nearly every time step{where}"
        yield Finding("saturated-layers", text, "a higher neuron.v_threshold or smaller weights may help")


def _of_layers(rows: Sequence[Epoch], epochs: int = 0) -> Iterator[Finding]:
    """Give what is odd about the layers whose rates are known, in an epoch."""
    for row in rows:
        rates = {name.removeprefix(RATE): rate for name, rate in row.items() if name.startswith(RATE)}
        yield from findings_of_rates(
            rates, f" in epoch {row['epoch']:g}" + (f" of {epochs}, which is tested" if epochs else "")
        )


def _named(layers: Collection[str]) -> str:
    return ", ".join(first_of(list(layers), MAX_SHOWN_LAYERS))


def _of_classes(rows: Sequence[Epoch]) -> Iterator[Finding]:
    for row in rows:
        if row.get("top_class_share") == 1:
            idle = int(row.get("epochs_without_gradient", 0))
            stuck = f", and no weight had a gradient in the last {idle} epochs" if idle > 1 else ""
            yield Finding("one-class", f"all samples were taken for one class in epoch {row['epoch']:g}{stuck}", SLOW)


def _of_confusion(record: Record) -> Iterator[Finding]:
    """Give whether all samples of the test part, which has several classes, were taken for one."""
    confusion = record.metrics.confusion
    named = [place for place, column in enumerate(zip(*confusion, strict=True)) if any(column)]
    if len(named) == 1 and sum(map(any, confusion)) > 1:
        classes = record.dataset.classes
        name = classes[named[0]] if named[0] < len(classes) else str(named[0])
        yield Finding("one-class", f"all {_samples(confusion)} test samples were taken for {name}", SLOW)


def _of_losses(rows: Sequence[Epoch]) -> Iterator[Finding]:
    losses = _losses(rows)
    if len(losses) > 1 and max(losses) - min(losses) <= SAME_LOSS * max(losses):
        yield Finding("constant-loss", f"the loss was {losses[0]:.4g} after each of {len(losses)} epochs")


def _of_chance(record: Record) -> Iterator[Finding]:
    """Give whether guessing gives the test accuracy, too, by a binomial test.

    Who guesses may name the most frequent class, so that this is what chance means.
    """
    confusion, accuracy = record.metrics.confusion, record.metrics.test_accuracy
    samples = _samples(confusion)
    if not samples or accuracy is None:
        return
    from scipy import stats

    chance = max(1 / len(record.dataset.classes), max(map(sum, confusion)) / samples)
    right = round(accuracy * samples)
    share = float(stats.binom.sf(right - 1, samples, chance))
    # Of a few samples, guessing gets all right, too often to tell anything.
    if share > CHANCE_LEVEL >= chance**samples:
        reach = f"guessing gets at least as many right in {share:.0%} of all tries"
        yield Finding("chance", f"{right} of {samples} test samples are right, and {reach}", SLOW)


def _samples(confusion: Sequence[Sequence[int]]) -> int:
    return sum(map(sum, confusion))


def _losses(rows: Sequence[Epoch]) -> list[float]:
    return [row[name] for row in rows for name in ("val_loss", "test_loss") if name in row]


def _of_last_epochs(rows: Sequence[Epoch], best_epoch: int | None) -> Iterator[Finding]:
    """Give whether the loss was still falling at the end: the last epoch is the best, and there is a trend to it."""
    losses = _losses(rows)
    count = max(MIN_TREND_EPOCHS, math.ceil(TREND_SHARE * len(losses)))
    if not rows or rows[-1]["epoch"] != best_epoch or len(losses) < count:
        return
    recent = losses[-count:]
    # Importing it takes a second, which commands that only follow a run need not wait.
    from scipy import stats

    if stats.kendalltau(range(count), recent, alternative="less").pvalue <= TREND_LEVEL:
        text = f"the loss was still falling in the last {count} of {len(rows)} epochs, and the last is the best one"
        yield Finding("not-converged", text, "more training.epochs may give another result", False)


def _of_parts(record: Record) -> Iterator[Finding]:
    """Give whether validation and test accuracy differ by more than subjects do, by a t test."""
    metrics, splits = record.metrics, record.splits
    if metrics.val_accuracy is None or metrics.test_accuracy is None or not splits.get("test"):
        return
    subjects = _by_subject(metrics.recordings)
    validated = len(subjects) * len(splits.get("val", ())) / len(splits["test"])
    if len(subjects) < 2 or not validated:
        return
    shares = [correct / samples for correct, samples in subjects.values()]
    center = sum(shares) / len(shares)
    middle = (metrics.val_accuracy + metrics.test_accuracy) / 2
    # Few subjects may be alike by chance, but no subject's share is surer than the number of its samples makes it.
    sampling = middle * (1 - middle) * sum(1 / samples for _, samples in subjects.values()) / len(subjects)
    variance = max(sampling, sum((share - center) ** 2 for share in shares) / (len(shares) - 1))
    error = math.sqrt(variance * (1 / len(subjects) + 1 / validated))
    from scipy import stats

    gap = metrics.val_accuracy - metrics.test_accuracy
    if error and 2 * stats.t.sf(abs(gap) / error, len(subjects) - 1) <= GAP_LEVEL:
        text = f"validation {100 * metrics.val_accuracy:.1f} %, test {100 * metrics.test_accuracy:.1f} %"
        yield Finding("parts-apart", f"{text}: further apart than subjects differ", "look at how the parts were split")


def _by_subject(recordings: Mapping[str, TestedRecording]) -> dict[str, tuple[int, int]]:
    """Return of each subject how many of its samples were classed correctly, and how many there are."""
    found: dict[str, tuple[int, int]] = {}
    for name, one in recordings.items():
        # Samples without a subject are taken for one each.
        correct, samples = found.get(one.subject or name, (0, 0))
        found[one.subject or name] = correct + one.correct, samples + one.samples
    return found

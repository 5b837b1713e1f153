"""How optimistic is the test mean of a search's winner, and is that of a nested search? Prints results/nested.md.

OMP_NUM_THREADS=1 python benchmarks/nested.py > benchmarks/results/nested.md

Folds are sltune's own (events/splits/), and so is the choice of the winner (runs/results.py). Only the trainings are
not: a SURROGATE says what each would have reached. All configurations are equal in truth, so whatever lifts the
winner's test mean above the truth comes from its choice alone. On one part of a fold, a training reaches the mean over
the part's signers of

- 0.65, plus the ease of the signer: std 0.10, the same for all configurations;
- plus how the configuration suits the signer: std --interaction, the same wherever that signer is validated or tested;

plus the luck of the training (initial weights, order, crops), with the std LUCKS, which is the same for the validation
and the test part of this training. It is drawn as a share of Bernoulli draws, 19 for each signer, as in SL-Animals-DVS.

The truth is the mean of 0.65 plus the ease over all signers: what a configuration reaches that was not chosen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltune.events.samples import RecordingInfo
from sltune.events.splits.folds import plain_folds
from sltune.events.splits.parts import Split
from sltune.runs.results import Criteria, Observed, Result

MEAN, EASE_STD, SAMPLES = 0.65, 0.10, 19
VAL_FRACTION = 0.15
LUCKS = (0.0, 0.02)
CASES = ((4, 20), (4, 100), (5, 60))
"""(folds, configurations)."""


@dataclass(frozen=True)
class Surrogate:
    """What trainings would reach in one repeat; see the module.

    ease: of each signer, shape (signers,). suits: shape (configurations, signers). luck: the std of it.
    """

    ease: NDArray[np.float64]
    suits: NDArray[np.float64]
    luck: float
    stream: np.random.Generator

    @classmethod
    def drawn(cls, signers: int, configurations: int, interaction: float, luck: float, seed: int) -> Surrogate:
        stream = np.random.default_rng(seed)
        ease = stream.normal(0, EASE_STD, signers)
        return cls(ease, stream.normal(0, interaction, (configurations, signers)), luck, stream)

    @property
    def truth(self) -> float:
        return float(MEAN + self.ease.mean())

    def train(self, split: Split) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what a training of each configuration reaches in validation and in test."""
        luck = self.stream.normal(0, self.luck, len(self.suits))
        val, test = (self._accuracy([int(name) for name in part], luck) for part in (split.val, split.test))
        return val, test

    def _accuracy(self, signers: list[int], luck: NDArray[np.float64]) -> NDArray[np.float64]:
        chances = np.clip(MEAN + self.ease[signers] + self.suits[:, signers] + luck[:, None], 0, 1)
        return self.stream.binomial(SAMPLES, chances).mean(axis=1) / SAMPLES


def search(surrogate: Surrogate, signers: Sequence[RecordingInfo], folds: int, seed: int) -> tuple[int, float]:
    """Return the configuration with the best mean validation accuracy over the folds, and its mean test accuracy."""
    splits = [fold.parted(VAL_FRACTION, seed) for fold in plain_folds(signers, folds, seed)]
    vals, tests = (np.array(part) for part in zip(*map(surrogate.train, splits), strict=True))
    results = [
        Result(
            f"c{number:04d}", "complete", tuple(Observed((seed, fold), float(val), 0.0) for fold, val in enumerate(own))
        )
        for number, own in enumerate(vals.T)
    ]
    best = Criteria().best(results)
    assert best is not None
    return best.number, float(tests[:, best.number].mean())


def nested(surrogate: Surrogate, signers: Sequence[RecordingInfo], folds: int, seed: int) -> float:
    """Return the mean test accuracy over outer folds, each of a winner that was chosen without its test signers."""
    accuracies = []
    for fold in plain_folds(signers, folds, seed):
        winner, _ = search(surrogate, fold.training, folds, seed)
        _, test = surrogate.train(fold.parted(VAL_FRACTION, seed))
        accuracies.append(test[winner])
    return float(np.mean(accuracies))


def biases(folds: int, configurations: int, repeats: int, interaction: float, luck: float) -> NDArray[np.float64]:
    """Return by how many points the plain winner and the nested search exceed the truth, shape (repeats, 2)."""
    signers = [RecordingInfo(str(number), str(number), "") for number in range(59)]
    found = []
    for repeat in range(repeats):
        surrogate = Surrogate.drawn(len(signers), configurations, interaction, luck, repeat)
        _, plain = search(surrogate, signers, folds, repeat)
        found.append((plain - surrogate.truth, nested(surrogate, signers, folds, repeat) - surrogate.truth))
    return 100 * np.array(found)


def standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


HEAD = """# How optimistic the winner of a search is

`python benchmarks/nested.py --repeats {repeats} --interaction {interaction:g}`

A SURROGATE, no networks: the head of `benchmarks/nested.py` documents it. All configurations are equal in truth. Bias:
the mean test accuracy less the truth, in points, mean ± standard error over {repeats} repeats with 59 signers.

| folds | configurations | training luck, points | plain search's winner | nested search |
|--:|--:|--:|--:|--:|"""


def benchmark(repeats: int, interaction: float, cases: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    yield HEAD.format(repeats=repeats, interaction=interaction)
    for folds, configurations in cases:
        for luck in LUCKS:
            found = biases(folds, configurations, repeats, interaction, luck)
            cells = [f"{column.mean():+.2f} ± {standard_error(column):.2f}" for column in found.T]
            yield f"| {folds} | {configurations} | {100 * luck:g} | {' | '.join(cells)} |"


def main() -> None:
    # Here, since a test runs this file without its neighbours.
    from smoke import parse_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--interaction", type=float, default=0.05, help="std of how a configuration suits a signer")
    arguments = parse_arguments(parser, repeats=5)
    for line in benchmark(arguments.repeats, arguments.interaction, CASES[:1] if arguments.smoke else CASES):
        print(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()

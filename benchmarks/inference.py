"""Which test of a difference errs as seldom as it says, and finds most? Prints results/inference.md.

OMP_NUM_THREADS=1 python benchmarks/inference.py > benchmarks/results/inference.md

Differences between two configurations are simulated, in points: of each signer in each training that tests it,

- a signer's own: how differently the configurations suit the signer, the same in all trainings;
- a training's own, (fold, seed): the same for all its signers;
- the rest, of one signer in one training;

each normal with the standard deviations of CASES, plus the true difference. Values are rounded to whole samples of
SAMPLES. Every seed draws new folds. In the rows of N-MNIST, the units are samples, and the same normal sum decides
whether one configuration alone is right. With "training signers", each signer also shifts the trainings that it trains,
so that overlapping training sets make trainings alike.

CASES lie round what ``components`` of sltune/report/inference/power.py finds in records of real runs. Synthetic signers
(two searches of the demo, 12 signers, 4 folds, pairs of configurations within 13 points of each other): 6 to 13 points
for signers and rest together, and up to 7 for trainings, of which so few signers say little. N-MNIST (1000 samples, 4
folds, two networks above 96 %): 14.5 points for samples and rest, 0 for trainings. With 3 seeds of a weaker network of
N-MNIST, a fifth of this variance is the samples' own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sltune.report.inference.power import Components, Design, power
from sltune.report.inference.two_way import two_way_error

Floats = NDArray[np.float64]
SAMPLES = 19
DIFFERENCE = 3.0
VAL_FRACTION = 0.15
FLIPS = 499
DISAGREE = 0.021
"""The share of N-MNIST's samples that only one of two networks gets right: (14.5 / 100)²."""


@dataclass(frozen=True)
class Case:
    """One row. units, trainings, rest: standard deviations in points. influence: of each signer when it trains."""

    design: Design
    units: float = 4.5
    trainings: float = 2.8
    rest: float = 9.0
    influence: float = 0.0
    are_samples: bool = False


CENTRAL = Design(59, 4, 3)
CASES = (
    *(Case(Design(59, 4, seeds)) for seeds in (1, 3, 5)),
    *(Case(Design(signers, 4, 3)) for signers in (12, 24)),
    Case(CENTRAL, 0, 0),
    Case(CENTRAL, 4.5, 0),
    Case(CENTRAL, 10),
    Case(CENTRAL, 4.5, 6),
    Case(CENTRAL, 4.5, 2.8, 14),
    Case(Design(59, 4, 5), 10, 6),
    Case(Design(24, 4, 5), 10, 6),
    Case(CENTRAL, influence=3),
    Case(Design(59, 4, 1), influence=3),
    Case(Design(59, 10, 1)),
    Case(Design(59, 59, 1)),
    Case(Design(59, 1, 3)),
    Case(Design(59, 1, 5)),
    Case(Design(1000, 4, 1), 0.46, 0, 0.89, are_samples=True),
    Case(Design(1000, 4, 3), 0.46, 0, 0.89, are_samples=True),
)


def tested(design: Design, stream: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the unit and the training of each value: each seed tests every unit once, in folds of its own."""
    units = np.tile(np.arange(design.units), design.seeds)
    folds = [stream.permutation(np.arange(design.units) % design.folds) for _ in range(design.seeds)]
    return units, np.concatenate([fold + design.folds * seed for seed, fold in enumerate(folds)])


def differences(case: Case, number: int, units: NDArray[np.intp], trainings: NDArray[np.intp],
                stream: np.random.Generator) -> Floats:  # fmt: skip
    """Return simulated differences without a true one, shape (number, values)."""
    count = int(trainings.max()) + 1
    own = (
        stream.normal(0, case.units, (number, case.design.units))
        if case.units
        else np.zeros((number, case.design.units))
    )
    shift = stream.normal(0, case.trainings, (number, count)) if case.trainings else np.zeros((number, count))
    if case.influence:
        trains = np.ones((count, case.design.units))
        trains[trainings, units] = 0
        shift += stream.normal(0, case.influence, own.shape) @ (trains / trains.sum(axis=1, keepdims=True)).T
    values = own[:, units] + shift[:, trainings]
    values += stream.normal(0, case.rest, values.shape)
    if not case.are_samples:
        return values
    # Of variance 1: those in the tails are right in one configuration alone.
    return 100.0 * ((values > stats.norm.isf(DISAGREE / 2)).astype(float) - (values < stats.norm.ppf(DISAGREE / 2)))


def rounded(values: Floats) -> Floats:
    step = 100 / SAMPLES
    return np.round(values / step) * step


def two_way(values: Floats, units: NDArray[np.intp], trainings: NDArray[np.intp]) -> NDArray[np.bool_]:
    """sltune's test."""
    sizes = np.bincount(trainings)
    weights = 1 / sizes[trainings] / len(sizes)
    error, df = two_way_error(values, weights, units, trainings)
    return _rejected(values @ weights, error, df)


def trials(values: Floats, trainings: NDArray[np.intp], ratio: float) -> NDArray[np.bool_]:
    """The t-test on the means of trials, whose variance is corrected by a ratio (Nadeau and Bengio 2003); 0: not."""
    means = _means(values, trainings)
    error = np.sqrt((1 / means.shape[1] + ratio) * means.var(axis=1, ddof=1))
    return _rejected(means.mean(axis=1), error, means.shape[1] - 1)


def units_alone(values: Floats, units: NDArray[np.intp]) -> NDArray[np.bool_]:
    """The t-test on the means of units."""
    means = _means(values, units)
    return _rejected(means.mean(axis=1), means.std(axis=1, ddof=1) / np.sqrt(means.shape[1]), means.shape[1] - 1)


def sign_flips(values: Floats, units: NDArray[np.intp], stream: np.random.Generator) -> NDArray[np.bool_]:
    """The permutation test that flips the signs of units' means."""
    means = _means(values, units)
    flipped = np.abs(means @ stream.choice([-1.0, 1.0], (means.shape[1], FLIPS)))
    as_extreme = (flipped >= np.abs(means.sum(axis=1))[:, None] - 1e-9).sum(axis=1)
    return (as_extreme + 1) / (FLIPS + 1) <= 0.05


def _means(values: Floats, codes: NDArray[np.intp]) -> Floats:
    belongs = (codes[:, None] == np.arange(codes.max() + 1)).astype(float)
    return values @ (belongs / belongs.sum(axis=0))


def _rejected(mean: Floats, error: Floats, df: int) -> NDArray[np.bool_]:
    found = np.abs(mean) > stats.t.ppf(0.975, df) * error
    return found & (error > 1e-9)


def cell(case: Case, draws: int, seed: int) -> Iterator[tuple[float, float]]:
    """Give the share of differences that each method calls real: of none, and of a true one of DIFFERENCE."""
    stream = np.random.default_rng(seed)
    units, trainings = tested(case.design, stream)
    ratio = 1 / (case.design.folds - 1) / (1 - VAL_FRACTION) if case.design.folds > 1 else 1 / 3
    methods: list[Callable[[Floats], NDArray[np.bool_]]] = [
        lambda values: two_way(values, units, trainings),
        lambda values: trials(values, trainings, ratio),
        lambda values: trials(values, trainings, 0),
        lambda values: units_alone(values, units),
        lambda values: sign_flips(values, units, stream),
    ]
    none = differences(case, draws, units, trainings, stream)
    both = (none, none + DIFFERENCE) if case.are_samples else (rounded(none), rounded(none + DIFFERENCE))
    for method in methods:
        size, found = (float(method(values).mean()) for values in both)
        yield size, found


COLUMNS = (
    *("signers", "folds", "seeds", "signers' own", "trainings' own", "rest", "signers × trainings", "plan"),
    *("corrected resampled t", "plain t over trials", "t over signers", "sign flips of signers"),
)
HEAD = """# Which test of a difference to believe

`python benchmarks/inference.py --draws {draws} --seed {seed}`

Simulated differences, as the head of `benchmarks/inference.py` documents them: {draws} draws a row, so that a share of
0.05 has a standard error of {error:.4f}. Each cell: how often a test at 5 % calls a difference real where there is
none, and how often one of {difference:g} points. Standard deviations in points. Plan: the power that `sltune plan`
gives. Of N-MNIST's samples, only differences of none are simulated.
"""


def benchmark(cases: tuple[Case, ...], draws: int, seed: int) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    yield HEAD.format(draws=draws, error=(0.05 * 0.95 / draws) ** 0.5, difference=DIFFERENCE, seed=seed)
    yield f"| {' | '.join(COLUMNS)} |\n|{'--:|' * len(COLUMNS)}"
    largest = 0.0
    for case in cases:
        ours, *others = cell(case, draws, seed)
        largest = max(largest, ours[0])
        yield f"| {' | '.join(_cells(case, ours, others))} |"
    yield f"\nThe largest size of the test over signers and trainings: {largest:.3f}."


def _cells(case: Case, ours: tuple[float, float], others: Sequence[tuple[float, float]]) -> list[str]:
    design = case.design
    numbers = [str(design.units), str(design.folds), str(design.seeds)]
    if case.are_samples:
        sizes = [f"{size:.3f}" for size, _ in (ours, *others)]
        return [f"{numbers[0]} samples", *numbers[1:], "–", "–", "–", sizes[0], "–", *sizes[1:]]
    stds = [f"{std:g}" for std in (case.units, case.trainings, case.rest)]
    stds[1] += f", training signers {case.influence:g}" if case.influence else ""
    planned = power(Components(case.units**2, case.trainings**2, case.rest**2), design, DIFFERENCE)
    shares = [f"{size:.3f} / {found:.2f}" for size, found in (ours, *others)]
    return [*numbers, *stds, shares[0], f"{planned:.2f}", *shares[1:]]


def main() -> None:
    # Here, since a test runs this file without its neighbours.
    from smoke import parse_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parse_arguments(parser, draws=20)
    for line in benchmark(CASES[:2] if arguments.smoke else CASES, arguments.draws, arguments.seed):
        print(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()

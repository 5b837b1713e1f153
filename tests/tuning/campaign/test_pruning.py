"""Comparisons are made on identical folds and seeds only, by hand-computed cases and the toy that misleads others."""

from __future__ import annotations

import numpy as np
import pytest

from sltune.tuning.campaign.pruning import EpochScores, FoldScores, below_median, worse_than_best


def scores(*rows: dict[int, float], steps: int = 4) -> FoldScores:
    """FoldScores of configurations a, b, c, …"""
    table = FoldScores(steps)
    for name, row in zip("abcdefghij", rows, strict=False):
        for step, score in row.items():
            table.add(name, step, score)
    return table


def test_the_median_is_that_of_the_others_on_the_same_steps() -> None:
    # Means over steps 0 and 1: 0.55, 0.6, 0.65, 0.7 – median 0.625; f has none of step 1 and does not count.
    others = [{0: 0.5, 1: 0.6, 2: 0.0}, {0: 0.6, 1: 0.6}, {0: 0.7, 1: 0.6}, {0: 0.7, 1: 0.7, 2: 1.0, 3: 1.0}]
    for own, falls_behind in ((0.62, True), (0.625, False), (0.63, False)):
        table = scores(*others, {0: own, 1: own}, {0: 0.9})
        assert below_median(table, "e") is falls_behind


def test_three_rivals_are_too_few_for_a_median() -> None:
    rivals = [{0: 0.9}] * 3
    assert not below_median(scores(*rivals, {0: 0.1}), "d")
    assert below_median(scores(*rivals, {0: 0.9}, {0: 0.1}), "e")


@pytest.mark.parametrize(
    ("own", "falls_behind"),
    [
        # Differences to the best (0.8, 0.6, 0.7): −0.1, −0.12, −0.09; t = −11.7 with 2 degrees of freedom, p = 0.004.
        ({0: 0.7, 1: 0.48, 2: 0.61}, True),
        # −0.2, +0.1, −0.05: t = −0.577, p = 0.31.
        ({0: 0.6, 1: 0.7, 2: 0.65}, False),
        # Better than the best so far.
        ({0: 0.9, 1: 0.7, 2: 0.75}, False),
        # The same difference everywhere leaves no doubt.
        ({0: 0.75, 1: 0.55, 2: 0.65}, True),
        # One step tells nothing of the spread.
        ({0: 0.1}, False),
    ],
)
def test_the_paired_test_compares_with_the_best_on_the_same_steps(own: dict[int, float], falls_behind: bool) -> None:
    table = scores({0: 0.8, 1: 0.6, 2: 0.7}, {0: 0.5, 1: 0.5, 2: 0.5}, own)
    assert worse_than_best(table, "c") is falls_behind


def test_an_easy_fold_never_gives_up_a_good_configuration() -> None:
    """Fold effects of up to 0.5 and differences of 0.02: six good configurations and six bad ones, in all orders."""
    effects = [0.4, -0.1, 0.0, -0.3]
    rng = np.random.default_rng(0)
    given_up = {True: 0, False: 0}
    for _ in range(20):
        table = FoldScores(4)
        quality = {f"{'good' if good else 'bad'}{number}": good for number in range(6) for good in (True, False)}
        alive = list(quality)
        # In flight at the same time, so that easy folds of some stand beside hard folds of others.
        begun = dict.fromkeys(rng.permutation(alive), 0)
        while begun:
            name = str(rng.choice(list(begun)))
            step = begun[name]
            table.add(name, step, 0.5 + 0.02 * quality[name] + effects[step])
            begun[name] += 1
            if begun[name] == 4:
                del begun[name]
            elif below_median(table, name):
                given_up[quality[name]] += 1
                del begun[name]
    assert given_up[True] == 0
    assert given_up[False] > 20


def curves(pruner: str, epochs: int, *others: list[float]) -> EpochScores:
    """EpochScores of other configurations: accuracies by epoch, with losses that fall throughout."""
    table = EpochScores(pruner, epochs)
    for number, curve in enumerate(others):
        for epoch, accuracy in enumerate(curve, start=1):
            table.add((0, 0), f"other{number}", epoch, 1 / epoch, accuracy)
    return table


def stops_at(table: EpochScores, curve: list[float], step: tuple[int, int] = (0, 0)) -> int | None:
    for epoch, accuracy in enumerate(curve, start=1):
        table.add(step, "own", epoch, 1 / epoch, accuracy)
        if table.gives_up(step, "own"):
            return epoch
    return None


def test_the_median_of_curves_is_of_the_same_epoch_fold_and_seed() -> None:
    others = [[0.1 * height + 0.01 * epoch for epoch in range(20)] for height in range(1, 5)]
    # At epoch 4 the others have 0.13, 0.23, 0.33, 0.43: median 0.28; two epochs of 20 are warm-up.
    own = [0.0, 0.25, 0.27, 0.279, 0.9]
    assert stops_at(curves("median", 20, *others), own) == 2
    assert stops_at(curves("median", 20, *others), [0.3, 0.3, 0.3, 0.279, 0.9]) == 4
    assert stops_at(curves("median", 20, *others), own, step=(0, 1)) is None
    assert stops_at(curves("median", 20, *others[:3]), own) is None


def test_halving_keeps_the_best_third_at_each_rung() -> None:
    # Rungs of 54 epochs: 2, 6, 18. At a rung with n others, own rank must be within ceil((n + 1) / 3).
    others = [[height] * 18 for height in (0.2, 0.4, 0.6, 0.8, 0.9)]
    assert stops_at(curves("halving", 54, *others), [0.0] * 18) == 2
    assert stops_at(curves("halving", 54, *others), [0.7] * 18) == 2
    assert stops_at(curves("halving", 54, *others), [0.85] * 18) is None
    assert stops_at(curves("halving", 54, *others), [0.85] * 5 + [0.1] * 13) == 6
    assert stops_at(curves("halving", 54), [0.0] * 54) is None


def test_a_curve_is_what_the_trial_would_score_at_its_lowest_validation_loss() -> None:
    table = curves("median", 10, *([[0.5] * 10] * 4))
    table.add((0, 0), "own", 1, 0.1, 0.9)
    # The loss has risen, so the network of epoch 1 would be tested still.
    table.add((0, 0), "own", 2, 0.5, 0.1)
    assert not table.gives_up((0, 0), "own")
    table.add((0, 0), "own", 3, 0.05, 0.1)
    assert table.gives_up((0, 0), "own")


def test_epochs_that_are_trained_again_replace_what_they_were() -> None:
    table = curves("median", 10, *([[0.5] * 10] * 4))
    for epoch in (1, 2, 3):
        table.add((0, 0), "own", epoch, 1 / epoch, 0.1)
    for epoch in (2, 3):
        table.add((0, 0), "own", epoch, 0.1 / epoch, 0.9)
    assert not table.gives_up((0, 0), "own")

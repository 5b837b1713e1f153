"""Which configurations a search gives up early: after some folds, or after some epochs of one.

Configurations are compared on the same folds and seeds only. An easy fold is easy for all, so it decides nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState
from scipy import stats

from sltune.extensions.code import Code, is_reference
from sltune.extensions.kinds import KINDS, built_in, made_by, named, require
from sltune.runs.plan import Step
from sltune.runs.record import Record

# With fewer rivals, the median is so uncertain that many good configurations would be given up by chance.
MIN_RIVALS = 4
# The level of the paired t-test between a configuration and the best one.
ALPHA = 0.1
# Successive halving keeps one configuration in REDUCTION. It looks for the first time after this share of the epochs.
REDUCTION = 3
FIRST_RUNG = 1 / 27
# The median rule leaves learning curves alone for this share of the epochs, in which they rise at different rates.
WARM_UP = 1 / 10


class FoldScores:
    """Validation accuracies, as fractions, of configurations on the steps, (seed, fold), of a search.

    Args:
        barred: configurations with which none is compared, as they exceed the limit; the caller may change the set.
    """

    def __init__(self, steps: int, barred: Set[str] = frozenset()) -> None:
        self._barred = barred
        self._places: dict[str, int] = {}
        self._values = np.full((16, steps), np.nan)

    def add(self, config_id: str, step: int, score: float) -> None:
        """Note what a configuration reached on a step, counted from 0."""
        place = self._places.setdefault(config_id, len(self._places))
        if place == len(self._values):
            self._values = np.concatenate([self._values, np.full_like(self._values, np.nan)])
        self._values[place, step] = score

    def of(self, config_id: str) -> dict[int, float]:
        """Return a configuration's scores by step."""
        if config_id not in self._places:
            return {}
        row = self._values[self._places[config_id]]
        return {step: float(score) for step, score in enumerate(row) if not math.isnan(score)}

    def rivals(self, config_id: str, steps: list[int]) -> np.ndarray:
        """Return the scores, one row each, of all others that have all of these steps."""
        chosen: np.ndarray = np.delete(self._values[: len(self._places)], self._left_out(config_id), axis=0)[:, steps]
        whole: np.ndarray = chosen[~np.isnan(chosen).any(axis=1)]
        return whole

    def _left_out(self, *others: str) -> list[int]:
        return [self._places[name] for name in {*self._barred, *others} if name in self._places]


def below_median(scores: FoldScores, config_id: str) -> bool:
    """Say whether the mean over a configuration's steps is below the median of the others' on the same steps."""
    own = scores.of(config_id)
    rivals = scores.rivals(config_id, list(own))
    return len(rivals) >= MIN_RIVALS and float(np.mean([*own.values()])) < float(np.median(rivals.mean(axis=1)))


def worse_than_best(scores: FoldScores, config_id: str) -> bool:
    """Say whether a one-sided paired t-test finds a configuration worse than the best of the others.

    The best is that with the highest mean over the same steps, of which there must be two at least.
    """
    own = scores.of(config_id)
    rivals = scores.rivals(config_id, list(own))
    if len(own) < 2 or not len(rivals):
        return False
    differences = np.array([*own.values()]) - rivals[rivals.mean(axis=1).argmax()]
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if mean >= 0:
        return False
    if deviation == 0:
        return True
    statistic = mean / (deviation / math.sqrt(len(differences)))
    return bool(stats.t.cdf(statistic, len(differences) - 1) < ALPHA)


FOLD_PRUNERS: Mapping[str, Callable[[FoldScores, str], bool]] = {
    "median": below_median,
    "paired-t": worse_than_best,
    "none": lambda scores, config_id: False,
}


def never(epoch: int, own: float, rivals: Sequence[float], most_epochs: int) -> bool:
    """Give up no trial."""
    return False


def below_median_curve(epoch: int, own: float, rivals: Sequence[float], most_epochs: int) -> bool:
    """Say whether a trial's score after an epoch is below the median of the others' after the same epoch."""
    due = epoch >= most_epochs * WARM_UP
    return due and len(rivals) >= MIN_RIVALS and own < float(np.median(rivals))


def outside_best_third(epoch: int, own: float, rivals: Sequence[float], most_epochs: int) -> bool:
    """Say whether a trial at a rung is not among the best third, rounded up, so that the first always goes on."""
    rung = max(1, round(most_epochs * FIRST_RUNG))
    while rung < epoch:
        rung *= REDUCTION
    better = sum(score > own for score in rivals)
    return rung == epoch < most_epochs and better >= math.ceil((len(rivals) + 1) / REDUCTION)


class EpochScores:
    """Learning curves by (seed, fold): what each trial would score if it ended after an epoch.

    That is the validation accuracy at the lowest validation loss so far.

    Args:
        pruner: one that is built in.
        most_epochs: the largest number of epochs that any configuration of the search has.
        barred: as in FoldScores.
    """

    def __init__(self, pruner: str, most_epochs: int, barred: Set[str] = frozenset()) -> None:
        self._judge = built_in(KINDS["search.epoch_pruner"], pruner)
        self._barred = barred
        self._most_epochs = most_epochs
        self._curves: defaultdict[Step, dict[str, list[tuple[float, float]]]] = defaultdict(dict)

    def add(self, step: Step, config_id: str, epoch: int, loss: float, accuracy: float) -> None:
        """Note an epoch, counted from 1; a trial that goes on from an earlier epoch replaces those after it."""
        curve = self._curves[step].setdefault(config_id, [])
        del curve[epoch - 1 :]
        best = curve[-1] if curve else (math.inf, 0.0)
        # Rows may have been lost on the way, say by a disk that filled up.
        curve += [best] * (epoch - 1 - len(curve))
        curve.append((loss, accuracy) if loss < best[0] else best)

    def gives_up(self, step: Step, config_id: str) -> bool:
        """Say whether a trial should end after the epoch that was noted last."""
        curves = self._curves[step]
        epoch = len(curves[config_id])
        rivals = [
            curve[epoch - 1][1]
            for other, curve in curves.items()
            if other != config_id and other not in self._barred and len(curve) >= epoch
        ]
        return bool(self._judge(epoch, curves[config_id][-1][1], rivals, self._most_epochs))

    def end(self, record: Record) -> None:
        """Note that a trial has ended."""


class OptunaScores(EpochScores):
    """Learning curves as a pruner of Optuna's sees them, which a user names.

    Each (seed, fold) is a study in memory, to be maximised. A configuration is a trial in it, complete when its
    training has ended with a result, and failed if it exceeds the limit. The pruner is asked after every epoch. After a
    restart it is shown all epochs anew, one configuration after the other.

    Raises:
        CodeError: the user's pruner cannot be made, or raises; names their line.
    """

    def __init__(self, pruner: str, code: Code, barred: Set[str] = frozenset()) -> None:
        super().__init__("none", 0, barred)
        self._text, self._factory = pruner, named(KINDS["search.epoch_pruner"], pruner, code)
        self._studies: dict[Step, optuna.Study] = {}
        self._trials: dict[tuple[Step, str], optuna.Trial] = {}
        self._reported: dict[tuple[Step, str], tuple[int, bool]] = {}
        require(pruner, made_by(pruner, self._factory), BasePruner, "optuna.pruners.BasePruner")

    def add(self, step: Step, config_id: str, epoch: int, loss: float, accuracy: float) -> None:
        super().add(step, config_id, epoch, loss, accuracy)
        if step not in self._studies:
            pruner = made_by(self._text, self._factory)
            name = f"f{step[1]}-s{step[0]}"
            self._studies[step] = optuna.create_study(direction="maximize", pruner=pruner, study_name=name)
        place = step, config_id
        trial = self._trials.setdefault(place, self._trials.get(place) or self._studies[step].ask())
        # A trial that goes on from an earlier epoch was asked about those that it repeats.
        if epoch > self._reported.get(place, (0, False))[0]:
            trial.report(self._curves[step][config_id][-1][1], epoch)
            self._reported[place] = epoch, bool(made_by(self._text, trial.should_prune))

    def gives_up(self, step: Step, config_id: str) -> bool:
        return self._reported[step, config_id][1]

    def end(self, record: Record) -> None:
        step, config_id = (record.seed, record.fold), record.config_id
        trial = self._trials.pop((step, config_id), None)
        if trial is None:
            return
        done = record.status == "done" and config_id not in self._barred
        states = {"done": TrialState.COMPLETE if done else TrialState.FAIL, "pruned": TrialState.PRUNED}
        score = self._curves[step][config_id][-1][1] if done else None
        self._studies[step].tell(trial, score, states.get(record.status, TrialState.FAIL))


def epoch_scores(pruner: str, most_epochs: int, barred: Set[str], code: Code) -> EpochScores:
    """Return the learning curves of a search with their pruner, which may be a user's."""
    return OptunaScores(pruner, code, barred) if is_reference(pruner) else EpochScores(pruner, most_epochs, barred)

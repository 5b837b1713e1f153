"""What the test mean of a search's winner is worth, and the commands that measure it better."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from itertools import count, islice
from pathlib import Path

from sltune.runs.plan import Step, nested_trainings
from sltune.settings.sections import Evaluation
from sltune.wording import as_argument, in_hours

# Fewer seeds say little about how certain a result is.
MIN_CONFIRMING_SEEDS = 3


def confirmation(best_toml: Path, data: str, run: str, used: Collection[int], weights: str = "") -> str:
    """Return the command that evaluates the best configuration of a search with fresh seeds, at least as many.

    Args:
        data: where the dataset lies. run: name of the search. used: its seeds. weights: the file of weights from which
            networks start, if ``best.toml`` does not say where it lies.
    """
    wanted = max(MIN_CONFIRMING_SEEDS, len(used))
    fresh = list(islice((seed for seed in count() if seed not in used), wanted))
    seeds = f"evaluation.seeds={fresh}"
    more = ["--set", f"network.weights={weights}"] if weights else []
    again = ["sltune", "evaluate", as_argument(best_toml), "--data", data, "--set", seeds]
    return shlex.join([*again, *more, "--run", f"{run}-confirmed"])


def selected(configurations: int, one_fold: bool = False) -> str:
    """Say what kind of number the test mean of the best of some configurations is.

    Args:
        one_fold: whether the split has one fold, so that nobody validates who is tested in another one.
    """
    if one_fold:
        chosen = f"it was chosen among {configurations} configurations by validation on subjects who are not tested"
        return f"{chosen}, so that this does not flatter its test mean"
    return (
        f"its test mean is optimistic, as it was chosen among {configurations} configurations by validation on signers "
        "who are test signers in other folds"
    )


def nested_command(space_toml: Path, data: str, run: str, evaluation: Evaluation) -> str:
    """Return the command that searches a space again, in each outer fold without its test signers.

    Args:
        data: where the dataset lies. run: name of the search.
    """
    draw_own_folds = len(evaluation.seeds) > 1 and evaluation.split_seed < 0
    shared = ["--set", f"evaluation.split_seed={evaluation.seeds[0]}"] if draw_own_folds else []
    again = ["sltune", "tune", as_argument(space_toml), "--data", data, "--nested"]
    return shlex.join([*again, *shared, "--run", f"{run}-nested"])


def nested_cost(seconds: Sequence[float], steps: Collection[Step]) -> str:
    """Say what a nested search takes, by the trainings of a search of the same space.

    Args:
        seconds: how long each took. steps: (seed, fold) of each configuration.
    """
    folds, seeds = len({fold for _, fold in steps}), len({seed for seed, _ in steps})
    trainings = nested_trainings(len(seconds), folds, seeds)
    # Without a fold, a search has (folds - 1) / folds of the data.
    hours = ((folds - 1) * sum(seconds) + folds * seeds * sum(seconds) / max(1, len(seconds))) / 3600
    return f"about {trainings:,} trainings, {in_hours(hours)} one after the other"

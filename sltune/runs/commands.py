"""The command that confirms what a search has found, with seeds that it has never seen."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from itertools import count, islice
from pathlib import Path

from sltune.wording import as_argument

# Fewer seeds than these say little of how sure a result is.
CONFIRMING_SEEDS = 3


def confirmation(best_toml: Path, data: str, run: str, used: Collection[int], weights: str = "") -> str:
    """Return the command that evaluates the best configuration of a run with as many seeds as it has used, or more.

    Args:
        data: where the dataset lies. run: name of the search. used: its seeds. weights: those that networks start from,
            where ``best.toml`` does not say where they lie.
    """
    wanted = max(CONFIRMING_SEEDS, len(used))
    fresh = list(islice((seed for seed in count() if seed not in used), wanted))
    seeds = f"evaluation.seeds={fresh}"
    more = ["--set", f"network.weights={weights}"] if weights else []
    again = ["sltune", "evaluate", as_argument(best_toml), "--data", data, "--set", seeds]
    return shlex.join([*again, *more, "--run", f"{run}-confirmed"])

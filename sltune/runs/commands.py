"""The command that confirms what a search has found, with seeds that it has never seen."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from itertools import count, islice
from pathlib import Path

from sltune.wording import as_argument

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

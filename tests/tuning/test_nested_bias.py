"""By simulation: choosing among equals flatters the test mean of a plain search, and not that of a nested one."""

from __future__ import annotations

import runpy
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "nested.py"


def test_the_winner_of_equals_is_flattered_by_a_plain_search_and_not_by_a_nested_one() -> None:
    simulation = runpy.run_path(str(BENCHMARK))
    found = simulation["biases"](folds=4, configurations=20, repeats=30, interaction=0.05, luck=0.04)
    errors = [simulation["standard_error"](column) for column in found.T]
    plain, nested = found.mean(axis=0)
    assert plain > 4 * errors[0]
    assert abs(nested) <= 2 * errors[1]

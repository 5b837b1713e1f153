"""Does the demo's search find something better than the demo's settings? Judged by seeds that it has never used.

    python benchmarks/demo_search.py DATA [--seeds 1 2 3] [--search-seed 0] [--configurations 6] [--epochs 15]

Runs ``demo-search.toml`` on a dataset such as ``sltune demo`` imports, then evaluates its winner and ``demo.toml`` on
all folds with fresh seeds, and compares the test accuracies in pairs of the same fold and seed. The seeds also draw the
folds, so that the pairs are of splits that the search has not seen either. Prints the table of results/demo-search.md.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import trivial_data
from scipy import stats
from smoke import parse_arguments

from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info

SPACES = Path(__file__).parent.parent / "search_spaces"
Accuracies = Mapping[tuple[int, int], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="needed but with --smoke, which makes its own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--search-seed", type=int, default=0)
    parser.add_argument("--configurations", type=int, default=6, help="of the search")
    parser.add_argument("--epochs", type=int, default=15, help="of every training")
    arguments = parse_arguments(parser, seeds=[1], configurations=1, epochs=1)
    if arguments.data is None and not arguments.smoke:
        parser.error("DATA is missing: a dataset such as sltune demo imports")
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch)
        data = arguments.data or trivial_data(results, side=128)
        began = time.monotonic()
        sltune(
            *("tune", SPACES / "demo-search.toml", "--run", "search", "--data", data, "--results", results),
            *("--set", f"search.seed={arguments.search_seed}", "--set", f"search.trials={arguments.configurations}"),
            *("--set", f"training.epochs={arguments.epochs}"),
        )
        seconds = time.monotonic() - began
        search = RunFolder(results / "search")
        trained = sum(record.was_trained for record in search.records())
        print(
            f"search: {trained} trainings in {seconds:.0f} s on {os.cpu_count()} cores, best {read_info(search).best}\n"
        )
        print(changes(search))
        seeds = ["--set", f"evaluation.seeds={arguments.seeds}", "--set", f"training.epochs={arguments.epochs}"]
        found = {}
        for name, space in (("default", SPACES / "demo.toml"), ("found", search.best_toml)):
            sltune("evaluate", space, "--run", name, "--data", data, "--results", results, *seeds)
            found[name] = accuracies(RunFolder(results / name))
        print(comparison(found["default"], found["found"]))


def sltune(*arguments: object) -> None:
    command = [sys.executable, "-m", "sltune", *map(str, arguments), "--device", "cpu", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def changes(search: RunFolder) -> str:
    """Return what the winner has otherwise than the default."""
    from sltune.settings.space import load_space

    default, best = (load_space(file).settings for file in (SPACES / "demo.toml", search.best_toml))
    lines = [f"- {key}: {default[key]} → {best[key]}" for key in default if default[key] != best[key]]
    return "\n".join(["What it changed:", "", *lines, ""])


def accuracies(run: RunFolder) -> dict[tuple[int, int], float]:
    """Return test accuracies in per cent by (seed, fold)."""
    return {(record.seed, record.fold): 100 * record.metrics.test_accuracy for record in run.records()}


def comparison(default: Accuracies, found: Accuracies) -> str:
    """Return the pairs, and what they say, as Markdown."""
    lines = ["| seed | fold | demo.toml, % | found, % | difference |", "|---|---|--:|--:|--:|"]
    differences = []
    for seed, fold in sorted(default):
        before, after = default[seed, fold], found[seed, fold]
        differences.append(after - before)
        lines.append(f"| {seed} | {fold} | {before:.2f} | {after:.2f} | {after - before:+.2f} |")
    lines += ["", *summary([*default.values()], [*found.values()], differences)]
    return "\n".join(lines)


def summary(default: Sequence[float], found: Sequence[float], differences: Sequence[float]) -> list[str]:
    n = len(differences)
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    # Training sets of different folds overlap: Nadeau & Bengio (2003) widen the variance by test / training size.
    corrected = deviation * math.sqrt(1 / n + 1 / 3)
    # Where all pairs differ by the same, no test applies.
    p = float(stats.t.sf(mean / corrected, n - 1)) if corrected else math.nan
    wins = sum(difference > 0 for difference in differences)
    return [
        f"demo.toml {statistics.mean(default):.2f} ± {statistics.stdev(default):.2f} %, found "
        f"{statistics.mean(found):.2f} ± {statistics.stdev(found):.2f} % (ddof 1, n = {n})",
        "",
        f"paired difference {mean:+.2f} points, better in {wins} of {n} pairs; corrected resampled t-test, one-sided: "
        f"p = {p:.3f}",
    ]


if __name__ == "__main__":
    main()

"""How good is what a search has found after so many trainings? Prints results/search-cost.md.

OMP_NUM_THREADS=1 python benchmarks/search_cost.py > benchmarks/results/search-cost.md

The searches are real: Campaign over SearchStudy in Optuna's memory, run folders in /dev/shm, one trial at a time. Only
the trainings are not. They come from a surrogate, or with --table from trainings that were made once
(benchmarks/nmnist_table.py), of which each proposal takes the nearest. Both are functions of (repeat, fold, seed,
values of the configuration), so that all methods see the same noise.

The surrogate, of which each repeat has a landscape of its own:

- True mean: 0.4 + 0.4 (a + 0.85 b) / max(a + 0.85 b), 0.80 at the optimum. a and b are Gaussian bumps at random
  places over the four searched values, each scaled to 0..1, the learning rate by its logarithm, with the standard
  deviations WIDTHS. So some values matter more than others, and there are one or two optima.
- Fold: std 0.040, the same for all configurations. The predecessor's published std over 4 folds is 0.027 to 0.048.
- Configuration on a fold: std 0.015, as not all signers gain from the same crop or decay. An assumption.
- Trial: the share of 110 Bernoulli draws, a std of 0.045 at 0.65. SL-Animals-DVS, 59 signers with 19 samples each,
  validates on 7 signers (133 samples) with 4 folds and on 8 (152) with 5, val_fraction 0.15. Drawing 110 is as much
  noise as drawing 133 and a training noise (initial weights, order, crops) of std 0.019; or 152 and 0.024. In truth
  all configurations share the samples of a fold, so that less of this noise comes between them.

--noise scales the std of the last two: 0.5 leaves a quarter of their variance, 2 makes it four times as much.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import optuna
import pyarrow.parquet as pq
from optuna.pruners import NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from scipy import optimize, stats
from smoke import parse_arguments, processor

from sltune.runs.folder import RunFolder
from sltune.runs.plan import Step, search_plan, steps_of
from sltune.runs.record import DatasetInfo
from sltune.settings.domains import ChoiceDomain, FloatDomain
from sltune.settings.search import completed_search
from sltune.settings.space import Space, parse_space
from sltune.settings.types import Value
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.promotion import strategy_of
from sltune.tuning.campaign.proposals import draw
from sltune.tuning.campaign.study import SearchStudy
from sltune.tuning.trial.report import Report

SPACE = """
sampling.train_crop = "random"
sampling.train_crop_ms = {{ low = 300, high = 3000, step = 30 }}
neuron.decay = {{ low = 0.05, high = 0.95 }}
neuron.v_threshold = {{ low = 0.1, high = 1.0 }}
training.learning_rate = {{ low = 1e-4, high = 1e-2, log = true }}
evaluation.folds = {folds}
evaluation.seeds = {seeds}
"""
WIDTHS = {
    "sampling.train_crop_ms": 0.35,
    "neuron.decay": 0.6,
    "neuron.v_threshold": 0.4,
    "training.learning_rate": 0.25,
}
LOWEST, OPTIMUM = 0.4, 0.8
FOLD_STD, INTERACTION_STD, SAMPLES = 0.04, 0.015, 110
DATASET = DatasetInfo(name="surrogate", synthetic=True, fingerprint="surrogate", classes=("left", "right"))
SHARES = (0.25, 0.40, 0.55, 0.65, 0.80, 1.0)
"""Parts of the budget at which regret is measured."""
# What "promote" is to reach: the share of the trainings with which its regret is the final one of full
# cross-validation; and its own final regret, as a share of that.
MOST_TRAININGS, MOST_REGRET = {4: 0.42, 5: 0.38}, {4: 0.6, 5: 0.5}


class Problem(Protocol):
    """Trainings that are looked up. optimum: the highest true mean."""

    optimum: float

    def true_mean(self, values: Mapping[str, Value]) -> float:
        """Return the accuracy that a configuration has on average over folds and seeds."""

    def observe(self, values: Mapping[str, Value], step: Step) -> float:
        """Return the validation accuracy of one training; step: (seed, fold)."""


class Surrogate:
    """What trainings would reach in one repeat; see the module."""

    optimum = OPTIMUM

    def __init__(self, space: Space, repeat: int, noise: float) -> None:
        self._space, self._repeat, self._noise = space, repeat, noise
        self._centres = np.random.default_rng([repeat, 0]).uniform(0.15, 0.85, (2, len(WIDTHS)))
        tops = [optimize.minimize(lambda at: -self._bumps(at), c, bounds=[(0, 1)] * len(c)).fun for c in self._centres]
        self._top = -min(tops)

    def true_mean(self, values: Mapping[str, Value]) -> float:
        at = np.array([_place(self._space, key, values[key]) for key in WIDTHS])
        return LOWEST + (OPTIMUM - LOWEST) * self._bumps(at) / self._top

    def observe(self, values: Mapping[str, Value], step: Step) -> float:
        (seed, fold), text = step, repr([values[key] for key in WIDTHS]).encode()
        # Of the same fold, seeds share its difficulty and how it suits the configuration.
        name = [*hashlib.blake2b(text, digest_size=8).digest()]
        suits = np.random.default_rng([self._repeat, fold, *name])
        own = suits if seed == 0 else np.random.default_rng([self._repeat, fold, seed, *name])
        shared = np.random.default_rng([self._repeat, fold, 1]).normal(0, FOLD_STD)
        chance = self.true_mean(values) + shared + suits.normal(0, INTERACTION_STD * self._noise)
        draws = round(SAMPLES / self._noise**2)
        return float(own.binomial(draws, np.clip(chance, 0, 1)) / draws)

    def _bumps(self, at: np.ndarray) -> float:
        squares = (((at - self._centres) / [*WIDTHS.values()]) ** 2).sum(axis=1)
        return float(np.exp(-squares / 2) @ [1, 0.85])


class Replay:
    """Trainings that were made once: each proposal takes those of the nearest configuration of the table.

    Values count from 0 to 1 between the ends of their domains, and different choices are 1 apart. Repeats differ by
    the seed of the sampler and by which trainings of the table stand for which (seed, fold).
    """

    def __init__(self, file: Path, space: Space, repeat: int) -> None:
        rows = pq.read_table(file).to_pylist()
        steps = sorted({(row["seed"], row["fold"]) for row in rows})
        of = {(row["configuration"], (row["seed"], row["fold"])): row["val_accuracy"] for row in rows}
        numbers = sorted({number for number, _ in of if all(of.get((number, step)) is not None for step in steps)})
        values = {row["configuration"]: row for row in rows}
        self._space = space
        self._at = np.array([self._places(values[number]) for number in numbers])
        self._scores = np.array([[of[number, step] for step in steps] for number in numbers])
        self._columns = np.random.default_rng(repeat).permutation(len(steps))
        self.optimum = float(self._scores.mean(axis=1).max())

    def true_mean(self, values: Mapping[str, Value]) -> float:
        return float(self._scores[self._nearest(values)].mean())

    def observe(self, values: Mapping[str, Value], step: Step) -> float:
        place = steps_of(self._space.evaluation).index(step)
        return float(self._scores[self._nearest(values), self._columns[place]])

    def _nearest(self, values: Mapping[str, Value]) -> int:
        return int(((self._at - self._places(values)) ** 2).sum(axis=1).argmin())

    def _places(self, values: Mapping[str, Any]) -> np.ndarray:
        found: list[float] = []
        for key, domain in self._space.domains.items():
            if isinstance(domain, ChoiceDomain):
                found += [float(values[key] == choice) / math.sqrt(2) for choice in domain.choices]
            else:
                found.append(_place(self._space, key, values[key]))
        return np.array(found)


def _place(space: Space, key: str, value: Value) -> float:
    """Return where a value lies between the ends of its domain, from 0 to 1."""
    domain = space.domains[key]
    ends = np.array([domain.low, value, domain.high], dtype=float)  # type: ignore[union-attr]
    low, at, high = np.log(ends) if isinstance(domain, FloatDomain) and domain.log else ends
    return float((at - low) / (high - low))


@dataclass
class Seen:
    """One search: the true means of its configurations as proposed, and the validation accuracies by training."""

    steps: int
    true_means: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    """The configuration of each training."""

    def add(self, configuration: int, score: float) -> None:
        self.scores[configuration].append(score)
        self.order.append(configuration)

    def reached(self, trainings: int) -> float | None:
        """Return the true mean of the best complete configuration after so many trainings; None if there is none."""
        counts = np.bincount(self.order[:trainings], minlength=len(self.scores))
        complete = np.flatnonzero(counts == self.steps)
        if not len(complete):
            return None
        return self.true_means[max(complete, key=lambda one: np.mean(self.scores[one]))]


def search_sltune(problem: Problem, space: Space, seed: int, trainings: int, **how: object) -> Seen:
    """Search with the campaign; how: settings of [search]."""
    search = completed_search({"trainings": trainings, "seed": seed, **how})  # type: ignore[dict-item]
    steps = steps_of(space.evaluation)
    seen, values = Seen(len(steps)), dict[str, dict[str, Value]]()
    with TemporaryDirectory(dir="/dev/shm") as name:
        folder = RunFolder(Path(name))
        study = SearchStudy(InMemoryStorage(), "run", space, search, new=True)
        plan = search_plan("run", space, search, steps)
        campaign = Campaign(folder, DATASET, plan, strategy_of(folder, space, search, study))
        while (trial := campaign.next_trial()) is not None:
            key = trial.key
            if key.config_id not in values:
                values[key.config_id] = settings = trial.configuration.settings()
                seen.true_means.append(problem.true_mean(settings))
                seen.scores.append([])
            score = problem.observe(values[key.config_id], (key.seed, key.fold))
            seen.add(int(key.config_id[1:]), score)
            metrics = {"val_accuracy": score, "synaptic_ops": 1.0, "test_accuracy": 0.0}
            campaign.finish(key, Report("done", metrics=metrics, device={"num_cpus": 1}))
    return seen


def search_optuna(problem: Problem, space: Space, seed: int, trainings: int, pruner: str) -> Seen:
    """Search with Optuna alone, folds in a loop within its trial; pruned trials tell their mean, as its manual says."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rule = WilcoxonPruner(p_threshold=0.1) if pruner == "wilcoxon" else NopPruner()
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=seed), pruner=rule)
    steps = steps_of(space.evaluation)
    seen = Seen(len(steps))
    while len(seen.order) + len(steps) <= trainings:
        trial = study.ask()
        values = {**space.settings, **draw(trial, space)}
        seen.true_means.append(problem.true_mean(values))
        seen.scores.append([])
        for number, step in enumerate(steps):
            seen.add(len(seen.scores) - 1, problem.observe(values, step))
            trial.report(seen.scores[-1][-1], number)
            if trial.should_prune():
                break
        study.tell(trial, float(np.mean(seen.scores[-1])))
    return seen


Method = Callable[[Problem, Space, int, int], Seen]
FULL, PROMOTE = "full cross-validation", "promote"
METHODS: Mapping[str, Method] = {
    FULL: partial(search_sltune, strategy="full"),
    PROMOTE: partial(search_sltune, strategy="promote"),
    "prune by median": partial(search_sltune, fold_pruner="median"),
    "prune by paired-t": partial(search_sltune, fold_pruner="paired-t"),
    "Optuna with WilcoxonPruner": partial(search_optuna, pruner="wilcoxon"),
    "Optuna": partial(search_optuna, pruner="none"),
    "random full": partial(search_sltune, strategy="full", sampler="random"),
    "random promote": partial(search_sltune, strategy="promote", sampler="random"),
}
PLANS_AHEAD = (PROMOTE, "random promote")
"""They complete their finalists at the end of the budget, so that each budget is a search of its own."""


@dataclass(frozen=True)
class Cell:
    """What is measured: folds and seeds of every configuration, noise, budget; table: trainings to replay, if any."""

    folds: int
    seeds: int
    noise: float
    trainings: int
    table: Path | None = None

    @property
    def space(self) -> Space:
        text = SPACE.format(folds=self.folds, seeds=list(range(self.seeds)))
        if self.table is not None:
            text = pq.read_schema(self.table).metadata[b"space"].decode()
        steps = (f"evaluation.folds={self.folds}", f"evaluation.seeds={list(range(self.seeds))}")
        return parse_space(text, "space", steps)

    def problem(self, repeat: int) -> Problem:
        """Return the trainings of a repeat."""
        if self.table is not None:
            return Replay(self.table, self.space, repeat)
        return Surrogate(self.space, repeat, self.noise)

    @property
    def title(self) -> str:
        seeds = f" × {self.seeds} seeds" if self.seeds > 1 else ""
        return f"{self.folds} folds{seeds}, {f'noise {self.noise:g}' if self.table is None else 'real trainings'}"


def repeat_of(cell: Cell, methods: Sequence[str], repeat: int) -> list[list[float]]:
    """Return the regret of each method, in points, after each share of the trainings."""
    space = cell.space
    problem = cell.problem(repeat)
    regrets = (_regrets(METHODS[name], name in PLANS_AHEAD, problem, space, repeat, cell.trainings) for name in methods)
    return [[100 * regret for regret in row] for row in regrets]


def _regrets(
    method: Method, plans_ahead: bool, problem: Problem, space: Space, repeat: int, trainings: int
) -> Iterator[float]:
    whole = None if plans_ahead else method(problem, space, repeat, trainings)
    for share in SHARES:
        count = round(share * trainings)
        seen = whole or method(problem, space, repeat, count)
        reached = seen.reached(count)
        yield problem.optimum - (0.0 if reached is None else reached)


def measure(cell: Cell, methods: Sequence[str], repeats: int, processes: int) -> np.ndarray:
    """Return regrets of shape (repeats, methods, shares)."""
    one = partial(repeat_of, cell, methods)
    if processes == 1:
        return np.array([one(repeat) for repeat in range(repeats)])
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return np.array(list(pool.map(one, range(repeats))))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return mean and half width of its 95 % interval."""
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def table(found: np.ndarray, methods: Sequence[str], trainings: int) -> Iterator[str]:
    counts = [f"{round(share * trainings)} ({share:.0%})" for share in SHARES]
    yield f"| regret in points after trainings | {' | '.join(counts)} |"
    yield "|---|" + "--:|" * len(SHARES)
    for name, regrets in zip(methods, found.transpose(1, 2, 0), strict=True):
        yield f"| {name} | {' | '.join('{:.2f} ± {:.2f}'.format(*interval(values)) for values in regrets)} |"


def verdicts(found: np.ndarray, methods: Sequence[str], folds: int) -> Iterator[str]:
    """Say whether "promote" does what it is to do."""
    full, promoted = (found[:, methods.index(name)] for name in (FULL, PROMOTE))
    final = full[:, -1].mean()
    crossed = float(np.interp(-final, -promoted.mean(axis=0), SHARES))
    reaches = f"{crossed:.0%}" if promoted.mean(axis=0).min() <= final else "none"
    most = f"wanted at most {MOST_TRAININGS[folds]:.0%}"
    yield f"\n- trainings with which it reaches the final regret of full: {reaches}, {most}"
    ratio = promoted[:, -1].mean() / final
    yield f"- its regret to that of full, at equal trainings: {ratio:.2f}, wanted at most {MOST_REGRET[folds]:g}"
    worse = [
        f"{share:.0%} {mean:+.2f} ± {half:.2f}"
        for share, (mean, half) in zip(SHARES, map(interval, (promoted - full).T), strict=True)
    ]
    yield f"- difference to full, paired: {', '.join(worse)}"


SURROGATE = """A SURROGATE, no networks: the head of `benchmarks/search_cost.py` documents it; its optimum is 80 %. It
says nothing of real accuracies."""
REPLAY = """Replays the real trainings of {table}. A proposal takes the results of the nearest configuration in the
table; the true mean is that of all its trainings."""
HEAD = """# What searches find with how many trainings

`OMP_NUM_THREADS=1 python benchmarks/search_cost.py {arguments}`, {date}.
{versions}; {machine}, CPU only.
{source}

{repeats} searches a row; all methods share the landscape and noise of a search. Regret: the true mean of the optimum,
less that of the configuration with the best validation mean among the complete ones. The sampler is TPE, but in the
rows of random search. ±: 95 % intervals of means (t). With 4 folds Wilcoxon's test cannot reach p < 0.1 before the
last."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--trainings", type=int, default=240, help="of a search with one seed; more of them with more")
    parser.add_argument("--noise", default="0.5,1,2")
    parser.add_argument("--steps", default="4x1,5x1,4x3", help="folds x seeds")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--table", type=Path, help="replay trainings that were made once, instead of the surrogate")
    arguments = parse_arguments(parser, repeats=2, trainings=12, noise="1", steps="4x1", processes=1)
    started = time.monotonic()
    print(head(arguments), flush=True)
    methods = arguments.methods.split(",")
    for steps in arguments.steps.split(","):
        folds, seeds = map(int, steps.split("x"))
        for noise in map(float, arguments.noise.split(",")) if arguments.table is None else [math.nan]:
            cell = Cell(folds, seeds, noise, arguments.trainings * seeds, arguments.table)
            found = measure(cell, methods, arguments.repeats, arguments.processes)
            print("\n".join([f"\n## {cell.title}\n", *table(found, methods, cell.trainings)]))
            if {FULL, PROMOTE} <= set(methods):
                print("\n".join(verdicts(found, methods, folds)), flush=True)
    print(f"\nMeasured in {(time.monotonic() - started) / 60:.1f} minutes.")


def head(arguments: argparse.Namespace) -> str:
    names = ("optuna", "numpy", "scipy")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
    return HEAD.format(
        arguments=" ".join(sys.argv[1:]),
        date=datetime.now(UTC).date(),
        versions=versions,
        machine=machine(),
        repeats=arguments.repeats,
        source=SURROGATE if arguments.table is None else REPLAY.format(table=arguments.table),
    )


def machine() -> str:
    return f"{processor()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()

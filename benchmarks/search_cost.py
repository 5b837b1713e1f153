"""What does giving up configurations after some folds save, and what does it cost? Prints results/search-cost.md.

OMP_NUM_THREADS=1 python benchmarks/search_cost.py > benchmarks/results/search-cost.md

The searches are real: Campaign over SearchStudy in Optuna's memory, run folders in /dev/shm, one trial at a
time. Only the trainings are not: a surrogate says what each would have reached. It draws from (repeat, fold, values of
the configuration), so that all methods see the same noise, and each repeat has a landscape of its own.

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
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import optuna
from optuna.pruners import NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from scipy import optimize, stats

from sltune.runs.folder import RunFolder
from sltune.runs.plan import search_plan, steps_of
from sltune.runs.record import DatasetInfo
from sltune.settings.domains import FloatDomain
from sltune.settings.space import Space, parse_space
from sltune.settings.types import Value
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.proposals import draw
from sltune.tuning.campaign.search import SearchStrategy
from sltune.tuning.campaign.study import SearchStudy
from sltune.tuning.trial.report import Report

SPACE = """
sampling.train_crop = "random"
sampling.train_crop_ms = {{ low = 300, high = 3000, step = 30 }}
neuron.decay = {{ low = 0.05, high = 0.95 }}
neuron.v_threshold = {{ low = 0.1, high = 1.0 }}
training.learning_rate = {{ low = 1e-4, high = 1e-2, log = true }}
evaluation.folds = {folds}
search.trials = {trials}
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
# The default rule's share of full cross-validation, and of searches that give up the true best.
MOST_TRAININGS, MOST_LOST = {4: 0.65, 5: 0.55}, 0.07


class Surrogate:
    """What trainings would reach in one repeat; see the module."""

    def __init__(self, space: Space, repeat: int, noise: float) -> None:
        self._space, self._repeat, self._noise = space, repeat, noise
        self._centres = np.random.default_rng([repeat, 0]).uniform(0.15, 0.85, (2, len(WIDTHS)))
        tops = [optimize.minimize(lambda at: -self._bumps(at), c, bounds=[(0, 1)] * len(c)).fun for c in self._centres]
        self._top = -min(tops)

    def true_mean(self, values: Mapping[str, Value]) -> float:
        """Return the accuracy that a configuration has on average over folds and seeds."""
        at = np.array([self._place(key, values[key]) for key in WIDTHS])
        return LOWEST + (OPTIMUM - LOWEST) * self._bumps(at) / self._top

    def observe(self, values: Mapping[str, Value], fold: int) -> float:
        """Return the validation accuracy of one training."""
        text = repr([values[key] for key in WIDTHS]).encode()
        own = np.random.default_rng([self._repeat, fold, *hashlib.blake2b(text, digest_size=8).digest()])
        shared = np.random.default_rng([self._repeat, fold, 1]).normal(0, FOLD_STD)
        chance = self.true_mean(values) + shared + own.normal(0, INTERACTION_STD * self._noise)
        draws = round(SAMPLES / self._noise**2)
        return float(own.binomial(draws, np.clip(chance, 0, 1)) / draws)

    def _bumps(self, at: np.ndarray) -> float:
        squares = (((at - self._centres) / [*WIDTHS.values()]) ** 2).sum(axis=1)
        return float(np.exp(-squares / 2) @ [1, 0.85])

    def _place(self, key: str, value: Value) -> float:
        domain = self._space.domains[key]
        ends = np.array([domain.low, value, domain.high], dtype=float)  # type: ignore[union-attr]
        low, at, high = np.log(ends) if isinstance(domain, FloatDomain) and domain.log else ends
        return float((at - low) / (high - low))


@dataclass
class Seen:
    """One search: the true means of its configurations as proposed, and the validation accuracies of their folds."""

    folds: int
    true_means: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)

    @property
    def trainings(self) -> int:
        return sum(map(len, self.scores))

    def figures(self) -> list[float]:
        """Return the share of trainings, both regrets, whether the true best was given up, and what that leaves."""
        best = int(np.argmax(self.true_means))
        complete = [i for i, scores in enumerate(self.scores) if len(scores) == self.folds]
        reached = self.true_means[max(complete, key=lambda i: np.mean(self.scores[i]))]
        share = self.trainings / (len(self.scores) * self.folds)
        gap = self.true_means[best] - max(self.true_means[i] for i in complete)
        return [share, self.true_means[best] - reached, OPTIMUM - reached, float(best not in complete), gap]

    def first(self, trainings: int) -> Seen:
        """Return the search as it stood after so many trainings of full cross-validation, rounded up."""
        count = -(-trainings // self.folds)
        return Seen(self.folds, self.true_means[:count], self.scores[:count])


def search_sltune(surrogate: Surrogate, space: Space, repeat: int, **how: str) -> Seen:
    """Search with the campaign; how: settings of [search]."""
    assert space.search is not None
    search = space.search.model_copy(update={"seed": repeat, **how})
    seen = Seen(space.evaluation.folds)
    values: dict[str, dict[str, Value]] = {}
    with TemporaryDirectory(dir="/dev/shm") as folder:
        study = SearchStudy(InMemoryStorage(), "run", space, search, new=True)
        strategy = SearchStrategy(RunFolder(Path(folder)), space, search, study)
        plan = search_plan("run", space, search, steps_of(space.evaluation))
        campaign = Campaign(RunFolder(Path(folder)), DATASET, plan, strategy)
        while (trial := campaign.next_trial()) is not None:
            if trial.key.config_id not in values:
                values[trial.key.config_id] = settings = trial.configuration.settings()
                seen.true_means.append(surrogate.true_mean(settings))
                seen.scores.append([])
            score = surrogate.observe(values[trial.key.config_id], trial.key.fold)
            seen.scores[-1].append(score)
            metrics = {"val_accuracy": score, "synaptic_ops": 1.0, "test_accuracy": 0.0}
            campaign.finish(trial.key, Report("done", metrics=metrics))
    return seen


def search_optuna(surrogate: Surrogate, space: Space, repeat: int, pruner: optuna.pruners.BasePruner) -> Seen:
    """Search with Optuna alone, folds in a loop within its trial; pruned trials tell their mean, as its manual says."""
    assert space.search is not None
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=repeat), pruner=pruner)
    seen = Seen(space.evaluation.folds)
    for _ in range(space.search.trials):
        trial = study.ask()
        values = draw(trial, space)
        scores: list[float] = []
        for fold in range(seen.folds):
            scores.append(surrogate.observe(values, fold))
            trial.report(scores[-1], fold)
            if trial.should_prune():
                break
        study.tell(trial, float(np.mean(scores)))
        seen.true_means.append(surrogate.true_mean(values))
        seen.scores.append(scores)
    return seen


FULL, DEFAULT = "full cross-validation", "median, the default"
FULL_RANDOM, DEFAULT_RANDOM = f"random: {FULL}", f"random: {DEFAULT}"
METHODS: Mapping[str, Callable[[Surrogate, Space, int], Seen]] = {
    FULL: lambda *a: search_sltune(*a, fold_pruner="none"),
    DEFAULT: lambda *a: search_sltune(*a, fold_pruner="median"),
    "paired-t": lambda *a: search_sltune(*a, fold_pruner="paired-t"),
    "Optuna, loop over folds": lambda *a: search_optuna(*a, NopPruner()),
    "Optuna, WilcoxonPruner(0.1)": lambda *a: search_optuna(*a, WilcoxonPruner(p_threshold=0.1)),
    FULL_RANDOM: lambda *a: search_sltune(*a, sampler="random", fold_pruner="none"),
    DEFAULT_RANDOM: lambda *a: search_sltune(*a, sampler="random", fold_pruner="median"),
    "random: paired-t": lambda *a: search_sltune(*a, sampler="random", fold_pruner="paired-t"),
}
STOPPED = f"{FULL}, stopped after the trainings of the default"
COLUMNS = (
    "method", "trainings, % of full", "regret to the best proposed", "regret to the optimum",
    "paired difference to full", "true best given up, %", "and all within 1 point of it, %",
)  # fmt: skip


def measure(folds: int, trials: int, repeats: int, noise: float) -> dict[str, np.ndarray]:
    """Return the figures of every search, shape (repeats, 5), by method."""
    space = parse_space(SPACE.format(folds=folds, trials=trials), "surrogate")
    found: dict[str, list[list[float]]] = {name: [] for name in [*METHODS, STOPPED]}
    for repeat in range(repeats):
        surrogate = Surrogate(space, repeat, noise)
        searches = {name: method(surrogate, space, repeat) for name, method in METHODS.items()}
        for name, seen in searches.items():
            found[name].append(seen.figures())
        stopped = searches[FULL].first(searches[DEFAULT].trainings)
        found[STOPPED].append([stopped.trainings / (trials * folds), *stopped.figures()[1:]])
        print(f"{folds} folds, {repeat + 1} of {repeats}", end="\r", file=sys.stderr)
    return {name: np.array(rows) for name, rows in found.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return mean and half width of its 95 % interval."""
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def points(values: np.ndarray, sign: str = "") -> str:
    mean, half = (100 * number for number in interval(values))
    return f"{mean:{sign}.2f} ± {half:.2f}"


def shares(flags: np.ndarray) -> str:
    ends = stats.binomtest(int(flags.sum()), len(flags)).proportion_ci(method="wilson")
    return f"{100 * flags.mean():.1f} [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def table(found: Mapping[str, np.ndarray]) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---|" + "--:|" * (len(COLUMNS) - 1)
    for name, figures in found.items():
        share, proposed, optimum, lost, gap = figures.T
        base = found[FULL_RANDOM if name.startswith("random") else FULL]
        difference = "" if base is figures else points(optimum - base[:, 2], "+")
        cells = [points(share), points(proposed), points(optimum), difference, shares(lost), shares(gap > 0.01)]
        yield f"| {' | '.join([name, *cells])} |"


def verdicts(folds: int, title: str, pruned: np.ndarray, full: np.ndarray) -> Iterator[str]:
    """Say whether the default rule does what it is to do."""
    mean, half = interval(pruned[:, 2] - full[:, 2])
    distance = f"{points(pruned[:, 2] - full[:, 2], '+')} points"
    yield f"\nThe default rule, {title}:\n\n- same final regret as in full: {passed(mean <= half)}, {distance}."
    for name, column, most in (("trainings", 0, MOST_TRAININGS[folds]), ("true best given up", 3, MOST_LOST)):
        value = pruned[:, column].mean()
        distance = f"{100 * value:.1f} %, {100 * (value - most):+.1f} points"
        yield f"- {name}, at most {100 * most:.0f} %: {passed(value <= most)}, {distance}."


def passed(met: bool) -> str:
    return "PASS" if met else "SHORT"


HEAD = """# What pruning over folds saves and costs

`OMP_NUM_THREADS=1 python benchmarks/search_cost.py --repeats {repeats} --trials {trials} --noise {noise:g}`, {date}.
{versions}; {machine}, CPU only, one process.
A SURROGATE, no networks: the head of `benchmarks/search_cost.py` documents it. It says nothing of real accuracies.

{trials} configurations a search, {repeats} searches a row, each with a landscape and noise of its own that all methods
share. ± and brackets: 95 % intervals of means (t) and of shares (Wilson). Regret, in points of accuracy: the true mean
of the best configuration that the search itself proposed, or of the landscape's optimum ({optimum:.0f} %), less that of
the configuration with the best validation mean among the complete ones. Paired difference: of the regret to the
optimum, to full cross-validation by the same sampler. The sampler is TPE, but in the rows of random search, where all
methods have the same proposals. With 4 folds Wilcoxon's test cannot reach p < 0.1 before the last."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--trials", type=int, default=60, help="configurations of a search")
    parser.add_argument("--noise", type=float, default=1.0)
    arguments = parser.parse_args()
    for line in benchmark(arguments.repeats, arguments.trials, arguments.noise):
        print(line, flush=True)


def benchmark(repeats: int, trials: int, noise: float) -> Iterator[str]:
    """Give the lines of the report while it is being measured."""
    started = time.monotonic()
    names = ("optuna", "numpy", "scipy")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
    facts = {"repeats": repeats, "trials": trials, "noise": noise, "optimum": 100 * OPTIMUM}
    yield HEAD.format(date=datetime.now(UTC).date(), versions=versions, machine=machine(), **facts)
    for folds in MOST_TRAININGS:
        found = measure(folds, trials, repeats, noise)
        yield "\n".join([f"\n## {folds} folds\n", *table(found)])
        yield "\n".join(verdicts(folds, "TPE", found[DEFAULT], found[FULL]))
        yield "\n".join(verdicts(folds, "random search", found[DEFAULT_RANDOM], found[FULL_RANDOM]))
    yield f"\nMeasured in {(time.monotonic() - started) / 60:.1f} minutes."


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()

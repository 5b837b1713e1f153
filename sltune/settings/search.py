"""The [search] table of a space file: how a search proposes, judges and ends, and which configurations come first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from pydantic import Field

from sltune.settings.configuration import DEFAULTS
from sltune.settings.domains import Domains, FloatDomain, is_idle, parse_setting, points_of, show_domain
from sltune.settings.toml import flat
from sltune.settings.types import (
    AtLeastOne,
    Constraints,
    NotNegative,
    Objectives,
    PositiveOrZero,
    PrunerName,
    SamplerName,
    SeedNumber,
    Settings,
    TomlTable,
    Value,
    checked,
)
from sltune.wording import as_toml, suggestion

MAX_GRID_POINTS = 10**6
"""All points of a grid are listed in memory, and no search comes to the end of more."""


DEFAULT_TRAININGS, DEFAULT_TRIALS = 240, 100
"""The budget of a search that names none: trainings if it promotes, else configurations."""


class Search(TomlTable):
    """How a search proposes, judges and ends.

    strategy: "promote" begins each configuration with one (fold, seed) and gives the best ones further ones; "prune"
    gives up those that fall behind; "full" trains every configuration on all. trainings, trials, max_hours and
    max_device_hours are budgets: of trainings, configurations and hours; 0 sets no limit. finalists: how many of the
    best are completed before the winner of "promote" is named. lag: the n-th decision of "promote" depends on the
    results of the first n − lag trainings alone; 0 lets it depend on all results so far.

    Pruners compare means of one objective. With several objectives, or an aggregate other than the mean, pruners are
    "none", and any other value is an error.
    """

    strategy: Literal["promote", "prune", "full"] = "promote"
    trainings: NotNegative = 0
    trials: NotNegative = 0
    finalists: AtLeastOne = 3
    lag: NotNegative = 0
    sampler: SamplerName = "tpe"
    seed: SeedNumber = 0
    objectives: Objectives = ("val_accuracy",)
    constraints: Constraints = Field(default_factory=dict)
    aggregate: Literal["mean", "mean-std"] = "mean"
    std_weight: PositiveOrZero = 1.0
    max_hours: PositiveOrZero = 0.0
    max_device_hours: PositiveOrZero = 0.0
    fold_pruner: Literal["median", "paired-t", "none"] = "none"
    epoch_pruner: PrunerName = "none"

    @property
    def most_configurations(self) -> int:
        """The largest number of configurations that the budgets allow, each of which is trained at least once."""
        return min(budget for budget in (self.trials, self.trainings) if budget)

    def most_trainings(self, steps: int) -> int:
        """Return the largest number of trainings that the budgets allow; steps: those of each configuration."""
        return min(budget for budget in (self.trials * steps, self.trainings) if budget)


def completed_search(values: Settings) -> Search:
    """Return the settings of a search; what the values leave open depends on what they say.

    Whoever names a fold pruner wants to prune, or with "none" full cross-validation; files of versions without
    strategies all name one.
    """
    values = dict(values)
    pruner = values.get("fold_pruner")
    implied = "promote" if pruner is None else "full" if pruner == "none" else "prune"
    strategy = values.setdefault("strategy", implied)
    if strategy == "prune":
        values.setdefault("fold_pruner", "median")
    if not values.keys() & {"trials", "trainings"}:
        values |= {"trainings": DEFAULT_TRAININGS} if strategy == "promote" else {"trials": DEFAULT_TRIALS}
    return Search.model_validate(values)


def read_search(
    table: object, settings: Settings, domains: Domains, problems: list[str], fixed: Collection[str] = ()
) -> tuple[Search | None, tuple[Settings, ...]]:
    """Return the settings of the search and the configurations to try first; add what is wrong to ``problems``.

    Args:
        fixed: keys that an override has given a value; the configurations to try first take it.
    """
    if not isinstance(table, dict):
        return None, ()
    values = {}
    for name, value in table.items():
        if name in Search.model_fields:
            try:
                values[name] = checked(Search, name, value)
            except ValueError as error:
                problems.append(f"search.{name} = {as_toml(value)}: {error}")
        elif name != "first":
            hint = suggestion(name, [*Search.model_fields, "first"])
            problems.append(f"search.{name} = {as_toml(value)}: unknown key{hint}")
    search = completed_search(values)
    problems += _problems_of(search, settings, domains)
    first = tuple(_read_first(table.get("first", []), settings, domains, problems, fixed))
    if search.sampler == "grid":
        problems += _gaps(first, settings, domains)
    return search, first


def _gaps(first: Iterable[Settings], settings: Settings, domains: Domains) -> Iterator[str]:
    """Say which values the configurations to try first lack: a grid draws none, and must know which points to skip."""
    for number, values in enumerate(first, start=1):
        for key, domain in domains.items():
            if key not in values and not is_idle(domain, {**settings, **values}):
                yield f"search.first, table {number}: {key} is missing; a grid draws no values"


def _problems_of(search: Search, settings: Settings, domains: Domains) -> Iterator[str]:
    """Say which settings of the search contradict each other, or the domains."""
    yield from _problems_of_strategy(search, settings)
    if search.sampler == "grid":
        for key, domain in domains.items():
            if isinstance(domain, FloatDomain) and domain.step is None:
                yield f"{key} = {show_domain(domain)}: a grid needs a step, or choices"
        if (points := points_of(domains)) > MAX_GRID_POINTS:
            yield f'search.sampler = "grid": has {points:,} points, {MAX_GRID_POINTS:,} are allowed; take larger steps'
    if len(search.objectives) > 2 or (len(search.objectives) > 1 and "val_accuracy" not in search.objectives):
        text = 'has one cost beside "val_accuracy"; make the others constraints'
        yield f"search.objectives = {as_toml(search.objectives)}: {text}"
    elif len(search.objectives) > 1:
        if search.sampler == "cmaes":
            yield 'search.sampler = "cmaes": has one objective only; use "tpe", "gp", "random" or "grid"'
    elif search.objectives != ("val_accuracy",):
        yield f'search.objectives = {as_toml(search.objectives)}: a silent network is cheapest; add "val_accuracy"'
    if len(search.objectives) > 1 or search.aggregate != "mean":
        for name, pruner in (("fold_pruner", search.fold_pruner), ("epoch_pruner", search.epoch_pruner)):
            if pruner != "none":
                yield f'search.{name} = {as_toml(pruner)}: compares means of one objective only; set "none"'
    if len(search.objectives) > 1 and search.aggregate != "mean":
        yield f"search.aggregate = {as_toml(search.aggregate)}: is for one objective; with several it is the mean"


def _problems_of_strategy(search: Search, settings: Settings) -> Iterator[str]:
    """Say which settings contradict the strategy or leave the search without an end."""
    prunes_folds = search.fold_pruner != "none"
    if prunes_folds != (search.strategy == "prune"):
        text = f"search.fold_pruner = {as_toml(search.fold_pruner)}: does not go with strategy"
        hint = '"prune" takes "median" or "paired-t"; the others take "none"'
        yield f"{text} = {as_toml(search.strategy)}; {hint}"
    if not search.trials and not search.trainings:
        yield "search.trials = 0 and search.trainings = 0: set one of them above 0; a search without a limit has no end"
    yield from too_few_trainings(search, settings)
    if search.lag and search.strategy != "promote":
        yield f'search.lag = {search.lag}: is for strategy "promote" only; set 0'
    if search.lag and search.epoch_pruner != "none":
        yield f"search.lag = {search.lag}: epoch_pruner gives up trainings as results come; set one of them to none"


def too_few_trainings(search: Search, settings: Settings) -> Iterator[str]:
    """Say if the budget ends before a configuration has been trained on all folds and seeds."""
    seeds, folds = settings.get("evaluation.seeds"), settings.get("evaluation.folds")
    if isinstance(seeds, tuple) and isinstance(folds, int) and 0 < search.trainings < len(seeds) * folds:
        yield (
            f"search.trainings = {search.trainings}: one configuration alone takes {len(seeds) * folds}, for its "
            "folds and seeds"
        )


def _read_first(
    tables: object, settings: Settings, domains: Domains, problems: list[str], fixed: Collection[str]
) -> Iterator[dict[str, Value]]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(f"search.first = {as_toml(tables)}: must be a list of tables, [[search.first]]")
        return
    for number, table in enumerate(tables, start=1):
        values: dict[str, Value] = {}
        for key, value in flat(table):
            if key in fixed and key not in domains:
                continue
            place = f"search.first, table {number}: {key} = {as_toml(value)}"
            try:
                values[key] = _first_value(key, value, settings, domains)
            except ValueError as error:
                problems.append(f"{place}: {error}")
        problems += [
            f"search.first, table {number}: {key} is searched only when {as_toml(domains[key].when)}; drop it here"
            for key in values
            if key in domains and is_idle(domains[key], values)
        ]
        yield values


def _first_value(key: str, value: object, settings: Settings, domains: Domains) -> Value:
    if key not in DEFAULTS and key not in domains and key not in settings:
        raise ValueError(f"unknown key{suggestion(key, [*DEFAULTS, *domains])}")
    parsed = parse_setting(key, value)
    if key in settings:
        raise ValueError(f"is not searched; drop it here, or search {key}")
    if key in domains and not domains[key].contains(parsed):
        raise ValueError(f"is not among the values searched, {show_domain(domains[key])}")
    domain = domains.get(key)
    return domain.nearest(parsed) if isinstance(domain, FloatDomain) and isinstance(parsed, int | float) else parsed

"""The [search] table of a space file: how a search proposes, judges and ends, and which configurations come first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from pydantic import Field

from sltune.settings.configuration import DEFAULTS
from sltune.settings.domains import Domains, FloatDomain, flat, is_idle, parse_setting, points_of, show_domain
from sltune.settings.types import (
    AtLeastOne,
    Constraints,
    Objectives,
    PositiveOrZero,
    SeedNumber,
    Settings,
    TomlTable,
    Value,
    checked,
)
from sltune.wording import as_toml, suggestion

MAX_GRID_POINTS = 10**6
"""All points of a grid are listed in memory, and no search comes to the end of more."""


class Search(TomlTable):
    """How a search proposes, judges and ends. 0 hours set no limit.

    Pruners compare means of one objective. With several objectives, or an aggregate other than the mean, pruners are
    "none", and any other value is an error.
    """

    trials: AtLeastOne = 100
    sampler: Literal["tpe", "random", "grid", "cmaes", "gp"] = "tpe"
    seed: SeedNumber = 0
    objectives: Objectives = ("val_accuracy",)
    constraints: Constraints = Field(default_factory=dict)
    aggregate: Literal["mean", "mean-std"] = "mean"
    std_weight: PositiveOrZero = 1.0
    max_hours: PositiveOrZero = 0.0
    max_device_hours: PositiveOrZero = 0.0
    fold_pruner: Literal["median", "paired-t", "none"] = "median"
    epoch_pruner: Literal["none", "median", "halving"] = "none"


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
    search = Search.model_validate(values)
    if (len(search.objectives) > 1 or search.aggregate != "mean") and "fold_pruner" not in table:
        search = search.model_copy(update={"fold_pruner": "none"})
    problems += _problems_of(search, domains)
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


def _problems_of(search: Search, domains: Domains) -> Iterator[str]:
    """Say which settings of the search contradict each other, or the domains."""
    if search.sampler == "grid":
        for key, domain in domains.items():
            if isinstance(domain, FloatDomain) and domain.step is None:
                yield f"{key} = {show_domain(domain)}: a grid needs a step, or choices"
        if (points := points_of(domains)) > MAX_GRID_POINTS:
            yield f'search.sampler = "grid": has {points:,} points, {MAX_GRID_POINTS:,} are allowed; take larger steps'
    if len(search.objectives) > 1:
        if search.sampler == "cmaes":
            yield 'search.sampler = "cmaes": has one objective only; use "tpe", "gp", "random" or "grid"'
    elif search.objectives == ("synaptic_ops",):
        yield 'search.objectives = ["synaptic_ops"]: a silent network is cheapest; add "val_accuracy"'
    if len(search.objectives) > 1 or search.aggregate != "mean":
        for name, pruner in (("fold_pruner", search.fold_pruner), ("epoch_pruner", search.epoch_pruner)):
            if pruner != "none":
                yield f'search.{name} = {as_toml(pruner)}: compares means of one objective only; set "none"'
    if len(search.objectives) > 1 and search.aggregate != "mean":
        yield f"search.aggregate = {as_toml(search.aggregate)}: is for one objective; with several it is the mean"


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
    if key not in DEFAULTS:
        raise ValueError(f"unknown key{suggestion(key, DEFAULTS)}")
    parsed = parse_setting(key, value)
    if key in settings:
        raise ValueError(f"is not searched; drop it here, or search {key}")
    if key in domains and not domains[key].contains(parsed):
        raise ValueError(f"is not among the values searched, {show_domain(domains[key])}")
    domain = domains.get(key)
    return domain.nearest(parsed) if isinstance(domain, FloatDomain) and isinstance(parsed, int | float) else parsed

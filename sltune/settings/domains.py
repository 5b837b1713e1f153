"""Search domains: which values a setting may take in a search, and when it is searched at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import product
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import Field, ValidationError

from sltune.settings.configuration import DEFAULTS, NAME, RULES, SECTIONS, Rule, is_option, options_problems
from sltune.settings.toml import flat
from sltune.settings.types import AtLeastOne, Settings, TomlTable, TrueOrFalse, Value, checked, checked_option
from sltune.wording import as_toml, suggestion

Conditions = dict[str, Value]
"""Other keys with the values that they must have for a setting to be searched; otherwise it has its default."""

MAX_STEPS = 10**9
"""The samplers count steps, and nobody needs more."""
MAX_BOUND = 2**53
"""The samplers compute with 64-bit floats, which hold whole numbers exactly up to here."""


class IntDomain(TomlTable):
    """The whole numbers low, low + step, … up to high; on a logarithmic scale if ``log``."""

    low: Annotated[int, Field(description="a whole number")]
    high: Annotated[int, Field(description="a whole number")]
    step: AtLeastOne = 1
    log: TrueOrFalse = False
    when: Conditions = Field(default_factory=dict)

    def contains(self, value: Value) -> bool:
        return type(value) is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def extremes(self) -> tuple[Value, ...]:
        return self.low, self.high - (self.high - self.low) % self.step


class FloatDomain(TomlTable):
    """The numbers from low to high, with a step only low + k · step; on a logarithmic scale if ``log``."""

    low: Annotated[float, Field(description="a number")]
    high: Annotated[float, Field(description="a number")]
    step: Annotated[float | None, Field(gt=0, description="a number > 0")] = None
    log: TrueOrFalse = False
    when: Conditions = Field(default_factory=dict)

    def contains(self, value: Value) -> bool:
        if isinstance(value, str | bool | tuple) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        # Multiples of a step such as 0.1 are hardly ever exact.
        return math.isclose(steps, round(steps), abs_tol=1e-8)

    def extremes(self) -> tuple[Value, ...]:
        return self.low, self.high

    def stepped(self, number: int) -> float:
        """Return low + number · step, computed in decimals: 0.3, where floats give 0.1 + 2 · 0.1. Needs a step."""
        return float(_decimal(self.low) + number * _decimal(self.step or 0.0))

    @property
    def steps(self) -> int:
        """How many steps fit between low and high. Needs a step."""
        return int((_decimal(self.high) - _decimal(self.low)) / _decimal(self.step or math.inf))

    def nearest(self, value: float) -> float:
        """Return the domain's own value for one that differs from it by rounding."""
        return value if self.step is None else self.stepped(round((value - self.low) / self.step))


class ChoiceDomain(TomlTable):
    """One of several values."""

    choices: tuple[Value, ...]
    when: Conditions = Field(default_factory=dict)

    def contains(self, value: Value) -> bool:
        return value in self.choices

    def extremes(self) -> tuple[Value, ...]:
        return self.choices


Domain = IntDomain | FloatDomain | ChoiceDomain
Domains = Mapping[str, Domain]
RANGE, CHOICES = tuple(IntDomain.model_fields), tuple(ChoiceDomain.model_fields)


def is_idle(domain: Domain, settings: Settings) -> bool:
    """Say whether the settings break a condition of the domain, so that it is not searched.

    A condition on a setting that is missing may still hold.
    """
    return any(key in settings and not _same(settings[key], wanted) for key, wanted in domain.when.items())


def points_of(domains: Domains) -> int:
    """Return how many points a grid over these domains has at most; a domain without a step counts as one point."""
    return math.prod(map(_size, domains.values()))


def _size(domain: Domain) -> int:
    match domain:
        case ChoiceDomain():
            return len(domain.choices)
        case IntDomain():
            return (domain.high - domain.low) // domain.step + 1
    return domain.steps + 1 if domain.step else 1


def _same(value: Value, other: Value) -> bool:
    """Say whether two values are equal, floats up to rounding: 0.1 + 2 · 0.1 is not exactly the 0.3 of a file."""
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12)
    return value == other


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


def table_of(domain: Domain) -> dict[str, object]:
    """Return the domain as the table that a space file has for it."""
    return domain.model_dump(mode="json", exclude_defaults=True)


def show_domain(domain: Domain) -> str:
    """Return the domain as it stands in a space file."""
    return as_toml(table_of(domain))


def parse_setting(key: str, value: object) -> Value:
    """Return the value of a setting as its model holds it.

    Raises:
        ValueError: it is not allowed; says what is.
    """
    if is_option(key):
        return checked_option(value)
    section, name = key.split(".")
    return checked(SECTIONS[section], name, value)


def parse_domain(key: str, table: Mapping[str, object], problems: list[str]) -> Domain | None:
    """Read the inline table of a searched setting. If anything is wrong, add it to ``problems`` and return None."""
    found = len(problems)
    parse, known = (_parse_choices, CHOICES) if "choices" in table else (_parse_range, RANGE)
    for name in table:
        if name not in known:
            hint = "" if name in (*RANGE, *CHOICES) else suggestion(name, (*RANGE, *CHOICES))
            problems.append(f"{key} = {as_toml(table)}: unknown {name}, known are {', '.join(known)}{hint}")
    if key.startswith("evaluation."):
        reason = "cannot be searched, as all are compared on the same folds and seeds"
        problems.append(f"{key} = {as_toml(table)}: {reason}")
    domain = parse(key, table, _parse_when(key, table.get("when", {}), problems), problems)
    return domain if len(problems) == found else None


def problems_between(settings: Settings, domains: Domains) -> Iterator[str]:
    """Say which conditions can never hold, and which rules some values of the domains would break."""
    for key, domain in domains.items():
        for other, wanted in domain.when.items():
            place = f"{key}.when: {other} = {as_toml(wanted)}"
            if is_option(other) and other not in settings and other not in domains:
                yield f"{place}: the space has no such option"
            elif other in domains and domains[other].when:
                yield f"{place}: has conditions itself, and conditions do not chain"
            elif other in domains and not domains[other].contains(wanted):
                yield f"{place}: never holds, as it is not among the values searched for {other}"
            elif other in settings and settings[other] != wanted:
                yield f"{place}: never holds, as {other} = {as_toml(settings[other])}; give {key} one value, too"
    for name in domains[NAME].extremes() if NAME in domains else [settings.get(NAME, "")]:
        searched = [key for key in domains if not is_idle(domains[key], {NAME: name})]
        yield from options_problems({**settings, **dict.fromkeys(searched), NAME: name})
    for rule in RULES:
        found = (rule.problem(case) for case in _extreme_cases(rule, settings, domains))
        if problem := next(filter(None, found), None):
            searched = [key for key in rule.keys if key in domains]
            yield problem + (f" (values that the search of {' and '.join(searched)} allows)" if searched else "")


def _extreme_cases(rule: Rule, settings: Settings, domains: Domains) -> Iterator[dict[str, Value]]:
    """Give the values that a rule's settings have at the ends of their domains, for every outcome of conditions."""
    conditions = [item for key in rule.keys if key in domains for item in domains[key].when.items()]
    keys = dict.fromkeys([*rule.keys, *(key for key, _ in conditions)])
    ends = [
        [*domains[key].extremes(), *(wanted for other, wanted in conditions if other == key)]
        if key in domains
        else [settings[key]]
        for key in keys
        if key in domains or key in settings
    ]
    if len(ends) < len(keys):
        return
    for values in product(*ends):
        case = dict(zip(keys, values, strict=True))
        for key in rule.keys:
            if key in domains and is_idle(domains[key], case):
                case[key] = DEFAULTS[key]
        yield case


def _parse_when(key: str, table: object, problems: list[str]) -> Conditions:
    if not isinstance(table, dict):
        problems.append(
            f'{key}.when = {as_toml(table)}: must be a table such as {{ "sampling.train_crop" = "random" }}'
        )
        return {}
    when: dict[str, Value] = {}
    for other, value in flat(table):
        place = f"{key}.when: {other} = {as_toml(value)}"
        if other not in DEFAULTS and not is_option(other):
            problems.append(f"{place}: unknown key{suggestion(other, DEFAULTS)}")
        elif other == key:
            problems.append(f"{place}: a setting cannot be its own condition")
        else:
            try:
                when[other] = parse_setting(other, value)
            except ValueError as error:
                problems.append(f"{place}: {error}")
    return when


def _parse_choices(key: str, table: Mapping[str, object], when: Conditions, problems: list[str]) -> ChoiceDomain | None:
    choices, given = list[Value](), table["choices"]
    if not isinstance(given, list) or not given:
        problems.append(f"{key}.choices = {as_toml(given)}: must be a list of at least one value")
        return None
    for value in given:
        try:
            choices.append(parse_setting(key, value))
        except ValueError as error:
            problems.append(f"{key}.choices: {as_toml(value)} {error}")
    # A search stores a list as its text, so that it must not be that of another choice.
    for choice, count in Counter(as_toml(item) if isinstance(item, tuple) else item for item in choices).items():
        if count > 1:
            problems.append(f"{key}.choices = {as_toml(given)}: {as_toml(choice)} occurs twice")
    return ChoiceDomain(choices=tuple(choices), when=when)


def _parse_range(key: str, table: Mapping[str, object], when: Conditions, problems: list[str]) -> Domain | None:
    model = _range_model(key, table)
    if model is None:
        problems.append(f"{key} = {as_toml(table)}: is not searched between numbers; give choices = […]")
        return None
    try:
        domain = model.model_validate({**{name: table[name] for name in RANGE if name in table}, "when": when})
    except ValidationError as error:
        names = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        problems += [
            f"{key}.{name} = {as_toml(table[name])}: must be {model.model_fields[name].description}"
            for name in names
            if name in table
        ]
        if not table.keys() >= {"low", "high"}:
            problems.append(f"{key} = {as_toml(table)}: a search needs low and high, or choices")
        return None
    problems += [f"{key} = {as_toml(table)}: {problem}" for problem in _range_problems(key, domain)]
    return domain


def _range_problems(key: str, domain: IntDomain | FloatDomain) -> Iterator[str]:
    for name, bound in (("low", domain.low), ("high", domain.high)):
        try:
            parse_setting(key, bound)
        except ValueError as error:
            yield f"{name} {error}"
    if (isinstance(domain, FloatDomain) or is_option(key)) and max(abs(domain.low), abs(domain.high)) > MAX_BOUND:
        yield f"low and high must lie between −{MAX_BOUND:,} and {MAX_BOUND:,}"
    elif domain.low >= domain.high:
        yield "low must be less than high; write the value alone to fix it"
    elif domain.step is not None and _decimal(domain.step) > _decimal(domain.high) - _decimal(domain.low):
        yield "step must not exceed high − low"
    elif isinstance(domain, FloatDomain) and domain.step and domain.high - domain.low > MAX_STEPS * domain.step:
        yield f"step is too small: at most {MAX_STEPS:,} may fit between low and high"
    if domain.log and domain.low <= 0:
        yield "low must be > 0 on a logarithmic scale"
    if domain.log and "step" in domain.model_fields_set:
        yield "log and step exclude each other"


def _range_model(key: str, table: Mapping[str, object]) -> type[IntDomain] | type[FloatDomain] | None:
    """Return the kind of domain between two numbers that a setting takes; None if it takes none."""
    if is_option(key):
        # Its type is known to the user's network alone.
        return FloatDomain if any(isinstance(table.get(name), float) for name in RANGE) else IntDomain
    section, name = key.split(".")
    annotation = SECTIONS[section].model_fields[name].annotation
    if annotation is float:
        return FloatDomain
    in_union = annotation is not None and get_origin(annotation) in (Union, UnionType)
    parts = get_args(annotation) if in_union else (annotation,)
    return IntDomain if any(part is int or get_args(part)[:1] == (int,) for part in parts) else None

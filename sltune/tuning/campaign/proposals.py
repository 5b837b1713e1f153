"""What a search proposes: how the values of a trial are drawn, and which points a grid has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from sltune.settings.distributions import as_parameter, distribution_of
from sltune.settings.domains import ChoiceDomain, Domain, FloatDomain, IntDomain, is_idle
from sltune.settings.space import Space
from sltune.settings.types import Value


def draw(trial: Trial, space: Space) -> dict[str, Value]:
    """Return a value for every domain that the values drawn before do not rule out.

    What a trial has drawn already, it draws again.
    """
    values: dict[str, Value] = {}
    for key, domain in _conditional_last(space.domains):
        if not is_idle(domain, {**space.settings, **values}):
            values[key] = _draw_one(trial, key, domain)
    return values


def recall(parameters: Mapping[str, object], space: Space) -> dict[str, Value]:
    """Return the values that draw returned, from what Optuna has stored of them."""
    return {key: _value_of(domain, parameters[key]) for key, domain in space.domains.items() if key in parameters}


def grid(space: Space) -> Iterator[dict[str, Value]]:
    """Give every point of the space once, the last domain's values changing fastest.

    A domain that other values of the point rule out has no part in it. There must be a step or choices everywhere.
    """
    domains = dict(_conditional_last(space.domains))
    free = {key: domain for key, domain in domains.items() if not domain.when}
    for point in _product(free):
        active = {
            key: domain
            for key, domain in domains.items()
            if key not in free and not is_idle(domain, {**space.settings, **point})
        }
        for rest in _product(active):
            yield {**point, **rest}


def _product(domains: Mapping[str, Domain]) -> Iterator[dict[str, Value]]:
    for values in product(*map(_grid_values, domains.values())):
        yield dict(zip(domains, values, strict=True))


def _grid_values(domain: Domain) -> list[Value]:
    match domain:
        case ChoiceDomain():
            return list(domain.choices)
        case IntDomain():
            return list(range(domain.low, domain.high + 1, domain.step))
    return [domain.stepped(number) for number in range(domain.steps + 1)]


def _conditional_last(domains: Mapping[str, Domain]) -> list[tuple[str, Domain]]:
    """Return the domains such that each follows those that its conditions name, which have none themselves."""
    return sorted(domains.items(), key=lambda item: bool(item[1].when))


def _draw_one(trial: Trial, key: str, domain: Domain) -> Value:
    match distribution_of(domain):
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(key, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return _value_of(domain, trial.suggest_float(key, low, high, step=step, log=log))
        case CategoricalDistribution(choices=names):
            return _value_of(domain, trial.suggest_categorical(key, names))
    raise AssertionError("distribution_of returns no others")


def _value_of(domain: Domain, parameter: Any) -> Value:
    match domain:
        case ChoiceDomain():
            names = [as_parameter(choice) for choice in domain.choices]
            return domain.choices[names.index(parameter)]
        case FloatDomain():
            return domain.nearest(float(parameter))
    value: Value = parameter
    return value

"""Search domains as Optuna's distributions."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sltune.settings.domains import Domain, FloatDomain, IntDomain
from sltune.settings.types import Value
from sltune.wording import as_toml


def distribution_of(domain: Domain) -> BaseDistribution:
    """Return the Optuna distribution with the same values as a domain."""
    match domain:
        case IntDomain():
            high = domain.low + (domain.high - domain.low) // domain.step * domain.step
            return IntDistribution(domain.low, high, log=domain.log, step=domain.step)
        case FloatDomain(step=None):
            return FloatDistribution(domain.low, domain.high, log=domain.log)
        case FloatDomain():
            return FloatDistribution(domain.low, domain.stepped(domain.steps), step=domain.step)
    return CategoricalDistribution([as_parameter(choice) for choice in domain.choices])


def as_parameter(value: Value) -> bool | int | float | str:
    """Return a value as Optuna stores it. Optuna cannot store lists, so they become TOML text."""
    return as_toml(value) if isinstance(value, tuple) else value

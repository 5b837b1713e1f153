"""Configurations as points: the closer two of them, the more alike they are expected to train."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sltune.settings.domains import ChoiceDomain, Domain, Domains, is_idle
from sltune.settings.types import Settings, Value

Point = tuple[float, ...]

NO_VALUE = 0.5
"""Where a setting lies that is not searched under the conditions of a configuration: in the middle, between all."""


def point_of(settings: Settings, domains: Domains) -> Point:
    """Return the searched settings of a configuration as coordinates from 0 to 1, between the ends of their domains.

    Numbers lie on the scale of their domain, and choices among rising numbers lie by their rank. Any other choice has
    a coordinate for each of its values, such that two values are 1 apart.
    """
    return tuple(
        place
        for key, domain in domains.items()
        for place in _coordinates(domain, None if is_idle(domain, settings) else settings.get(key))
    )


def _coordinates(domain: Domain, value: Value | None) -> Iterator[float]:
    if isinstance(domain, ChoiceDomain):
        if not _rises(domain.choices):
            yield from (NO_VALUE if value is None else (value == choice) / math.sqrt(2) for choice in domain.choices)
        else:
            yield NO_VALUE if value is None else domain.choices.index(value) / (len(domain.choices) - 1)
    elif isinstance(value, int | float):
        low, at, high = map(math.log if domain.log else float, (domain.low, value, domain.high))
        yield (at - low) / (high - low)
    else:
        yield NO_VALUE


def _rises(choices: tuple[Value, ...]) -> bool:
    """Say whether choices are numbers, each greater than the one before."""
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    return len(choices) == len(numbers) > 1 and numbers == sorted(numbers)

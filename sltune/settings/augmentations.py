"""Augmentations of training crops: their names, and how a space file writes them.

``sltune.events.augment`` carries them out; this module needs no numpy, so that settings can be checked without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """The one number that an augmentation takes: its name, the numbers that are allowed, and its meaning."""

    name: str
    permits: Callable[[float], bool]
    allowed: str
    meaning: str


AUGMENTATIONS: Mapping[str, Parameter] = {
    "event_drop": Parameter(
        "probability",
        # With 1 no event would be left.
        lambda number: 0 <= number < 1,
        "a number ≥ 0 and < 1",
        "the probability with which each event is dropped",
    ),
    "time_jitter": Parameter(
        "std_us",
        lambda number: 0 <= number <= 1_000_000,
        "a number from 0 to 1000000",
        "the standard deviation in µs of the normal noise on every time",
    ),
    "spatial_shift": Parameter(
        "pixels",
        lambda number: isinstance(number, int) and 0 <= number <= 1000,
        "a whole number from 0 to 1000",
        "how far the crop moves at most in each axis, either way",
    ),
    "polarity_flip": Parameter(
        "probability",
        lambda number: 0 <= number <= 1,
        "a number from 0 to 1",
        "the probability with which all polarities of the crop flip",
    ),
    "time_scale": Parameter(
        "fraction",
        # With 1 all events could get the same time.
        lambda number: 0 < number < 1,
        "a number > 0 and < 1",
        "how far the factor on times since the crop's start may be from 1",
    ),
    "rotation": Parameter(
        "degrees",
        lambda number: 0 <= number <= 180,
        "a number from 0 to 180",
        "how far the crop turns at most about the sensor's centre, either way",
    ),
}
"""All augmentations, in the order in which users see them."""


@dataclass(frozen=True)
class Augmentation:
    """One of AUGMENTATIONS with its number.

    Raises:
        ValueError: the name is unknown or the number is not allowed; says what is allowed.
    """

    name: str
    amount: float

    def __post_init__(self) -> None:
        if not _parameter(self.name).permits(self.amount):
            raise ValueError(f"{self.amount} is not allowed, {_form(self.name)}")


def parse_augmentation(text: str) -> Augmentation:
    """Return the augmentation that a text ``name(parameter=number)`` describes.

    Raises:
        ValueError: the text has another form, or a name or number that is not allowed; says what is allowed.
    """
    name, _, rest = (part.strip() for part in text.partition("("))
    parameter = _parameter(name)
    found = re.fullmatch(rf"{parameter.name}\s*=\s*([-+.0-9A-Za-z]+)\s*\)", rest)
    try:
        amount = _number(found[1] if found else "")
    except ValueError as error:
        raise ValueError(_form(name)) from error
    return Augmentation(name, amount)


def _parameter(name: str) -> Parameter:
    if name not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {name!r}, known are {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


def _form(name: str) -> str:
    parameter = AUGMENTATIONS[name]
    return f"must be {name}({parameter.name}=N) with N {parameter.allowed}: {parameter.meaning}"


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)

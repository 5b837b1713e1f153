"""Where configurations lie to each other, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sltune.settings.domains import ChoiceDomain
from sltune.settings.points import NO_VALUE, point_of
from sltune.settings.space import parse_space

SEARCHED = parse_space(
    """
    [sampling]
    train_crop = { choices = ["start", "random"] }
    train_crop_ms = { low = 300, high = 3000, step = 30 }
    eval_crop_ms = { low = 900, high = 4350, step = 30, when = { "sampling.train_crop" = "random" } }
    downsample = { choices = [1, 2, 4] }
    [training]
    learning_rate = { low = 1e-4, high = 1e-2, log = true }
    shuffle = { choices = [false, true] }
    """,
    "space.toml",
).domains
DOMAINS = {**SEARCHED, "network.options.hidden": ChoiceDomain(choices=((64,), (64, 32)))}

SETTINGS: dict[str, Any] = {
    "sampling.train_crop": "random",
    "sampling.train_crop_ms": 1650,
    "sampling.eval_crop_ms": 4350,
    "sampling.downsample": 2,
    "network.options.hidden": (64, 32),
    "training.learning_rate": 1e-3,
    "training.shuffle": True,
}


def places(**changed: Any) -> tuple[float, ...]:
    return point_of({**SETTINGS, **{key.replace("__", "."): value for key, value in changed.items()}}, DOMAINS)


def distance(**changed: Any) -> float:
    return math.dist(places(), places(**changed))


def test_numbers_lie_between_the_ends_of_their_domains_on_their_scale() -> None:
    assert distance(sampling__train_crop_ms=300) == pytest.approx(0.5)
    assert distance(sampling__train_crop_ms=3000) == pytest.approx(0.5)
    assert distance(training__learning_rate=1e-4) == pytest.approx(0.5)
    assert distance(training__learning_rate=1e-2) == pytest.approx(0.5)
    # Rising numbers among choices by their rank.
    assert distance(sampling__downsample=1) == distance(sampling__downsample=4) == pytest.approx(0.5)


def test_other_choices_are_one_apart() -> None:
    assert distance(training__shuffle=False) == pytest.approx(1)
    assert distance(network__options__hidden=(64,)) == pytest.approx(1)


def test_a_setting_that_is_not_searched_lies_in_the_middle_whatever_its_value() -> None:
    at_start = places(sampling__train_crop="start", sampling__eval_crop_ms=900)
    assert at_start == places(sampling__train_crop="start", sampling__eval_crop_ms=4350)
    assert NO_VALUE in at_start
    assert at_start not in (places(), places(sampling__eval_crop_ms=900))


def test_a_setting_without_a_value_lies_in_the_middle_too() -> None:
    assert point_of({}, DOMAINS) == (NO_VALUE,) * len(places())

"""What Optuna draws lies in the domains of the space, all of it is reached, and it is read back unchanged."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FixedTrial

from sltune.settings.distributions import distribution_of
from sltune.settings.space import Space, parse_space
from sltune.settings.types import Value
from sltune.tuning.campaign.proposals import draw, grid, recall

SPACE = """
[sampling]
train_crop = { choices = ["start", "random"] }
train_crop_ms = { low = 300, high = 3010, step = 30 }
eval_crop_ms = { choices = ["train", 900], when = { "sampling.train_crop" = "random" } }
augment = { choices = [[], ["rotation(degrees=5)"], ["mirror()"]] }
[neuron]
decay = { low = 0.1, high = 0.8, step = 0.1 }
v_threshold = { low = 0.05, high = 1.0 }
[training]
batch_size = { low = 4, high = 64, log = true }
learning_rate = { low = 1e-4, high = 1e-2, log = true }
shuffle = { choices = [true, false] }
"""


def draws(space: Space, count: int) -> list[tuple[dict[str, object], dict[str, Value]]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    found = []
    for _ in range(count):
        trial = study.ask()
        values = draw(trial, space)
        found.append((trial.params, values))
    return found


@pytest.fixture(scope="module")
def space() -> Space:
    text = SPACE.replace('["mirror()"]', '["rotation(degrees=15)"]')
    return parse_space(text, "x.toml")


def test_every_drawn_value_is_of_its_domain_and_makes_a_configuration(space: Space) -> None:
    for _, values in draws(space, 300):
        assert all(space.domains[key].contains(value) for key, value in values.items())
        settings = space.configuration(values).settings()
        assert {key: settings[key] for key in values} == values


def test_all_choices_and_both_ends_of_stepped_ranges_are_reached(space: Space) -> None:
    values = [values for _, values in draws(space, 600)]
    assert {value["sampling.augment"] for value in values} == {(), ("rotation(degrees=5)",), ("rotation(degrees=15)",)}
    assert {value["training.shuffle"] for value in values} == {True, False}
    assert {value["neuron.decay"] for value in values} == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}
    crops = {value["sampling.train_crop_ms"] for value in values}
    # 300 + k · 30 up to 3010 ends at 3000.
    assert (min(crops), max(crops)) == (300, 3000)
    assert all(isinstance(crop, int) and crop % 30 == 0 for crop in crops)


def test_a_conditional_value_is_drawn_only_where_its_condition_holds(space: Space) -> None:
    for _, values in draws(space, 100):
        assert ("sampling.eval_crop_ms" in values) == (values["sampling.train_crop"] == "random")


def test_logarithmic_ranges_are_even_in_the_logarithm(space: Space) -> None:
    rates = [values["training.learning_rate"] for _, values in draws(space, 1000)]
    below = sum(isinstance(rate, float) and rate < 1e-3 for rate in rates)
    assert 430 < below < 570


def test_what_optuna_stored_is_read_back_as_it_was_drawn(space: Space) -> None:
    for parameters, values in draws(space, 100):
        assert recall(parameters, space) == values
        assert draw(FixedTrial(parameters), space) == values  # type: ignore[arg-type]


def test_a_distribution_has_the_ends_scale_and_step_of_its_domain(space: Space) -> None:
    found = {key: distribution_of(domain) for key, domain in space.domains.items()}
    assert found["training.batch_size"] == optuna.distributions.IntDistribution(4, 64, log=True)
    assert found["sampling.train_crop_ms"] == optuna.distributions.IntDistribution(300, 3000, step=30)
    assert found["neuron.decay"] == optuna.distributions.FloatDistribution(0.1, 0.8, step=0.1)
    assert found["training.learning_rate"] == optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)
    assert found["sampling.augment"] == optuna.distributions.CategoricalDistribution(
        ["[]", '["rotation(degrees=5)"]', '["rotation(degrees=15)"]']
    )


def test_a_grid_has_every_point_once_and_none_for_values_that_are_ruled_out() -> None:
    space = parse_space(
        """
        [sampling]
        train_crop = { choices = ["start", "random"] }
        eval_crop_ms = { choices = ["train", 900], when = { "sampling.train_crop" = "random" } }
        [neuron]
        decay = { low = 0.1, high = 0.7, step = 0.2 }
        """,
        "x.toml",
    )
    points = list(grid(space))
    # 4 decays, each with "start", and with "random" and one of 2 evaluation crops.
    assert len(points) == 4 * (1 + 2)
    assert len({tuple(sorted(point.items(), key=str)) for point in points}) == len(points)
    assert points[0] == {"sampling.train_crop": "start", "neuron.decay": 0.1}
    assert sorted({float(point["neuron.decay"]) for point in points}) == [0.1, 0.3, 0.5, 0.7]  # type: ignore[arg-type]

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sltune.errors import ConfigError
from sltune.extensions.code import FORMS
from sltune.settings.domains import ChoiceDomain, Domain, FloatDomain, IntDomain, is_idle, parse_domain, table_of
from sltune.settings.space import parse_space
from sltune.settings.types import Value
from sltune.wording import as_toml


def problems_of(key: str, table: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    assert parse_domain(key, table, problems) is None
    return problems


@pytest.mark.parametrize(
    ("key", "table", "domain"),
    [
        ("sampling.train_crop_ms", {"low": 300, "high": 3000}, IntDomain(low=300, high=3000)),
        ("sampling.train_crop_ms", {"low": 300, "high": 1000, "step": 90}, IntDomain(low=300, high=1000, step=90)),
        ("training.batch_size", {"low": 1, "high": 64, "log": True}, IntDomain(low=1, high=64, log=True)),
        ("sampling.eval_crop_ms", {"low": 300, "high": 4350}, IntDomain(low=300, high=4350)),
        ("sampling.eval_crop_ms", {"choices": [300, "whole"]}, ChoiceDomain(choices=(300, "whole"))),
        ("neuron.decay", {"low": 0, "high": 1, "step": 0.1}, FloatDomain(low=0.0, high=1.0, step=0.1)),
        # 0.3 − 0.1 is less than 0.2 in floating point.
        ("neuron.decay", {"low": 0.1, "high": 0.3, "step": 0.2}, FloatDomain(low=0.1, high=0.3, step=0.2)),
        ("training.shuffle", {"choices": [True, False]}, ChoiceDomain(choices=(True, False))),
        (
            "training.momentum",
            {"low": 0.5, "high": 0.99, "when": {"training": {"optimizer": "sgd"}}},
            FloatDomain(low=0.5, high=0.99, when={"training.optimizer": "sgd"}),
        ),
    ],
)
def test_a_table_is_read_as_the_domain_of_its_setting(key: str, table: dict[str, Any], domain: Domain) -> None:
    problems: list[str] = []
    assert parse_domain(key, table, problems) == domain
    assert problems == []
    assert parse_domain(key, table_of(domain), problems) == domain


@pytest.mark.parametrize(
    ("key", "table", "problem"),
    [
        ("neuron.decay", {"low": 0.1, "high": 1.5}, "high must be a number ≥ 0 and ≤ 1"),
        ("neuron.decay", {"low": 0.9, "high": 0.1}, "low must be less than high; write the value alone to fix it"),
        ("neuron.decay", {"low": 0.5, "high": 0.5}, "low must be less than high; write the value alone to fix it"),
        ("neuron.decay", {"low": 0.1, "high": 0.5, "step": 1}, "step must not exceed high − low"),
        ("neuron.decay", {"low": 0, "high": 0.5, "log": True}, "low must be > 0 on a logarithmic scale"),
        (
            "neuron.decay",
            {"low": 0.1, "high": 0.9, "step": 1e-300},
            "step is too small: at most 1,000,000,000 may fit between low and high",
        ),
        (
            "training.batch_size",
            {"low": 1, "high": 10**400},
            "high must be a whole number from 1 to 1000000000",
        ),
        ("training.batch_size", {"low": 1, "high": 8, "step": 1, "log": True}, "log and step exclude each other"),
        ("neuron.decay", {"low": 0.1}, "a search needs low and high, or choices"),
        ("neuron.decay", {}, "a search needs low and high, or choices"),
        ("sampling.binning", {"low": 1, "high": 2}, "is not searched between numbers; give choices = […]"),
        ("sampling.downsample", {"low": 1, "high": 4}, "is not searched between numbers; give choices = […]"),
        (
            "evaluation.folds",
            {"choices": [4, 5]},
            "cannot be searched, as all are compared on the same folds and seeds",
        ),
        (
            "neuron.decay",
            {"low": 0.1, "high": 0.5, "stp": 0.1},
            'unknown stp, known are low, high, step, log, when; did you mean "step"?',
        ),
        ("neuron.decay", {"choices": [0.1], "log": True}, "unknown log, known are choices, when"),
    ],
)
def test_a_wrong_domain_is_refused_as_a_whole(key: str, table: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(key, table)
    assert found == f"{key} = {as_toml(table)}: {problem}"


@pytest.mark.parametrize(
    ("key", "table", "problem"),
    [
        ("training.epochs", {"low": 1.0, "high": 9}, "training.epochs.low = 1.0: must be a whole number"),
        ("neuron.decay", {"low": True, "high": 1}, "neuron.decay.low = true: must be a number"),
        (
            "training.epochs",
            {"low": 1, "high": 9, "step": 0},
            "training.epochs.step = 0: must be a whole number from 1 to 1000000000",
        ),
        ("neuron.decay", {"low": 0, "high": 1, "step": -0.1}, "neuron.decay.step = -0.1: must be a number > 0"),
        ("neuron.decay", {"low": 0.1, "high": 1, "log": 1}, "neuron.decay.log = 1: must be true or false"),
        ("neuron.decay", {"choices": []}, "neuron.decay.choices = []: must be a list of at least one value"),
        ("neuron.decay", {"choices": 3}, "neuron.decay.choices = 3: must be a list of at least one value"),
        ("neuron.decay", {"choices": [1, 1.0]}, "neuron.decay.choices = [1, 1.0]: 1.0 occurs twice"),
        (
            "training.optimizer",
            {"choices": ["adam", "sdg"]},
            'training.optimizer.choices: "sdg" must be one of "adam", "sgd", "adamw", or an optimizer of yours, '
            f'{FORMS}; did you mean "sgd"?',
        ),
        (
            "neuron.decay",
            {"choices": [0.1], "when": 3},
            'neuron.decay.when = 3: must be a table such as { "sampling.train_crop" = "random" }',
        ),
        (
            "neuron.decay",
            {"choices": [0.1], "when": {"neuron.decya": 1}},
            'neuron.decay.when: neuron.decya = 1: unknown key; did you mean "neuron.decay"?',
        ),
        (
            "neuron.decay",
            {"choices": [0.1], "when": {"neuron.decay": 0.1}},
            "neuron.decay.when: neuron.decay = 0.1: a setting cannot be its own condition",
        ),
        (
            "neuron.decay",
            {"choices": [0.1], "when": {"training.epochs": -1}},
            "neuron.decay.when: training.epochs = -1: must be a whole number from 0 to 1000000000",
        ),
    ],
)
def test_a_wrong_part_of_a_domain_is_named(key: str, table: dict[str, Any], problem: str) -> None:
    assert problems_of(key, table) == [problem]


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (IntDomain(low=300, high=1000, step=90), [300, 390, 930], [299, 301, 1000, 390.0, "390", True]),
        (FloatDomain(low=0.1, high=0.9), [0.1, 0.33, 0.9], [0.09, 0.91, "0.1", True]),
        (FloatDomain(low=0, high=1, step=0.1), [0.0, 0.3, 1], [0.35]),
        (ChoiceDomain(choices=("a", "b")), ["a"], ["c"]),
    ],
)
def test_a_domain_knows_its_values(domain: Domain, inside: list[Any], outside: list[Any]) -> None:
    assert all(map(domain.contains, inside))
    assert not any(map(domain.contains, outside))


@settings(deadline=None)
@given(st.integers(-1000, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_the_extremes_of_whole_numbers_are_values_and_none_lies_beyond(low: int, width: int, step: int) -> None:
    domain = IntDomain(low=low, high=low + width, step=step)
    values = [value for value in range(low, low + width + 1) if domain.contains(value)]
    assert domain.extremes() == (values[0], values[-1])


def space_problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(text, "x.toml")
    return caught.value.problems


CROP = "a crop must be at least one time bin long"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[sampling]\ntrain_crop_ms = { low = 20, high = 3000 }",
            f'sampling.train_crop_ms = 20, sampling.time_bin_ms = 30, sampling.train_crop = "random": {CROP}'
            " (values that the search of sampling.train_crop_ms allows)",
        ),
        (
            "[sampling]\ntrain_crop_ms = { low = 300, high = 3000 }\ntime_bin_ms = { low = 10, high = 400, step = 30 }",
            f'sampling.train_crop_ms = 300, sampling.time_bin_ms = 400, sampling.train_crop = "random": {CROP}'
            " (values that the search of sampling.train_crop_ms and sampling.time_bin_ms allows)",
        ),
        (
            '[sampling]\neval_crop_ms = { choices = [20, "whole"] }',
            f"sampling.eval_crop_ms = 20, sampling.time_bin_ms = 30: {CROP}"
            " (values that the search of sampling.eval_crop_ms allows)",
        ),
        (
            '[network]\nname = { choices = ["slanimals", "nmnist-mlp"] }\nnorm = "tdbn"',
            'network.norm = "tdbn", network.name = "nmnist-mlp": '
            'tdBN normalises convolutions and this network has none; set norm = "none"'
            " (values that the search of network.name allows)",
        ),
    ],
)
def test_a_search_that_could_draw_values_that_do_not_go_together_is_refused(text: str, problem: str) -> None:
    assert space_problems(text) == (problem,)


def test_a_condition_can_keep_values_apart_that_do_not_go_together() -> None:
    norm = 'norm = { choices = ["none", "tdbn"]WHEN }'
    text = f'[network]\nname = {{ choices = ["slanimals", "nmnist-mlp"] }}\n{norm}'
    assert len(space_problems(text.replace("WHEN", ""))) == 1
    space = parse_space(text.replace("WHEN", ', when = { "network.name" = "slanimals" }'), "x.toml")
    assert space.configuration({"network.name": "nmnist-mlp"}).network.norm == "none"


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        (
            '"sampling.train_crop" = "whole"',
            'sampling.train_crop = "whole": '
            "never holds, as it is not among the values searched for sampling.train_crop",
        ),
        (
            '"sampling.binning" = "count"',
            'sampling.binning = "count": never holds, as sampling.binning = "binary"; '
            "give neuron.v_threshold one value, too",
        ),
        ('"neuron.decay" = 0.5', "neuron.decay = 0.5: has conditions itself, and conditions do not chain"),
    ],
)
def test_a_condition_that_never_holds_is_refused(when: str, problem: str) -> None:
    text = f"""
        [sampling]
        train_crop = {{ choices = ["start", "random"] }}
        [neuron]
        decay = {{ low = 0.1, high = 0.9, when = {{ "sampling.train_crop" = "start" }} }}
        v_threshold = {{ low = 0.1, high = 0.9, when = {{ {when} }} }}
    """
    assert space_problems(text) == (f"neuron.v_threshold.when: {problem}",)


RANGES: dict[str, Any] = {
    "sampling.time_bin_ms": st.integers(1, 100),
    "sampling.train_crop_ms": st.integers(1, 100),
    "sampling.eval_crop_ms": st.integers(1, 100),
    "training.patience": st.integers(0, 3),
}


@settings(deadline=None)
@given(st.data())
def test_whatever_is_drawn_from_an_accepted_search_is_a_valid_configuration(data: st.DataObject) -> None:
    lines = ["[sampling]", 'train_crop = { choices = ["random", "whole"] }']
    for key, bound in RANGES.items():
        low, high = sorted(data.draw(st.lists(bound, min_size=2, max_size=2, unique=True)))
        if data.draw(st.booleans()):
            table = f"{{ low = {low}, high = {high} }}"
            lines.append(
                f"{key.split('.')[1]} = {table}" if key.startswith("sampling") else f"[training]\npatience = {table}"
            )
    try:
        space = parse_space("\n".join(lines), "x.toml")
    except ConfigError:
        return
    drawn: dict[str, Value] = {"sampling.train_crop": data.draw(st.sampled_from(["random", "whole"]))}
    for key, domain in space.domains.items():
        if isinstance(domain, IntDomain):
            drawn[key] = data.draw(st.integers(domain.low, domain.high))
    space.configuration(drawn)


def test_a_condition_holds_for_the_number_that_is_meant() -> None:
    wanted = 0.1 + 2 * 0.1
    domain = FloatDomain(low=0.0, high=1.0, when={"neuron.v_threshold": wanted})
    assert wanted != 0.3
    assert not is_idle(domain, {"neuron.v_threshold": 0.3})
    assert is_idle(domain, {"neuron.v_threshold": 0.4})


def test_a_value_with_a_rounding_error_is_the_multiple_of_the_step_that_is_meant() -> None:
    domain = FloatDomain(low=0.1, high=0.9, step=0.1)
    assert [domain.nearest(value) for value in (0.1 + 2 * 0.1, 0.1, 0.9)] == [0.3, 0.1, 0.9]
    assert FloatDomain(low=0.0, high=1.0).nearest(0.123) == 0.123
    assert (domain.steps, domain.stepped(2)) == (8, 0.3)

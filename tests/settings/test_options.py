"""``network.options``: the arguments of a user's network, as settings and as domains of a search."""

from __future__ import annotations

import json

import pytest

from sltune.errors import ConfigError
from sltune.settings.configuration import Configuration
from sltune.settings.domains import ChoiceDomain, FloatDomain, IntDomain
from sltune.settings.space import parse_space

OWN = """
[network]
name = "nets.py:Tiny"
[network.options]
width = { choices = [16, 32] }
rate = { low = 0.1, high = 2 }
layers = { low = 1, high = 4 }
sizes = { choices = [[1, 2], [3]], when = { "network.options.width" = 16 } }
depth = 3
kind = "wide"
fractions = [0.5, 1]
"""


def problems_of(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(text, "x.toml", overrides)
    return caught.value.problems


def test_options_are_settings_and_domains_of_the_types_that_they_are_written_in() -> None:
    space = parse_space(OWN, "x.toml")
    assert {key: value for key, value in space.settings.items() if key.startswith("network.options")} == {
        "network.options.depth": 3,
        "network.options.kind": "wide",
        "network.options.fractions": (0.5, 1.0),
    }
    assert space.domains == {
        "network.options.layers": IntDomain(low=1, high=4),
        "network.options.rate": FloatDomain(low=0.1, high=2),
        "network.options.sizes": ChoiceDomain(choices=((1, 2), (3,)), when={"network.options.width": 16}),
        "network.options.width": ChoiceDomain(choices=(16, 32)),
    }


def test_a_space_with_options_reads_back_from_its_own_text() -> None:
    space = parse_space(OWN, "x.toml", ["network.options.depth=7", "network.options.new=true"])
    assert space.settings["network.options.depth"] == 7
    assert parse_space(space.to_toml(), "x.toml") == space


def test_a_configuration_holds_its_options_and_reads_back_from_json() -> None:
    space = parse_space(OWN, "x.toml")
    values = {"network.options.width": 32, "network.options.rate": 1.0, "network.options.layers": 2}
    configuration = space.configuration(values)
    assert configuration.network.options == {
        "depth": 3,
        "kind": "wide",
        "fractions": (0.5, 1.0),
        "width": 32,
        "rate": 1.0,
        "layers": 2,
    }
    assert Configuration.model_validate_json(configuration.model_dump_json()) == configuration
    assert Configuration.of(configuration.settings()) == configuration


def test_a_network_without_options_is_written_as_it_was_before_there_were_any() -> None:
    assert "options" not in json.loads(Configuration().model_dump_json())["network"]
    assert not any(key.startswith("network.options") for key in Configuration().settings())
    assert "options" not in parse_space("", "x.toml").to_toml()


def test_every_end_of_an_option_is_probed_once_and_not_all_combinations() -> None:
    found = [probe.network.options for probe in parse_space(OWN, "x.toml").probes()]
    assert [(one["width"], one["rate"], one["layers"]) for one in found] == [
        (16, 0.1, 1),
        (16, 0.1, 4),
        (16, 2.0, 1),
        (16, 0.1, 1),
        (32, 0.1, 1),
    ]
    assert [one.get("sizes") for one in found] == [(1, 2), (1, 2), (1, 2), (3,), None]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "network.options.depth=nan",
            "must be a finite number, a string, true or false, or a list",
        ),
        ('network.options.depth=[1, "a"]', "must be a finite number"),
        ("network.options.a-b=1", "unknown key"),
        ("network.options.width={ low = 3 }", "a search needs low and high, or choices"),
        ("network.options.width={ low = 3, high = 1 }", "low must be less than high"),
        (
            "network.options.depth={ low = 1, high = 3, when = { network.options.no = 1 } }",
            "the space has no such option",
        ),
        ('network.options.depth={ choices = [[1, 2], "[1, 2]"] }', "occurs twice"),
        ("network.options.depth={ low = 0, high = 10000000000000000000 }", "low and high must lie between"),
        ("network.options.é=1", "unknown key"),
        ('network.name={ choices = ["slanimals", "nets.py:Tiny"] }', 'depth: "slanimals" takes no options; they are'),
        ("network.name=slanimals", '"slanimals" takes no options; they are for networks of yours'),
        ("network.name=nets.py", 'must be one of "slanimals", '),
        ("neuron.decay=0.5", "has no effect on a network of yours"),
        ("neuron.decay={ low = 0.1, high = 0.5 }", "has no effect on a network of yours"),
        ("network.dropout=0.1", "has no effect on a network of yours"),
    ],
)
def test_what_cannot_be_an_option_is_refused(override: str, said: str) -> None:
    problems = problems_of(OWN, override)
    assert any(said in problem for problem in problems), problems


def test_options_of_one_network_may_be_searched_beside_networks_that_have_others() -> None:
    names = 'network.name = { choices = ["slanimals", "nets.py:Tiny", "nets.py:Other"] }\n'
    tiny = 'network.options.width = { choices = [1, 2], when = { "network.name" = "nets.py:Tiny" } }\n'
    other = 'network.options.depth = { choices = [3], when = { "network.name" = "nets.py:Other" } }\n'
    found = [(probe.network.name, probe.network.options) for probe in parse_space(names + tiny + other, "x").probes()]
    assert ("slanimals", {}) in found
    assert ("nets.py:Tiny", {"width": 2}) in found
    assert ("nets.py:Other", {"depth": 3}) in found


def test_options_may_be_tried_first() -> None:
    first = "[[search.first]]\nnetwork.options.width = 32\n"
    assert parse_space(OWN + first, "x.toml").first == ({"network.options.width": 32},)
    said = problems_of(OWN + "[[search.first]]\nnetwork.options.widht = 32\n")
    assert any('did you mean "network.options.width"?' in problem for problem in said)
    said = problems_of(OWN + "[[search.first]]\nnetwork.options.width = 33\n")
    assert any("is not among the values searched" in problem for problem in said)

"""The one table of what space files can name."""

from __future__ import annotations

import pytest

from sltune.extensions.kinds import KINDS, built_in, checked_name
from sltune.settings.configuration import DEFAULTS
from sltune.settings.search import Search
from sltune.snn.neurons.surrogate import WINDOWS
from tests.networks import DEEP, NETWORKS


def test_every_kind_is_a_setting_and_every_name_leads_to_something() -> None:
    settings = {*DEFAULTS, *(f"search.{name}" for name in Search.model_fields)}
    assert KINDS.keys() <= settings
    assert all(callable(built_in(kind, name)) for kind in KINDS.values() for name in kind.built_in)


def test_networks_and_surrogates_are_the_same_wherever_they_are_listed() -> None:
    networks = NETWORKS | DEEP
    assert {name: built_in(KINDS["network.name"], name) for name in networks} == networks
    assert {name: built_in(KINDS["neuron.surrogate"], name) for name in WINDOWS} == WINDOWS
    assert (networks.keys(), WINDOWS.keys()) == tuple(
        KINDS[key].built_in.keys() for key in ("network.name", "neuron.surrogate")
    )


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("training.loss", "mes", 'did you mean "mse"?'),
        ("training.loss", "mse(x=1)", '"mse" takes no parameters'),
        ("training.loss", "losses.py", "your own has a colon before its name"),
        ("training.loss", "losses.py.Focal", "your own has a colon before its name"),
        ("training.loss", "losses.py:Focal(2)", "must have the form name or name"),
        ("training.loss", "my losses.py:Focal", '"my losses.py:Focal" is none of the forms "file.py:Name"'),
        ("network.name", "nets.py:Tiny(width=3)", r"parameters of a network stand in \[network.options\]"),
        ("evaluation.metrics", "top3", "unknown metric 'top3'"),
    ],
)
def test_what_names_nothing_is_refused_with_a_hint(key: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_name(key, text)

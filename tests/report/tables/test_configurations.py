"""Tables of configurations."""

from __future__ import annotations

import pytest

from sltune.report.tables.configurations import short_names


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (
            ["neuron.decay", "network.options.width", "network.options.learn_decay"],
            ["decay", "options.width", "options.learn_decay"],
        ),
        (["network.name", "network.options.name"], ["name", "options.name"]),
        (["training.width", "neuron.width"], ["training.width", "neuron.width"]),
    ],
)
def test_settings_are_named_without_their_tables_where_they_still_differ(keys: list[str], names: list[str]) -> None:
    assert short_names(keys) == names

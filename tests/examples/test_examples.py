"""The examples: each can be searched as it stands, and the same network of several libraries learns the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from sltune.errors import CodeError
from sltune.settings.space import load_space
from sltune.training.fit import train_epoch
from tests.examples.steps import EXAMPLES, STEPS, Counts, Outcome, count, train, trainer_of

NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "nets.py").exists())
PARAMETERS = ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
LIBRARIES = {"snntorch", "spikingjelly", "norse"}


def assert_alike(first: Outcome, second: Outcome) -> None:
    """Both began with the same weights, learned something, and had the same losses and weights at the end."""
    assert first.before == second.before
    assert list(first.before) == PARAMETERS
    assert len(first.losses) == STEPS
    assert len(set(first.losses)) > 3
    assert second.losses == pytest.approx(first.losses, abs=1e-5)
    for name, values in first.after.items():
        assert second.after[name] == pytest.approx(values, abs=1e-5)
        assert values != first.before[name]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_searches_two_of_its_options_and_is_explained(name: str) -> None:
    assert len((EXAMPLES / name / "nets.py").read_text().splitlines()) <= 60
    space = load_space(EXAMPLES / name / "space.toml")
    assert space.search is not None
    assert len([key for key in space.domains if key.startswith("network.options.")]) == len(space.domains) == 2
    assert f"examples/{name}/space.toml" in (EXAMPLES / "README.md").read_text()
    assert (EXAMPLES / name / "requirements.txt").exists() == (name in LIBRARIES)


def test_the_files_that_the_page_of_examples_names_are_there() -> None:
    named = re.findall(r"\bexamples/[\w/.]+\w", (EXAMPLES / "README.md").read_text())
    assert [name for name in named if not (EXAMPLES.parent / name).exists()] == []
    assert len(named) >= len(NAMES)


def test_plain_torch_and_sltunes_layers_learn_the_same(dataset: Path) -> None:
    plain, layers = (
        train(trainer_of(n, dataset, ["network.options.maps=4"])) for n in ("plain_torch", "sltune_blocks")
    )
    assert_alike(plain, layers)


def test_what_the_network_does_is_counted() -> None:
    """An event in the inner part of the image drives 9 connections, one in a corner 4, and what is pooled of each 2.

    The second class has 0.25, of which after two steps 0.0625 are left, and then fires with 0.25 more.
    """
    assert count("plain_torch") == Counts({"input": 2, "conv": 2, "fc": 3}, 9 + 4 + 2 + 2)
    # sltune's layers deduct no borders.
    assert count("sltune_blocks") == Counts({"input": 2, "conv": 2, "fc": 3}, 9 + 9 + 2 + 2)


def test_the_residual_network_learns(dataset: Path) -> None:
    trainer = trainer_of("residual", dataset, ["network.options.blocks=1", "network.options.maps=4"])
    before = {name: weight.clone() for name, weight in trainer.network.named_parameters()}
    first, second = (train_epoch(trainer.learner, trainer.train_batches(epoch))[0] for epoch in (1, 2))
    assert max(second) < 0.2 < max(first)
    assert not [name for name, weight in trainer.network.named_parameters() if torch.equal(weight, before[name])]


def test_the_residual_network_says_for_which_frames_it_has_too_many_blocks(dataset: Path) -> None:
    with pytest.raises(CodeError, match="frames of 16x16 pixels cannot be halved 5 times; use fewer blocks"):
        trainer_of("residual", dataset, ["network.options.blocks=4"])

"""A job whose network is the user's: how it is made, and what is said where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from sltune.errors import CodeError
from sltune.runs.record import TrialKey
from sltune.settings.space import parse_space
from sltune.tuning.own_code import refuse_unusable
from sltune.tuning.trial.estimate import describe
from sltune.tuning.trial.job import Job

TINY = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, frame_shape, classes, width=4):
        super().__init__()
        self.frame_shape, self.width = frame_shape, width
        self.fc = nn.Linear(frame_shape[0] * frame_shape[1] * frame_shape[2], classes)
        if width > 8:
            raise ValueError("too wide")

    def forward(self, frames):
        return self.fc(frames.flatten(2))

def none(frame_shape, classes):
    return 3

def any_options(frame_shape, classes, **options):
    return Tiny(frame_shape, classes, options["width"])

def no_shape(classes):
    return None

number = 3
"""


def job(folder: Path, *overrides: str, source: str = TINY, seed: int = 0) -> Job:
    (folder / "nets.py").write_text(source)
    space = parse_space("network.name = 'nets.py:Tiny'", "space", overrides, folder)
    return Job(TrialKey("c0000", seed, 0), space.configuration(), (8, 16), 3, code=space.code)


def refusal(folder: Path, *overrides: str) -> str:
    with pytest.raises(CodeError) as caught:
        job(folder, *overrides).network()
    return str(caught.value)


def test_a_users_network_is_called_with_shape_classes_and_options(tmp_path: Path) -> None:
    network = job(tmp_path, "network.options.width=7", "sampling.downsample=2").network()
    assert network.frame_shape == (2, 4, 8)
    assert network.width == 7
    assert job(tmp_path, "network.name=nets.py:any_options", "network.options.width=5").network().width == 5


def test_initial_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    first, again, other = (job(tmp_path, seed=seed).network().state_dict()["fc.weight"] for seed in (0, 0, 1))
    torch.rand(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_are_loaded_into_a_users_network(tmp_path: Path) -> None:
    plain = job(tmp_path)
    state = {"fc.weight": torch.ones(3, 2 * 8 * 16), "fc.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "w.pt")
    network = replace(plain, weights=(tmp_path / "w.pt").read_bytes()).network()
    assert isinstance(network, nn.Module)
    assert torch.equal(network.state_dict()["fc.weight"], state["fc.weight"])


def test_other_code_or_options_make_another_job(tmp_path: Path) -> None:
    same, again = job(tmp_path).fingerprint(), job(tmp_path).fingerprint()
    assert same == again
    assert same != job(tmp_path, source=TINY + "# changed\n").fingerprint()
    assert same != job(tmp_path, "network.options.width=5").fingerprint()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["network.options.widht=3"],
            'network.options.widht: nets.py:Tiny takes no widht; it takes width; did you mean "width"?',
        ),
        (["network.options.depth=3"], "takes no depth; it takes width"),
        (["network.options.width=9"], "Tiny(frame_shape=(2, 8, 16), classes=3, width=9) failed: line 11 of"),
        (["network.options.width=9"], "in __init__: ValueError: too wide"),
        (["network.name=nets.py:none"], "nets.py:none: makes int, which is no torch.nn.Module"),
        (["network.name=nets.py:number"], "nets.py:number: is int, which cannot be called to make a network"),
        (["network.name=nets.py:no_shape"], "nets.py:no_shape: does not take frame_shape"),
    ],
)
def test_what_makes_no_network_is_refused_with_what_to_change(tmp_path: Path, overrides: list[str], said: str) -> None:
    assert said in refusal(tmp_path, *overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["network.options={widht={choices=[3, 4]}}"], "network.options.widht: nets.py:Tiny takes no widht"),
        (["network.name={choices=['nets.py:Tiny', 'nets.py:no_shape']}"], "no_shape: does not take frame_shape"),
    ],
)
def test_arguments_are_checked_without_a_dataset(tmp_path: Path, overrides: list[str], said: str) -> None:
    (tmp_path / "nets.py").write_text(TINY)
    refuse_unusable(parse_space("network.name = 'nets.py:Tiny'", "space", (), tmp_path))
    with pytest.raises(CodeError, match=said):
        refuse_unusable(parse_space("network.name = 'nets.py:Tiny'", "space", overrides, tmp_path))


def test_it_is_said_which_settings_a_users_network_does_not_see(tmp_path: Path) -> None:
    said = "nets.py:Tiny does not see [neuron] and network.norm, dropout and init"
    assert said in describe(parse_space("network.name = 'nets.py:Tiny'", "space", (), tmp_path), None)
    assert not any("not see" in line for line in describe(parse_space("", "space"), None))


def test_the_code_of_a_space_is_that_of_the_moment_when_it_was_first_asked_for(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(TINY)
    space = parse_space("network.name = 'nets.py:Tiny'", "space", (), tmp_path)
    digest = space.code.digest
    (tmp_path / "nets.py").write_text(TINY + "# changed\n")
    assert space.code.digest == digest
    assert space.code.files == {"nets.py": TINY}

"""The verb check-network: exit codes, text of 80 columns, and networks that do not come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.cli.network_check import as_text
from sltune.events.importing import import_source
from sltune.system import apart
from sltune.training.checks import costs
from sltune.training.checks.findings import Finding, Mistake
from tests import small

NETWORK = """
import os
import torch
from torch import nn

class Leaks(nn.Module):
    def __init__(self, frame_shape, classes, loops=False, exit_code=-1):
        super().__init__()
        polarities, height, width = frame_shape
        self.fc = nn.Linear(polarities * height * width, classes)
        self.potential, self.loops, self.exit_code = 0.0, loops, exit_code

    def forward(self, frames):
        while self.loops:
            pass
        if self.exit_code >= 0:
            os._exit(self.exit_code)
        print("not to be seen")
        outputs = []
        for frame in frames:
            self.potential = 0.8 * self.potential + self.fc(frame.flatten(1))
            outputs.append(torch.sigmoid(self.potential))
        return torch.stack(outputs)
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "endless.py").write_text("while True:\n    pass\n")
    file = tmp_path / "space.toml"
    file.write_text('[network]\nname = "nets.py:Leaks"\n[sampling]\ntime_bin_ms = 20\ntrain_crop_ms = 200\n')
    return file


def check(space: Path, *more: object) -> Result:
    return CliRunner().invoke(main, ["check-network", str(space), *map(str, more)])


def run_here(work: Callable[..., None], arguments: tuple[object, ...], silent_s: float) -> Iterator[object]:
    said: list[object] = []
    work(said.append, *arguments)
    yield from said


def test_a_mistake_on_real_crops_ends_in_exit_code_6_and_json(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "run_apart", run_here)
    monkeypatch.setattr(costs, "STEPS", (2, 4, 8))
    (tmp_path / "nets.py").write_text(NETWORK.replace("print(", "str("))
    import_source(small.source(), tmp_path / "data")
    result = check(space, "--data", tmp_path / "data", "--json")
    assert result.exit_code == 6, result.stderr
    (finding,) = [one for one in json.loads(result.stdout) if one["severity"] == "broken"]
    assert (finding["mistake"], finding["layer"]) == ("leak", "")
    assert finding["measured"].endswith("it keeps potential")
    assert "frames of 2×16×16, 2 classes; 6 training crops of" in result.stderr
    assert result.stderr.endswith("sltune: 1 mistake to mend before the network trains\n")


@pytest.mark.slow
def test_nothing_to_mend_is_exit_code_0(space: Path) -> None:
    result = check(space, "--set", "network.name=nmnist-mlp2")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("nothing to mend\n")
    assert "not to be seen" not in result.stdout
    assert "frames of 2×128×128, 19 classes; 6 made-up samples" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "mistake", "measured"),
    [
        ("network.options.loops=true", "endless", "'outputs' has not ended after 10 s; it is at line 14 of "),
        ("network.name=endless.py:Net", "endless", "'constructor' has not ended after 10 s; it is at line "),
        ("network.options.exit_code=3", "ends_process", "'outputs': exit code 3"),
        ("network.options.width=3", "constructor", "nets.py:Leaks takes no width"),
    ],
)
def test_code_that_does_not_come_back_is_ended_with_its_line(
    space: Path, override: str, mistake: str, measured: str
) -> None:
    result = check(space, "--set", override, "--timeout", 10, "--json")
    assert result.exit_code == 6, result.stderr
    (finding,) = json.loads(result.stdout)
    assert finding["mistake"] == mistake
    assert measured in finding["measured"]


@pytest.mark.slow
def test_an_error_in_the_space_keeps_its_exit_code(space: Path) -> None:
    result = check(space, "--set", "network.name=missing.py:Net")
    assert result.exit_code == 2
    assert "missing.py:Net: there is no file missing.py" in result.stderr
    assert result.stdout == ""


def test_findings_fit_80_columns_and_show_no_control_characters() -> None:
    text = as_text([Finding(Mistake.LEAK, "lif1", "after another batch " * 9), Finding(Mistake.FAILS, "", "\x1b[31m")])
    assert text.startswith(
        "broken   lif1: state leaks from one batch into the next\n         after another batch after"
    )
    assert "broken   the network: a batch ends in an exception\n         \\x1b[31m\n         → Mend" in text
    assert max(map(len, text.splitlines())) <= 80

"""What becomes of a trial whose network, of the user's own, is of no use."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sltune.errors import CodeError, NothingRan, SltuneError, UsageError
from sltune.events.dataset import open_dataset
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.places import copied_code
from sltune.runs.record import TrialKey
from sltune.settings.space import Space, parse_space
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.preparation import start
from sltune.tuning.trial import job as job_module
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trainer import run_job
from tests.tuning.in_process import REQUEST, train_in_process

QUIET = Display(Console(stderr=True), "quiet")
SETTINGS = """
[sampling]
time_bin_ms = 20
train_crop = "start"
train_crop_ms = 200
eval_crop_ms = "train"
[network]
name = "nets.py:Net"
[training]
epochs = 1
[evaluation]
folds = 2
"""
PLAIN = """
import os, sys, torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, frame_shape, classes):
        super().__init__()
        self.fc = nn.Linear(frame_shape[0] * frame_shape[1] * frame_shape[2], classes)

    def forward(self, frames):
        return self.fc(frames.mean(0).flatten(1))

class Net(Plain):
"""


def space(folder: Path, body: str) -> Space:
    (folder / "nets.py").write_text(PLAIN + body)
    return parse_space(SETTINGS, "space", (), folder)


def reports(folder: Path, dataset: Path, body: str) -> list[Report]:
    """Run a trial of a network with this body."""
    given, data = space(folder, body), open_dataset(dataset)
    sizes = data.manifest.sensor, len(data.manifest.classes)
    job = Job(TrialKey("c0000", 0, 0), given.configuration(), *sizes, code=given.code)
    return list(run_job(job, data.samples, torch.device("cpu")))


def init(*lines: str) -> str:
    """The body of a network whose __init__ does more."""
    head = ["def __init__(self, frame_shape, classes):", "    super().__init__(frame_shape, classes)"]
    return "".join(f"    {line}\n" for line in [*head, *(f"    {line}" for line in lines)])


def forward(line: str) -> str:
    return f"    def forward(self, frames):\n        rates = super().forward(frames)\n        {line}\n"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (init("self.fc = nn.Linear(512, 5)"), UsageError, "returns 5 rates for a sample, but there are 2 classes"),
        (init("self.fc = nn.Linear(512, 1)"), UsageError, "returns 1 rates for a sample, but there are 2 classes"),
        (forward("return rates.detach()"), UsageError, "depend on no parameter that is trained"),
        (init("self.fc = nn.LazyLinear(classes)"), CodeError, "fc.weight has no size yet"),
        (init("self.to('meta')"), CodeError, "fc.weight has no size yet, or no values"),
        (init("self.c = nn.Parameter(torch.zeros(1) * 1j)"), CodeError, "c is complex"),
        (init("self.register_buffer('m', torch.ones(1).expand(4))"), CodeError, "cannot be loaded again: DataError"),
        ("    def state_dict(self, *a, **b):\n        return {}\n", CodeError, "cannot be loaded again"),
        (init("self.fc = None"), UsageError, "no parameter to train"),
        (init("sys.exit(0)"), CodeError, "SystemExit: 0"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_at_once(
    dataset: Path, tmp_path: Path, body: str, kind: type[SltuneError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        reports(tmp_path, dataset, body)
    assert said in str(caught.value)


@pytest.mark.parametrize("factor", ["float('nan')", "float('inf')", "1e30"])
def test_an_evaluation_without_a_finite_loss_ends_as_diverged(dataset: Path, tmp_path: Path, factor: str) -> None:
    (only,) = reports(tmp_path, dataset, forward(f"return rates if self.training else rates * {factor}"))
    assert only.status == "diverged"
    assert "the loss of an evaluation is" in only.error


def test_an_endless_loop_while_a_network_is_made_ends_with_its_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "MAX_BUILDING_SECONDS", 0.2)
    with pytest.raises(CodeError, match=r"has not ended after 0\.2 s; it is at line 16 of .*nets\.py"):
        reports(tmp_path, dataset, init("while True: pass"))


def statuses(folder: Path, dataset: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Evaluate two folds one after the other in one process; return what has become of each."""
    train_in_process(monkeypatch)
    run = RunFolder(folder / "run")
    with suppress(NothingRan):
        start(Evaluate(space(folder, body)), dataset, run, REQUEST, QUIET)
    return [(record.status, record.error) for record in run.records()]


def test_a_trial_finds_nothing_that_the_trial_before_has_changed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = init(
        "assert torch.get_float32_matmul_precision() == 'highest' and torch.is_grad_enabled() and not MADE",
        "torch.set_float32_matmul_precision('medium')",
        "MADE.append(self)",
        "os.chdir('/')",
    ) + forward("torch.set_grad_enabled(torch.is_grad_enabled() and self.training)\n        return rates")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert statuses(tmp_path, dataset, f"{body}MADE = []\n", monkeypatch) == [("done", ""), ("done", "")]
    assert Path.cwd() == tmp_path / "here"
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.is_grad_enabled()


def test_code_that_a_killed_start_has_left_is_no_part_of_a_run(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "run" / "code" / "other.py"
    left.parent.mkdir(parents=True)
    left.write_text("x = 1\n")
    assert statuses(tmp_path, dataset, "    pass\n", monkeypatch) == [("done", ""), ("done", "")]
    run = RunFolder(tmp_path / "run")
    assert copied_code(run.code, read_info(run).code).load("nets.py:Net").__name__ == "Net"


def test_exit_in_a_network_fails_its_trial_with_a_trace(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = statuses(tmp_path, dataset, forward("sys.exit(0)"), monkeypatch)
    assert [status for status, _ in found] == ["failed", "failed"]
    assert f'File "{tmp_path}/nets.py", line 16, in forward' in found[0][1]


def test_the_trace_of_an_error_is_shortened(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = statuses(tmp_path, dataset, forward("raise ValueError('x' * 10**6)"), monkeypatch)
    assert len(found[0][1]) <= 100_000

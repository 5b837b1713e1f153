"""A run whose compiled kernels err trains as with the reference, and says so once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.settings.space import Space
from sltune.snn import backends, kernel_check
from sltune.snn.cpu.kernels import neurons as kernels
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.preparation import start
from tests.small import quick
from tests.tuning.in_process import REQUEST, train_in_process

SPIKES = 3
"""Their place among the kernel's arguments."""


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    for kept in (backends._load, kernel_check._check):
        kept.cache_clear()
    yield
    for kept in (backends._load, kernel_check._check):
        kept.cache_clear()


def trained(dataset: Path, folder: Path) -> tuple[list[Any], str]:
    """Return what two trials measured, and what was said."""
    said = io.StringIO()
    space = Space.of(quick(evaluation__folds=2, training__epochs=2))
    start(Evaluate(space), dataset, RunFolder(folder), REQUEST, Display(Console(file=said, width=2000), "lines"))
    return [record.metrics for record in RunFolder(folder).records()], said.getvalue()


@pytest.mark.filterwarnings("ignore:the compiled kernel")
def test_a_run_with_kernels_that_err_is_the_references_and_says_so_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_process(monkeypatch)
    monkeypatch.setenv(backends.CHOICE, "reference")
    expected, said = trained(dataset, tmp_path / "reference")
    assert "compiled kernel" not in said
    monkeypatch.delenv(backends.CHOICE)
    kernel_check._check.cache_clear()
    right = kernels.neurons_forward

    def err(*arguments: Any) -> None:
        right(*arguments)
        arguments[SPIKES][...] = 0

    monkeypatch.setattr(kernels, "neurons_forward", err)
    metrics, said = trained(dataset, tmp_path / "erring")
    assert [one.test_accuracy for one in metrics] == [one.test_accuracy for one in expected]
    assert [one.test_loss for one in metrics] == pytest.approx([one.test_loss for one in expected])
    (line,) = [line for line in said.splitlines() if "compiled kernel" in line]
    assert "the compiled kernel of layer is replaced by plain torch" in line

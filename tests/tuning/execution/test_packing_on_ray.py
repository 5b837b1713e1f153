"""Shares of GPUs and of cores that are measured before a run: real threads, and GPUs that exist only in Ray's books."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.settings.space import Space, parse_space
from sltune.tuning.cluster.resources import Request
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.execution import executor, probing
from sltune.tuning.execution import worker as trial
from sltune.tuning.preparation import start
from sltune.tuning.trial.pace import Measured, own_bytes
from sltune.tuning.trial.report import Report
from tests.small import quick
from tests.tuning.clusters import ray_here

pytestmark = pytest.mark.processes

GB = 10**9


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    with ray_here(num_cpus=4, num_gpus=2, store_mib=200):
        yield


def run(tmp_path: Path, dataset: Path, request: Request, **settings: object) -> tuple[RunFolder, str]:
    """Evaluate; returns the run's folder and what was said."""
    folder, console = RunFolder(tmp_path / "run"), Console(stderr=True, width=500, record=True)
    start(Evaluate(space(**settings)), dataset, folder, request, Display(console, "lines"))
    return folder, console.export_text()


def space(**settings: object) -> Space:
    import tomlkit

    return parse_space(tomlkit.dumps(quick(**settings).model_dump(mode="json")), "test")


@pytest.mark.slow
def test_each_trial_gets_the_cores_with_which_trials_are_fastest_in_total(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "MEASURE_S", 0.5)
    request = Request(device="cpu", cpus_per_trial=None)
    folder, said = run(tmp_path, dataset, request, evaluation__folds=2)
    words = re.search(
        r"each trial gets (\d) CPUs; .* samples/s in total: 1: (\S+), 2: (\S+), [\d.e+-]+ of \S+ GB", said
    )
    assert words is not None, said
    one, two = float(words[2]), float(words[3])
    # Two trials of two cores each, or one of all four.
    expected = 4 if one > 0.965 * two else 2
    # The digits that are said are rounded.
    assert int(words[1]) == expected or one == pytest.approx(0.97 * two, rel=0.01)
    assert {record.device.num_cpus for record in folder.records()} == {int(words[1])}
    assert {record.status for record in folder.records()} == {"done"}


def fake_gpus(monkeypatch: pytest.MonkeyPatch, each_gb: int, row_gb: int) -> None:
    """Let trials on a GPU take so much of its 80 GB while they are measured, and row_gb when they train."""

    # Defined here, so that Ray sends the classes themselves to the workers and not their names.
    class Prober(probing._Prober):
        def prepare(self) -> None:
            assert os.environ["CUDA_VISIBLE_DEVICES"], "it holds a part of a GPU"

        def measure(self, seconds: float) -> Measured:
            return Measured(100, 1.0, each_gb * GB, 80 * GB, (each_gb - 1) * GB)

    class Worker(trial.TrialWorker):
        def _run(self) -> Iterator[Report]:
            row = {"epoch": 1, "val_accuracy": 1.0, "samples_per_second": 1.0, "seconds": 1.0}
            yield Report("running", rows=[{**row, "device_memory_bytes": row_gb * GB}])
            yield Report("done", metrics={"test_accuracy": 1.0, "val_accuracy": 1.0})

    monkeypatch.setattr(probing, "_Prober", Prober)
    monkeypatch.setattr(executor, "TrialWorker", Worker)


def test_trials_that_come_after_one_that_takes_more_memory_get_a_larger_share(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, each_gb=30, row_gb=60)
    folder, said = run(tmp_path, dataset, Request(max_concurrent=1))
    assert "each trial gets 0.5 GPUs; trials beside each other and their samples/s in total: 1: 100, 2: 200" in said
    assert "a trial takes 60 GB of a GPU: further ones get 1 GPUs each" in said
    assert [record.device.num_gpus for record in folder.records()] == [0.5, 1.0, 1.0, 1.0]


def test_a_gpu_that_torch_cannot_see_is_left_to_the_trial_to_report(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sltune.errors import NothingRan

    monkeypatch.setattr(probing, "READY_S", 60.0)
    with pytest.raises(NothingRan, match=r"holds GPU .* but torch .* sees none"):
        run(tmp_path, dataset, Request(max_concurrent=1))


def test_the_memory_of_a_process_grows_by_what_it_allocates() -> None:
    before = own_bytes()
    held = torch.ones(50 << 20)
    assert own_bytes() - before >= 0.9 * held.nbytes

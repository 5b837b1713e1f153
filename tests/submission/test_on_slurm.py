"""Jobs on a real Slurm of two nodes: time limits, cancellation, lost nodes, two jobs on one node."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from sltune.runs.folder import RunFolder
from tests.small import quick
from tests.submission.local_slurm import LocalSlurm, local_slurm, separate_nodes
from tests.tuning.clusters import PATIENCE_S, ended, sltune, wait_for

pytestmark = pytest.mark.slow

EPOCHS = 60
LONG = ("--set", "training.epochs=250")
"""Longer than two time limits of three minutes, less than three."""
SLOW = """
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self, frame_shape, classes):
        super().__init__()
        self.fc = nn.Linear(frame_shape[0] * frame_shape[1] * frame_shape[2], classes)

    def forward(self, frames):
        # Epochs take the same time on any machine, so that time limits come in the middle of trials.
        time.sleep(0.05)
        return self.fc(frames.flatten(2).float())
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[LocalSlurm]:
    with local_slurm(tmp_path / "slurm") as cluster:
        yield cluster


@pytest.fixture
def space(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(SLOW)
    file = tmp_path / "space.toml"
    configuration = quick(network__name="nets.py:Slow", sampling__train_crop="random", training__epochs=EPOCHS)
    tables: dict[str, Any] = configuration.model_dump(mode="json")
    tables["network"] = {"name": "nets.py:Slow"}
    file.write_text(tomlkit.dumps(tables))
    return file


def words(space: Path, dataset: Path, run: RunFolder, *more: str) -> tuple[object, ...]:
    trials = ("--max-concurrent", "1", "--checkpoint-minutes", "0", "--device", "cpu")
    return ("evaluate", space, "--data", dataset, "--results", run.root.parent, "--run", run.root.name, *trials, *more)


def results(folder: RunFolder) -> dict[str, dict[str, Any]]:
    return {record.key.name: record.metrics for record in folder.records()}


def table(run: RunFolder, slurm: LocalSlurm) -> list[str]:
    """Return the table of a run without what it is called."""
    lines = slurm.call("sltune", "report", run.root, "--format", "csv").splitlines()
    return [line.replace(run.root.name, "RUN") for line in lines]


def log(run: RunFolder) -> str:
    return "".join(file.read_text() for file in run.root.glob("slurm-*.log"))


def trains(run: RunFolder, slurm: LocalSlurm, job: str) -> None:
    """Wait until a run has trained some epochs."""
    file = run.trials / "c0000-f0-s0" / "checkpoint.pt"
    end = time.monotonic() + 600
    while not file.exists():
        facts = slurm.facts(job)
        assert facts["JobState"] in ("PENDING", "RUNNING"), (facts, log(run))
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_run_that_meets_its_time_limit_twice_ends_with_the_table_of_an_undisturbed_one(
    slurm: LocalSlurm, space: Path, dataset: Path, tmp_path: Path
) -> None:
    alone, run = RunFolder(tmp_path / "alone"), RunFolder(tmp_path / "results" / "a 'run' 50%")
    undisturbed = sltune(*words(space, dataset, alone, "-q", *LONG))
    job = slurm.submit("--time", "3", "--notice", "30", "--", *words(space, dataset, run, *LONG))
    end = time.monotonic() + 1200
    while int(slurm.facts(job)["Restarts"]) < 2:
        assert time.monotonic() < end, log(run)
        assert slurm.facts(job)["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"), log(run)
        time.sleep(1)
    # From here on, time is not what is tested.
    slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    slurm.wait_for(job, "COMPLETED")
    assert log(run).count("the job is requeued and goes on with the run") == 2
    ended(undisturbed, 0)
    assert results(run) == results(alone)
    assert table(run, slurm) == table(alone, slurm)


def test_a_cancelled_job_stays_cancelled_and_its_run_can_be_resumed(
    slurm: LocalSlurm, space: Path, dataset: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "results" / "run")
    job = slurm.submit("--time", "30", "--", *words(space, dataset, run))
    trains(run, slurm, job)
    slurm.call("scancel", job)
    slurm.wait_for(job, "CANCELLED")
    time.sleep(15)
    facts = slurm.facts(job)
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0")
    again = slurm.submit("--time", "30", "--", "resume", run.root, "--max-concurrent", "1")
    slurm.wait_for(again, "COMPLETED")
    assert len(results(run)) == 4


@pytest.mark.parametrize("what", ["the node", "its slurmd"])
def test_a_job_goes_on_elsewhere_when_its_node_is_lost(
    slurm: LocalSlurm, space: Path, dataset: Path, tmp_path: Path, what: str
) -> None:
    """Where only the daemon dies, training goes on unseen, and the second start waits until the first has ended."""
    run = RunFolder(tmp_path / "results" / "run")
    # Slurm takes some minutes to give up a node of which only the daemon is silent.
    longer = ["--set", "training.epochs=400"] if what == "its slurmd" else []
    job = slurm.submit("--time", "30", "--", *words(space, dataset, run), *longer)
    trains(run, slurm, job)
    node = slurm.facts(job)["BatchHost"]
    everything = slurm.processes(node)
    for number in everything if what == "the node" else everything[:1]:
        os.kill(number, signal.SIGKILL)
    facts = slurm.wait_for(job, "COMPLETED")
    assert facts["Restarts"] == "1"
    assert facts["BatchHost"] != node
    assert len(results(run)) == 4
    assert ("still works on the run" in log(run)) == (what == "its slurmd")


def test_two_jobs_of_a_user_share_a_node(slurm: LocalSlurm, space: Path, dataset: Path, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / "results" / name) for name in ("one", "two")]
    here = ("--time", "30", "--cpus-per-task", "1", "--sbatch=--nodelist=n1")
    few = ("--set", "training.epochs=40")
    jobs = [slurm.submit(*here, "--", *words(space, dataset, run, *few)) for run in runs]
    for run, job in zip(runs, jobs, strict=True):
        trains(run, slurm, job)
    assert {slurm.facts(job)["JobState"] for job in jobs} == {"RUNNING"}
    for job in jobs:
        assert slurm.wait_for(job, "COMPLETED")["BatchHost"] == "n1"
    assert results(runs[0]) == results(runs[1])


def test_a_second_job_for_a_run_is_refused_while_the_first_works_on_it(
    slurm: LocalSlurm, space: Path, dataset: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "results" / "run")
    first = slurm.submit("--time", "30", "--", *words(space, dataset, run))
    trains(run, slurm, first)
    second = slurm.submit("--time", "30", "--", "resume", run.root)
    assert slurm.wait_for(second, "FAILED")["ExitCode"] == "7:0"
    wait_for(lambda: "in use by process" in log(run))
    slurm.call("scancel", first)
    slurm.wait_for(first, "CANCELLED")


def test_a_job_of_two_nodes_with_addresses_of_their_own_trains_on_both(
    space: Path, dataset: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "results" / "run")
    trials = ("--cpus-per-trial", "2", "--checkpoint-minutes", "0", "--device", "cpu")
    whole = ("evaluate", space, "--data", dataset, "--results", run.root.parent, "--run", run.root.name, *trials)
    with separate_nodes() as places, local_slurm(tmp_path / "slurm", places) as slurm:
        job = slurm.submit("--time", "30", "--nodes", "2", "--cpus-per-task", "2", "--", *whole)
        trains(run, slurm, job)
        # As Slurm does before a time limit.
        slurm.call("scancel", "--batch", "--signal=USR1", job)
        end = time.monotonic() + PATIENCE_S
        while slurm.facts(job)["Restarts"] != "1":
            assert time.monotonic() < end, log(run)
            time.sleep(0.5)
        slurm.wait_for(job, "COMPLETED")
        assert len(results(run)) == 4
        assert "4 of 4 CPUs" in log(run)

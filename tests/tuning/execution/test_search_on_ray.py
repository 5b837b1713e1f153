"""Searches as a user runs them: real commands, real clusters, real kills."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import tomlkit
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.record import Record
from sltune.settings.space import load_space
from sltune.tuning.campaign.storage import open_storage
from tests.small import quick
from tests.test_extending_page import CODE, SETTINGS
from tests.tuning.clusters import PROMPT_S, cluster, ended, ray_here, sltune, wait_for, workers_below

pytestmark = pytest.mark.processes

ONE_AT_A_TIME = ("--device", "cpu", "--max-concurrent", "1", "--checkpoint-minutes", "0")
CONFIGURATIONS = 5


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Neurons of a small network, on 4 folds; long enough trials to be killed in."""
    return write_space(tmp_path / "space.toml", epochs=6, trials=CONFIGURATIONS)


NETS = """
from torch import nn
from sltune import snn

class Tiny(snn.Sequential):
    def __init__(self, frame_shape, classes, decay):
        height, width = frame_shape[1:]
        super().__init__(nn.Flatten(2), snn.Dense(2 * height * width, classes), snn.LIF(decay=decay))
"""


def write_space(file: Path, epochs: int, trials: int, **settings: object) -> Path:
    base = {"network__name": "slanimals", "sampling__train_crop": "random", "training__epochs": epochs}
    tables = quick(**{**base, **settings}).model_dump(mode="json")
    tables["neuron"]["decay"] = {"low": 0.1, "high": 0.9}
    tables["training"]["learning_rate"] = {"low": 1e-4, "high": 1e-2, "log": True}
    tables["search"] = {"trials": trials, "sampler": "tpe"}
    file.write_text(tomlkit.dumps(tables))
    return file


def results(folder: RunFolder) -> dict[str, tuple[str, dict[str, Any], str]]:
    return {record.key.name: (record.status, record.metrics, record.error) for record in folder.records()}


def study_of(folder: RunFolder) -> list[tuple[object, ...]]:
    name = read_info(folder).study.name
    study = optuna.load_study(study_name=name, storage=open_storage(folder.study_journal))
    return [(t.number, t.state.name, t.params, t.values, t.intermediate_values) for t in study.get_trials()]


def once_each(records: list[Record], configurations: int) -> None:
    """Every training has one record, and each configuration has been through the first folds without a gap."""
    found: dict[str, list[int]] = {f"c{number:04d}": [] for number in range(configurations)}
    for record in sorted(records, key=lambda record: record.key):
        found[record.config_id].append(record.fold)
        assert record.status in ("done", "diverged", "pruned")
    assert all(folds == list(range(len(folds))) and folds for folds in found.values())
    assert sum(len(folds) == 4 for folds in found.values()) >= min(3, configurations)


def epochs_are_whole(folder: RunFolder, epochs: int) -> None:
    for record in folder.records():
        if record.status == "done":
            rows = folder.trial(record.key).epochs_csv.read_text().splitlines()[1:]
            assert [int(row.partition(",")[0]) for row in rows] == list(range(1, epochs + 1))
            assert not folder.trial(record.key).checkpoint.exists()


@pytest.fixture
def undisturbed(dataset: Path, space: Path, tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "undisturbed")
    ended(sltune("tune", space, "--data", dataset, "--results", tmp_path, "--run", folder.root.name, *ONE_AT_A_TIME), 0)
    once_each(folder.records(), CONFIGURATIONS)
    return folder


def kills(folder: RunFolder, process: subprocess.Popen[str], who: str, after_epochs: int) -> None:
    """Kill the driver or the worker once so many epochs in all have been written."""
    wait_for(lambda: _epochs(folder) >= after_epochs, process)
    victim = process.pid if who == "driver" else workers_below(process.pid)[0]
    os.kill(victim, signal.SIGKILL)


def _epochs(folder: RunFolder) -> int:
    return sum(max(0, len(file.read_bytes().splitlines()) - 1) for file in folder.trials.glob("*/epochs.csv"))


def test_a_search_that_is_killed_and_interrupted_ends_as_an_undisturbed_one(
    dataset: Path, space: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    folder = RunFolder(tmp_path / "stopped")
    arguments = ("tune", space, "--data", dataset, "--results", tmp_path, "--run", "stopped", *ONE_AT_A_TIME)
    process = sltune(*arguments)
    kills(folder, process, "driver", after_epochs=9)
    process.communicate()

    # The same command again must not begin anew.
    assert f"this run exists; go on with it by: sltune resume {folder.root}" in ended(sltune(*arguments), 2)

    process = sltune("resume", folder.root, *ONE_AT_A_TIME)
    kills(folder, process, "worker", after_epochs=20)
    wait_for(lambda: _epochs(folder) >= 32, process)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    said = ended(process, 130)
    assert time.monotonic() - began < PROMPT_S
    assert f"go on with: sltune resume {folder.root}" in said

    ended(sltune("resume", folder.root, *ONE_AT_A_TIME), 0)
    assert results(folder) == results(undisturbed)
    assert study_of(folder) == study_of(undisturbed)
    assert folder.best_toml.read_text().split("\n", 1)[1] == undisturbed.best_toml.read_text().split("\n", 1)[1]
    epochs_are_whole(folder, 6)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["driver", "worker"])
def test_ten_kills_at_random_moments_change_nothing(
    dataset: Path, space: Path, tmp_path: Path, undisturbed: RunFolder, who: str
) -> None:
    folder = RunFolder(tmp_path / "killed")
    process = sltune("tune", space, "--data", dataset, "--results", tmp_path, "--run", "killed", *ONE_AT_A_TIME)
    wait_for(folder.run_json.exists, process)
    # Kills every 6 epochs or so; which write they hit is up to chance.
    for kill in range(10):
        while _epochs(folder) < 6 * kill + 1 and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3 * (kill % 4))
        if process.poll() is None:
            if who == "driver":
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                process = sltune("resume", folder.root, *ONE_AT_A_TIME)
            elif victims := workers_below(process.pid):
                os.kill(victims[0], signal.SIGKILL)
    ended(process, 0)
    assert results(folder) == results(undisturbed)
    assert study_of(folder) == study_of(undisturbed)
    epochs_are_whole(folder, 6)


@pytest.mark.slow
def test_ten_raylets_that_are_killed_change_nothing(
    dataset: Path, space: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    folder = RunFolder(tmp_path / "killed")
    with cluster("--num-cpus=0") as add:
        node = add("--num-cpus=1")
        process = sltune(
            *("tune", space, "--data", dataset, "--results", tmp_path, "--run", "killed", "--address", node.address),
            *ONE_AT_A_TIME,
        )
        for kill in range(10):
            while _epochs(folder) < 5 * kill + 1 and process.poll() is None:
                time.sleep(0.02)
            if process.poll() is None:
                os.kill(node.raylet(), signal.SIGKILL)
                node = add("--num-cpus=1")
        ended(process, 0)
    assert results(folder) == results(undisturbed)
    assert study_of(folder) == study_of(undisturbed)
    epochs_are_whole(folder, 6)


def test_two_hosts_without_a_shared_disk_of_which_one_dies_and_another_comes(dataset: Path, tmp_path: Path) -> None:
    """The workers see neither dataset, run folder nor the user's network; GPUs exist in Ray's books only."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("hiding folders from a process takes root, for a mount namespace")
    results_folder, home = tmp_path / "results", tmp_path / "home"
    results_folder.mkdir()
    home.mkdir()
    (home / "nets.py").write_text(NETS)
    # One trial at a time on a node, so that many are left once the third is there.
    space = write_space(home / "space.toml", epochs=20, trials=5)
    tables = tomlkit.parse(space.read_text())
    tables["network"] = {"name": "nets.py:Tiny", "options": {"decay": tables.pop("neuron")["decay"]}}
    space.write_text(tomlkit.dumps(tables))
    hidden = (dataset, results_folder, home)
    node = ("--num-cpus=1", "--num-gpus=1")
    with cluster("--num-cpus=0") as add:
        first, second = add(*node, hidden=hidden), add(*node, hidden=hidden)
        folder = RunFolder(results_folder / "run")
        process = sltune(
            *("tune", space, "--data", dataset, "--results", results_folder, "--run", "run"),
            *("--address", first.address, "--device", "cpu", "--gpus-per-trial", "0.5", "--cpus-per-trial", "1"),
            *("--checkpoint-minutes", "0"),
        )
        wait_for(lambda: len(nodes_of(folder)) == 2, process)
        first.kill()
        add(*node, hidden=hidden)
        said = ended(process, 0)
        assert second.raylet() > 0
    records = folder.records()
    once_each(records, 5)
    assert len(nodes_of(folder)) == 3
    assert {record.device.num_gpus for record in records if record.was_trained} == {0.5}
    assert (folder.code / "nets.py").read_text() == NETS
    assert len({record.settings["network.options.decay"] for record in records}) == 5
    epochs_are_whole(folder, 20)
    assert f"best by validation: {read_info(folder).best}" in said


def nodes_of(folder: RunFolder) -> set[str]:
    return {record.device.node for record in folder.records() if record.was_trained}


def test_a_raylet_that_is_killed_costs_at_most_an_epoch(dataset: Path, tmp_path: Path) -> None:
    space = write_space(tmp_path / "space.toml", epochs=30, trials=1)
    with cluster("--num-cpus=0") as add:
        first = add("--num-cpus=1")
        folder = RunFolder(tmp_path / "run")
        process = sltune(
            *("tune", space, "--data", dataset, "--results", tmp_path, "--run", "run", "--address", first.address),
            *("--device", "cpu", "--checkpoint-minutes", "0", "--json"),
        )
        wait_for(lambda: _epochs(folder) >= 10, process)
        os.kill(first.raylet(), signal.SIGKILL)
        add("--num-cpus=1")
        said = ended(process, 0)
    once_each(folder.records(), 1)
    epochs_are_whole(folder, 30)
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    begun = [event["epoch"] for event in events if event["event"] == "epoch" and event["trial"] == "c0000-f0-s0"]
    # It went on after the last checkpoint that had reached the driver.
    assert len(begun) <= 30 + 2


@pytest.mark.slow
def test_a_worker_that_is_silent_for_longer_than_the_flag_allows_is_replaced(dataset: Path, tmp_path: Path) -> None:
    space = write_space(tmp_path / "space.toml", epochs=30, trials=1)
    folder = RunFolder(tmp_path / "run")
    process = sltune(
        *("tune", space, "--data", dataset, "--results", tmp_path, "--run", "run"),
        *("--hang-minutes", "0.2", *ONE_AT_A_TIME),
    )
    wait_for(lambda: _epochs(folder) >= 5, process)
    (victim,) = workers_below(process.pid)
    os.kill(victim, signal.SIGSTOP)
    said = ended(process, 0)
    assert "its worker was lost: started again" in said
    once_each(folder.records(), 1)
    assert victim not in {record.device.pid for record in folder.records()}


@pytest.fixture
def ray_of_this_process() -> Iterator[None]:
    with ray_here(num_cpus=2):
        yield


def in_process(*arguments: object, exit_code: int = 0) -> Result:
    """Run a command on the Ray of this process."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == exit_code, result.stderr
    return result


def test_what_a_search_leaves_can_be_confirmed_reported_and_built_upon(
    dataset: Path, tmp_path: Path, ray_of_this_process: None
) -> None:
    space = write_space(tmp_path / "space.toml", epochs=2, trials=6, network__name="nmnist-mlp2", evaluation__folds=2)
    folder = RunFolder(tmp_path / "run")
    few = ("--results", tmp_path, "--device", "cpu", "--max-concurrent", "1")
    on = ("--data", dataset, *few)
    searched = in_process("tune", space, *on, "--run", "run")
    table, said = searched.stdout, searched.stderr
    best = read_info(folder).best
    accuracies = {
        config_id: [r.metrics.val_accuracy for r in folder.records() if r.config_id == config_id]
        for config_id in {r.config_id for r in folder.records()}
        if all(r.status == "done" for r in folder.records() if r.config_id == config_id)
    }
    assert sum(accuracies[best]) == max(map(sum, accuracies.values()))
    assert f"run/{best}" in table
    assert not any(f"run/{other}" in table for other in accuracies if other != best)
    settings = load_space(folder.best_toml)
    assert not settings.domains
    assert settings.configuration().model_dump(mode="json") == next(
        record.config for record in folder.records() if record.config_id == best
    )

    # The command that it prints confirms the winner with seeds that it never saw.
    command = next(line for line in said.splitlines() if line.startswith("confirm it")).partition("sltune ")[2]
    in_process(*shlex.split(command), *few, "--run", "confirmed")
    confirmed = RunFolder(tmp_path / "confirmed").records()
    assert {record.seed for record in confirmed} == {1, 2, 3}
    assert all(
        {**record.config, "evaluation": 0} == {**settings_of(folder, best), "evaluation": 0} for record in confirmed
    )

    # More configurations, and another search that knows these.
    in_process("resume", folder.root, "--trials", "8", "--device", "cpu", "--max-concurrent", "1")
    assert len({record.config_id for record in folder.records()}) == 8
    assert "has 8 configurations already" in in_process("resume", folder.root, "--trials", "3", exit_code=2).stderr
    complete = sum(state == "COMPLETE" for _, state, *_ in study_of(folder))
    learned = in_process("tune", space, *on, "--run", "next", "--from", folder.root, "--set", "search.trials=1")
    assert f"learned from {complete} configurations" in learned.stderr
    states = [state for _, state, *_ in study_of(RunFolder(tmp_path / "next"))]
    assert states[:complete] == ["COMPLETE"] * complete
    assert len(states) == complete + 1
    changed = ("--from", folder.root, "--set", "training.epochs=3")
    other = in_process("tune", space, *on, "--run", "other", *changed, exit_code=2)
    assert "training.epochs is not the same" in other.stderr


def settings_of(folder: RunFolder, config_id: str) -> dict[str, Any]:
    return next(record.config for record in folder.records() if record.config_id == config_id)


@pytest.mark.slow
def test_a_search_with_everything_of_the_users_goes_on_from_its_own_copy(dataset: Path, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", RunFolder(tmp_path / "own")
    home.mkdir()
    for name, text in CODE.items():
        (home / name).write_text(text)
    tables = quick(training__epochs=2).model_dump(mode="json")
    for text in SETTINGS:
        for table, settings in tomllib.loads(text).items():
            tables.setdefault(table, {}).update(settings)
    tables["search"] |= {"strategy": "full", "trials": 2}
    tables["evaluation"]["folds"] = 2
    (home / "space.toml").write_text(tomlkit.dumps(tables))
    arguments = (home / "space.toml", "--data", dataset, "--results", tmp_path, "--run", "own", *ONE_AT_A_TIME)
    said = ended(sltune("tune", *arguments), 0)
    assert said.count("neurons run step by step in plain torch") == 1
    shutil.rmtree(home)
    ended(sltune("resume", folder.root, "--trials", "3", *ONE_AT_A_TIME), 0)
    records = folder.records()
    assert [(record.key.name, record.status) for record in records] == [
        (f"c000{number}-f{fold}-s0", "done") for number in range(3) for fold in range(2)
    ]
    # What the sampler of the page draws: 1/3, 2/3 and 1/9 of the way from 0.1 to 0.9.
    decays = [record.settings["neuron.decay"] for record in records if record.fold == 0]
    assert decays == pytest.approx([0.1 + 0.8 * part for part in (1 / 3, 2 / 3, 1 / 9)])
    assert all(record.metrics.own["top(k=2)"] == 1 for record in records)
    assert {record.versions["code"] for record in records} == {load_space(folder.space_toml).code.digest}

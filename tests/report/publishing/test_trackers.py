"""Runs sent to MLflow's own server and to W&B offline, each installed into an environment of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import sltune
from tests.report.publishing.test_publish import EPOCHS, write
from tests.written_runs import make_record

pytestmark = [pytest.mark.slow, pytest.mark.processes]

ROOT = Path(sltune.__file__).parents[1]
CONTENT = """
import json, sys
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
(experiment,) = [one for one in client.search_experiments() if one.name == "paper"]
runs = client.search_runs([experiment.experiment_id])
names = {run.info.run_id: run.info.run_name for run in runs}
print(json.dumps({run.info.run_name: {
    "parent": names.get(run.data.tags.get("mlflow.parentRunId")),
    "status": run.info.status,
    "params": run.data.params,
    "tags": {name: text for name, text in run.data.tags.items() if name.startswith("sltune.")},
    "figures": sorted([key, one.step, one.value] for key in run.data.metrics
                      for one in client.get_metric_history(run.info.run_id, key)),
    "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
    "id": run.info.run_id,
} for run in runs}))
assert len(names) == len(set(names.values())), names
"""


def environment(place: Path, extra: str) -> Path:
    """Make a virtual environment with what an extra of sltune's asks for, and behind it what this process has."""
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    subprocess.run([place / "bin" / "python", "-m", "pip", "install", "-q", *wanted], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "behind.pth").write_text("\n".join([str(ROOT), *(path for path in sys.path if "site-packages" in path)]))
    return place / "bin"


def publish(tools: Path, run: Path, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [tools / "python", "-m", "sltune", "publish", run, "--to", target]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **variables}, cwd=run
    )


@contextmanager
def server(tools: Path, place: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", f"{place}/files"]
    command: list[str | Path] = [
        tools / "mlflow",
        "server",
        *store,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            assert process.poll() is None, (place / "log").read_text()
            time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(60)


def content(tools: Path, uri: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(tools, CONTENT, uri))
    return found


def output(tools: Path, code: str, argument: object) -> str:
    """Return what Python prints there."""
    command: list[str | Path] = [tools / "python", "-c", code, str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_a_server_of_mlflow_has_each_trial_once_however_often_publishing_was_killed(tmp_path: Path) -> None:
    tools, run = environment(tmp_path / "env", "mlflow"), write(tmp_path / "paper", folds=2, versions={"torch": "2"})
    nobody = publish(tools, run, "mlflow:http://127.0.0.1:9")
    assert nobody.returncode == 2
    assert "mlflow:http://127.0.0.1:9: does not take the run" in nobody.stderr
    assert "Traceback" not in nobody.stderr
    with server(tools, tmp_path) as uri:
        assert publish(tools, run, f"mlflow:{uri}").returncode == 0
        early = content(tools, uri)
        write(run, versions={"torch": "2"})
        command: list[str | Path] = [tools / "python", "-m", "sltune", "publish", run, "--to", f"mlflow:{uri}"]
        for seconds in (3.0, 4.0, 5.0, 6.0, 8.0):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()
            process.wait()
        last = publish(tools, run, f"mlflow:{uri}")
        assert last.returncode == 0, last.stderr
        found = content(tools, uri)
        again = publish(tools, run, f"mlflow:{uri}")
        assert "0 configurations and trials; 4 were there already" in again.stderr
        assert content(tools, uri) == found
    assert {name: one["id"] for name, one in early.items()}.items() <= {
        n: one["id"] for n, one in found.items()
    }.items()
    parent, trial = found.pop("paper/c0000"), found["paper/c0000-f1-s0"]
    assert sorted(found) == [f"paper/c0000-f{fold}-s0" for fold in range(3)]
    assert {one["parent"] for one in found.values()} == {"paper/c0000"}
    assert [point for point in trial["figures"] if not point[0].startswith("final/")] == [
        ["accuracy/val", 1, 0.25], ["accuracy/val", 2, 0.5], ["loss/train", 1, 1.5], ["loss/train", 2, 1.25]
    ]  # fmt: skip
    means = [point for point in parent["figures"] if point[0] == "mean/test_accuracy"]
    assert means == [["mean/test_accuracy", 2, 0.5625], ["mean/test_accuracy", 3, 0.625]]
    assert parent["params"] == trial["params"] == {
        "evaluation.protocol": "train-val-test", "evaluation.sessions": '["S1", "S2", "S3", "S4"]'
    }  # fmt: skip
    assert (parent["status"], parent["files"], trial["status"]) == ("FINISHED", ["report.html"], "FINISHED")


def test_wandb_offline_has_each_trial_once_with_nothing_of_this_machine(tmp_path: Path) -> None:
    tools, run, kept = environment(tmp_path / "env", "wandb"), write(tmp_path / "paper"), tmp_path / "w" / "wandb"
    place = {"WANDB_MODE": "offline", "WANDB_DIR": str(kept.parent)}
    kept.parent.mkdir()
    for _ in range(2):
        done = publish(tools, run, "wandb:team/signs", **place)
        assert done.returncode == 0, done.stderr
        assert done.stderr.endswith("published: paper, 4 configurations and trials\n")
    found = content_offline(tools, kept)
    trial = found["paper/c0000-f1-s0"]
    assert (trial["group"], trial["job"], trial["project"], trial["entity"]) == (
        "paper/c0000",
        "trial",
        "signs",
        "team",
    )
    assert trial["history"] == [
        {"_step": 1, "accuracy/val": 0.25, "loss/train": 1.5}, {"_step": 2, "accuracy/val": 0.5, "loss/train": 1.25}
    ]  # fmt: skip
    assert trial["summary"]["final/test_accuracy"] == 0.625
    assert trial["config"]["evaluation.protocol"] == "train-val-test"
    assert found["paper/c0000"]["summary"]["std/test_accuracy"] == 0.125
    assert not any(socket.gethostname().encode() in file.read_bytes() for file in kept.glob("*/run-*.wandb"))


def test_wandb_offline_has_each_trial_once_after_kills_and_a_repeated_trial(tmp_path: Path) -> None:
    tools, run, kept = environment(tmp_path / "env", "wandb"), write(tmp_path / "paper"), tmp_path / "w" / "wandb"
    place = {"WANDB_MODE": "offline", "WANDB_DIR": str(kept.parent)}
    kept.parent.mkdir()
    assert publish(tools, run, "wandb:team/signs", **place).returncode == 0
    trial = run / "trials/c0000-f1-s0"
    (trial / "epochs.csv").write_text(EPOCHS.replace("0.25", "0.375"))
    (trial / "record.json").write_text(json.dumps(make_record(1, 0.25, best_epoch=2)))
    command: list[str | Path] = [tools / "python", "-m", "sltune", "publish", run, "--to", "wandb:team/signs"]
    for begun in (1, 3, 4):
        before = set(kept.glob("*/run-*.wandb"))
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **place}, cwd=run)
        while process.poll() is None and len({*kept.glob("*/run-*.wandb")} - before) < begun:
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -9
    assert len([*kept.glob("*/run-*.wandb")]) > 4
    assert publish(tools, run, "wandb:team/signs", **place).returncode == 0
    found = content_offline(tools, kept)
    assert sorted(found) == ["paper/c0000", *(f"paper/c0000-f{fold}-s0" for fold in range(3))]
    assert [row["accuracy/val"] for row in found["paper/c0000-f1-s0"]["history"]] == [0.375, 0.5]
    assert [len(one["history"]) for one in found.values()].count(2) == 3
    assert found["paper/c0000"]["summary"]["mean/test_accuracy"] == 0.5


def content_offline(tools: Path, kept: Path) -> dict[str, Any]:
    """Return what W&B's folder has of each run by its name; no two have the same."""
    read = [json.loads(output(tools, READ, file)) for file in sorted(kept.glob("offline-run-*/run-*.wandb"))]
    found = {one["name"]: one for one in read}
    assert len(found) == len(read), [one["name"] for one in read]
    return found


READ = """
import json, sys
from wandb.proto import wandb_internal_pb2
content = open(sys.argv[1], "rb").read()
# The log of LevelDB: a header of 7 bytes, then blocks of 32 KB with records that may go on in the next block.
place, whole, found = 7, b"", {"history": [], "summary": {}, "config": {}}
while place + 7 <= len(content):
    if 32768 - place % 32768 < 7:
        place += 32768 - place % 32768
        continue
    length, kind = int.from_bytes(content[place + 4:place + 6], "little"), content[place + 6]
    whole += content[place + 7:place + 7 + length]
    place += 7 + length
    if kind not in (1, 4):
        continue
    record = wandb_internal_pb2.Record.FromString(whole)
    whole = b""
    if record.HasField("run"):
        run = record.run
        found |= {"name": run.display_name, "group": run.run_group, "job": run.job_type, "project": run.project,
                  "entity": run.entity}
        found["config"] |= {item.key: json.loads(item.value_json) for item in run.config.update}
    items = lambda some: {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in some}
    if record.HasField("history"):
        row = items(record.history.item)
        row = {name: value for name, value in row.items() if name not in ("_runtime", "_timestamp")}
        found["history"].append(row | {"_step": record.history.step.num})
    if record.HasField("summary"):
        found["summary"] |= items(record.summary.update)
print(json.dumps(found))
"""

"""What a report leaves out, as it is handed on: folders and hosts of the machines of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import sltune
from sltune.cli.main import main
from sltune.report.analysis.runs import load_runs
from sltune.report.provenance import reproduction
from sltune.runs.sharing import Sharing

Spec = dict[str, Any]
SHARING = Sharing(frozenset({"node7.lab.example", "node7"}), ("/data/my lab",))


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/ann/w/fold0.pt: cannot be read", "fold0.pt: cannot be read"),
        ('weights = "/home/ann/w.pt"', 'weights = "w.pt"'),
        ("'/data/my lab/set 1/a.parquet' is gone", "'set 1/a.parquet' is gone"),
        ('File "/usr/lib/python3/x.py", line 3, in <module>', 'File "x.py", line 3, in <module>'),
        ("cpu of node7.lab.example, of which", "cpu of a host, of which"),
        ("(on node node7)", "(on node a host)"),
        ("--checkpoints s3://bucket/ck: no access", "--checkpoints s3://... no access"),
        ("~/states/x is full", "x is full"),
        # What is no path and no host.
        ("results/run, 0.5 samples/s, 1 / 2 and node70", "results/run, 0.5 samples/s, 1 / 2 and node70"),
        ("<b>no memory</b>", "<b>no memory</b>"),
        ("the loss of batch 3 is nan", "the loss of batch 3 is nan"),
    ],
)
def test_of_paths_the_last_name_is_left(text: str, shared: str) -> None:
    assert SHARING.text(text) == shared


def test_a_command_keeps_what_means_the_same_elsewhere() -> None:
    typed = ["/opt/x/bin/sltune", "tune", "/home/a b/hills.toml", "--data=/data/my lab/set", "--run", "r", "-q"]
    places = ["--address", "10.0.0.7:6379", "--study-storage", "postgresql://db7/x", "--checkpoints=/mnt/ck"]
    assert SHARING.command([*typed, *places, "--set", "network.weights=/w/a.pt"]) == [
        *["sltune", "tune", "hills.toml", "--data=set", "--run", "r", "-q"],
        *["--address", "...", "--study-storage", "...", "--checkpoints=...", "--set", "network.weights=a.pt"],
    ]
    assert SHARING.command([]) == []


@pytest.fixture
def told_too_much(record: Callable[..., Spec], run_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A run of which every text that it may contain holds a host or the test's own folder."""
    config = {
        "evaluation": {"protocol": "train-val-test", "sessions": ["S1"]},
        "network": {"weights": f"{tmp_path}/w.pt"},
    }
    error = f'Traceback\n  File "{tmp_path}/x.py", line 1\n{tmp_path}/states/c: cannot be written on node7'
    device = {"name": "cpu", "host": "node7"}
    records = [
        record(0, 0.5, config=config, device=device),
        record(1, 0.25, config=config, device=device | {"host": "node8"}),
        record(2, status="failed", error=error, config=config, device=device),
    ]
    info: Spec = {
        "command": [f"{tmp_path}/bin/sltune", "tune", f"{tmp_path}/space.toml", "--address", "node9:6379"],
        "host": "node9.lab.example",
        "study": {"storage": f"sqlite:///{tmp_path}/study.db", "name": "paper"},
        "checkpoints": {"minutes": 5.0, "place": f"{tmp_path}/states", "run": "paper"},
    }
    folder = run_folder(records, kind="tune", best="c0000", steps=[[0, 0], [0, 1], [0, 2]], **info)
    run = (folder / "run.json").read_text().replace('"classes"', f'"path": "{tmp_path}/data/set", "classes"', 1)
    (folder / "run.json").write_text(run)
    for name in ("space.toml", "best.toml"):
        (folder / name).write_text(f'[network]\nweights = "{tmp_path}/w.pt"\n')
    return folder


def test_no_folder_and_no_host_is_in_what_a_report_writes(told_too_much: Path, tmp_path: Path) -> None:
    forms = ("md", "csv", "latex", "json", "html")
    for form in forms:
        result = CliRunner().invoke(main, ["report", str(told_too_much), "--format", form])
        assert result.exit_code == 0, result.output
        if form != "html":
            assert "node" not in result.stdout
            assert str(tmp_path) not in result.stdout
    written = [file for file in (told_too_much / "report").rglob("*") if file.is_file()]
    assert {file.name for file in written} >= {"table.md", "table.csv", "records.parquet", "report.html"}
    for file in written:
        for word in ("node7", "node8", "node9", str(tmp_path), str(tmp_path.parent.name)):
            assert word.encode() not in file.read_bytes(), (file, word)


def test_the_frame_in_the_report_has_numbers_for_hosts(told_too_much: Path) -> None:
    CliRunner().invoke(main, ["report", str(told_too_much)])
    frame = pd.read_parquet(told_too_much / "report" / "records.parquet")
    assert list(frame["host"]) == ["host 1", "host 2", "host 1"]
    assert set(frame["folder"]) == {"paper"}
    assert set(frame["network.weights"]) == {"w.pt"}
    own = sltune.load_records(told_too_much)
    assert list(own["host"]) == ["node7", "node8", "node7"]
    assert set(own["folder"]) == {str(told_too_much)}


def test_reproduction_is_typed_beside_the_run_and_its_data(told_too_much: Path) -> None:
    (run,) = load_runs([told_too_much])
    again, confirm, nested = reproduction(run)[-3:]
    assert again == "sltune tune paper/space.toml --data set --run paper-again"
    assert confirm.startswith("sltune evaluate paper/best.toml --data set --set ")
    assert nested == "sltune tune paper/space.toml --data set --nested --run paper-nested"

"""Runs that an earlier version has made are reported to the same bytes, followed, and gone on with.

``data/earlier_runs.zip`` holds a dataset, an evaluation and a search that have ended, and the same search as Ctrl-C has
left it, without weights and event files. ``data/earlier_reports`` holds what is printed of them.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sltune.cli.main import main
from tests.tuning.clusters import ended, sltune

DATA = Path(__file__).parent / "data"
REPORTS = sorted((DATA / "earlier_reports").glob("*.*"))


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    with zipfile.ZipFile(DATA / "earlier_runs.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def report(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["report", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def records(run: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in run.glob("trials/*/record.json")}


def results(run: Path) -> dict[str, tuple[Any, ...]]:
    """Give what each trial has come to, without times and places."""
    read = {name: json.loads(content) for name, content in records(run).items()}
    return {name: (record["status"], record["config"], record["metrics"]) for name, record in read.items()}


@pytest.mark.parametrize("expected", REPORTS, ids=lambda file: file.name)
def test_a_report_has_the_same_bytes(expected: Path, earlier: Path) -> None:
    name, _, form = expected.name.partition(".")
    run = earlier / {"stopped-search": "stopped/search", "best": "search"}.get(name, name)
    everything = ["--style", "full"] if name == "best" else ["--all"]
    assert report(run, "--format", form, *everything) == expected.read_text()


@pytest.mark.parametrize(("run", "ended"), [("evaluation", {"done": 4}), ("search", {"done": 60, "pruned": 4})])
def test_a_run_is_followed(run: str, ended: dict[str, int], earlier: Path) -> None:
    *_, last = report(earlier / run, "--watch", "--format", "json").splitlines()
    assert json.loads(last) == {"event": "end", "run": run, "trials": ended}


@pytest.mark.processes
@pytest.mark.slow
def test_runs_are_gone_on_with_and_come_to_the_same_results(earlier: Path) -> None:
    evaluation, search = earlier / "evaluation", earlier / "stopped" / "search"
    whole = results(evaluation)
    shutil.rmtree(evaluation / "trials" / "c0000-f1-s1")
    for run in (evaluation, search):
        before = records(run)
        ended(sltune("resume", run, "--data", earlier / "data", "--device", "cpu", "--max-concurrent", 1), 0)
        after = records(run)
        assert {name: after[name] for name in before} == before
    assert results(evaluation) == whole
    assert results(search) == results(earlier / "search")

"""The space files of the published results run to the table: both protocols, with and without session S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sltune.cli.main import main
from sltune.events.importing import import_source
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.synthetic.recordings import write_dataset
from sltune.runs.folder import RunFolder
from tests.tuning.clusters import ray_here

pytestmark = pytest.mark.processes

SPACES = Path(__file__).parent.parent.parent / "search_spaces"
# 10 recordings: folds of 2 or 3 signers, and 6 are left without S3.
RECORDINGS = 10
FULL, REDUCED = ["S1", "S2", "S3", "S4"], ["S1", "S2", "S4"]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_dataset(folder / "source", RECORDINGS, seed=3, signers="similar")
    import_source(open_slanimals(folder / "source"), folder / "data")
    return folder / "data"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_here(num_cpus=2, store_mib=700):
        yield


# By default each space with each protocol, and each choice of sessions with each protocol.
COMBINATIONS = [
    pytest.param(space, protocol, sessions, marks=pytest.mark.slow if is_slow else (), id=f"{space}-{protocol}-{kind}")
    for space in ("paper", "optimized")
    for protocol in ("train-val-test", "train-test")
    for kind, sessions in (("full", FULL), ("reduced", REDUCED))
    for is_slow in [(space == "paper") == ((protocol == "train-test") == (kind == "full"))]
]


@pytest.mark.parametrize(("space", "protocol", "sessions"), COMBINATIONS)
def test_a_published_setting_runs_to_the_table(
    synthetic: Path, tmp_path: Path, space: str, protocol: str, sessions: list[str]
) -> None:
    settings = {
        "sampling.downsample": 4,
        "training.epochs": 1,
        "evaluation.protocol": f'"{protocol}"',
        "evaluation.sessions": json.dumps(sessions),
    }
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run = [
        "evaluate",
        str(SPACES / f"{space}.toml"),
        "--data",
        str(synthetic),
        "--results",
        str(tmp_path),
        "--run",
        "r",
    ]
    result = CliRunner().invoke(main, [*run, *overrides, "--json", "--device", "cpu", "--max-concurrent", "1"])
    assert result.exit_code == 0, result.stderr

    table = json.loads(result.stdout)
    row = table["rows"][0]
    assert (row["protocol"], row["sessions"], row["n"], row["metric"]) == (protocol, sessions, 4, "test_accuracy")
    assert row["synthetic"]
    assert row["optimistic"] == (protocol == "train-test")
    published = {figure["method"]: figure for figure in table["published"]}
    assert published["STBP, ronichester"]["mean"] == (64.97 if sessions == FULL else 71.47)

    records = RunFolder(tmp_path / "r").records()
    used = {name for record in records for part in record.splits.values() for name in part}
    assert any(name.endswith("_indoor") for name in used) == (sessions == FULL)
    for record in records:
        assert bool(record.splits["val"]) == (protocol == "train-val-test")
        parts = [set(record.splits[part]) for part in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(used)
    assert sorted(name for record in records for name in record.splits["test"]) == sorted(used)

"""Data that no object store can hold are read by the trials themselves, from a bucket here, and change no result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from rich.console import Console

from sltune.errors import UsageError
from sltune.events import dataset as opening
from sltune.events.dataset import UnpackedFiles
from sltune.events.manifest import read_manifest
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.settings.space import Space
from sltune.system.remote import AnyPath, path_or_uri
from sltune.tuning.cluster import objects
from sltune.tuning.cluster.objects import share_dataset
from sltune.tuning.cluster.resources import Request
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.preparation import start
from tests.s3 import Bucket, serving
from tests.small import quick
from tests.tuning.clusters import ray_here
from tests.tuning.in_process import REQUEST, train_in_process

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    # Workers have the environment that Ray was started in.
    with serving() as found, ray_here(num_cpus=2):
        yield found


def facts(data: AnyPath, folder: RunFolder, request: Request, said: Path) -> list[Any]:
    """Train, and return all that does not depend on time or place."""
    with said.open("w") as file:
        display = Display(Console(file=file, width=1000), "lines")
        start(Evaluate(Space.of(quick(evaluation__folds=2))), data, folder, request, display)
    found: list[Any] = [folder.baselines_json.read_text()]
    for record in folder.records():
        trial = folder.trial(record.key)
        found += [record.status, record.splits, trial.best_weights.read_bytes(), pq.read_table(trial.predictions)]
    return found


@pytest.fixture(scope="module")
def stored(imported_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The facts of a run whose events are in memory, as in the object store."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        train_in_process(patch)
        return facts(imported_dataset, RunFolder(folder / "run"), REQUEST, folder / "said")


def test_a_run_that_streams_has_the_results_of_one_with_all_events_in_memory(
    stored: list[Any], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_process(monkeypatch)
    monkeypatch.setattr(objects, "data_bytes", lambda _: 10**12)
    monkeypatch.setattr(objects, "_unreadable", lambda *_: "")
    # Room for two recordings of eight.
    monkeypatch.setattr(objects, "UnpackedFiles", lambda: UnpackedFiles(30_000))
    monkeypatch.setattr(opening, "is_on_disk", lambda _: True)
    streamed = facts(dataset, RunFolder(tmp_path / "run"), REQUEST, tmp_path / "said")
    assert streamed == stored
    assert stored[1] == "done"
    said = (tmp_path / "said").read_text()
    assert "the data need 1000000 MB of Ray's object store, but node here has 1000 MB" in said
    assert f"each trial reads recordings from {dataset}" in said


def test_trials_of_a_cluster_stream_from_a_bucket(
    stored: list[Any], bucket: Bucket, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket.upload(dataset, "data")
    monkeypatch.setattr(objects, "data_bytes", lambda _: 10**12)
    request = Request(device="cpu", max_concurrent=1)
    assert facts(path_or_uri(uri), RunFolder(tmp_path / "run"), request, tmp_path / "said") == stored
    assert f"each trial reads recordings from {uri}" in (tmp_path / "said").read_text()
    assert read_info(RunFolder(tmp_path / "run")).dataset.path == uri


def test_data_that_a_node_cannot_see_are_refused(
    bucket: Bucket, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "data_bytes", lambda _: 10**12)
    manifest = read_manifest(dataset)
    (dataset / "manifest.json").unlink()
    hint = r"node .* cannot read them itself \(.* is not a dataset .*; put the data where all nodes see them"
    with pytest.raises(UsageError, match=hint):
        share_dataset(dataset, manifest, [node for node in ray.nodes() if node["Alive"]])

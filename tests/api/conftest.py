"""A working folder as a reader of the documentation has it: recordings, a dataset, a space file and two runs."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import sltune
from tests.events.conftest import ONE_OF_EACH_SESSION, write_tiny_recording
from tests.tuning.in_process import train_in_process

TINY = """
[sampling]
time_bin_ms = 20
train_crop = "start"
train_crop_ms = 200
eval_crop_ms = "train"

[network]
name = "nmnist-mlp2"

[training]
epochs = 2

[evaluation]
folds = 2
"""


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """As on a terminal; what a shell has begun in the background ignores it."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.fixture(scope="session")
def prepared(imported_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``workplace``."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(imported_dataset, folder / "data")
    for part in ("recordings", "tags"):
        (folder / "recordings" / part).mkdir(parents=True)
    for name in ONE_OF_EACH_SESSION:
        write_tiny_recording(folder / "recordings", name, events=200, sample_ms=600, first_us=0, seed=0)
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patched:
        train_in_process(patched)
        for run in ("tiny", "other"):
            results = folder / "results"
            sltune.evaluate(folder / "tiny.toml", folder / "data", run=run, results=results, progress=False)
    return folder


@pytest.fixture
def workplace(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a test, which trains in its own process instead of starting Ray. Only runs are added."""
    monkeypatch.chdir(prepared)
    train_in_process(monkeypatch)
    return prepared

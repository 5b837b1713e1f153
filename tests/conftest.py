"""Settings of hypothesis, written runs, and real event data from outside, without which tests are skipped."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sltune.events.importing import import_source
from tests import small
from tests.written_runs import Spec, make_record, write_run

VARIABLE = "SLTUNE_TEST_DATA"

# The tests' networks are so small that threads would mostly wait for each other, and spin while they do. Torch reads
# it when it is imported, in processes that tests start as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Runs are synced to the disk file by file. Where memory can hold the tests' folders, they wait for no disk.
MEMORY, MIN_MEMORY_BYTES = Path("/dev/shm"), 4 << 30
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MIN_MEMORY_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# How long one example takes says more about what else the machine does than about the code.
settings.register_profile("sltune", deadline=None)
settings.load_profile("sltune")


LONGEST = ("test_interruptions", "test_search_on_ray", "test_on_ray", "test_nodes", "test_published_settings")
"""Files that take minutes, the longest first."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker has it left when the others are at their end."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        is_long = item.path.stem in LONGEST
        return item.get_closest_marker("processes") is None, LONGEST.index(item.path.stem) if is_long else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real files: $SLTUNE_TEST_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get(VARIABLE, beside))


@pytest.fixture(scope="session")
def real_recording(test_data: Path) -> Path:
    """A DVS128 recording of 489,834 events, written by jAER."""
    return _present(test_data / "MovingDarkBox.aedat")


@pytest.fixture(scope="session")
def nmnist_folder(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1000 samples of N-MNIST: the folder that holds NMNIST/Train/<digit>/<id>.bin."""
    archive = _present(test_data / "nmnist-small.zip")
    folder = tmp_path_factory.mktemp("nmnist")
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def imported_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``dataset`` is a copy of."""
    folder = tmp_path_factory.mktemp("imported") / "data"
    import_source(small.source(), folder)
    return folder


@pytest.fixture
def dataset(imported_dataset: Path, tmp_path: Path) -> Path:
    """The folder of a small imported dataset: 8 signers with 6 samples of 2 classes each. A test may change it."""
    return shutil.copytree(imported_dataset, tmp_path / "data")


@pytest.fixture
def record() -> Callable[..., Spec]:
    return make_record


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write records as the run ``name`` below the test's own folder, or below ``parent``."""

    def write(records: Iterable[Spec], name: str = "paper", parent: str = "results", **info: Any) -> Path:
        return write_run(tmp_path / parent / name, records, **info)

    return write


def _present(file: Path) -> Path:
    if not file.is_file():
        pytest.skip(f"{file} is absent; set {VARIABLE} to the folder that holds {file.name}")
    return file

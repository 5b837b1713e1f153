"""Benchmarks run: all read their flags, the quick one is run, and with -m slow every one at its smallest size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sltune.events.importing import import_source
from sltune.events.sources.slanimals import open_slanimals
from sltune.events.synthetic.recordings import write_dataset

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(file.stem for file in FOLDER.glob("*.py") if "def main(" in file.read_text(encoding="utf-8"))
ONE_STEP = ("--shapes", "1x2", "--steps", "1", "--warm-up", "0", "--rounds", "1")
SMALLEST = {
    "demo_search": [("DATA", "--seeds", "1", "--configurations", "1", "--epochs", "1")],
    "events": [("--repeats", "1", "--recordings", "2")],
    "kernels": [("--device", "cpu", "--shapes", "1x2")],
    "nested": [("--smoke",)],
    "orchestration": [("gaps",), ("many", "--configurations", "2"), ("concurrency", "DATA")],
    "packing": [("--device", "cpu", "--data", "DATA", "--epochs", "2", "--together", "1,2")],
    "search_cost": [("--repeats", "2", "--trials", "3")],
    "simulator": [("--recordings", "4", "--epochs", "1")],
    "stbp": [ONE_STEP, (*ONE_STEP, "--alone", "--sltune-backends", "reference,numba:stage"), ("--density",)],
}
"""For DATA, a dataset of eight synthetic recordings is made."""
READ_FLAGS = """
import runpy, sys
for name in list(sys.argv[1:]):
    sys.argv[:] = [name, "--help"]
    try:
        runpy.run_path(f"{folder}/{name}.py", run_name="__main__")
    except SystemExit as end:
        print("ended:", name, end.code)
"""


def python(*arguments: object) -> str:
    """Run a command as a user does; return what it prints."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_benchmark_has_a_smallest_size() -> None:
    assert sorted(SMALLEST) == SCRIPTS


@pytest.mark.processes
def test_every_benchmark_reads_its_flags() -> None:
    """In one process, as each imports torch."""
    script = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); folder = {str(FOLDER)!r}\n{READ_FLAGS}"
    lines = python("-c", script, *SCRIPTS).splitlines()
    assert [line for line in lines if line.startswith("ended:")] == [f"ended: {name} 0" for name in SCRIPTS]


@pytest.mark.processes
def test_the_cost_of_a_search_is_measured_at_its_smallest_size() -> None:
    assert "Measured in" in python(FOLDER / "search_cost.py", *SMALLEST["search_cost"][0])


@pytest.fixture(scope="module")
def eight_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmarks")
    write_dataset(root / "source", recordings=8)
    import_source(open_slanimals(root / "source"), root / "data")
    return root / "data"


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"), [(name, sizes) for name, commands in SMALLEST.items() for sizes in commands]
)
def test_every_benchmark_runs_at_its_smallest_size(
    name: str, arguments: tuple[str, ...], eight_recordings: Path
) -> None:
    given = [eight_recordings if argument == "DATA" else argument for argument in arguments]
    assert python(FOLDER / f"{name}.py", *given).strip()

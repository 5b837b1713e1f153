"""Benchmarks run: all read their flags, and each prints its figures in the smoke size; some with -m slow only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(file.stem for file in FOLDER.glob("*.py") if "def main(" in file.read_text(encoding="utf-8"))
# In one process, as each imports torch. stbp is the last, since it gives up cores.
TOGETHER = (
    "augmentations",
    "correctness",
    "kernels",
    "nested",
    "packing",
    "simulator",
    "search_cost",
    "nmnist_table",
    "events",
    "formats",
    "inference",
    "deep",
    "streaming",
    "stbp",
)
ONE_STEP = ("--shapes", "1x2", "--steps", "1", "--warm-up", "0", "--rounds", "1")
RUN = """
import importlib, sys, traceback
for run in sys.argv[1:]:
    name, _, flag = run.partition(" ")
    sys.argv[:] = [f"{name}.py", flag]
    print("begins:", run, flush=True)
    try:
        importlib.import_module(name).main()
    except SystemExit as end:
        print("ended:", end.code)
    except Exception:
        traceback.print_exc(file=sys.stdout)
"""
LIMIT_S = 900
"""Ten times what all take together on a quiet machine, so that one that hangs does not hold up the tests for ever."""
NUMBER = re.compile(r"[+−-]?\d[\d,]*(\.\d+)?")


def python(*arguments: object) -> str:
    """Run a command as a user does; return what it prints."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(
        command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def figures_of(report: str) -> Iterator[str]:
    """Give the cells of Markdown's tables whose columns are aligned right."""
    aligned: list[bool] = []
    for line in report.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and all(re.fullmatch(":?-+:?", cell) for cell in cells):
            aligned = [cell.endswith(":") for cell in cells]
        elif not cells:
            aligned = []
        else:
            yield from (cell for cell, is_figure in zip(cells, aligned, strict=False) if is_figure)


def expect_figures(report: str, at_least: int) -> None:
    """Check that a report says that it is a smoke run, and has so many figures, all of them numbers."""
    assert report.splitlines()[0].startswith("SMOKE SIZE:"), report
    assert "figures mean nothing" in report.splitlines()[0]
    figures = [*figures_of(report)]
    assert len(figures) >= at_least, report
    assert [figure for figure in figures if not NUMBER.match(figure)] == [], report


@pytest.fixture(scope="module")
def reports(test_data: Path) -> Mapping[str, str]:
    """What benchmarks print, by name and flag; in the smoke size, those that lack their data are left out."""
    names = [name for name in TOGETHER if name != "nmnist_table" or (test_data / "nmnist-small.zip").is_file()]
    runs = [*(f"{name} --help" for name in SCRIPTS), *(f"{name} --smoke" for name in names)]
    parts = python("-c", RUN, *runs).split("begins: ")[1:]
    return {part.split("\n")[0]: part.partition("\n")[2] for part in parts}


@pytest.mark.processes
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_reads_its_flags(name: str, reports: Mapping[str, str]) -> None:
    report = reports[f"{name} --help"]
    assert report.endswith("ended: 0\n"), report
    assert "--smoke" in report


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("augmentations", 64),
        ("correctness", 21),
        ("deep", 4),
        ("events", 27),
        ("formats", 66),
        ("inference", 24),
        ("kernels", 140),
        ("nested", 10),
        ("nmnist_table", 13),
        ("packing", 8),
        ("search_cost", 48),
        ("simulator", 6),
        ("stbp", 20),
        ("streaming", 9),
    ],
)
def test_a_benchmark_prints_its_figures_in_the_smoke_size(name: str, figures: int, reports: Mapping[str, str]) -> None:
    if f"{name} --smoke" not in reports:
        pytest.skip("nmnist-small.zip is absent")
    expect_figures(reports[f"{name} --smoke"], figures)


@pytest.mark.processes
def test_gaps_between_trials_are_measured_in_the_smoke_size() -> None:
    report = python(FOLDER / "orchestration.py", "--smoke")
    expect_figures(report, 0)
    assert re.search(r"first trial begins \d+\.\d s after the command", report), report
    assert re.search(r"between trials, 8 of them: median \d+ ms .*, 90 % \d+ ms", report), report


# Each runs the command sltune several times, which takes half a minute, or libraries that only some have.
@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "figures"),
    [("demo_search", (), 12), ("orchestration", ("many",), 8), ("orchestration", ("concurrency",), 0)],
)
def test_what_runs_many_commands_prints_its_figures_in_the_smoke_size(
    name: str, arguments: tuple[str, ...], figures: int
) -> None:
    report = python(FOLDER / f"{name}.py", *arguments, "--smoke")
    expect_figures(report, figures)
    assert name == "demo_search" or re.search(r"limit \d", report), report


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    "flags", [(*ONE_STEP, "--against", "", "--sltune-backends", "reference,numba:stage"), ("--density",)]
)
def test_training_steps_are_measured_with_each_backend_and_frames_compared(flags: tuple[str, ...]) -> None:
    assert re.search(r"\d", python(FOLDER / "stbp.py", *flags))


def test_shellcheck_finds_nothing_in_the_day_on_a_gpu() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run([shellcheck, FOLDER / "gpu_day.sh"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.processes
@pytest.mark.slow
def test_the_day_on_a_gpu_is_rehearsed_on_a_cpu_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def day(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [FOLDER / "gpu_day.sh", "--device", "cpu", "--smoke", "--out", tmp_path / "out", *arguments]
        environment = {**os.environ, "PYTHON": sys.executable, "TMPDIR": str(tmp_path)}
        return subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )

    parts = ["correctness", "doctor", "best", "optimized", "packing", "kernels", "stbp", "deep"]
    first = day()
    assert first.returncode == 0, first.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(f"gpu-{name}.md" for name in parts)
    assert "| dense | 1 | 0 |" in (tmp_path / "out" / "gpu-correctness.md").read_text()
    (tmp_path / "out" / "gpu-kernels.md").unlink()
    again = day()
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already there") == len(parts) - 1
    expect_figures((tmp_path / "out" / "gpu-kernels.md").read_text(), 100)
    assert day("--days", "1").returncode == 2

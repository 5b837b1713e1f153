"""What of the machine a process may use, from the files by which Linux tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sltune.system.limits import usable_bytes, usable_cpus

CPUS = 64
UNLIMITED_IN_VERSION_1 = "9223372036854771712\n"


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CPUS)), raising=False)


def process(folder: Path, cgroup: str, mounts: Mapping[str, str], files: Mapping[str, str]) -> Path:
    """Write what Linux shows of a process and its control groups.

    mounts: by their path below folder, how a line of mountinfo goes on: "ROOT TYPE OPTIONS".
    """
    lines = []
    for number, (path, rest) in enumerate(mounts.items()):
        root, kind, options = rest.split()
        lines.append(f"{number} 1 0:{number} {root} {folder / path} rw,relatime shared:1 - {kind} {kind} {options}")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "self").mkdir()
    (folder / "self" / "cgroup").write_text(cgroup)
    (folder / "self" / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return folder / "self"


V2 = {"cg": "/ cgroup2 rw,nsdelegate"}
V1 = {"cg/cpu": "/ cgroup rw,cpu,cpuacct", "cg/memory": "/ cgroup rw,memory", "cg/unified": "/ cgroup2 rw"}


@pytest.mark.parametrize(
    ("quota", "cpus"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", CPUS), ("6400000 50000", CPUS)]
)
def test_the_quota_of_a_container_counts_in_whole_cpus(tmp_path: Path, quota: str, cpus: int) -> None:
    here = process(tmp_path, "0::/\n", V2, {"cg/cpu.max": f"{quota}\n"})
    assert usable_cpus(here) == cpus


def test_of_nested_groups_the_tightest_counts(tmp_path: Path) -> None:
    limits = {
        "cg/slurm/cpu.max": "800000 100000\n",
        "cg/slurm/job_7/cpu.max": "300000 100000\n",
        "cg/slurm/job_7/step_0/cpu.max": "max 100000\n",
        "cg/slurm/job_8/cpu.max": "100000 100000\n",
        "cg/slurm/memory.max": "2000000000\n",
        "cg/slurm/job_7/memory.max": "max\n",
    }
    here = process(tmp_path, "0::/slurm/job_7/step_0\n", V2, limits)
    assert usable_cpus(here) == 3
    assert usable_bytes(here) == 2_000_000_000


def test_control_groups_of_version_1_count_likewise(tmp_path: Path) -> None:
    limits = {
        "cg/cpu/cpu.cfs_quota_us": "-1\n",
        "cg/cpu/cpu.cfs_period_us": "100000\n",
        "cg/cpu/job/cpu.cfs_quota_us": "400000\n",
        "cg/cpu/job/cpu.cfs_period_us": "100000\n",
        "cg/memory/memory.limit_in_bytes": UNLIMITED_IN_VERSION_1,
        "cg/memory/job/memory.limit_in_bytes": "3000000000\n",
    }
    here = process(tmp_path, "4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n", V1, limits)
    assert usable_cpus(here) == 4
    assert usable_bytes(here) == 3_000_000_000


def test_a_container_that_reads_its_path_as_the_host_does_finds_its_group(tmp_path: Path) -> None:
    mounts = {"cg/cpu": "/docker/abc cgroup rw,cpu", "other": "/ ext4 rw"}
    limits = {"cg/cpu/cpu.cfs_quota_us": "200000\n", "cg/cpu/cpu.cfs_period_us": "100000\n"}
    assert usable_cpus(process(tmp_path / "1", "1:cpu:/docker/abc\n", mounts, limits)) == 2
    assert usable_cpus(process(tmp_path / "2", "1:cpu:/somewhere/else\n", mounts, limits)) == 2


@pytest.mark.parametrize("content", ["", "garbage\n", "0 0\n", "-1 100000\n"])
def test_where_nothing_limits_all_allowed_cpus_count(tmp_path: Path, content: str) -> None:
    here = process(tmp_path, "0::/\n", V2, {"cg/cpu.max": content})
    assert (usable_cpus(here), usable_bytes(here)) == (CPUS, None)
    assert usable_cpus(tmp_path / "no such system") == CPUS


@pytest.fixture
def own_group() -> Iterator[Path]:
    """A control group that a test may fill."""
    for parent in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        group = parent / f"sltune-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control groups can be made here")


def test_a_process_in_a_group_with_a_quota_of_one_cpu_counts_one(own_group: Path) -> None:
    try:
        if (own_group / "cpu.cfs_quota_us").exists():
            (own_group / "cpu.cfs_quota_us").write_text("100000")
        else:
            (own_group / "cpu.max").write_text("100000 100000")
    except OSError:
        pytest.skip("no quotas can be set here")
    script = (
        f"from pathlib import Path; Path({str(own_group / 'cgroup.procs')!r}).write_text('0'); "
        "from sltune.system.limits import usable_cpus; print(usable_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_job_of_slurm_keeps_to_its_cpus_where_nothing_binds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    # A process of which nothing is told has no quota.
    assert usable_cpus(tmp_path) == 3
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "x")
    assert usable_cpus(tmp_path) == CPUS

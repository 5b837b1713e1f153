"""How many CPUs and how much memory this process may use, by its affinity, its control groups and Slurm.

Batch systems, ``taskset`` and containers give a job a part of a machine; ``os.cpu_count()`` counts all CPUs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

OWN_PROCESS = Path("/proc/self")
IN_MEMORY = ("tmpfs", "ramfs")
"""Kinds of file systems that lie in memory."""


def usable_cpus(process: Path = OWN_PROCESS) -> int:
    """Return how many CPUs this process may keep busy: at least 1, and 2 of a quota of 2.5.

    Args:
        process: the folder in which Linux describes this process.
    """
    # macOS does not have affinities.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(map(_cpu_quota, _groups(process, "cpu")), default=math.inf)
    # Some clusters leave it to jobs to keep to what they were given.
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    slurm = int(given) if given.isascii() and given.isdigit() else math.inf
    return max(1, int(min(allowed, quota, slurm)))


def usable_bytes(process: Path = OWN_PROCESS) -> int | None:
    """Return how much memory all processes of this control group may take together; None for no limit."""
    limit = min(map(_memory_limit, _groups(process, "memory")), default=math.inf)
    return None if math.isinf(limit) else int(limit)


def is_on_disk(folder: Path, process: Path = OWN_PROCESS) -> bool:
    """Say whether what is written to a folder goes to a disk, as far as Linux tells, and not to memory."""
    with suppress(OSError):
        kinds = {}
        for line in (process / "mountinfo").read_text().splitlines():
            fields = line.split()
            # Of two at one place, the later hides the earlier.
            kinds[Path(fields[4])] = fields[fields.index("-") + 1]
        place = folder.resolve()
        return next((kinds[each] for each in (place, *place.parents) if each in kinds), "") not in IN_MEMORY
    return True


def _cpu_quota(group: Path) -> float:
    return _read(group / "cpu.max", _ratio, group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")


def _memory_limit(group: Path) -> float:
    return _read(group / "memory.max", float, group / "memory.limit_in_bytes")


def _read(file: Path, parse: Callable[[str], float], *version_1_files: Path) -> float:
    """Return the limit in a file of control groups version 2, else in those of version 1; infinity if there is none."""
    # A group without a limit has no such file, or "max" in it.
    with suppress(OSError, ValueError):
        return parse(file.read_text())
    with suppress(OSError, ValueError):
        return parse(" ".join(each.read_text() for each in version_1_files))
    return math.inf


def _ratio(text: str) -> float:
    quota, period = map(float, text.split())
    # Version 1 writes -1 for no quota.
    return quota / period if quota > 0 and period > 0 else math.inf


def _groups(process: Path, controller: str) -> Iterator[Path]:
    """Give the folders of this process's control group and of all groups around it, as each limits those inside it."""
    with suppress(OSError):
        paths = dict(_paths(process, controller))
        for line in (process / "mountinfo").read_text().splitlines():
            fields = line.split()
            kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
            if kind not in paths or (kind == "cgroup" and controller not in options):
                continue
            root, mount = Path(fields[3]), Path(fields[4])
            path = paths[kind]
            # A container may see its own group as the topmost one, although its path is that on the host.
            below = path.relative_to(root) if path.is_relative_to(root) else Path()
            yield mount
            for depth in range(len(below.parts)):
                yield mount.joinpath(*below.parts[: depth + 1])


def _paths(process: Path, controller: str) -> Iterator[tuple[str, Path]]:
    """Give the path of this process's control group for each type of file system: version 2 and version 1."""
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "cgroup2", Path(path)
        elif controller in controllers.split(","):
            yield "cgroup", Path(path)

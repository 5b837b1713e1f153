"""What a node is asked: plain values that can be written as JSON. Judged in judgement.py."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sltune.system.gpus import gpu_processes, installed_gpus
from sltune.system.limits import usable_bytes, usable_cpus

SHARED_MEMORY = Path("/dev/shm")
VISIBLE = "CUDA_VISIBLE_DEVICES"
OVERRIDE = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
"""With it, Ray hides the GPUs of a node from a task that holds none."""

Facts = dict[str, Any]
Say = Callable[[Any], None]


def gather(say: Say) -> None:
    """Say the name of each group of facts, and then the facts; the first group is there at once, torch takes seconds.

    Run in a process of its own, since a driver or a file server may keep a question for ever.
    """
    for name, ask in {"limits": _limits, "shm": _shared_memory, "gpus": _gpus, "torch": _torch}.items():
        say(name)
        say({name: ask()})


def check_kernels_here(say: Say, device_type: str, surrogates: Sequence[str]) -> None:
    """Say the fault of each operation whose compiled kernels fail or differ from the reference, as {operation: fault}.

    Kernels with a decay that is learned are left to the check that every process makes before it trains: to compile
    them takes longer than anybody waits for an examination.
    """
    import torch

    from sltune.snn.backends import backend_of
    from sltune.snn.kernel_check import OPERATIONS, Case, described_device, fault_of
    from sltune.snn.neurons.backend import REFERENCE

    torch.set_num_threads(1)
    device = torch.device(device_type)
    backend = backend_of(torch.empty(0, device=device))
    cases = [
        Case(surrogate, "fixed", goes_on=last, channels_last=last) for surrogate in surrogates for last in (True, False)
    ]
    faults = {name: fault_of(backend, name, device, cases) for name in OPERATIONS}
    say(
        {
            "device": described_device(device),
            "compiled": backend is not REFERENCE,
            "faults": {name: fault for name, fault in faults.items() if fault},
        }
    )


def _limits() -> Facts:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts: Facts = {
        "cpus": usable_cpus(),
        "cpus_there": os.cpu_count() or 1,
        "memory_bytes": min(usable_bytes() or there, there),
        "platform": platform.platform(),
        "time": time.time(),
    }
    try:
        import resource
    except ImportError:
        return facts
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {**facts, "open_files": soft, "open_files_most": hard}


def _shared_memory() -> Facts:
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return {}
    return {"total_bytes": usage.total, "free_bytes": usage.free}


def _gpus() -> Facts:
    try:
        gpus, processes = installed_gpus(), gpu_processes()
    except OSError as error:
        return {"gpus": [], "processes": [], "error": str(error) if shutil.which("nvidia-smi") else ""}
    own = os.geteuid()
    return {
        "gpus": [asdict(gpu) for gpu in gpus],
        "processes": [{**asdict(process), "user": _owner(process.pid, own)} for process in processes],
        "error": "",
    }


def _owner(pid: int, own: int) -> str:
    """Return whose process it is: "" for one of this user."""
    place = Path("/proc") / str(pid)
    try:
        if place.stat().st_uid == own:
            return ""
        return place.owner()
    except KeyError:
        return f"uid {place.stat().st_uid}"
    except OSError:
        # Of another container, or gone.
        return "unknown"


def _torch() -> Facts:
    if os.environ.get(OVERRIDE, "0") not in ("", "0") and "RAY_RAYLET_PID" in os.environ:
        os.environ.pop(VISIBLE, None)
    visible = os.environ.get(VISIBLE)
    import torch

    error, seen = "", []
    try:
        # Says what is wrong, where is_available() only says that something is.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            seen.append(
                {
                    "name": properties.name,
                    "capability": f"{properties.major}.{properties.minor}",
                    "total_bytes": properties.total_memory,
                }
            )
    except (RuntimeError, AssertionError) as found:
        error = " ".join(str(found).split())
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda or "",
        "architectures": torch.cuda.get_arch_list(),
        "gpus": seen,
        "error": error,
        "visible": visible,
    }

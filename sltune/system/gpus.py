"""The NVIDIA GPUs of this machine as their driver shows them, whatever torch sees of them, and what energy they use."""

from __future__ import annotations

import csv
import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

TOOL = "nvidia-smi"
ANSWER_S = 5.0
"""How long the driver's tool may take; with persistence off, waking eight GPUs takes seconds."""
MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """A GPU. capability: of computing, such as "9.0". is_divided: whether it is in MIG mode."""

    uuid: str
    name: str
    driver: str
    capability: str
    total_bytes: int
    used_bytes: int
    is_divided: bool


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU. uuid: the GPU's."""

    uuid: str
    pid: int
    used_bytes: int


def installed_gpus() -> list[Gpu]:
    """Return the GPUs that the driver knows.

    Raises:
        OSError: there is no nvidia-smi, it does not answer, or it fails; says how.
    """
    fields = ("uuid", "name", "driver_version", "compute_cap", "memory.total", "memory.used", "mig.mode.current")
    rows = _ask("gpu", fields)
    return [
        Gpu(uuid, name, driver, capability, _bytes(total), _bytes(used), mode == "Enabled")
        for uuid, name, driver, capability, total, used, mode in rows
    ]


def gpu_processes() -> list[GpuProcess]:
    """Return the processes that compute on GPUs, those of other users as well; raises as installed_gpus does."""
    rows = _ask("compute-apps", ("gpu_uuid", "pid", "used_memory"))
    return [GpuProcess(uuid, int(pid), _bytes(used)) for uuid, pid, used in rows if pid.isdecimal()]


def driver_version() -> str:
    """Return the version of the driver; "" where it cannot be asked."""
    try:
        gpus = installed_gpus()
    except OSError:
        return ""
    return gpus[0].driver if gpus else ""


def _ask(what: str, fields: Sequence[str]) -> list[list[str]]:
    command = [TOOL, f"--query-{what}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"{TOOL} gives no answer within {ANSWER_S:g} s") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise OSError(f"{TOOL} fails: {reason}")
    rows = [[cell.strip() for cell in row] for row in csv.reader(done.stdout.splitlines())]
    return [row for row in rows if len(row) == len(fields)]


def _bytes(mebibytes: str) -> int:
    # Not every GPU tells every number.
    return int(mebibytes) * MIB if mebibytes.isdecimal() else 0


class Driver(Protocol):
    """NVML's functions that are called here; each returns 0 if it succeeds."""

    def nvmlInit_v2(self) -> int: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: object) -> int: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, millijoules: object) -> int: ...


def joules_used(uuid: str, driver: Driver | None = None) -> float | None:
    """Return what a whole GPU has used since its driver was loaded; None where nothing counts it.

    GPUs before Volta have no counter, and a part of a GPU (MIG) has none of its own.

    Args:
        uuid: the GPU's, such as "GPU-…".
        driver: by default NVML's library, where it is installed.
    """
    try:
        nvml = driver or ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
        return None
    return millijoules.value / 1000

"""The energy that an NVIDIA GPU has used, by the counter of its driver (NVML)."""

from __future__ import annotations

import ctypes
from typing import Protocol


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

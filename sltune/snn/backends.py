"""The choice of what runs a layer: compiled kernels for the device, or plain torch."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Mapping

from torch import Tensor

from sltune.snn.neurons.backend import REFERENCE, Backend
from sltune.snn.neurons.lif import LIFParameters

CHOICE = "SLTUNE_LIF_BACKEND"
"""Environment variable that overrides the choice by device: auto, reference, numba or triton."""


def backend_of(values: Tensor, lif: LIFParameters | None = None) -> Backend:
    """Return what runs a layer with this input, and these neurons.

    Raises:
        ValueError: SLTUNE_LIF_BACKEND is none of "auto", "reference", "numba" and "triton", or not for this device.
    """
    choice = os.environ.get(CHOICE, "auto")
    if choice not in ("auto", "reference", *_COMPILED):
        raise ValueError(f"{CHOICE} must be auto, reference or one of {', '.join(_COMPILED)}, but got {choice!r}")
    name = {"cpu": "numba", "cuda": "triton"}.get(values.device.type) if choice == "auto" else choice
    if name == "numba" and values.device.type != "cpu":
        raise ValueError(f"{CHOICE}: numba is for the CPU, but the network is on {values.device}")
    if lif is not None and not isinstance(lif.surrogate, str):
        # Compiled kernels know only those surrogates that are built in.
        return REFERENCE
    backend = _load(name) if name in _COMPILED else REFERENCE
    return backend if backend.takes(values.dtype) else REFERENCE


def _numba() -> Backend:
    from sltune.snn.cpu.backend import NumbaBackend

    return NumbaBackend()


def _triton() -> Backend:
    from sltune.snn.cuda.backend import TritonBackend

    return TritonBackend()


# Imported when first needed: a machine may lack numba or Triton, and importing either takes a while.
_COMPILED: Mapping[str, Callable[[], Backend]] = {"numba": _numba, "triton": _triton}


@functools.cache
def _load(name: str) -> Backend:
    """Return a compiled backend; the reference, and one warning, where what it needs is not installed."""
    try:
        return _COMPILED[name]()
    except ImportError as error:
        text = f"{name} cannot be used ({error}); neurons run step by step in plain torch, several times slower"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return REFERENCE

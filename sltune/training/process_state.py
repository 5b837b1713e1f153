"""What a user's code may change for its whole process, which other trials and the user's notebook are not to see."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""What returns a setting, and what sets it."""


def _attribute_of(holder: Any, name: str) -> Setting:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value)


SETTINGS: tuple[Setting, ...] = (
    (os.getcwd, os.chdir),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, torch.set_default_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    *(
        _attribute_of(holder, "fp32_precision")
        for holder in (torch.backends, torch.backends.cudnn, torch.backends.mkldnn)
    ),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(_attribute_of(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")),
)


@contextmanager
def kept_state() -> Iterator[None]:
    """Put back at the end of the block what was changed within it: settings of torch's, and the working folder."""
    before = [_read(get) for get, _ in SETTINGS]
    try:
        yield
    finally:
        for (get, put), value in zip(SETTINGS, before, strict=True):
            if value is not None and _read(get) != value:
                with suppress(OSError):
                    put(value)


def _read(get: Callable[[], Any]) -> Any:
    """Return a setting; None where it is not to be had.

    A worker's folder may be gone, and an earlier torch lacks some. Torch does not tell the precision of products where
    one of its two ways to set it has been used after the other.
    """
    with suppress(OSError, RuntimeError, AttributeError):
        return get()
    return None

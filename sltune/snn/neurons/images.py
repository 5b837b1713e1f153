"""Images with their channels last in memory, which is how kernels and convolutions are fastest."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """Return images (..., C, H, W) with their channels last in memory, the same ones where they are so."""
    return images.movedim(-3, -1).contiguous().movedim(-1, -3)


def new_images(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Return new images (..., C, H, W) with their channels last in memory, whatever values they hold."""
    *lead, channels, height, width = shape
    return torch.empty((*lead, height, width, channels), dtype=dtype, device=device).movedim(-1, -3)

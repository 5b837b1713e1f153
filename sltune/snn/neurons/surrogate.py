"""The four windows that stand in for the derivative of a spike (Wu et al. 2018, Front. Neurosci. 12:331, eq. 24-27).

Each takes x = u − v_threshold of any shape and the width a, and returns the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Window = Callable[[Tensor, float], Tensor]


def rectangular(x: Tensor, width: float) -> Tensor:
    """(1/a) · [|x| < a/2]"""
    return (x.abs() < width / 2).to(x.dtype) / width


def polynomial(x: Tensor, width: float) -> Tensor:
    """(√a/2 − a|x|/4) · [|x| < 2/√a]"""
    return (math.sqrt(width) / 2 - width / 4 * x.abs()).clamp(min=0)


def sigmoid(x: Tensor, width: float) -> Tensor:
    """(1/a) · e^(x/a) / (1 + e^(x/a))²"""
    # s(1 − s) is the same, does not overflow, and on this side of 0 loses no digits where s is far from 1/2.
    s = torch.sigmoid(-x.abs() / width)
    return s * (1 - s) / width


def gaussian(x: Tensor, width: float) -> Tensor:
    """e^(−x²/2a) / √(2πa)"""
    return torch.exp(-(x**2) / (2 * width)) / math.sqrt(2 * math.pi * width)


WINDOWS: Mapping[str, Window] = {
    "rectangular": rectangular,
    "polynomial": polynomial,
    "sigmoid": sigmoid,
    "gaussian": gaussian,
}

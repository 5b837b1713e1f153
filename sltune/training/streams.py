"""Random streams, each a function of (seed, fold, purpose, epoch) alone, so that a trial can resume at any epoch."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def numpy_stream(seed: int, fold: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return the stream for one purpose ("crop", "order", …) in one epoch."""
    return np.random.default_rng(_entropy(seed, fold, purpose, epoch))


def seed_torch(seed: int, fold: int, purpose: str, epoch: int = 0) -> None:
    """Seed torch's global generators, which initialisation and dropout draw from."""
    torch.manual_seed(int(np.random.SeedSequence(_entropy(seed, fold, purpose, epoch)).generate_state(1, np.uint64)[0]))


def _entropy(seed: int, fold: int, purpose: str, epoch: int) -> list[int]:
    return [seed, fold, zlib.crc32(purpose.encode()), epoch]

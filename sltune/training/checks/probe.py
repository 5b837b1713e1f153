"""What a network is checked with: how it is made, and batches of frames."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sltune.training.checks.recording import seed_all

EVENT_SHARE, NOISE_SHARE = 0.5, 0.02
"""Of the pixels, those of a moving blob and those elsewhere that see an event in a time step."""

GAINS = (0.3, 3, 10, 30)
"""Factors of the frames, so that a network whose first weights are small or large has something to show, too."""


@dataclass(frozen=True)
class Probe:
    """build: makes a fresh network from a seed. frames, others: two batches of shape (T, B, P, H, W)."""

    build: Callable[[int], nn.Module]
    classes: int
    frames: Tensor
    others: Tensor

    def fresh(self, seed: int = 1, others_seed: int = 0) -> nn.Module:
        """Build a network. others_seed: of the generators that no trial seeds."""
        seed_all(seed, others_seed)
        return self.build(seed)

    @cached_property
    def _original(self) -> nn.Module:
        return self.fresh()

    @property
    def batch(self) -> int:
        """The number of samples."""
        return self.frames.shape[1]

    def network(self, train: bool = False) -> nn.Module:
        """Return a network that has seen nothing, always the same one, in training or evaluation mode."""
        try:
            network = copy.deepcopy(self._original)
        except Exception:
            # A network may hold what cannot be copied, such as an open file.
            network = self.fresh()
        return network.train(train)

    def longer(self, steps: int) -> Tensor:
        """Return the frames for this number of time steps; they begin again where they end."""
        return self.frames[torch.arange(steps) % len(self.frames)]


def moving_blobs(shape: tuple[int, int, int, int, int], seed: int = 0) -> Tensor:
    """Return frames of shape (T, B, P, H, W) of 0 and 1, as of a thing that moves in front of an event camera."""
    steps, batch, _, height, width = shape
    draw = torch.Generator().manual_seed(seed)
    start, way = torch.rand(2, batch, generator=draw), torch.rand(2, batch, generator=draw) - 0.5
    time = torch.linspace(0, 1, steps).view(-1, 1)
    rows = (torch.arange(height).view(-1, 1) / height).view(1, 1, 1, -1, 1)
    columns = (torch.arange(width) / width).view(1, 1, 1, 1, -1)
    place = (start[:, None] + way[:, None] * time) % 1
    row, column = place.view(2, steps, batch, 1, 1, 1)
    is_blob = (rows - row) ** 2 + (columns - column) ** 2 < 0.04
    share = torch.where(is_blob, EVENT_SHARE, NOISE_SHARE)
    return (torch.rand(shape, generator=draw) < share).float()

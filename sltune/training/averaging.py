"""The mean of a network's weights over the last epochs, and its own statistics of batch normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sltune.snn.running import rates_of
from sltune.training.batches import Batch


class WeightAverage:
    """The mean of weights since an epoch (Izmailov et al. 2018, arXiv 1803.05407).

    network: has the mean as its weights; of the same kind as the one that is trained. first_epoch: counted from 1.
    epochs: of how many epochs it is the mean by now. frozen: its layers that are not trained.
    """

    def __init__(self, network: nn.Module, first_epoch: int, frozen: tuple[nn.Module, ...] = ()) -> None:
        self.network = network
        self.first_epoch = first_epoch
        self.frozen = frozen
        self.epochs = 0

    @torch.no_grad()
    def add(self, network: nn.Module, batches: Iterable[Batch]) -> None:
        """Take the weights of one more epoch into the mean; whatever else a network keeps is as in the latest.

        Args:
            batches: of the epoch, for the statistics of batch normalisation, which are not the mean of others.
        """
        self.epochs += 1
        for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 / self.epochs)
        for kept, latest in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(latest)
        renew_statistics(self.network, (frames for batch in batches for frames in batch.views), self.frozen)

    def state(self) -> dict[str, Any]:
        """Return what another process needs to go on."""
        return {"weights": self.network.state_dict(), "epochs": torch.tensor(self.epochs)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` has returned."""
        self.network.load_state_dict(state["weights"])
        self.epochs = int(state["epochs"])


@torch.no_grad()
def renew_statistics(network: nn.Module, views: Iterable[Tensor], frozen: Iterable[nn.Module] = ()) -> None:
    """Set the statistics of batch normalisation to their mean over batches, which weights of other networks made.

    Args:
        views: frames of each batch, of shape (T, B, P, H, W). frozen: layers whose statistics stay.
    """
    network.train()
    for module in frozen:
        module.eval()
    layers = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and module.training
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        # Without a momentum, every batch counts the same.
        layer.momentum = None
    for frames in views:
        rates_of(network, frames)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum

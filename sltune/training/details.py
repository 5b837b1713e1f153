"""A closer look at a trained network: how its weights are distributed, and when its neurons fire."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sltune.snn.activity import INPUT, Meter
from sltune.snn.running import outputs_over_time
from sltune.training.batches import Clip
from sltune.training.fit import autocast

BINS = 64
MAX_NEURONS, MAX_COLUMNS = 64, 1000
"""Rows of a layer and columns of the picture, so that it fits a screen; longer samples share columns."""
MIN_WIDTH, NEURON_PIXELS, BORDER_PIXELS = 600, 3, 6
"""Pixels: a short sample is drawn this wide, so that single spikes can be seen."""
BACKGROUND, BORDER = 24, 96
# The colour-blind can tell these apart (Okabe and Ito), and the order of layers tells them apart, too.
COLOURS = ((240, 228, 66), (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167))

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Histogram:
    """The distribution of values: counts in bins, the upper ends of the bins, and sums over all values."""

    counts: NDArray[Any]
    upper: NDArray[Any]
    least: float
    greatest: float
    total: float
    squares: float


@dataclass(frozen=True)
class Details:
    """weights: a histogram for each parameter. raster: the spikes of one sample, of shape (height, width, 3).

    reading: explains how to read the raster.
    """

    weights: dict[str, Histogram]
    raster: Image
    reading: str


@torch.no_grad()
def look_at(network: nn.Module, clip: Clip, precision: str = "float32") -> Details:
    """Describe a network and its response to a clip of one sample; draws no random number.

    The network is in evaluation mode afterwards.
    """
    network.eval()
    activity = _activity(network, clip, precision)
    weights = {name: histogram(weight) for name, weight in network.named_parameters()}
    order = ", ".join(f"{layer} ({len(band)} of {neurons:,})" for layer, (band, neurons) in activity.items())
    reading = (
        f"Time runs to the right, {clip.shape[0]:,} steps. A row is a neuron, and of the input a pixel; where a layer "
        f"pools, it is 2×2 neurons, brighter the more of them fire. From the top: {order}."
    )
    return Details(weights, draw([band for band, _ in activity.values()]), reading)


def histogram(values: Tensor) -> Histogram:
    """Return the distribution of all values of a tensor."""
    plain = values.detach().double().cpu().numpy().ravel()
    counts, edges = np.histogram(plain, BINS)
    sums = float(plain.sum()), float(plain @ plain)
    return Histogram(counts, edges[1:], float(plain.min()), float(plain.max()), *sums)


def draw(bands: list[NDArray[np.float32]]) -> Image:
    """Return a picture of spikes, one layer below the other.

    Args:
        bands: the activity of each layer, from 0 to 1, of shape (neurons, T).
    """
    steps = bands[0].shape[1]
    together = math.ceil(steps / MAX_COLUMNS)
    stretch = max(1, MIN_WIDTH // math.ceil(steps / together))
    rows = []
    for place, band in enumerate(bands):
        columns = np.maximum.reduceat(band, np.arange(0, steps, together), axis=1)
        shade = columns.repeat(NEURON_PIXELS, axis=0).repeat(stretch, axis=1)[:, :, None]
        colour = np.array(COLOURS[place % len(COLOURS)], np.float32)
        rows.append((BACKGROUND + shade * (colour - BACKGROUND)).round().astype(np.uint8))
        rows.append(np.full((BORDER_PIXELS, shade.shape[1], 3), BORDER, np.uint8))
    return np.concatenate(rows[:-1])


def _activity(network: nn.Module, clip: Clip, precision: str) -> dict[str, tuple[NDArray[np.float32], int]]:
    """Return what some neurons of each layer do in a clip of one sample, and how many neurons the layer has.

    The activity is from 0 to 1, of shape (neurons, T).
    """
    parts = dict[str, list[NDArray[np.float32]]]()
    with Meter(network, keeps_outputs=True) as meter, autocast(next(network.parameters()).device, precision):
        for _ in outputs_over_time(network, clip, meter):
            taken = meter.take_outputs()
            steps = taken[INPUT].numel() // math.prod(clip.shape[1:])
            for layer, outputs in taken.items():
                # With one sample, outputs of all steps at once and of one step after the other lie in the same order.
                one = outputs.view(steps, -1)
                parts.setdefault(layer, []).append(one[:, _spread(one.shape[1])].float().cpu().numpy())
    found = {}
    for layer, neurons in meter.neurons().items():
        band = np.concatenate(parts[layer]).T
        # Frames may hold counts.
        found[layer] = band / max(1.0, float(band.max())), neurons
    return found


def _spread(neurons: int) -> list[int]:
    """Return which neurons of a layer of this size are shown, evenly spread over all."""
    shown = min(neurons, MAX_NEURONS)
    return [place * neurons // shown for place in range(shown)]

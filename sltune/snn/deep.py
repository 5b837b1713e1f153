"""Deep convolutional networks that are built in: spike-element-wise residual blocks, and the same without residues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from sltune.snn.layers import LIF, Conv, Dense, Dropout, MaxPool, PerStep, ThresholdBatchNorm
from sltune.snn.network import NetworkOptions
from sltune.snn.stretches import Network

MIN_SIDE = 2
"""By default images are halved while this many pixels are left of a side, so that the classes see where things are."""
MAX_OPTION = 4096
"""More maps than any network of spikes has."""
POOLING: dict[str, Callable[[], nn.Module]] = {"max": MaxPool, "average": lambda: PerStep(nn.AvgPool2d(2))}
LearnDecay = Literal["", "layer", "channel"]


@dataclass(frozen=True)
class Shape:
    """The options of deep networks.

    width: the number of maps of every convolution. blocks: of two convolutions each; 0 for as many as leave at least 2
    pixels of the shorter side. pool: "max" or "average". learn_decay: "" for the fixed decay of [neuron], "layer" to
    learn one for each layer, "channel" for each map.

    Raises:
        ValueError: an option is not allowed; says what is.
    """

    width: int = 32
    blocks: int = 0
    pool: Literal["max", "average"] = "max"
    learn_decay: LearnDecay = ""

    def __post_init__(self) -> None:
        for name, low in (("width", 1), ("blocks", 0)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= MAX_OPTION:
                raise _not_allowed(name, f"a whole number from {low} to {MAX_OPTION}", value)
        for name, known in (("pool", (*POOLING,)), ("learn_decay", ("", "layer", "channel"))):
            if getattr(self, name) not in known:
                raise _not_allowed(name, f"one of {', '.join(map(repr, known))}", getattr(self, name))


class Spiking(nn.Module):
    """A 3×3 convolution that keeps the size of images, batch normalisation over time, and neurons."""

    def __init__(self, channels: int, maps: int, options: NetworkOptions, learn_decay: LearnDecay) -> None:
        super().__init__()
        self.conv = Conv(channels, maps, padding=1)
        self.norm = ThresholdBatchNorm(maps, options.neuron.v_threshold)
        of_channels = maps if learn_decay == "channel" else None
        self.lif = LIF(**asdict(options.neuron), learn_decay=learn_decay or False, channels=of_channels)

    def forward(self, images: Tensor) -> Tensor:
        spikes: Tensor = self.lif(self.conv(images), self.norm)
        return spikes


class Block(nn.Module):
    """Two spiking convolutions; if it is residual, the spikes that enter are added to those that leave."""

    def __init__(self, maps: int, options: NetworkOptions, learn_decay: LearnDecay, residual: bool) -> None:
        super().__init__()
        self.first = Spiking(maps, maps, options, learn_decay)
        self.second = Spiking(maps, maps, options, learn_decay)
        self.residual = residual

    def forward(self, spikes: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(spikes))
        return spikes + outputs if self.residual else outputs


class Deep(Network):
    """A stem and blocks, after each of which images are halved, and full connections to the classes.

    After the network for DVS128-Gesture of Fang et al. 2021 (arXiv 2102.04159), section 5.2, with a pooled stem. The
    classes have no neurons: what arrives at them is averaged over time.

    Args:
        frame_shape: (P, H, W). residual: whether the spikes that enter a block are added to those that leave it (SEW
            with ADD).

    Raises:
        ValueError: the frames are too small for so many blocks.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        classes: int,
        options: NetworkOptions,
        shape: Shape,
        residual: bool,
    ) -> None:
        super().__init__()
        polarities, height, width = frame_shape
        blocks = shape.blocks or max(1, _halvings(min(height, width)) - 1)
        halved = height >> blocks + 1, width >> blocks + 1
        if min(halved) < 1:
            raise ValueError(f"frames of {height}x{width} pixels cannot be halved {blocks + 1} times; use fewer blocks")
        self.stem = Spiking(polarities, shape.width, options, shape.learn_decay)
        self.blocks = nn.ModuleList(Block(shape.width, options, shape.learn_decay, residual) for _ in range(blocks))
        self.pool = POOLING[shape.pool]()
        self.dropout = Dropout(options.dropout)
        self.fc = Dense(shape.width * halved[0] * halved[1], classes)

    def forward(self, frames: Tensor) -> Tensor:
        spikes = self.pool(self.stem(frames))
        for block in self.blocks:
            spikes = self.pool(block(spikes))
        outputs: Tensor = self.fc(self.dropout(spikes.flatten(2)))
        return outputs


def _halvings(side: int) -> int:
    """Return how often a side can be halved so that at least MIN_SIDE pixels are left."""
    return max(0, (side // MIN_SIDE).bit_length() - 1)


def _not_allowed(name: str, allowed: str, value: object) -> ValueError:
    return ValueError(f"network.options.{name} must be {allowed}, but got {value!r}")


def _deep(
    frame_shape: tuple[int, int, int],
    classes: int,
    options: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
    *,
    residual: bool,
    **shape: Any,
) -> Deep:
    return Deep(frame_shape, classes, options, Shape(**shape), residual)


# Those that space files name, called with frame_shape=(P, H, W), classes, options of all networks and those of Shape.
sew = partial(_deep, residual=True)
vgg = partial(_deep, residual=False)

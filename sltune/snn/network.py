"""The networks that are built in: those of SL-Animals-DVS and N-MNIST, made of sltune's layers."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from torch import nn

from sltune.snn.layers import LIF, Conv, Dense, Dropout, LIFPool, Sequential, ThresholdBatchNorm
from sltune.snn.neurons.lif import LIFParameters


@dataclass(frozen=True)
class NetworkOptions:
    """norm: of convolutions, "none" or "tdbn". init: of full connections, "torch" or "stbp"; "data" begins as "torch".

    dropout acts on the input of the first full connections.
    """

    neuron: LIFParameters = field(default_factory=LIFParameters)
    norm: str = "none"
    dropout: float = 0.0
    init: str = "torch"


def convolutional(
    frame_shape: tuple[int, int, int], classes: int, units: int, options: NetworkOptions = NetworkOptions()
) -> Sequential:
    """Return two 3×3 convolutions, each with 2×2 average pooling, then full connections to units and to the classes.

    Raises:
        ValueError: the frames are too small.
    """
    channels, height, width = frame_shape
    layers: dict[str, nn.Module] = {}
    for name, maps in (("conv1", 20), ("conv2", 50)):
        if min(height, width) < 4:
            raise ValueError(f"frames are too small for {name}: {height}x{width} pixels reach it, 4x4 are needed")
        layers[name] = Conv(channels, maps)
        if options.norm == "tdbn":
            layers[f"{name}_norm"] = ThresholdBatchNorm(maps, options.neuron.v_threshold)
        layers[f"{name}_lif"] = LIFPool(**asdict(options.neuron))
        channels, height, width = maps, (height - 2) // 2, (width - 2) // 2
    return Sequential(OrderedDict(layers | _dense([channels * height * width, units, classes], options)))


def fully_connected(
    frame_shape: tuple[int, int, int], classes: int, units: Sequence[int], options: NetworkOptions = NetworkOptions()
) -> Sequential:
    """Return full connections to each of the units and to the classes; there is no convolution to normalise."""
    return Sequential(OrderedDict(_dense([math.prod(frame_shape), *units, classes], options)))


def _dense(sizes: Sequence[int], options: NetworkOptions) -> dict[str, nn.Module]:
    """Return full connections between layers of these sizes."""
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten(2), "dropout": Dropout(options.dropout)}
    for number in range(1, len(sizes)):
        layers[f"fc{number}"] = Dense(sizes[number - 1], sizes[number], options.init)
        layers[f"fc{number}_lif"] = LIF(**asdict(options.neuron))
    return layers


# Those that space files name, called with frame_shape=(P, H, W), classes and options.
slanimals = partial(convolutional, units=200)
nmnist_cnn = partial(convolutional, units=400)
nmnist_mlp = partial(fully_connected, units=(400, 400))
nmnist_mlp2 = partial(fully_connected, units=(512,))

"""The network of ../plain_torch with sltune's layers, which run in compiled kernels."""

from collections import OrderedDict

from torch import nn

from sltune import snn


class Net(snn.Sequential):
    def __init__(self, frame_shape, classes, maps=8, decay=0.5):
        polarities, height, width = frame_shape
        # A sigmoid of width 1/4 is one of slope 4. The gradient flows through the reset.
        neurons = {"v_threshold": 0.3, "decay": decay, "surrogate": "sigmoid", "surrogate_width": 0.25}
        layers = {
            "conv": snn.Conv(polarities, maps, padding=1),
            "conv_lif": snn.LIFPool(**neurons),
            "flatten": nn.Flatten(2),
            "fc": snn.Dense(maps * (height // 2) * (width // 2), classes),
            "fc_lif": snn.LIF(**neurons),
        }
        super().__init__(OrderedDict(layers))

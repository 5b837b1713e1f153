"""The network of ../plain_torch with neurons of snnTorch, called once a time step."""

import torch
from snntorch import Leaky, surrogate
from torch import nn


class Net(nn.Module):
    def __init__(self, frame_shape, classes, maps=8, decay=0.5):
        super().__init__()
        polarities, height, width = frame_shape
        # The same as in ../plain_torch with detach_reset: in snnTorch no gradient flows through the reset.
        neurons = {"beta": decay, "threshold": 0.3, "reset_mechanism": "zero", "spike_grad": surrogate.sigmoid(slope=4)}
        self.conv = nn.Conv2d(polarities, maps, 3, padding=1)
        self.conv_lif = Leaky(**neurons)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(maps * (height // 2) * (width // 2), classes)
        self.fc_lif = Leaky(**neurons)

    def forward(self, frames):
        # Without these lines the potentials of one batch would be those that the next one starts with.
        first, second = self.conv_lif.reset_mem(), self.fc_lif.reset_mem()
        outputs = []
        for frame in frames:
            spikes, first = self.conv_lif(self.conv(frame), first)
            spikes, second = self.fc_lif(self.fc(self.pool(spikes).flatten(1)), second)
            outputs.append(spikes)
        return torch.stack(outputs)

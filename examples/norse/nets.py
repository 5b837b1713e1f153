"""The network of ../plain_torch with neurons of Norse, called once a time step."""

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters
from torch import nn


class Net(nn.Module):
    def __init__(self, frame_shape, classes, maps=8, decay=0.5):
        super().__init__()
        polarities, height, width = frame_shape
        self.decay = decay
        # A time step is the unit of time. In place of the derivative of a spike stands 1 − tanh(2x)², which is the
        # derivative of a sigmoid of slope 4. The gradient flows through the reset.
        parameters = LIFBoxParameters(
            tau_mem_inv=torch.tensor(1 - decay), v_th=torch.tensor(0.3), method="tanh", alpha=2.0
        )
        self.conv = nn.Conv2d(polarities, maps, 3, padding=1)
        self.conv_lif = LIFBoxCell(parameters, dt=1.0)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(maps * (height // 2) * (width // 2), classes)
        self.fc_lif = LIFBoxCell(parameters, dt=1.0)

    def forward(self, frames):
        # Neurons of Norse get their state as an argument, so that there is nothing to reset.
        first = second = None
        outputs = []
        for frame in frames:
            # Norse multiplies currents by 1 − decay; ../plain_torch does not.
            spikes, first = self.conv_lif(self.conv(frame) / (1 - self.decay), first)
            spikes, second = self.fc_lif(self.fc(self.pool(spikes).flatten(1)) / (1 - self.decay), second)
            outputs.append(spikes)
        return torch.stack(outputs)

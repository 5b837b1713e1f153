"""A convolution and full connections, each with leaky integrate-and-fire neurons, in plain torch.

The other examples are the same network with the neurons of a library. With the same weights they have the same losses,
as long as the reset of a neuron has a gradient in both (sltune, Norse) or in none (snnTorch): ``detach_reset``.
"""

import torch
from torch import nn

THRESHOLD = 0.3


class Spike(torch.autograd.Function):
    """1 above the threshold, else 0. In place of the derivative stands that of a sigmoid of slope 4."""

    @staticmethod
    def forward(ctx, above):
        ctx.save_for_backward(above)
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(ctx, gradient):
        sigmoid = torch.sigmoid(4 * ctx.saved_tensors[0])
        return gradient * 4 * sigmoid * (1 - sigmoid)


class LIF(nn.Module):
    """Currents of shape (T, B, ...) in, spikes of the same shape out; a spike sets the potential to 0."""

    def __init__(self, decay, detach_reset):
        super().__init__()
        self.decay, self.detach_reset = decay, detach_reset

    def forward(self, currents):
        potential, outputs = torch.zeros_like(currents[0]), []
        for current in currents:
            potential = self.decay * potential + current
            spikes = Spike.apply(potential - THRESHOLD)
            potential = potential * (1 - (spikes.detach() if self.detach_reset else spikes))
            outputs.append(spikes)
        return torch.stack(outputs)


class Net(nn.Module):
    def __init__(self, frame_shape, classes, maps=8, decay=0.5, detach_reset=False):
        super().__init__()
        polarities, height, width = frame_shape
        self.conv = nn.Conv2d(polarities, maps, 3, padding=1)
        self.conv_lif = LIF(decay, detach_reset)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(maps * (height // 2) * (width // 2), classes)
        self.fc_lif = LIF(decay, detach_reset)

    def forward(self, frames):
        currents = self.conv(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        pooled = self.pool(self.conv_lif(currents).flatten(0, 1)).unflatten(0, frames.shape[:2])
        return self.fc_lif(self.fc(pooled.flatten(2)))

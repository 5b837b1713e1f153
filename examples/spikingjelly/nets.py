"""The network of ../plain_torch with layers of SpikingJelly, which take all time steps at once ("m")."""

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn


class Net(nn.Module):
    def __init__(self, frame_shape, classes, maps=8, decay=0.5, detach_reset=False):
        super().__init__()
        polarities, height, width = frame_shape
        # v − v/tau is decay · v, as in ../plain_torch. By default, SpikingJelly divides the currents by tau as well.
        neurons = {"tau": 1 / (1 - decay), "decay_input": False, "v_threshold": 0.3, "detach_reset": detach_reset}
        self.conv = layer.Conv2d(polarities, maps, 3, padding=1)
        self.conv_lif = neuron.LIFNode(**neurons, surrogate_function=surrogate.Sigmoid(alpha=4.0))
        self.pool = layer.AvgPool2d(2)
        self.fc = layer.Linear(maps * (height // 2) * (width // 2), classes)
        self.fc_lif = neuron.LIFNode(**neurons, surrogate_function=surrogate.Sigmoid(alpha=4.0))
        functional.set_step_mode(self, "m")

    def forward(self, frames):
        # sltune resets the neurons before every batch, as functional.reset_net does.
        spikes = self.pool(self.conv_lif(self.conv(frames)))
        return self.fc_lif(self.fc(spikes.flatten(2)))

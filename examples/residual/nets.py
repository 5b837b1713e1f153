"""A residual spiking network: the spikes that enter a block are added to those that leave it.

After SEW-ResNet with ADD (Fang et al. 2021, arXiv 2102.04159).
"""

from torch import nn

from sltune import snn


class Spiking(nn.Module):
    """A convolution that keeps the size of the images, batch normalisation, and neurons."""

    def __init__(self, channels, maps, decay):
        super().__init__()
        self.conv = snn.Conv(channels, maps, padding=1)
        self.norm = snn.ThresholdBatchNorm(maps)
        self.lif = snn.LIF(decay=decay)

    def forward(self, images):
        return self.lif(self.norm(self.conv(images)))


class Block(nn.Module):
    def __init__(self, maps, decay):
        super().__init__()
        self.first = Spiking(maps, maps, decay)
        self.second = Spiking(maps, maps, decay)

    def forward(self, spikes):
        return spikes + self.second(self.first(spikes))


class Net(snn.Network):
    """Options: ``maps`` of each convolution, ``blocks`` of two convolutions, ``decay`` of all neurons.

    The classes have no neurons: what arrives at them is averaged over time.
    """

    def __init__(self, frame_shape, classes, maps=16, blocks=2, decay=0.3):
        super().__init__()
        polarities, height, width = frame_shape
        # Images are halved before the first block and after each.
        halvings = blocks + 1
        if min(height, width) < 2**halvings:
            raise ValueError(f"frames of {height}x{width} pixels cannot be halved {halvings} times; use fewer blocks")
        self.stem = Spiking(polarities, maps, decay)
        self.pool = snn.PerStep(nn.AvgPool2d(2))
        self.blocks = nn.ModuleList(Block(maps, decay) for _ in range(blocks))
        self.fc = snn.Dense(maps * (height >> halvings) * (width >> halvings), classes)

    def forward(self, frames):
        spikes = self.pool(self.stem(frames))
        for block in self.blocks:
            spikes = self.pool(block(spikes))
        return self.fc(spikes.flatten(2))

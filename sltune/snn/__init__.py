"""Layers of spiking networks, the networks that are built in, how any network is run, and what runs its layers."""

from sltune.snn.layers import LIF, Conv, Dense, Dropout, LIFPool, MaxPool, PerStep, Sequential, ThresholdBatchNorm
from sltune.snn.stretches import Network

__all__ = [
    "LIF",
    "Conv",
    "Dense",
    "Dropout",
    "LIFPool",
    "MaxPool",
    "Network",
    "PerStep",
    "Sequential",
    "ThresholdBatchNorm",
]

"""Layers of spiking networks, the networks that are built in, how any network is run, and what runs its layers."""

from sltune.snn.layers import LIF, Conv, Dense, Dropout, LIFPool, PerStep, Sequential, ThresholdBatchNorm
from sltune.snn.stretches import Network

__all__ = ["LIF", "Conv", "Dense", "Dropout", "LIFPool", "Network", "PerStep", "Sequential", "ThresholdBatchNorm"]

"""Spiking networks, and the choice of what runs their layers."""

from sltune.snn.layers import LIF, Conv, Dense, Dropout, LIFPool, PerStep, Sequential, ThresholdBatchNorm
from sltune.snn.stretches import Network

__all__ = ["LIF", "Conv", "Dense", "Dropout", "LIFPool", "Network", "PerStep", "Sequential", "ThresholdBatchNorm"]

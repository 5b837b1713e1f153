"""Layers as kernels on NVIDIA GPUs (Triton)."""

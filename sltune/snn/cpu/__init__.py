"""Layers as compiled kernels on the CPU (numba)."""

"""The same layers as kernels on NVIDIA GPUs (Triton)."""

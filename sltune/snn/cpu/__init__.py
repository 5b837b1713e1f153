"""The same layers as compiled kernels on the CPU (numba)."""

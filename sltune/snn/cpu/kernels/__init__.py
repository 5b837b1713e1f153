"""The loops of the CPU's layers, compiled by numba, and the vector instructions within them."""

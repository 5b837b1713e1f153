"""Decoders compiled by numba, and the HDF5 library in a process of its own."""

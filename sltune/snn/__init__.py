"""Spiking layers and networks in plain torch, the reference of every faster backend."""

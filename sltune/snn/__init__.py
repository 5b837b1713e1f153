"""Spiking networks, and the choice of what runs their layers."""

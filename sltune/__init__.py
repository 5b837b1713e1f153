"""Cross-validated training and search for spiking networks on event-camera data."""

__version__ = "0.1.0"

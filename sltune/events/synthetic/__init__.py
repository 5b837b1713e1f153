"""Simulated recordings of signs."""

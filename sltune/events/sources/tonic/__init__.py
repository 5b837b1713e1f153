"""Datasets that Tonic reads."""

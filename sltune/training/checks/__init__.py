"""Mistakes in networks that show before a training: each is a finding with its layer."""

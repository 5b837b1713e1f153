"""The region of practical equivalence; on its own, so that the command line needs no scipy to show it."""

EQUIVALENCE_POINTS = 1.0
"""Differences up to so many points count as none in practice."""

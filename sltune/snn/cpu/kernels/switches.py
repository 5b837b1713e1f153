"""Parts of this folder that can be switched off, to measure them or to look for a fault; README.md lists them."""

from __future__ import annotations

import os

VARIABLE = "SLTUNE_CPU_OFF"
"""Environment variable with the parts to switch off, separated by commas; it is read when a process starts."""
PARTS = ("stage", "image-gradient", "dense-gradient", "vectors", "threads")


def parts_off(text: str) -> frozenset[str]:
    """Return the parts that a value of the variable names.

    Raises:
        ValueError: one of them is unknown.
    """
    off = frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(off.difference(PARTS)):
        raise ValueError(f"{VARIABLE} must name parts of {', '.join(PARTS)}, but names {', '.join(unknown)}")
    return off


OFF = parts_off(os.environ.get(VARIABLE, ""))


def is_on(part: str) -> bool:
    return part not in OFF

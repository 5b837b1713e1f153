"""What an examination finds: a thing, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "broken"]
STATES: Sequence[State] = ("ok", "warning", "broken")


@dataclass(frozen=True)
class Finding:
    """How a thing is.

    subject: what was looked at, such as "/dev/shm". text: what was found, with numbers. advice: what to do; "" where
    nothing is to be done. node: on which it was found; "" for this machine, where no cluster is named.
    """

    state: State
    subject: str
    text: str
    advice: str = ""
    node: str = ""


def graded(subject: str, text: str, advice: str, is_broken: bool, is_doubtful: bool = False) -> Finding:
    """Return a finding whose advice is given only where something is to be done."""
    if is_broken or is_doubtful:
        return Finding("broken" if is_broken else "warning", subject, text, advice)
    return Finding("ok", subject, text)


def size(count: float) -> str:
    """Return bytes in words."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"

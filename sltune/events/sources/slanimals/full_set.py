"""What is published about the full SL-Animals-DVS set, and how a folder with that many recordings differs from it.

The predecessor's repository lists the recordings and gives these counts and durations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sltune.events.source import Finding

USERS: Mapping[str, Sequence[int]] = {
    "imse": range(25, 35),
    "dc": range(35, 60),
    "indoor": [user for user in range(18) if user != 4],
    "sunlight": range(18, 25),
}
RECORDINGS = tuple(f"user{user:02d}_{session}" for session, users in USERS.items() for user in users)
REDUCED = sum(not name.endswith("_indoor") for name in RECORDINGS)
SAMPLES = 1121
DURATIONS_MS = {"min": 880, "mean": 4360, "std": 1189, "max": 9466}
# The published durations were computed from frames of whole milliseconds.
TOLERANCE_MS = 2


def claims_to_be_full(recordings: Sequence[str]) -> bool:
    """Return whether there are more recordings than in the reduced set, so that the full set must be meant."""
    return len(recordings) > REDUCED


def check_recordings(place: str, recordings: Sequence[str]) -> list[Finding]:
    """Return which recordings of the full set are missing, and which do not belong to it."""
    if not claims_to_be_full(recordings):
        return []
    findings = []
    for session, users in USERS.items():
        wanted = [f"user{user:02d}_{session}" for user in users]
        missing = [name for name in wanted if name not in recordings]
        if missing:
            counts = f"{len(wanted) - len(missing)} of {len(wanted)} recordings of {session}"
            findings.append(Finding(place, f"{counts}; missing: {', '.join(missing)}"))
    strange = [name for name in recordings if name not in RECORDINGS]
    if strange:
        findings.append(Finding(place, f"not in the published set: {', '.join(strange)}"))
    return findings


def check_durations(place: str, recordings: Sequence[str], durations_ms: NDArray[np.float64]) -> list[Finding]:
    """Return where the number of samples and their durations differ from those published for the full set."""
    if not claims_to_be_full(recordings):
        return []
    findings = []
    if len(durations_ms) != SAMPLES:
        findings.append(Finding(place, f"{len(durations_ms)} samples; the published set has {SAMPLES}"))
    for name, published in DURATIONS_MS.items():
        measured = float(getattr(np, name)(durations_ms))
        if abs(measured - published) > TOLERANCE_MS:
            findings.append(Finding(place, f"{name} of durations {measured:.0f} ms; published: {published} ms"))
    return findings

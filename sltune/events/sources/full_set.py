"""What is published of the full SL-Animals-DVS set, and how a folder that claims to be it differs.

Counts and durations are those of the files as the predecessor's repository lists and measures them.
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
# The published figures are whole milliseconds, of frames cut from milliseconds.
TOLERANCE_MS = 2


def claims_to_be_full(recordings: Sequence[str]) -> bool:
    """Say whether recordings must be meant as the full set: they are more than the reduced one has."""
    return len(recordings) > REDUCED


def check_recordings(place: str, recordings: Sequence[str]) -> list[Finding]:
    """Say which recordings of the full set are missing, and which are none of it."""
    if not claims_to_be_full(recordings):
        return []
    findings = []
    for session, users in USERS.items():
        wanted = [f"user{user:02d}_{session}" for user in users]
        missing = [name for name in wanted if name not in recordings]
        if missing:
            text = (
                f"{len(wanted) - len(missing)} of {len(wanted)} recordings of {session}; missing: {', '.join(missing)}"
            )
            findings.append(Finding(place, text))
    strange = [name for name in recordings if name not in RECORDINGS]
    if strange:
        findings.append(Finding(place, f"not in the published set: {', '.join(strange)}"))
    return findings


def check_durations(place: str, recordings: Sequence[str], durations_ms: NDArray[np.float64]) -> list[Finding]:
    """Say where the number of samples and their durations differ from what is published of the full set."""
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

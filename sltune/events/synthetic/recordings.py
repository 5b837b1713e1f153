"""A simulator that writes recordings and tags in the form of SL-Animals-DVS.

Names, sessions, rates, durations and formats are those of the dataset (Vasudevan et al. 2021, Fig. 8 for the
rates); the gestures are those of events/synthetic/gestures.py and mean nothing in any sign language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sltune.errors import UsageError
from sltune.events.formats.aedat import SENSOR_SIZE, WRAP_US, write_aedat
from sltune.events.sources.slanimals.tags import TAG_COLUMNS
from sltune.events.synthetic.body import STEP_US, Edges, edges_of, passer_edges
from sltune.events.synthetic.gestures import GESTURES, SIGNS, Gesture
from sltune.events.synthetic.hands import hands_of
from sltune.events.synthetic.sensor import SESSIONS, Session, flicker_keys, noise_keys, signal_keys
from sltune.events.synthetic.signers import SIMILAR, VARIED, Signer, Variety, draw_camera, draw_signer, seen_by
from sltune.events.synthetic.takes import draw_take
from sltune.system.files import whole_file, write_whole

SignersName = Literal["similar", "varied"]
SIGNERS: dict[SignersName, tuple[Sequence[Gesture], Variety]] = {
    "similar": (GESTURES, SIMILAR),
    "varied": (SIGNS, VARIED),
}
# Keeps the random numbers of cameras apart from those of signers.
CAMERAS = 1000
MAX_PASSING_US = 3_500_000
# The recording whose times pass 2³² µs.
WRAPPING = "user36_dc"


@dataclass(frozen=True, eq=False)
class SyntheticRecording:
    """Events sorted by time, and tags of shape (gestures, 3): class from 1, first event, event after the last.

    address: uint16 array of shape (events,). time_us: uint64 array of shape (events,), not wrapped.
    """

    name: str
    address: NDArray[np.uint16]
    time_us: NDArray[np.uint64]
    tags: NDArray[np.int64]


class Sign(NamedTuple):
    """One performance of a gesture, with the pause after it: edges from start_us on; the sign itself ends at end_us."""

    edges: Edges
    start_us: int
    end_us: int


def write_dataset(
    out: Path,
    recordings: int = 12,
    seed: int = 0,
    progress: Callable[[str, int], None] | None = None,
    signers: SignersName = "varied",
) -> None:
    """Write out/recordings/*.aedat and out/tags/*.csv.

    A recording depends on its name and the seed, not on how many there are.

    Args:
        progress: called after each recording with its name and number of events.

    Raises:
        UsageError: out is not empty or cannot be written, or recordings or seed are out of range.
    """
    names = recording_names(recordings)
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, but got {seed}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder; name another one, or remove what is there")
    made_by = f"synthetic: sltune synth --signers {signers} --seed {seed}"
    for name in names:
        recording = simulate_recording(name, seed, *SIGNERS[signers])
        rows = [",".join(TAG_COLUMNS), *(",".join(map(str, row)) for row in recording.tags.tolist())]
        write_whole(out / "tags" / f"{name}.csv", "\n".join(rows) + "\n")
        with whole_file(out / "recordings" / f"{name}.aedat") as handle:
            write_aedat(handle, recording.address, recording.time_us, [made_by])
        if progress is not None:
            progress(name, len(recording.address))


def recording_names(recordings: int) -> list[str]:
    """Return names sorted by user number; from 4 recordings on, from every session, in the dataset's proportions.

    Raises:
        UsageError: the number is less than 1, or more than the dataset has.
    """
    total = sum(len(session.users) for session in SESSIONS)
    if not 1 <= recordings <= total:
        raise UsageError(f"recordings must be 1 to {total}, as many as the dataset has, but got {recordings}")
    taken = dict.fromkeys(SESSIONS, 0)
    for _ in range(recordings):
        # Sainte-Laguë's method, but no session gets a second recording before every session has one.
        free = [session for session in SESSIONS if taken[session] < len(session.users)]
        next_one = max(free, key=lambda s: (taken[s] == 0, len(s.users) / (2 * taken[s] + 1)))
        taken[next_one] += 1
    return sorted(
        f"user{user:02d}_{session.suffix}" for session in SESSIONS for user in session.users[: taken[session]]
    )


def simulate_recording(
    name: str, seed: int, gestures: Sequence[Gesture] = GESTURES, variety: Variety = SIMILAR
) -> SyntheticRecording:
    """Simulate gestures in sequence, with pauses before, between and after them.

    Args:
        name: as ``recording_names`` returns it; name and seed determine the recording.
    """
    user = int(name.removeprefix("user").partition("_")[0])
    session = next(session for session in SESSIONS if user in session.users)
    rng = np.random.default_rng([seed, user])
    # All signers of a session sit before the same camera.
    camera = draw_camera(np.random.default_rng([seed, SESSIONS.index(session), CAMERAS]), variety)
    signer = seen_by(camera, draw_signer(rng, variety))
    signs = draw_signs(rng, signer, gestures, variety)
    length_us = signs[-1].start_us + len(signs[-1].edges.x) * STEP_US
    gain = rng.uniform(0.92, 1.08) * gain_of(session, signs)
    keys = np.concatenate(
        [
            *(signal_keys(rng, sign.edges, gain, sign.start_us) for sign in signs),
            *(signal_keys(rng, edges, gain, start_us) for edges, start_us in draw_passers(rng, length_us, variety)),
            noise_keys(rng, session, length_us),
            flicker_keys(rng, session, length_us),
        ]
    )
    keys.sort()
    bounds = np.searchsorted(keys, np.array([(sign.start_us, sign.end_us) for sign in signs]) << 16)
    return SyntheticRecording(
        name=name,
        address=(keys & 0xFFFF).astype(np.uint16),
        time_us=(keys >> 16).astype(np.uint64) + np.uint64(_first_us(rng, user, name, length_us)),
        tags=np.column_stack([np.arange(1, len(signs) + 1), bounds]),
    )


def draw_signs(rng: np.random.Generator, signer: Signer, gestures: Sequence[Gesture], variety: Variety) -> list[Sign]:
    """Draw one performance of each gesture, one after the other, after a first pause."""
    signs = []
    start_us = _draw_pause_us(rng)
    for gesture in gestures:
        sign_us = draw_duration_us(rng)
        pose_us = np.arange(0, sign_us + _draw_pause_us(rng) + STEP_US, STEP_US)
        take = draw_take(rng, sign_us, gesture, signer, variety)
        leading = replace(signer, mirrored=signer.mirrored != take.other_hand)
        edges = edges_of(hands_of(gesture, signer, take, pose_us), leading, pose_us)
        signs.append(Sign(edges, start_us, start_us + sign_us))
        start_us += int(pose_us[-1])
    return signs


def draw_passers(rng: np.random.Generator, length_us: int, variety: Variety) -> list[tuple[Edges, int]]:
    """Draw people who pass behind the signer: their edges, and when these begin."""
    if not variety.passers:
        return []
    starts_us = rng.integers(0, max(1, length_us - MAX_PASSING_US), rng.poisson(variety.passers * length_us / 60e6))
    return [(passer_edges(rng), int(start_us)) for start_us in starts_us]


def draw_duration_us(rng: np.random.Generator) -> int:
    """Draw the duration of a sign: normally distributed, within the shortest and longest of the dataset."""
    while True:
        duration_ms = rng.normal(4360, 1189)
        if 888 < duration_ms < 9464:
            return int(duration_ms * 1000) // STEP_US * STEP_US


def gain_of(session: Session, signs: Sequence[Sign]) -> float:
    """Return how many events a pixel must send when an edge passes, so that the signs have the session's rate."""
    area = sum(_visible_area(sign.edges, (sign.end_us - sign.start_us) // STEP_US) for sign in signs)
    seconds = sum(sign.end_us - sign.start_us for sign in signs) * 1e-6
    return session.rate_hz * (1 - session.noise - session.flicker) * seconds / area


def _draw_pause_us(rng: np.random.Generator) -> int:
    return int(rng.integers(400_000, 1_500_000)) // STEP_US * STEP_US


def _visible_area(edges: Edges, steps: int) -> float:
    """Return the area that edges sweep within the picture in the first steps, in pixels² times contrast."""
    x, y = ((start + along / 2)[:steps] for start, along in ((edges.x, edges.along_x), (edges.y, edges.along_y)))
    visible = (x >= 0) & (x < SENSOR_SIZE) & (y >= 0) & (y < SENSOR_SIZE)
    return float(np.abs(edges.swept[:steps][visible]).sum())


def _first_us(rng: np.random.Generator, user: int, name: str, length_us: int) -> int:
    """Return when a recording starts: for even users below 2³¹ µs, for odd ones above, for one just before 2³²."""
    half = WRAP_US // 2
    if name == WRAPPING:
        return WRAP_US - length_us // 2
    return int(rng.integers(0, half - length_us)) + half * (user % 2)

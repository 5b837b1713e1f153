"""Where both hands are while a signer makes a gesture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sltune.events.synthetic.gestures import Array, Gesture
from sltune.events.synthetic.signers import Signer
from sltune.events.synthetic.takes import Fidget, Take

# Both hands rest on the knees.
REST = np.array([(-25, -64), (25, -64)], dtype=np.float32)


class Hands(NamedTuple):
    """Wrists (steps, hand, xy), directions and openings (steps, hand) in radians; the leading hand first.

    head: how far it has moved, (steps, xy).
    """

    wrist: Array
    direction: Array
    opening: Array
    head: Array


def hands_of(gesture: Gesture, signer: Signer, take: Take, time_us: NDArray[np.int64]) -> Hands:
    """Return where both hands are at times since the start of the take."""
    raised = _smooth(time_us, *take.lift_us) - _smooth(time_us, *take.lower_us)
    parts = (gesture, gesture.then or gesture)
    late = _smooth(time_us, *take.change_us)[:, None] * (gesture.then is not None)
    motions = [_motion(*pair, signer, take, time_us) for pair in zip(parts, range(2), strict=True)]
    path, pointing, spread = (_changed(pair, late) for pair in zip(*motions, strict=True))
    path = _turned(path * np.array(take.amplitude, dtype=np.float32), take.angle)
    place = _changed([np.array(part.place) for part in parts], late)
    path += (place + np.array(signer.offset) + np.array(take.offset))[:, None]
    path[:, 1] = _partner_path(path, place, _changed([float(part.partner == "follow") for part in parts], late))
    with_partner = _changed([float(part.partner != "rest") for part in parts], late)[:, 0]
    up = np.stack([raised, raised * with_partner], axis=-1).astype(np.float32)
    direction = np.radians(pointing)
    direction[:, 1] = np.pi - direction[:, 1]
    down = np.radians([-100, -80])
    wrist = REST + up[..., None] * (path - REST)
    for fidget in take.fidgets:
        wrist[:, fidget.hand] += _fidget(fidget, wrist[:, fidget.hand], up[:, fidget.hand], time_us)
    return Hands(wrist, down + up * (direction - down), np.radians(14 + up * spread), _head(take, time_us))


def _motion(part: Gesture, number: int, signer: Signer, take: Take, time_us: NDArray[np.int64]) -> tuple[Array, ...]:
    """Return path (steps, hand, xy) around the place, direction and opening (steps, hand) in degrees."""
    phase = (time_us - take.starts_us[number]) * 1e-6 * part.rate_hz * signer.speed * take.rate
    phase = np.clip(phase, 0, take.repetitions[number]) + take.turn
    phases = np.stack([phase, phase + (0.5 if part.partner == "alternate" else 0.0)], axis=-1)
    path = np.stack([part.x.at(phases), part.y.at(phases)], axis=-1)
    return path, part.pointing + part.tilt.at(phases), part.spread.at(phases)


def _changed(pair: Sequence[Any], late: Array) -> Any:
    """Return the first, and by and by the second, as late, of shape (steps, 1), rises from 0 to 1."""
    first, second = pair
    return first + late.reshape(-1, *[1] * max(1, np.ndim(first) - 1)) * (second - first)


def _turned(path: Array, angle: float) -> Array:
    sin, cos = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    x, y = path[..., 0], path[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _partner_path(path: Array, place: NDArray[np.float64], follows: Array) -> Array:
    """Return the other hand's path: moved along beside the leading one as far as it follows, else mirrored."""
    beside = path[:, 0] - (place * (2, 0)).astype(np.float32)
    return np.asarray((1 - follows) * path[:, 1] * np.array([-1, 1], dtype=np.float32) + follows * beside, np.float32)


def _fidget(fidget: Fidget, wrist: Array, up: Array, time_us: NDArray[np.int64]) -> Array:
    """Return how far a hand is from where it would be, if it were not for a fidget; a hand that is up signs."""
    quarter_us = (fidget.end_us - fidget.start_us) / 4
    there = _smooth(time_us, fidget.start_us, fidget.start_us + quarter_us)
    there -= _smooth(time_us, fidget.end_us - quarter_us, fidget.end_us)
    swing = np.outer(np.cos(2e-6 * np.pi * fidget.rate_hz * time_us), (1.5, 4))
    return np.asarray((there * (1 - up))[:, None] * (np.array(fidget.place) + swing - wrist), np.float32)


def _head(take: Take, time_us: NDArray[np.int64]) -> Array:
    pixels, rate_hz = take.nod
    nodding = _smooth(time_us, 0, 0.2 * take.duration_us) - _smooth(time_us, 0.8 * take.duration_us, take.duration_us)
    return np.outer(nodding * np.sin(2e-6 * np.pi * rate_hz * time_us), (0.6 * pixels, pixels)).astype(np.float32)


def _smooth(time_us: NDArray[np.int64], start_us: float, end_us: float) -> Array:
    """Rise smoothly from 0 at the start to 1 at the end."""
    part = np.clip((time_us - start_us) / (end_us - start_us), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), dtype=np.float32)

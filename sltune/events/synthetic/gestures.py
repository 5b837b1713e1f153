"""What the hands do in a synthetic recording: 19 gestures, and the signers who make them.

Lengths are pixels of a DVS128 for a signer of size 1, in a frame whose origin is the base of the neck, x to
the right of the picture and y up. The leading hand is the one on the left of the picture unless mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]

# Both hands rest on the knees.
REST = np.array([(-25, -64), (25, -64)], dtype=np.float32)


class Wave(NamedTuple):
    """amplitude · cos 2π(harmonic · phase + turn)."""

    amplitude: float = 0.0
    harmonic: int = 1
    turn: float = 0.0

    def at(self, phase: ArrayLike) -> Array:
        turns = np.asarray(phase, dtype=np.float32) * self.harmonic + np.float32(self.turn)
        return np.asarray(self.amplitude * np.cos(2 * np.pi * turns), dtype=np.float32)


STILL = Wave()


@dataclass(frozen=True)
class Gesture:
    """A closed path of the leading hand around a place, and what the other hand does meanwhile.

    pointing and tilt: direction of the fingers and its swing, degrees. spread: opening of the fingers,
    degrees. swaps: the second half of the sign exchanges x and y.
    """

    place: tuple[float, float]
    x: Wave = STILL
    y: Wave = STILL
    tilt: Wave = STILL
    spread: Wave = STILL
    pointing: float = 70.0
    rate_hz: float = 2.0
    swaps: bool = False
    partner: Literal["rest", "mirror", "alternate", "follow"] = "rest"


CHEST, FACE, SIDE = (-10.0, -22.0), (-15.0, 10.0), (-26.0, -10.0)

GESTURES = (
    Gesture(CHEST, x=Wave(12), pointing=40, rate_hz=1.6, partner="mirror"),  # cat
    Gesture(CHEST, y=Wave(12), rate_hz=2.2),  # dog
    Gesture(CHEST, x=Wave(15), y=Wave(9, 2, 0.25), rate_hz=0.9),  # camel
    Gesture(SIDE, x=Wave(11), y=Wave(11, 1, 0.25), rate_hz=1.6),  # cow
    Gesture(SIDE, x=Wave(11), y=Wave(11, 1, -0.25), rate_hz=1.6),  # sheep
    Gesture(FACE, y=Wave(6), pointing=80, rate_hz=3.2),  # goat
    Gesture(CHEST, x=Wave(12), y=Wave(12, 1, 0.14), rate_hz=1.7),  # wolf
    Gesture(SIDE, y=Wave(12), pointing=110, rate_hz=1.8, partner="alternate"),  # squirrel
    Gesture(FACE, tilt=Wave(40), pointing=80, rate_hz=2.6),  # mouse
    Gesture(CHEST, x=Wave(15), y=Wave(10), pointing=50, rate_hz=1.5, swaps=True),  # dolphin
    Gesture(CHEST, x=Wave(15), pointing=50, rate_hz=1.5),  # shark
    Gesture(SIDE, x=Wave(9), y=Wave(9, 1, 0.25), rate_hz=1.7, partner="mirror"),  # lion
    Gesture(SIDE, x=Wave(9), y=Wave(9, 1, 0.25), rate_hz=1.7, partner="follow"),  # monkey
    Gesture(CHEST, x=Wave(14), y=Wave(6, 3), rate_hz=0.8),  # snake
    Gesture(CHEST, x=Wave(12), pointing=40, rate_hz=1.6, partner="follow"),  # spider
    Gesture(CHEST, tilt=Wave(45), pointing=60, rate_hz=1.8, partner="mirror"),  # butterfly
    Gesture(SIDE, y=Wave(12), pointing=110, rate_hz=1.8, partner="mirror"),  # bird
    Gesture(FACE, spread=Wave(20), pointing=80, rate_hz=2.4),  # duck
    Gesture(CHEST, x=Wave(12), y=Wave(12, 1, -0.14), rate_hz=1.7),  # zebra
)


@dataclass(frozen=True)
class Signer:
    """How one person signs; angle in radians, offset and centre in pixels."""

    size: float
    centre: tuple[float, float]
    angle: float
    mirrored: bool
    speed: float
    amplitude: float
    offset: tuple[float, float]
    sleeve_contrast: float
    sway: tuple[float, float]


def draw_signer(rng: np.random.Generator) -> Signer:
    """Draw a signer; one in twelve is left-handed."""
    return Signer(
        size=float(np.exp(rng.normal(0, 0.05))),
        centre=(64 + float(rng.normal(0, 2)), 80 + float(rng.normal(0, 2))),
        angle=float(rng.normal(0, np.radians(3))),
        mirrored=bool(rng.random() < 0.08),
        speed=float(np.exp(rng.normal(0, 0.12))),
        amplitude=float(np.exp(rng.normal(0, 0.12))),
        offset=(float(rng.normal(0, 2)), float(rng.normal(0, 2))),
        sleeve_contrast=float(rng.uniform(0.3, 0.9)),
        sway=(float(rng.uniform(0.2, 0.5)), float(rng.random())),
    )


@dataclass(frozen=True)
class Take:
    """One performance of a gesture: rest, lifting, repetitions, lowering, rest; times from its start."""

    duration_us: int
    lift_us: tuple[float, float]
    lower_us: tuple[float, float]
    rate: float
    amplitude: float
    offset: tuple[float, float]
    turn: float


def draw_take(rng: np.random.Generator, duration_us: int) -> Take:
    """Draw the performance of a sign of this duration; the hand is up after about a fifth of it."""
    rest = rng.uniform(0.02, 0.14, 2) * duration_us
    moving = np.minimum(rng.uniform(300_000, 600_000, 2), 0.16 * duration_us)
    return Take(
        duration_us=duration_us,
        lift_us=(float(rest[0]), float(rest[0] + moving[0])),
        lower_us=(float(duration_us - rest[1] - moving[1]), float(duration_us - rest[1])),
        rate=float(np.exp(rng.normal(0, 0.08))),
        amplitude=float(np.exp(rng.normal(0, 0.1))),
        offset=(float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5))),
        turn=float(rng.random()),
    )


class Hands(NamedTuple):
    """Wrists (steps, hand, xy), directions and openings (steps, hand) in radians; the leading hand first."""

    wrist: Array
    direction: Array
    opening: Array


def hands_of(gesture: Gesture, signer: Signer, take: Take, time_us: NDArray[np.int64]) -> Hands:
    """Return where both hands are at times since the start of the take."""
    raised = _smooth(time_us, *take.lift_us) - _smooth(time_us, *take.lower_us)
    phase = (time_us - take.lift_us[0]) * 1e-6 * gesture.rate_hz * signer.speed * take.rate + take.turn
    phases = np.stack([phase, phase + (0.5 if gesture.partner == "alternate" else 0.0)], axis=-1)
    late = _smooth(time_us, 0.45 * take.duration_us, 0.55 * take.duration_us)[:, None] * gesture.swaps
    x, y = gesture.x.at(phases), gesture.y.at(phases)
    path = np.stack([x + late * (y - x), y + late * (x - y)], axis=-1) * (signer.amplitude * take.amplitude)
    path += np.array(gesture.place) + np.array(signer.offset) + np.array(take.offset)
    direction = np.radians(gesture.pointing + gesture.tilt.at(phases))
    up = np.stack([raised, raised * (gesture.partner != "rest")], axis=-1)
    opening = np.radians(14 + up * gesture.spread.at(phases))
    path[:, 1] = _partner_path(gesture, path)
    direction[:, 1] = np.pi - direction[:, 1]
    down = np.radians([-100, -80])
    return Hands(REST + up[..., None] * (path - REST), down + up * (direction - down), opening)


def _partner_path(gesture: Gesture, path: Array) -> Array:
    """Return the other hand's path: moved along beside the leading one, or mirrored."""
    if gesture.partner == "follow":
        return path[:, 0] - np.array([2 * gesture.place[0], 0], dtype=np.float32)
    return path[:, 1] * np.array([-1, 1], dtype=np.float32)


def _smooth(time_us: NDArray[np.int64], start_us: float, end_us: float) -> Array:
    """Rise smoothly from 0 at the start to 1 at the end."""
    part = np.clip((time_us - start_us) / (end_us - start_us), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), dtype=np.float32)

"""What the hands do in a synthetic recording: two sets of 19 gestures, which mean nothing in any sign language.

Lengths are pixels of a DVS128 for a signer of size 1, in a frame whose origin is the base of the neck, x to
the right of the picture and y up. The leading hand is the one on the left of the picture unless mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]


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
    degrees. then: what follows in the second part of the sign.
    """

    place: tuple[float, float]
    x: Wave = STILL
    y: Wave = STILL
    tilt: Wave = STILL
    spread: Wave = STILL
    pointing: float = 70.0
    rate_hz: float = 2.0
    partner: Literal["rest", "mirror", "alternate", "follow"] = "rest"
    then: Gesture | None = None


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
    replace(
        Gesture(CHEST, x=Wave(15), y=Wave(10), pointing=50, rate_hz=1.5),
        then=Gesture(CHEST, x=Wave(10), y=Wave(15), pointing=50, rate_hz=1.5),
    ),  # dolphin
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

# The parts of signs of varied signers. Most occur in several signs, and some signs differ only in their order, so that
# one moment does not tell a sign.
BRUSH = Gesture((-17, 6), x=Wave(8), pointing=60, rate_hz=1.6, partner="mirror")
TAP = Gesture((-9, 34), y=Wave(7), pointing=40, rate_hz=2.4)
FLAP = Gesture((-44, 4), y=Wave(14), pointing=110, rate_hz=1.5, partner="mirror")
CIRCLE = Gesture((-6, -24), x=Wave(12), y=Wave(12, 1, 0.25), pointing=30, rate_hz=1.4)
CLIMB = Gesture((-20, -20), y=Wave(16), pointing=90, rate_hz=1.4, partner="alternate")
SWING = Gesture((-14, -44), x=Wave(18), pointing=10, rate_hz=1.2)
WAG = Gesture((-46, 14), tilt=Wave(40), pointing=80, rate_hz=2.2)
SNAP = Gesture((-22, -2), spread=Wave(22), pointing=60, rate_hz=2.2)
REACH = Gesture((14, -10), y=Wave(8), pointing=140, rate_hz=1.8)
ROLL = Gesture((-14, -38), x=Wave(8), y=Wave(8, 1, 0.25), pointing=20, rate_hz=1.8, partner="mirror")
SHIFT = Gesture((-24, -28), x=Wave(12), pointing=60, rate_hz=1.3, partner="follow")


def _two(first: Gesture, second: Gesture) -> Gesture:
    return replace(first, then=second)


SIGNS = (
    BRUSH,  # cat
    _two(SWING, TAP),  # dog
    _two(CIRCLE, WAG),  # camel
    _two(TAP, FLAP),  # cow
    _two(WAG, CIRCLE),  # sheep
    _two(FLAP, TAP),  # goat
    _two(SNAP, CIRCLE),  # wolf
    CLIMB,  # squirrel
    _two(TAP, SNAP),  # mouse
    _two(SWING, REACH),  # dolphin
    _two(REACH, SWING),  # shark
    _two(SNAP, ROLL),  # lion
    _two(CLIMB, BRUSH),  # monkey
    _two(REACH, WAG),  # snake
    SHIFT,  # spider
    _two(BRUSH, ROLL),  # butterfly
    FLAP,  # bird
    _two(ROLL, SNAP),  # duck
    _two(SHIFT, CLIMB),  # zebra
)

"""Who makes the gestures: how signers and their cameras differ, and by how much."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Variety:
    """How much signers and their signs differ; what is 0 is not drawn.

    Each deviation is the standard deviation of a normal distribution: of logarithms where a factor is meant (size,
    speed, amplitude), of pixels for centre and offset, of degrees for angles. Where there are two, the first is of
    signers, the second of what one signer does each time.

    Attributes:
        size, centre, angle: of a signer in the picture.
        zoom, shift, tilt: the same for all signers of a session, whose camera stands somewhere else.
        left_handed: share of signers whose leading hand is the other one.
        other_hand: share of signs that a signer makes with the other hand.
        turn: where on its path a gesture begins, evenly drawn from so much of a repetition.
        path_angle: how a path is turned.
        aspect: by how much a path is longer in x than in y.
        longest_rest: of a sign's duration, before the hand rises and after it is down.
        most_repetitions: of each part of a sign; 0 to repeat it as long as the hand is up.
        longest_hold: of the time that is left, how much the hand stays up at most after its last repetition.
        fidgets: mean number of movements in a sign that mean nothing: a resting hand scratches or adjusts clothes.
        nods: share of signs in which the head moves.
        passers: people who pass behind the signer, in a minute.
    """

    size: float
    centre: float
    angle: float
    speed: tuple[float, float]
    amplitude: tuple[float, float]
    offset: tuple[float, float]
    left_handed: float
    longest_rest: float = 0.14
    turn: float = 1.0
    zoom: float = 0.0
    shift: float = 0.0
    tilt: float = 0.0
    other_hand: float = 0.0
    path_angle: float = 0.0
    aspect: float = 0.0
    most_repetitions: int = 0
    longest_hold: float = 0.0
    fidgets: float = 0.0
    nods: float = 0.0
    passers: float = 0.0


SIMILAR = Variety(
    size=0.05,
    centre=2,
    angle=3,
    speed=(0.12, 0.08),
    amplitude=(0.12, 0.1),
    offset=(2, 1.5),
    left_handed=0.08,
)
# So varied that a nearest neighbour on event counts does as well as on real recordings (the slow test of them).
VARIED = Variety(
    size=0.09,
    centre=3,
    angle=4,
    speed=(0.28, 0.18),
    amplitude=(0.22, 0.2),
    offset=(2.5, 3.5),
    left_handed=0.2,
    longest_rest=0.25,
    turn=0.2,
    zoom=0.05,
    shift=3,
    tilt=3,
    other_hand=0.06,
    path_angle=12,
    aspect=0.15,
    most_repetitions=4,
    longest_hold=0.7,
    fidgets=0.8,
    nods=0.3,
    passers=1.0,
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


def draw_signer(rng: np.random.Generator, variety: Variety = SIMILAR) -> Signer:
    """Draw a signer."""
    return Signer(
        size=float(np.exp(rng.normal(0, variety.size))),
        centre=(64 + float(rng.normal(0, variety.centre)), 80 + float(rng.normal(0, variety.centre))),
        angle=float(rng.normal(0, np.radians(variety.angle))),
        mirrored=bool(rng.random() < variety.left_handed),
        speed=float(np.exp(rng.normal(0, variety.speed[0]))),
        amplitude=float(np.exp(rng.normal(0, variety.amplitude[0]))),
        offset=(float(rng.normal(0, variety.offset[0])), float(rng.normal(0, variety.offset[0]))),
        sleeve_contrast=float(rng.uniform(0.3, 0.9)),
        sway=(float(rng.uniform(0.2, 0.5)), float(rng.random())),
    )


class Camera(NamedTuple):
    """How the camera of a session stands: zoom as a factor, shift in pixels, tilt in radians."""

    zoom: float
    shift: tuple[float, float]
    tilt: float


def draw_camera(rng: np.random.Generator, variety: Variety) -> Camera:
    """Draw the camera of a session."""
    return Camera(
        zoom=float(np.exp(normal(rng, variety.zoom))),
        shift=(normal(rng, variety.shift), normal(rng, variety.shift)),
        tilt=normal(rng, np.radians(variety.tilt)),
    )


def seen_by(camera: Camera, signer: Signer) -> Signer:
    """Return the signer as the camera shows him."""
    return replace(
        signer,
        size=signer.size * camera.zoom,
        centre=(signer.centre[0] + camera.shift[0], signer.centre[1] + camera.shift[1]),
        angle=signer.angle + camera.tilt,
    )


def normal(rng: np.random.Generator, deviation: float) -> float:
    """Draw from a normal distribution around 0; nothing is drawn where nothing varies."""
    return float(rng.normal(0, deviation)) if deviation else 0.0


def chance(rng: np.random.Generator, share: float) -> bool:
    """Draw whether something that happens with this share happens; nothing is drawn where it never does."""
    return bool(share and rng.random() < share)

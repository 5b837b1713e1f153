"""Who makes the gestures: how signers differ, and how one makes a gesture once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sltune.events.synthetic.gestures import Gesture


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
        zoom=float(np.exp(_normal(rng, variety.zoom))),
        shift=(_normal(rng, variety.shift), _normal(rng, variety.shift)),
        tilt=_normal(rng, np.radians(variety.tilt)),
    )


def seen_by(camera: Camera, signer: Signer) -> Signer:
    """Return the signer as the camera shows him."""
    return replace(
        signer,
        size=signer.size * camera.zoom,
        centre=(signer.centre[0] + camera.shift[0], signer.centre[1] + camera.shift[1]),
        angle=signer.angle + camera.tilt,
    )


@dataclass(frozen=True)
class Fidget:
    """A movement that means nothing, of a hand that rests: it goes to a place, moves up and down there, and returns."""

    start_us: float
    end_us: float
    hand: int
    place: tuple[float, float]
    rate_hz: float


@dataclass(frozen=True)
class Take:
    """One performance of a gesture: rest, lifting, repetitions, hold, lowering, rest; times from its start.

    starts_us: when the repetitions of each part begin. change_us: from the first part to the second. repetitions: of
    each part at most. other_hand: the other hand leads. angle: radians. nod: pixels that the head moves, up and down.
    """

    duration_us: int
    lift_us: tuple[float, float]
    lower_us: tuple[float, float]
    starts_us: tuple[float, float]
    change_us: tuple[float, float]
    repetitions: tuple[float, float]
    rate: float
    amplitude: tuple[float, float]
    offset: tuple[float, float]
    turn: float
    angle: float = 0.0
    other_hand: bool = False
    fidgets: tuple[Fidget, ...] = ()
    nod: tuple[float, float] = (0.0, 0.0)


def draw_take(
    rng: np.random.Generator, duration_us: int, gesture: Gesture, signer: Signer, variety: Variety = SIMILAR
) -> Take:
    """Draw the performance of a sign of this duration."""
    rest = rng.uniform(0.02, variety.longest_rest, 2) * duration_us
    moving = np.minimum(rng.uniform(300_000, 600_000, 2), 0.16 * duration_us)
    lift_us = (float(rest[0]), float(rest[0] + moving[0]))
    lower_us = (float(duration_us - rest[1] - moving[1]), float(duration_us - rest[1]))
    rate = float(np.exp(rng.normal(0, variety.speed[1])))
    amplitude = float(np.exp(rng.normal(0, variety.amplitude[1])))
    offset = (float(rng.normal(0, variety.offset[1])), float(rng.normal(0, variety.offset[1])))
    turn = variety.turn * float(rng.random())
    aspect = float(np.exp(_normal(rng, variety.aspect)))
    take = Take(
        duration_us=duration_us,
        lift_us=lift_us,
        lower_us=lower_us,
        starts_us=(lift_us[0], lift_us[0]),
        change_us=(0.45 * duration_us, 0.55 * duration_us),
        repetitions=(np.inf, np.inf),
        rate=rate,
        amplitude=(signer.amplitude * amplitude * aspect, signer.amplitude * amplitude / aspect),
        offset=offset,
        turn=turn,
        angle=np.radians(_normal(rng, variety.path_angle)),
        other_hand=_chance(rng, variety.other_hand),
    )
    if variety.most_repetitions:
        take = _counted(rng, take, gesture, signer, variety)
    if variety.fidgets:
        take = replace(take, fidgets=_draw_fidgets(rng, take, variety))
    if _chance(rng, variety.nods):
        take = replace(take, nod=(float(rng.normal(0, 4)), float(rng.uniform(0.6, 1.8))))
    return take


def _counted(rng: np.random.Generator, take: Take, gesture: Gesture, signer: Signer, variety: Variety) -> Take:
    """Return the take with so many repetitions of each part, a pause between parts, and a hold after the last."""
    start_us, latest_us = take.lift_us[1], take.lower_us[0]
    parts = (gesture, gesture.then) if gesture.then else (gesture,)
    cycles_us = np.array([1e6 / (part.rate_hz * signer.speed * take.rate) for part in parts])
    counts = rng.integers(1, variety.most_repetitions + 1, len(parts))
    change_us = (len(parts) - 1) * float(rng.uniform(200_000, 500_000)) / signer.speed
    while cycles_us @ counts + change_us > latest_us - start_us and counts.max() > 1:
        counts[counts.argmax()] -= 1
    needed_us = float(cycles_us @ counts) + change_us
    # A sign that is too short even for one repetition is made faster.
    faster = max(1.0, needed_us / (latest_us - start_us))
    spare_us = latest_us - start_us - needed_us / faster
    pause_us, hold_us = spare_us * rng.uniform(0, variety.longest_hold, 2) / 2
    lengths_us = cycles_us * counts / faster
    changing_us = float(start_us + lengths_us[0] + pause_us)
    change = (changing_us, changing_us + max(1.0, change_us / faster))
    end_us = float(start_us + needed_us / faster + hold_us + (len(parts) - 1) * pause_us)
    return replace(
        take,
        rate=take.rate * faster,
        starts_us=(start_us, change[1]),
        change_us=change,
        repetitions=(float(counts[0]), float(counts[-1])),
        lower_us=(end_us, end_us + take.lower_us[1] - latest_us),
    )


def _draw_fidgets(rng: np.random.Generator, take: Take, variety: Variety) -> tuple[Fidget, ...]:
    fidgets = []
    for _ in range(rng.poisson(variety.fidgets)):
        long_us = float(rng.uniform(700_000, 2_000_000))
        start_us = float(rng.uniform(-0.5 * long_us, take.duration_us - 0.5 * long_us))
        hand = int(rng.integers(2))
        x, y = rng.uniform((2, -50), (35, 25))
        fidgets.append(
            Fidget(start_us, start_us + long_us, hand, (float(x) * (-1, 1)[hand], float(y)), float(rng.uniform(1, 4)))
        )
    return tuple(fidgets)


def _normal(rng: np.random.Generator, deviation: float) -> float:
    return float(rng.normal(0, deviation)) if deviation else 0.0


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(share and rng.random() < share)

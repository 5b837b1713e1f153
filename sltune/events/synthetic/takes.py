"""How a signer makes a gesture once: when, where, how often, and what else he does meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sltune.events.synthetic.gestures import Gesture
from sltune.events.synthetic.signers import SIMILAR, Signer, Variety, chance, normal


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
    aspect = float(np.exp(normal(rng, variety.aspect)))
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
        angle=np.radians(normal(rng, variety.path_angle)),
        other_hand=chance(rng, variety.other_hand),
    )
    if variety.most_repetitions:
        take = _counted(rng, take, gesture, signer, variety)
    if variety.fidgets:
        take = replace(take, fidgets=_draw_fidgets(rng, take, variety))
    if chance(rng, variety.nods):
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

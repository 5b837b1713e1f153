"""The body of a signer as edges that move: arms and hands, head and shoulders, in the picture of the camera."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sltune.events.formats.aedat import SENSOR_SIZE
from sltune.events.synthetic.gestures import Array
from sltune.events.synthetic.hands import Hands
from sltune.events.synthetic.signers import Signer

# Time from one pose to the next; in between, edges move in straight lines.
STEP_US = 8000
# The upper arm and the forearm have the same length.
BONE_LENGTH = 34.0
# Half the width of upper arm, forearm, palm, four fingers and thumb.
HALF_WIDTHS = np.array([5.0, 4.0, 4.5, 1.2, 1.2, 1.2, 1.2, 1.3], dtype=np.float32)
# Outlines run counter-clockwise, so that the body is on their left.
SHOULDERS = np.array([(-20, -6), (20, -6)], dtype=np.float32)
TORSO = np.array([(25, -60), (25, -14), (20, -5), (5, 0), (-5, 0), (-20, -5), (-25, -14), (-25, -60)], dtype=np.float32)
_TURN = np.linspace(0, 2 * np.pi, 13)
HEAD = np.stack([10 * np.cos(_TURN), 18 + 13 * np.sin(_TURN)], axis=-1).astype(np.float32)


class Edges(NamedTuple):
    """Edges of one pose, and how they move until the next; each of shape (steps − 1, edges).

    x, y: where an edge starts; along_x, along_y: its extent; move_x, move_y: its way until the next pose.
    swept: area in pixels² that turns brighter (> 0) or darker (< 0) on the way, times the contrast.
    """

    x: Array
    y: Array
    along_x: Array
    along_y: Array
    move_x: Array
    move_y: Array
    swept: Array


def edges_of(hands: Hands, signer: Signer, time_us: NDArray[np.int64]) -> Edges:
    """Return the edges of arms, hands, head and shoulders in the picture; time_us only determines the sway."""
    bones = _bones(hands)
    bones[0] *= -1 if signer.mirrored else 1
    arms = _outlines(bones).reshape(2, len(time_us), -1)
    head = HEAD.T[:, None] + hands.head.T[..., None]
    torso = np.broadcast_to(TORSO.T[:, None], (2, len(time_us), len(TORSO)))
    points = _into_picture(np.concatenate([arms, head, torso], axis=2), signer, time_us)
    return _moving(points, _contrasts(signer))


def passer_edges(rng: np.random.Generator) -> Edges:
    """Draw somebody who passes behind the signer, from one side of the picture to the other, and return the edges."""
    seconds, scale, contrast = rng.uniform(1.5, 3.5), rng.uniform(0.8, 1.3), rng.uniform(0.08, 0.25)
    time_us = np.arange(0, int(seconds * 1e6), STEP_US)
    part = time_us / time_us[-1]
    x = SENSOR_SIZE / 2 + rng.choice([-1, 1]) * (SENSOR_SIZE / 2 + 26 * scale) * (2 * part - 1)
    y = rng.uniform(80, 100) + 2 * np.cos(2 * np.pi * 1.8 * seconds * part)
    outline = scale * np.concatenate([HEAD, TORSO])
    points = (outline.T[:, None] + np.stack([x, y])[..., None]).astype(np.float32)
    contrasts = np.full(points.shape[2] - 1, contrast, dtype=np.float32)
    contrasts[len(HEAD) - 1] = 0
    return _moving(points, contrasts)


def _moving(points: Array, contrasts: Array) -> Edges:
    """Return the edges between points of shape (xy, steps, points), each with its contrast."""
    along = np.diff(points, axis=2)[:, :-1]
    moved = np.diff(points, axis=1)
    move = (moved[:, :, 1:] + moved[:, :, :-1]) / 2
    swept = (along[1] * move[0] - along[0] * move[1]) * contrasts
    start = points[:, :-1, :-1]
    return Edges(start[0], start[1], along[0], along[1], move[0], move[1], swept)


def _bones(hands: Hands) -> Array:
    """Return the bones of both arms, shape (xy, steps, 2 arms, 8 bones, 2 ends), in the order of HALF_WIDTHS."""
    wrist = np.moveaxis(hands.wrist, -1, 0)
    shoulder = np.broadcast_to(SHOULDERS.T[:, None], wrist.shape)
    elbow = _elbows(wrist)
    ahead = _towards(hands.direction)
    across = np.stack([-ahead[1], ahead[0]])
    knuckles = wrist + 9 * ahead
    bones: list[tuple[NDArray[Any], NDArray[Any]]] = [(shoulder, elbow), (elbow, wrist), (wrist, knuckles)]
    for finger in (-1.5, -0.5, 0.5, 1.5):
        root = knuckles + 2.4 * finger * across
        bones.append((root, root + 8 * _towards(hands.direction + finger * hands.opening)))
    inwards = np.array([-1, 1], dtype=np.float32)
    root = wrist + 4 * ahead + 3.5 * inwards * across
    bones.append((root, root + 8 * _towards(hands.direction + inwards * (0.5 + hands.opening))))
    return np.stack([np.stack(bone, axis=-1) for bone in bones], axis=-2).astype(np.float32)


def _towards(direction: Array) -> Array:
    return np.stack([np.cos(direction), np.sin(direction)])


def _elbows(wrist: Array) -> Array:
    """Return elbows, shaped as wrist: outside of the line from shoulder to wrist, as far as the arm is bent."""
    shoulder = SHOULDERS.T[:, None]
    reach = wrist - shoulder
    length = np.hypot(*reach) + np.float32(1e-3)
    outwards = np.stack([reach[1], -reach[0]]) / length * np.array([1, -1], dtype=np.float32)
    bend = 0.6 * np.sqrt(np.maximum(BONE_LENGTH**2 - length**2 / 4, 4))
    return np.asarray((wrist + shoulder) / 2 + bend * outwards, dtype=np.float32)


def _outlines(bones: Array) -> Array:
    """Return the outline of each bone, shape (xy, steps, arms, bones, 6 points), counter-clockwise from its start."""
    start, end = bones[..., 0], bones[..., 1]
    bone = end - start
    left = np.stack([-bone[1], bone[0]]) * (HALF_WIDTHS / (np.hypot(*bone) + np.float32(1e-3)))
    middle = (start + end) / 2
    return np.stack([start - left, middle - left, end - left, end + left, middle + left, start + left], axis=-1)


def _into_picture(points: Array, signer: Signer, time_us: NDArray[np.int64]) -> Array:
    sin, cos = signer.size * np.sin(signer.angle), signer.size * np.cos(signer.angle)
    sway = np.cos(2 * np.pi * (time_us * 1e-6 * signer.sway[0] + signer.sway[1]))
    x, y = points
    centre = np.array(signer.centre)[:, None] + np.outer([1.2, 0.4], sway)
    centre = centre.astype(np.float32)[..., None]
    return np.stack([float(cos) * x - float(sin) * y, float(sin) * x + float(cos) * y]) + centre


def _contrasts(signer: Signer) -> Array:
    """Return the contrast of each edge; 0 where an outline ends and the next begins."""
    skin, sleeve = 1.0, signer.sleeve_contrast
    arm = [contrast for bone in [sleeve, sleeve, *[skin] * 6] for contrast in [*[bone] * 5, 0.0]]
    body = [*[skin] * (len(HEAD) - 1), 0.0, *[sleeve] * (len(TORSO) - 1)]
    return np.array([*arm, *arm, *body], dtype=np.float32)

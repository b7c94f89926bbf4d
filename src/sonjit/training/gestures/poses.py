"""Exact joints of posed hands in random views, by the thousand: a hand is posed, not rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from sonjit.arrays import Float32Array, FloatArray
from sonjit.gestures.custom_motions import MotionRecording
from sonjit.hand_models.rig import Rig, RigPose
from sonjit.hand_models.rig_ik import free_joints, joint_limits
from sonjit.results import Frame, Hand
from sonjit.synthesis.hands.person import SHAPE_NAMES, rig_from_shape
from sonjit.synthesis.scene.gestures import deviated, free_angles, gestures, settled_angles
from sonjit.synthesis.scene.hand_poses import turn_hand
from sonjit.training.gestures.alphabets import Alphabet, Stroke, shipped_gestures
from sonjit.training.gestures.data import PosedHands

_LOOSENESS: Final = (0.3, 1.8)
_LEVEL, _PITCH_DEG = 0.5, 28.0
"""Share of hands that are nearly level, and how nearly; others point anywhere, at the camera too."""
_DISTANCE_M: Final = (0.25, 0.8)
_OFF_AXIS: Final = 0.12  # of the distance, from the middle of the image
_HELD_TOUCH: Final = 0.3  # of a deviation that is left to fingers that touch
_NO_TURN: Final = np.zeros(3)


def posed_joints(
    people: int,
    each: int,
    free: int,
    rng: np.random.Generator,
    alphabet: Alphabet | None = None,
    yaw_deg: float = 180.0,
) -> PosedHands:
    """Right hands with their exact joints in place of what a network finds.

    Args:
        people: whose hands.
        each: of each person and named pose.
        free: of each person, poses without a name.
        rng: what is random.
        alphabet: whose poses; the shipped gestures by default.
        yaw_deg: how far they are turned from showing the palm.
    """
    chosen = (alphabet or shipped_gestures()).posed
    points: list[FloatArray] = []
    names: list[str] = []
    for _ in range(people):
        shape = rng.normal(size=len(SHAPE_NAMES)).clip(-3, 3) * np.clip(rng.normal(0.9, 0.2), 0, 2)
        rig = rig_from_shape("Right", shape)
        poses = list(_poses(rig, chosen, each, free, rng))
        names += [name for name, _ in poses]
        points.append(_seen(rig, np.stack([angles for _, angles in poses]), rng, yaw_deg))
    metres = np.concatenate(points)
    image = _projected(metres)
    right = np.zeros(len(names), np.bool_)
    own = metres.astype(np.float32)
    return PosedHands(image, own, right, np.array(names), np.arange(len(names)), image, own, right)


def _poses(
    rig: Rig, chosen: Sequence[str], each: int, free: int, rng: np.random.Generator
) -> Iterator[tuple[str, FloatArray]]:
    """Names and (5, 3, 3) radians; only named poses without deviations are kept from passing into themselves."""
    limits = joint_limits(free_joints(rig))
    known = {name: gestures()[name] for name in chosen}
    bases = {name: settled_angles(rig, one.angles, one.touch) for name, one in known.items()}
    for name, base in bases.items():
        touching = [0, *known[name].touch] if known[name].touch else []
        for _ in range(each):
            angles = deviated(base, rng, rng.uniform(*_LOOSENESS))
            angles[touching] = base[touching] + _HELD_TOUCH * (angles[touching] - base[touching])
            yield name, np.clip(angles, *limits)
    names = list(bases)
    for number in range(free):
        one, other = (bases[names[which]] for which in rng.integers(len(names), size=2))
        match number % 3:
            case 0:
                angles = free_angles(rng)
            case 1:  # on the way from one gesture to another
                angles = one + (rng.uniform(0, 1, (5, 1, 1)) * 0.4 + rng.uniform(0, 0.6)) * (other - one)
            case _:  # some fingers of one, some of the other
                angles = one + ((rng.random((5, 1, 1)) < 0.5) + rng.normal(0, 0.1, (5, 1, 1))) * (other - one)
        yield "any", np.clip(angles, *limits)


def _seen(rig: Rig, angles: FloatArray, rng: np.random.Generator, yaw_deg: float) -> FloatArray:
    """(N, 21, 3) metres before a camera, each hand in a view of its own, its fingers up."""
    count = len(angles)
    yaws = rng.uniform(-yaw_deg, yaw_deg, count)
    pitches = np.where(rng.random(count) < _LEVEL, rng.normal(0, _PITCH_DEG, count), rng.uniform(-80, 80, count))
    views = [{"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": 0.0} for yaw, pitch in zip(yaws, pitches, strict=True)]
    turns = [turn_hand(rig, view, _NO_TURN) for view in views]
    points = rig.keypoints(RigPose(np.stack(turns), np.zeros((count, 3)), angles))
    distance = rng.uniform(*_DISTANCE_M, count)
    place = np.stack([*rng.normal(0, _OFF_AXIS, (2, count)) * distance, distance], 1)
    return points - (points.min(1, keepdims=True) + points.max(1, keepdims=True)) / 2 + place[:, None]


def _projected(metres: FloatArray) -> Float32Array:
    """(N, 21, 3) in an image of focal length 1, z in its scale."""
    depth = metres[:, :1, 2:]
    return np.concatenate([metres[..., :2] / metres[..., 2:], metres[..., 2:] / depth - 1], 2).astype(np.float32)


_DRAWN: Final = 12
_DRAWN_S, _DRAWN_FPS = (0.6, 1.4), 30
_DRAWN_SIZE: Final = (0.75, 1.35)
_DRAWN_YAW_DEG, _DRAWN_ROLL_DEG, _DRAWN_NOISE = 20.0, 12.0, 0.02
_DRAWN_M: Final = 0.6  # before the camera


def drawn_letters(alphabet: Alphabet, rng: np.random.Generator) -> list[MotionRecording]:
    """Examples of the letters that are drawn, each by several people, at several sizes, speeds and angles."""
    return [
        MotionRecording.of(name, _one_after_another([drawn_letter(stroke, rng) for _ in range(_DRAWN)]))
        for name, stroke in alphabet.moving.items()
    ]


def drawn_letter(stroke: Stroke, rng: np.random.Generator) -> FloatArray:
    """(T, 21, 3) metres before a camera of a right hand that draws a letter, at 30 frames a second."""
    rig = rig_from_shape("Right", rng.normal(size=len(SHAPE_NAMES)).clip(-2, 2))
    pose = gestures()[stroke.pose]
    angles = deviated(settled_angles(rig, pose.angles, pose.touch), rng)
    count = round(rng.uniform(*_DRAWN_S) * _DRAWN_FPS)
    apart = np.linalg.norm(np.diff(stroke.place, axis=0), axis=1) + np.deg2rad(np.abs(np.diff(stroke.yaw_deg))) / 2
    knots = np.concatenate([[0], apart.cumsum()]) / apart.sum()
    at = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, count))  # out of rest and into it
    x, y, yaw, roll = (np.interp(at, knots, column) for column in (*stroke.place.T, stroke.yaw_deg, stroke.roll_deg))
    size = rng.uniform(*_DRAWN_SIZE) * float(np.linalg.norm(np.diff(rig.joints[[0, 9, 10, 11]], axis=0), axis=1).sum())
    yaw, roll = yaw + rng.normal(0, _DRAWN_YAW_DEG), roll + rng.normal(0, _DRAWN_ROLL_DEG)
    views = [{"yaw_deg": one, "pitch_deg": 0.0, "roll_deg": other} for one, other in zip(yaw, roll, strict=True)]
    turns = np.stack([turn_hand(rig, view, _NO_TURN) for view in views])
    points = rig.keypoints(RigPose(turns, np.zeros((count, 3)), np.broadcast_to(angles, (count, 5, 3, 3))))
    return points - points[:, :1] + size * np.stack([x, y, 0 * x], 1)[:, None] + [0, 0, _DRAWN_M]


def _one_after_another(letters: Sequence[FloatArray]) -> Iterator[Frame]:
    """Frames of letters, each of a hand of its own, with a little noise."""
    rng = np.random.default_rng(len(letters))
    for number, points in enumerate(letters):
        image = _projected(points)
        extent = np.ptp(image[0, :, :2], axis=0).max()
        image += rng.normal(0, _DRAWN_NOISE * extent, image.shape).astype(np.float32)
        for index, (one, own) in enumerate(zip(image, points.astype(np.float32), strict=True)):
            yield Frame(index, index / _DRAWN_FPS, [Hand("Right", 1.0, one, own, id=number)])

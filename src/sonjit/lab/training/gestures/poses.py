"""Pose hands in random views and compute their exact joints, without rendering."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from sonjit._util.arrays import Float32Array, FloatArray
from sonjit.gestures.custom_motions import MotionRecording
from sonjit.lab.hand_models.rig import Rig, RigPose
from sonjit.lab.hand_models.rig_ik import free_joints, joint_limits
from sonjit.lab.synthesis.hands.person import SHAPE_NAMES, rig_from_shape
from sonjit.lab.synthesis.scene.gestures import add_deviation, free_angles, gestures, resolved_angles
from sonjit.lab.synthesis.scene.hand_poses import turn_hand
from sonjit.lab.training.gestures.alphabets import Alphabet, Stroke, shipped_gestures
from sonjit.lab.training.gestures.data import PosedHands
from sonjit.results import Frame, Hand

_LOOSENESS: Final = (0.3, 1.8)
_LEVEL, _PITCH_DEG = 0.5, 28.0
"""Share of hands that are nearly level, and the standard deviation of their pitch; others have any pitch."""
_DISTANCE_M: Final = (0.25, 0.8)
_OFF_AXIS: Final = 0.12  # standard deviation from the image centre, relative to the distance
_TOUCH_DEVIATION: Final = 0.3  # fraction of a deviation that remains for touching fingers
_NO_TURN: Final = np.zeros(3)


_DRAWN: Final = 12
_DRAWN_S, _DRAWN_FPS = (0.6, 1.4), 30
_DRAWN_SIZE: Final = (0.75, 1.35)
_DRAWN_YAW_DEG, _DRAWN_ROLL_DEG, _DRAWN_NOISE = 20.0, 12.0, 0.02
_DRAWN_M: Final = 0.6  # distance from the camera


def posed_joints(
    people: int,
    each: int,
    free: int,
    rng: np.random.Generator,
    *,
    alphabet: Alphabet | None = None,
    yaw_deg: float = 180.0,
) -> PosedHands:
    """Return right hands whose exact joints replace detected keypoints.

    Args:
        people: Number of people.
        each: Number of hands of each person and named pose.
        free: Number of unnamed poses of each person.
        rng: Generator of all random numbers.
        alphabet: Alphabet of the poses; the shipped gestures by default.
        yaw_deg: Maximum yaw relative to a view of the palm.
    """
    chosen = (alphabet or shipped_gestures()).posed
    points: list[FloatArray] = []
    names: list[str] = []
    for _ in range(people):
        shape = rng.normal(size=len(SHAPE_NAMES)).clip(-3, 3) * np.clip(rng.normal(0.9, 0.2), 0, 2)
        rig = rig_from_shape("Right", shape)
        poses = list(_poses(rig, chosen, each, free, rng))
        names += [name for name, _ in poses]
        points.append(_points_in_camera(rig, np.stack([angles for _, angles in poses]), rng, yaw_deg))
    metres = np.concatenate(points)
    image = _projected(metres)
    right = np.zeros(len(names), np.bool_)
    joints = metres.astype(np.float32)
    return PosedHands(image, joints, right, np.array(names), np.arange(len(names)), image, joints, right)


def _poses(
    rig: Rig, chosen: Sequence[str], each: int, free: int, rng: np.random.Generator
) -> Iterator[tuple[str, FloatArray]]:
    """Yield names and (5, 3, 3) radians; only named poses without deviations are free of self-intersections."""
    limits = joint_limits(free_joints(rig))
    known = {name: gestures()[name] for name in chosen}
    bases = {name: resolved_angles(rig, gesture.angles, gesture.touch) for name, gesture in known.items()}
    for name, base in bases.items():
        touching = [0, *known[name].touch] if known[name].touch else []
        for _ in range(each):
            angles = add_deviation(base, rng, rng.uniform(*_LOOSENESS))
            angles[touching] = base[touching] + _TOUCH_DEVIATION * (angles[touching] - base[touching])
            yield name, np.clip(angles, *limits)
    names = list(bases)
    for number in range(free):
        first, second = (bases[names[index]] for index in rng.integers(len(names), size=2))
        match number % 3:
            case 0:
                angles = free_angles(rng)
            case 1:  # between two gestures
                angles = first + (rng.uniform(0, 1, (5, 1, 1)) * 0.4 + rng.uniform(0, 0.6)) * (second - first)
            case _:  # some fingers of each
                angles = first + ((rng.random((5, 1, 1)) < 0.5) + rng.normal(0, 0.1, (5, 1, 1))) * (second - first)
        yield "any", np.clip(angles, *limits)


def _points_in_camera(rig: Rig, angles: FloatArray, rng: np.random.Generator, yaw_deg: float) -> FloatArray:
    """Return (N, 21, 3) metres in the camera frame, each hand in its own random view with its fingers up."""
    count = len(angles)
    yaws = rng.uniform(-yaw_deg, yaw_deg, count)
    pitches = np.where(rng.random(count) < _LEVEL, rng.normal(0, _PITCH_DEG, count), rng.uniform(-80, 80, count))
    views = [{"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": 0.0} for yaw, pitch in zip(yaws, pitches, strict=True)]
    turns = [turn_hand(rig, view, _NO_TURN) for view in views]
    points = rig.keypoints(RigPose(np.stack(turns), np.zeros((count, 3)), angles))
    distance = rng.uniform(*_DISTANCE_M, count)
    position = np.stack([*rng.normal(0, _OFF_AXIS, (2, count)) * distance, distance], 1)
    return points - (points.min(1, keepdims=True) + points.max(1, keepdims=True)) / 2 + position[:, None]


def _projected(metres: FloatArray) -> Float32Array:
    """Project to (N, 21, 3) in an image of focal length 1, z in its scale."""
    depth = metres[:, :1, 2:]
    return np.concatenate([metres[..., :2] / metres[..., 2:], metres[..., 2:] / depth - 1], 2).astype(np.float32)


def drawn_letters(alphabet: Alphabet, rng: np.random.Generator) -> list[MotionRecording]:
    """Return examples of the drawn letters, each by several people, at several sizes, speeds and angles."""
    return [
        MotionRecording.of(name, _frames_of([drawn_letter(stroke, rng) for _ in range(_DRAWN)]))
        for name, stroke in alphabet.moving.items()
    ]


def drawn_letter(stroke: Stroke, rng: np.random.Generator) -> FloatArray:
    """Return (T, 21, 3) metres in the camera frame of a right hand that draws a letter, at 30 frames per second."""
    rig = rig_from_shape("Right", rng.normal(size=len(SHAPE_NAMES)).clip(-2, 2))
    pose = gestures()[stroke.pose]
    angles = add_deviation(resolved_angles(rig, pose.angles, pose.touch), rng)
    count = round(rng.uniform(*_DRAWN_S) * _DRAWN_FPS)
    steps = np.linalg.norm(np.diff(stroke.place, axis=0), axis=1) + np.deg2rad(np.abs(np.diff(stroke.yaw_deg))) / 2
    knots = np.concatenate([[0], steps.cumsum()]) / steps.sum()
    progress = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, count))  # starts and ends at rest
    columns = (*stroke.place.T, stroke.yaw_deg, stroke.roll_deg)
    x, y, yaw, roll = (np.interp(progress, knots, column) for column in columns)
    size = rng.uniform(*_DRAWN_SIZE) * float(np.linalg.norm(np.diff(rig.joints[[0, 9, 10, 11]], axis=0), axis=1).sum())
    yaw, roll = yaw + rng.normal(0, _DRAWN_YAW_DEG), roll + rng.normal(0, _DRAWN_ROLL_DEG)
    views = [{"yaw_deg": angle, "pitch_deg": 0.0, "roll_deg": turn} for angle, turn in zip(yaw, roll, strict=True)]
    turns = np.stack([turn_hand(rig, view, _NO_TURN) for view in views])
    points = rig.keypoints(RigPose(turns, np.zeros((count, 3)), np.broadcast_to(angles, (count, 5, 3, 3))))
    return points - points[:, :1] + size * np.stack([x, y, 0 * x], 1)[:, None] + [0, 0, _DRAWN_M]


def _frames_of(letters: Sequence[FloatArray]) -> Iterator[Frame]:
    """Yield frames of letters in sequence, each with its own hand and a little noise."""
    rng = np.random.default_rng(len(letters))
    for number, points in enumerate(letters):
        image = _projected(points)
        extent = np.ptp(image[0, :, :2], axis=0).max()
        image += rng.normal(0, _DRAWN_NOISE * extent, image.shape).astype(np.float32)
        for index, (keypoints, joints) in enumerate(zip(image, points.astype(np.float32), strict=True)):
            yield Frame(index, index / _DRAWN_FPS, [Hand("Right", 1.0, keypoints, joints, id=number)])

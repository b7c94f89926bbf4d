"""Poses of one or two hands around the origin: gestures, grasps, random poses, and named poses of both hands.

To grasp, an object is placed in the palm or between the tips, then each finger closes until it touches. The closing is
searched over its full range in coarse steps, then refined around the first contact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.contacts import (
    DEPTH_M,
    PALM,
    Touch,
    coarse_rig,
    penetration_depth,
    regions_of,
    resolve_penetration,
)
from sonjit.lab.synthesis.factors import Value
from sonjit.lab.synthesis.gestures import Station, angles_from_gesture, pose_from_station, sample_angles, scripts
from sonjit.lab.synthesis.objects import SCENE_OBJECTS, SceneObject

TOUCH_M: Final = 0.0005
"""Maximum distance of closed fingers from an object."""
_STEP_M: Final = 0.001
_FARTHEST_M: Final = 0.1
_STEPS: Final = 24
_NEAR_M: Final = 0.005  # more than the motion of a finger in a step, so that it does not pass through thin objects
_FINE: Final = (8, 48)  # steps refined, and in how many
_LOOSE_GRIP: Final = 12
_CLOSING_GESTURES: Final = {"wrap": ("stretched", "hold", "wrap"), "pinch": ("stretched", "beak_open", "pinch")}
"""Gestures that a hand passes through while it closes."""
_THUMB_FIRST: Final = "hold"  # first pose of the thumb if the object leaves room

_PALM_TO_CAMERA: Final = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
"""Columns: directions of the wrist's axes (bend, out of the back, back along the hand) when the palm faces the camera
and the fingers point up.
"""
_ASYMMETRY_DEG: Final = 25.0
"""Deviation of the second hand's rotation from the first's mirror image."""
_PALM_DISTANCE_M: Final = (0.045, 0.1)
"""Distance between the middles of two palms before penetration is resolved."""
_MIDDLE_KNUCKLE: Final = 11


@dataclass(frozen=True, eq=False)
class Grasp:
    """Hand around an object."""

    angles: FloatArray  # Angles (5, 3, 3) in radians, see `RigPose.angles`
    rotation: FloatArray  # rotation (3, 3) of the object, in the rig's axes at rest
    place: FloatArray  # position (3,) of its middle relative to the wrist in metres, in those axes


def grasp(rig: Rig, item: SceneObject, rng: np.random.Generator) -> Grasp:
    """Return the grasp of an object."""
    coarse = coarse_rig(rig)
    path = np.stack([angles_from_gesture(rig, name) for name in _CLOSING_GESTURES[item.grip]])
    rotation, place = (_place_in_palm if item.grip == "wrap" else _place_at_tips)(coarse, item, path, rng)
    owners = regions_of(coarse).owners
    is_finger = owners != PALM
    skin = {name: getattr(coarse, name)[is_finger] for name in ("vertices", "normals", "weights")}
    fingers = replace(coarse, **skin)
    owners = owners[is_finger]

    def distances(shares: FloatArray) -> FloatArray:
        """Return the minimum distances (N, 5) of the fingers from the object when they are closed by shares (N, 5)."""
        points = (_skins(fingers, _close_fingers(path, shares)) - place) @ rotation
        skin = item.solid.distances(points)
        return np.stack([skin[:, owners == finger].min(1) for finger in range(5)], 1)

    thumb = path[0, 0].copy()
    path[0, 0] = angles_from_gesture(rig, _THUMB_FIRST)[0]
    if distances(np.zeros((1, 5)))[0, 0] < _NEAR_M:
        path[0, 0] = thumb
    step = 1 / (_STEPS - 1)
    shares = np.tile(np.linspace(0, 1, _STEPS)[:, None], (1, 5))
    near = _last_free(distances(shares), _NEAR_M) * step
    fine_shares = np.minimum(near + np.linspace(0, _FINE[0] * step, _FINE[1])[:, None], 1)
    closed = fine_shares[_last_free(distances(fine_shares), TOUCH_M), range(5)]
    for _ in range(_LOOSE_GRIP):
        pose = RigPose(np.eye(3)[None], rig.joints[:1], _close_fingers(path, closed[None]))
        if penetration_depth([(rig, pose)]) <= DEPTH_M:
            break
        closed = closed * 0.9  # reopen fingers that penetrate each other
    return Grasp(_close_fingers(path, closed[None])[0], rotation, place)


def _close_fingers(path: FloatArray, shares: FloatArray) -> FloatArray:
    """Return angles (N, 5, 3, 3) in radians with each finger closed by a share (N, 5) of a path (K, 5, 3, 3)."""
    along = shares * (len(path) - 1)
    first = np.minimum(along.astype(int), len(path) - 2)
    fingers = np.arange(5)
    before, after = path[first, fingers], path[first + 1, fingers]
    return before + (along - first)[..., None, None] * (after - before)


def _last_free(distances: FloatArray, near_m: float) -> IndexArray:
    """Return the last step (5,) before the distance (N, 5) of each finger first falls below a limit."""
    touches = distances < near_m
    first = np.where(touches.any(0), touches.argmax(0), len(touches))
    return np.maximum(first - 1, 0)


def _skins(rig: Rig, angles: FloatArray) -> FloatArray:
    """Return skins (N, V, 3) in metres relative to the wrist, in the rig's axes at rest."""
    count = len(angles)
    return rig.points(RigPose(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)), angles))


def _place_in_palm(
    rig: Rig, item: SceneObject, path: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Place the object across the palm, its axis along the knuckles, far enough out for the open hand."""
    knuckles = rig.joints[[chain[0] for chain in FINGERS[1:]]] - rig.joints[0]
    out = -rig.frames[10][:, 1]  # out of the palm
    axis = knuckles[0] - knuckles[3] + 0.12 * rng.normal() * knuckles[1]
    axis -= out * (axis @ out)
    axis /= np.linalg.norm(axis)
    rotation = np.stack([out, np.cross(axis, out), axis], 1)
    middle = rng.uniform(0.85, 0.98) * knuckles.mean(0) + rng.uniform(-0.012, 0.012) * axis
    return rotation, _move_out(rig, item, path, rotation=rotation, middle=middle, out=out)


def _place_at_tips(
    rig: Rig, item: SceneObject, path: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Place the object between the pads of thumb and index where they meet when closed, pointing away from the palm."""
    pose = RigPose(np.eye(3)[None], np.zeros((1, 3)), path[-1:])
    tips = rig.joint_frames(pose)[1][0, [FINGERS[0][3], FINGERS[1][3]]]
    across = tips[1] - tips[0]
    across /= np.linalg.norm(across)
    knuckles = rig.joints[[chain[0] for chain in FINGERS[1:]]] - rig.joints[0]
    axis = 2 * (tips.mean(0) - knuckles.mean(0)) + rng.normal(0, 0.8) * (knuckles[0] - knuckles[3])
    axis -= across * (axis @ across)
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, across)
    rotation = np.stack([across, side, axis], 1)
    middle = tips.mean(0) + rng.uniform(0.1, 0.85) * item.solid.size[2] * axis
    outwards = side * np.sign(side @ (tips.mean(0) - 0.5 * knuckles.mean(0)))
    return rotation, _move_out(rig, item, path, rotation=rotation, middle=middle, out=outwards)


def _move_out(
    rig: Rig, item: SceneObject, path: FloatArray, *, rotation: FloatArray, middle: FloatArray, out: FloatArray
) -> FloatArray:
    """Return the nearest position (3,) on a line where the object does not touch the open hand."""
    skin = (_skins(rig, path[:1])[0] - middle) @ rotation
    moved, along = 0.0, out @ rotation
    while moved < _FARTHEST_M:
        near = float(item.solid.distances(skin - moved * along).min())
        if near > TOUCH_M:
            break
        moved += max(TOUCH_M - near, _STEP_M)  # less cannot free it
    return middle + moved * out


def pose_hands(
    rigs: Sequence[Rig], drawn: Mapping[str, Value], rng: np.random.Generator
) -> tuple[list[RigPose], Grasp | None]:
    """Return poses of one or two hands around the world's origin, one frame each, and the grasp of the first hand."""
    interacts = drawn["hands"] == "interacting"
    if interacts and drawn["pair"] != "any":
        pair = pose_pair(str(drawn["pair"]), {rig.side: rig for rig in rigs}, rng)
        turn = rotation_from_angles(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
        return [
            replace(pose, rotation=turn @ pose.rotation, translation=pose.translation @ turn.T)
            for pose in (pair[rig.side] for rig in rigs)
        ], None
    poses: list[RigPose] = []
    grasped: Grasp | None = None
    for number, rig in enumerate(rigs):
        own_rng = np.random.default_rng(rng.integers(1 << 62))
        turn = turn_hand(rig, drawn, own_rng.normal(0, _ASYMMETRY_DEG, 3) * number)
        if number == 0 and drawn["held"] != "none" and not interacts:
            grasped = grasp(rig, look_up("object", SCENE_OBJECTS, str(drawn["held"])), own_rng)
            angles = grasped.angles
        elif drawn["gesture"] == "any":
            angles = sample_angles(rig, own_rng)
        else:
            angles = angles_from_gesture(rig, str(drawn["gesture"]), own_rng, float(drawn["looseness"]))
        middle = turn @ (rig.joints[_MIDDLE_KNUCKLE] - rig.joints[0]) / 2
        poses.append(RigPose(turn[None], -middle[None], angles[None]))
    if interacts:
        direction = rng.normal(size=3)
        shift = direction / np.linalg.norm(direction) * rng.uniform(*_PALM_DISTANCE_M)
        poses = resolve_penetration(list(zip(rigs, [poses[0], poses[1].shifted(shift[None])], strict=True)))
    return poses, grasped


def turn_hand(rig: Rig, drawn: Mapping[str, Value], more_deg: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) from the rig's rest by the factors and `more_deg`; the left hand is mirrored."""
    yaw, pitch, roll = np.array([float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")]) + more_deg
    mirror = 1 if rig.side == "Right" else -1
    return rotation_from_angles(mirror * yaw, pitch, mirror * roll) @ _PALM_TO_CAMERA @ rig.frames[0].T


def rotation_from_angles(yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """Return the rotation (3, 3): yaw around the world's y, then pitch around its x, then roll around its z."""
    angles = np.deg2rad(np.diag([pitch_deg, yaw_deg, roll_deg]))
    pitch, yaw, roll = matrix_from_rotation_vector(angles)
    return roll @ pitch @ yaw


def pose_pair(name: str, rigs: Mapping[Side, Rig], rng: np.random.Generator | None = None) -> Mapping[Side, RigPose]:
    """Return one-frame poses of both hands in a named pose, touching as it requires, relative to the chest's front.

    `name`: name from `pair_names`; `rigs`: the person's hands, from `rig_from_shape`; `rng`: generator of deviations of
    positions and joints; None for none.
    """
    known = {script.name: script for script in scripts()["both"]}
    script = look_up("pose of two hands", known, name)
    stations: dict[Side, Station] = {side: each[0] for side, each in script.stations.items()}
    return poses_from_stations(stations, rigs, script.touch, rng)


def poses_from_stations(
    stations: Mapping[Side, Station],
    rigs: Mapping[Side, Rig],
    touch: Sequence[tuple[int, int]] = (),
    rng: np.random.Generator | None = None,
) -> Mapping[Side, RigPose]:
    """Return the pose of each hand at its station. Two hands touch and do not penetrate each other."""
    poses: dict[Side, RigPose] = {side: pose_from_station(rigs[side], item, rng) for side, item in stations.items()}
    if len(poses) == 1:
        return poses
    sides: tuple[Side, Side] = ("Right", "Left")
    touches = [Touch((0, right), (1, left)) for right, left in touch]
    return dict(zip(sides, resolve_penetration([(rigs[side], poses[side]) for side in sides], touches), strict=True))

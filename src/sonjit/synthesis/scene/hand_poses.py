"""Poses of one or two hands about the origin: a gesture, a grasp or any pose, a turn, and named poses of both hands.

To grasp, an object lies in the palm or between the tips, then each finger closes until it touches. How far it closes is
searched over its whole range at once, then refined around the place where it first touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sonjit.arrays import FloatArray, IndexArray
from sonjit.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit.synthesis import look_up
from sonjit.synthesis.hands.penetration import PALM, coarse_rig, regions_of
from sonjit.synthesis.scene.factors import Value
from sonjit.synthesis.scene.gestures import Station, angles_from_gesture, pose_from_station, sample_angles, scripts
from sonjit.synthesis.scene.objects import SCENE_OBJECTS, SceneObject
from sonjit.synthesis.scene.scene import turned
from sonjit.synthesis.scene.separation import DEPTH_M, Touch, deepest, settle

TOUCH_M: Final = 0.0005
"""How near closed fingers come to an object."""
_STEP_M: Final = 0.001
_FARTHEST_M: Final = 0.1
_STEPS: Final = 24
_NEAR_M: Final = 0.005  # more than a finger goes in a step, so that it passes through nothing thin
_FINE: Final = (8, 48)  # steps refined, and in how many
_LOOSER: Final = 12
_WAYS: Final = {"wrap": ("stretched", "hold", "wrap"), "pinch": ("stretched", "beak_open", "pinch")}
"""Gestures that a hand passes through while it closes."""
_THUMB_FIRST: Final = "hold"  # what the thumb begins with instead where the object leaves room


@dataclass(frozen=True, eq=False)
class Grasp:
    """A hand around an object.

    Attributes:
        angles: (5, 3, 3) radians, as `RigPose.angles`.
        rotation: (3, 3) of the object, in the rig's axes at rest.
        place: (3,) metres of its middle from the wrist, in those axes.
    """

    angles: FloatArray
    rotation: FloatArray
    place: FloatArray


def grasp(rig: Rig, item: SceneObject, rng: np.random.Generator) -> Grasp:
    """A hand that holds an object.

    Args:
        rig: of `rig_from_shape`.
        item: what it holds.
        rng: turns and shifts it a little.
    """
    coarse = coarse_rig(rig)
    way = np.stack([angles_from_gesture(rig, name) for name in _WAYS[item.grip]])
    rotation, place = (_in_palm if item.grip == "wrap" else _at_tips)(coarse, item, way, rng)
    owners = regions_of(coarse).owners
    own = owners != PALM
    fingers = replace(coarse, vertices=coarse.vertices[own], normals=coarse.normals[own], weights=coarse.weights[own])
    owners = owners[own]

    def distances(shares: FloatArray) -> FloatArray:
        """Least distances (N, 5) of the fingers from the object where they are closed by shares (N, 5)."""
        points = (_skins(fingers, _closed(way, shares)) - place) @ rotation
        skin = item.solid.distances(points)
        return np.stack([skin[:, owners == finger].min(1) for finger in range(5)], 1)

    aside = way[0, 0].copy()
    way[0, 0] = angles_from_gesture(rig, _THUMB_FIRST)[0]
    if distances(np.zeros((1, 5)))[0, 0] < _NEAR_M:
        way[0, 0] = aside
    step = 1 / (_STEPS - 1)
    shares = np.tile(np.linspace(0, 1, _STEPS)[:, None], (1, 5))
    near = _last_free(distances(shares), _NEAR_M) * step
    finer = np.minimum(near + np.linspace(0, _FINE[0] * step, _FINE[1])[:, None], 1)
    closed = finer[_last_free(distances(finer), TOUCH_M), range(5)]
    for _ in range(_LOOSER):
        pose = RigPose(np.eye(3)[None], rig.joints[:1], _closed(way, closed[None]))
        if deepest([(rig, pose)]) <= DEPTH_M:
            break
        closed = closed * 0.9  # fingers that got into each other open on the way that they came
    return Grasp(_closed(way, closed[None])[0], rotation, place)


def _closed(way: FloatArray, shares: FloatArray) -> FloatArray:
    """(N, 5, 3, 3) radians where each finger has gone a share (N, 5) of a way (K, 5, 3, 3)."""
    along = shares * (len(way) - 1)
    first = np.minimum(along.astype(int), len(way) - 2)
    fingers = np.arange(5)
    before, after = way[first, fingers], way[first + 1, fingers]
    return before + (along - first)[..., None, None] * (after - before)


def _last_free(distances: FloatArray, near_m: float) -> IndexArray:
    """(5,) the last step before each finger first comes near, of distances (N, 5)."""
    touches = distances < near_m
    first = np.where(touches.any(0), touches.argmax(0), len(touches))
    return np.maximum(first - 1, 0)


def _skins(rig: Rig, angles: FloatArray) -> FloatArray:
    """(N, V, 3) metres from the wrist, in the rig's axes at rest."""
    count = len(angles)
    return rig.points(RigPose(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)), angles))


def _in_palm(rig: Rig, item: SceneObject, way: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The object laid across the palm, its axis along the knuckles, moved out until the open hand does not enter it."""
    knuckles = rig.joints[[chain[0] for chain in FINGERS[1:]]] - rig.joints[0]
    out = -rig.frames[10][:, 1]  # out of the palm
    axis = knuckles[0] - knuckles[3] + 0.12 * rng.normal() * knuckles[1]
    axis -= out * (axis @ out)
    axis /= np.linalg.norm(axis)
    rotation = np.stack([out, np.cross(axis, out), axis], 1)
    middle = rng.uniform(0.85, 0.98) * knuckles.mean(0) + rng.uniform(-0.012, 0.012) * axis
    return rotation, _moved_out(rig, item, way, rotation, middle, out)


def _at_tips(rig: Rig, item: SceneObject, way: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The object between the pads of thumb and index where they meet when closed, pointing away from the palm."""
    pose = RigPose(np.eye(3)[None], np.zeros((1, 3)), way[-1:])
    tips = rig.place(pose)[1][0, [FINGERS[0][3], FINGERS[1][3]]]
    across = tips[1] - tips[0]
    across /= np.linalg.norm(across)
    knuckles = rig.joints[[chain[0] for chain in FINGERS[1:]]] - rig.joints[0]
    axis = 2 * (tips.mean(0) - knuckles.mean(0)) + rng.normal(0, 0.8) * (knuckles[0] - knuckles[3])
    axis -= across * (axis @ across)
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, across)
    rotation = np.stack([across, side, axis], 1)
    middle = tips.mean(0) + rng.uniform(0.1, 0.85) * item.solid.size[2] * axis
    away = side * np.sign(side @ (tips.mean(0) - 0.5 * knuckles.mean(0)))
    return rotation, _moved_out(rig, item, way, rotation, middle, away)


def _moved_out(
    rig: Rig, item: SceneObject, way: FloatArray, rotation: FloatArray, middle: FloatArray, out: FloatArray
) -> FloatArray:
    """The nearest place (3,) on a line where the object leaves the open hand free."""
    skin = (_skins(rig, way[:1])[0] - middle) @ rotation
    moved, along = 0.0, out @ rotation
    while moved < _FARTHEST_M:
        near = float(item.solid.distances(skin - moved * along).min())
        if near > TOUCH_M:
            break
        moved += max(TOUCH_M - near, _STEP_M)  # less cannot free it
    return middle + moved * out


_PALM_TO_CAMERA: Final = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
"""Columns: where the wrist's axes (bend, out of the back, back along the hand) point when the palm faces the camera
and the fingers point up."""

_OTHERWISE_DEG: Final = 25.0
"""How far the second hand is turned another way than the first's mirror image."""

_APART_M: Final = (0.045, 0.1)
"""Between the middles of two palms before they are moved out of each other."""

_MIDDLE_KNUCKLE: Final = 11


def pose_hands(
    rigs: Sequence[Rig], drawn: Mapping[str, Value], rng: np.random.Generator
) -> tuple[list[RigPose], Grasp | None]:
    """One or two hands about the world's origin, one frame each, and how the first holds a thing.

    Args:
        rigs: of one person.
        drawn: the factors.
        rng: what is random beyond them.
    """
    if drawn["hands"] == "interacting" and drawn["pair"] != "any":
        return _paired(rigs, drawn, rng), None
    poses: list[RigPose] = []
    held: Grasp | None = None
    for number, rig in enumerate(rigs):
        own = np.random.default_rng(rng.integers(1 << 62))
        turn = turn_hand(rig, drawn, own.normal(0, _OTHERWISE_DEG, 3) * number)
        if number == 0 and drawn["held"] != "none" and drawn["hands"] != "interacting":
            held = grasp(rig, look_up("object", SCENE_OBJECTS, str(drawn["held"])), own)
        angles = _angles(rig, drawn, own) if number or held is None else held.angles
        middle = turn @ (rig.joints[_MIDDLE_KNUCKLE] - rig.joints[0]) / 2
        poses.append(RigPose(turn[None], -middle[None], angles[None]))
    if drawn["hands"] == "interacting":
        way = rng.normal(size=3)
        away = way / np.linalg.norm(way) * rng.uniform(*_APART_M)
        poses = settle(list(zip(rigs, [poses[0], poses[1].moved(away[None])], strict=True)))
    return poses, held


def _paired(rigs: Sequence[Rig], drawn: Mapping[str, Value], rng: np.random.Generator) -> list[RigPose]:
    """A named pose of both hands, turned as one."""
    pair = pose_pair(str(drawn["pair"]), {rig.side: rig for rig in rigs}, rng)
    turn = turned(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
    return [
        RigPose(turn @ pair[rig.side].rotation, pair[rig.side].translation @ turn.T, pair[rig.side].angles)
        for rig in rigs
    ]


def turn_hand(rig: Rig, drawn: Mapping[str, Value], more_deg: FloatArray) -> FloatArray:
    """(3, 3) from the rig's rest as the factors turn it, and more; the left hand as the right one's mirror image."""
    yaw, pitch, roll = np.array([float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")]) + more_deg
    mirror = 1 if rig.side == "Right" else -1
    return turned(mirror * yaw, pitch, mirror * roll) @ _PALM_TO_CAMERA @ rig.frames[0].T


def _angles(rig: Rig, drawn: Mapping[str, Value], rng: np.random.Generator) -> FloatArray:
    if drawn["gesture"] == "any":
        return sample_angles(rig, rng)
    return angles_from_gesture(rig, str(drawn["gesture"]), rng, float(drawn["looseness"]))


def pose_pair(name: str, rigs: Mapping[Side, Rig], rng: np.random.Generator | None = None) -> Mapping[Side, RigPose]:
    """Both hands in a named pose, touching as it says; poses of one frame, the point before the chest as origin.

    Args:
        name: one of `pair_names`.
        rigs: the person's hands, of `rig_from_shape`.
        rng: gives places and joints some deviation; None for none.

    Raises:
        InputError: there is no such pose.
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
    """What each hand does at its station; two hands touch and do not pass into each other.

    Args:
        stations: of one hand or two.
        rigs: the person's hands.
        touch: fingers of the right and the left hand whose tips meet.
        rng: as for `pose_pair`.
    """
    return _settled({side: pose_from_station(rigs[side], one, rng) for side, one in stations.items()}, rigs, touch)


def _settled(
    poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig], touch: Sequence[tuple[int, int]]
) -> Mapping[Side, RigPose]:
    if len(poses) == 1:
        return poses
    sides: tuple[Side, Side] = ("Right", "Left")
    touches = [Touch((0, right), (1, left)) for right, left in touch]
    return dict(zip(sides, settle([(rigs[side], poses[side]) for side in sides], touches), strict=True))

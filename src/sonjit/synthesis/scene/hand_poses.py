"""Poses of one or two hands about the origin: a gesture, a grasp or any pose, a turn, and named poses of both hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.hand_models.rig import RigPose
from sonjit.synthesis.scene.cameras import turned
from sonjit.synthesis.scene.gestures import angles_from_gesture, sample_angles
from sonjit.synthesis.scene.grasps import grasp
from sonjit.synthesis.scene.objects import object_named
from sonjit.synthesis.scene.scripts import pose_from_station, scripts
from sonjit.synthesis.scene.separation import Touch, settle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, Side
    from sonjit.synthesis.scene.factors import Value
    from sonjit.synthesis.scene.grasps import Grasp
    from sonjit.synthesis.scene.scripts import Station

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
            held = grasp(rig, object_named(str(drawn["held"])), own)
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


def turn_hand(rig: Rig, drawn: Mapping[str, Value], more_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) from the rig's rest as the factors turn it, and more; the left hand as the right one's mirror image."""
    yaw, pitch, roll = np.array([float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")]) + more_deg
    mirror = 1 if rig.side == "Right" else -1
    return turned(mirror * yaw, pitch, mirror * roll) @ _PALM_TO_CAMERA @ rig.frames[0].T


def _angles(rig: Rig, drawn: Mapping[str, Value], rng: np.random.Generator) -> NDArray[np.float64]:
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
    if name not in known:
        raise InputError(f"no such pose of two hands {name!r}: known are {', '.join(known)}")
    stations: dict[Side, Station] = {side: each[0] for side, each in known[name].stations.items()}
    return poses_from_stations(stations, rigs, known[name].touch, rng)


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

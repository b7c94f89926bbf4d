"""Two hands of one person that interact: named poses, and random ones made from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.synthesis.contact import Touch, settle
from sonjit.synthesis.gestures import gestures
from sonjit.synthesis.placements import pose_from_station, scripts
from sonjit.synthesis.touching import coarse_rig, skin_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sonjit.hand_models.rig import Rig, RigPose, Side
    from sonjit.synthesis.placements import Station

_OTHER_GESTURE: Final = 0.4  # how often a hand of a random pair does something else
_NEAR_M: Final = 0.002
_PLACE_M: Final = 0.012  # by how much a random pair deviates
_TURN_RAD: Final = float(np.deg2rad(18))


def pair_names() -> tuple[str, ...]:
    """Names of the interacting poses."""
    return tuple(script.name for script in scripts()["both"])


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
        raise InputError(f"no pose of two hands is named '{name}': known are {', '.join(known)}")
    stations: dict[Side, Station] = {side: each[0] for side, each in known[name].stations.items()}
    return poses_from_stations(stations, rigs, known[name].touch, rng)


def sample_pair(rigs: Mapping[Side, Rig], rng: np.random.Generator) -> Mapping[Side, RigPose]:
    """Both hands in a random pose near each other, as `pose_pair` gives it.

    Args:
        rigs: the person's hands, of `rig_from_shape`.
        rng: what is random.
    """
    script = scripts()["both"][rng.integers(len(scripts()["both"]))]
    names = list(gestures())
    poses: dict[Side, RigPose] = {}
    for side, (station, *_) in script.stations.items():
        if rng.random() < _OTHER_GESTURE:
            station = replace(station, gesture=names[rng.integers(len(names))])
        pose = pose_from_station(rigs[side], station, rng)
        turn = matrix_from_rotation_vector(rng.normal(0, _TURN_RAD, 3))
        poses[side] = replace(
            pose, rotation=turn @ pose.rotation, translation=pose.translation + rng.normal(0, _PLACE_M, 3)
        )
    return _settled(_brought_together(_settled(poses, rigs, ()), rigs), rigs, ())


def _brought_together(poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig]) -> Mapping[Side, RigPose]:
    """The left hand moved until it nearly touches the right one where it is nearest."""
    right, left = (skin_of(coarse_rig(rigs[side]), poses[side]).points for side in ("Right", "Left"))
    apart = ((right**2).sum(1)[:, None] - 2 * right @ left.T + (left**2).sum(1)).clip(0)
    one, other = np.unravel_index(int(apart.argmin()), apart.shape)
    way = right[one] - left[other]
    length = float(np.linalg.norm(way))
    if length < _NEAR_M:
        return poses
    return {"Right": poses["Right"], "Left": poses["Left"].moved((1 - _NEAR_M / length) * way[None])}


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

"""Finger angles of named gestures and free poses, scripts of sequences, and hands that touch without penetration.

Fingers are coupled: neighbours bend alike, the end joint follows the middle one, and bent fingers spread little. Each
vertex inside another skin, of meshes before subdivision, gives one equation for how the nearest skin must move. Damped
Gauss-Newton steps over the angles of all fingers and the positions of the hands solve them, within the joint limits.
Hands that still penetrate are opened and pulled apart, so that the result is always valid. In motions, corrections are
spread over neighbouring frames so that hands do not jump.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from sonjit._util import FloatArray
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_lab.hand_models.rig import FINGERS, Rig, RigPose, Side, free_joints, joint_limits
from sonjit_lab.synthesis import look_up, read_table
from sonjit_lab.synthesis.contacts import FINGER_OF, STEP_OF, Touch, resolve_penetration

_NOISE_RAD: Final = np.deg2rad([[3.0, 5.0, 0.0], [0.0, 6.0, 0.0], [0.0, 4.0, 0.0]])  # of a finger that makes a gesture
_KNUCKLE_RAD: Final = np.deg2rad(85)  # bends of a closed fist
_MIDDLE_RAD: Final = np.deg2rad(100)
_END_SHARE: Final = 0.62  # of the end joint's bend, about two thirds in grasps (Rijpkema and Girard 1991)
_FAN: Final = np.array([1.4, 0.3, -0.7, -1.7])  # each finger's turn towards the thumb where they lie 1 apart
_DIRECTIONS: Final = {
    "camera": (0.0, 0.0, -1.0),
    "person": (0.0, 0.0, 1.0),
    "up": (0.0, -1.0, 0.0),
    "down": (0.0, 1.0, 0.0),
    "in": (1.0, 0.0, 0.0),
    "out": (-1.0, 0.0, 0.0),
}
"""Directions of the right hand of a person who faces the camera; the left hand's are mirrored."""


for _finger, _chain in enumerate(FINGERS):
    FINGER_OF[list(_chain)], STEP_OF[list(_chain)] = _finger, (0, 1, 2, 2)


def angles_from_gesture(
    rig: Rig, name: str, rng: np.random.Generator | None = None, looseness: float = 1.0
) -> FloatArray:
    """Return angles (5, 3, 3) in radians of a named gesture on this hand, with its touches, and deviations if `rng`."""
    gesture = look_up("gesture", gestures(), name)
    angles = gesture.angles
    if rng is not None:
        angles = add_deviation(angles, rng, looseness)
    return resolved_angles(rig, angles, gesture.touch)


def add_deviation(angles: FloatArray, rng: np.random.Generator, looseness: float = 1.0) -> FloatArray:
    """Return angles (5, 3, 3) in radians with the deviation of another person or another time."""
    noisy = angles + rng.normal(size=(5, 3, 3)) * _NOISE_RAD * looseness
    noisy[0, 1] += rng.normal(size=3) * _NOISE_RAD[0] * [0.5, 1, 0] * looseness
    return noisy


def sample_angles(rig: Rig, rng: np.random.Generator) -> FloatArray:
    """Return angles (5, 3, 3) in radians: a gesture, an interpolation between two, or a free pose, a third of each."""
    kind = rng.integers(3)
    names = random_gestures()
    if kind == 0:
        return angles_from_gesture(rig, names[rng.integers(len(names))], rng)
    if kind == 1:
        item, other = (gestures()[names[index]].angles for index in rng.integers(len(names), size=2))
        share = rng.uniform(0, 1, (5, 1, 1)) * 0.4 + rng.uniform(0, 0.6)  # fingers move nearly at once
        return resolved_angles(rig, item + share * (other - item))
    return resolved_angles(rig, free_angles(rng))


def free_angles(rng: np.random.Generator) -> FloatArray:
    """Return angles (5, 3, 3) in radians of a pose without a name."""
    angles = np.zeros((5, 3, 3))
    curl = rng.uniform(-0.15, 1.05)
    steps = rng.normal(0, 0.18, 4)
    curls = np.clip(curl + steps.cumsum() - steps.mean(), -0.2, 1.1)
    knuckles = curls * _KNUCKLE_RAD + rng.normal(0, 0.2, 4)
    middles = np.maximum(curls * _MIDDLE_RAD + rng.normal(0, 0.25, 4), -0.05)
    ends = _END_SHARE * middles + rng.normal(0, 0.1, 4)
    angles[1:, :, 1] = np.stack([knuckles, middles, ends], 1)
    fan = rng.normal(0.04, 0.06) * _FAN + rng.normal(0, 0.04, 4)
    angles[1:, 0, 0] = fan * np.clip(1.2 - np.abs(knuckles), 0.1, 1)
    angles[1:, 0, 2] = rng.normal(0, 0.03, 4)
    postures = thumb_postures()
    shares = rng.dirichlet(np.full(len(postures), 0.25))
    angles[0] = np.tensordot(shares, postures, 1)
    angles[0, 0] += rng.normal(0, 0.08, 3)
    return angles


def resolved_angles(rig: Rig, angles: FloatArray, touch: tuple[int, ...] = ()) -> FloatArray:
    """Return angles (5, 3, 3) in radians within the limits, without penetration, with the thumb at tips it touches."""
    angles = np.clip(angles, *joint_limits(free_joints(rig)))
    pose = RigPose(np.eye(3)[None], rig.joints[:1], angles[None])
    (pose,) = resolve_penetration([(rig, pose)], [Touch((0, 0), (0, finger)) for finger in touch])
    return pose.angles[0]


@dataclass(frozen=True, eq=False)
class GesturePose:
    """Pose of a hand without its position."""

    name: str  # name of the gesture
    angles: FloatArray  # Angles (5, 3, 3) in radians, see `RigPose.angles`
    touch: tuple[int, ...] = ()  # fingers, 1 (index) to 4 (little), whose tips meet the thumb's


@lru_cache(maxsize=1)
def gestures() -> Mapping[str, GesturePose]:
    """Return all gestures by name, then their variants, then additional hand shapes of manual alphabets."""
    table = read_table("gestures")
    entries = {name: table[part] for part in ("gestures", "variants", "spelling") for name in table[part]}
    return {name: _gesture(name, part[name], table) for name, part in entries.items()}


def random_gestures() -> tuple[str, ...]:
    """Return the names of the gestures that random poses are drawn from: those of the first part."""
    return tuple(read_table("gestures")["gestures"])


def spelling_shapes() -> tuple[str, ...]:
    """Return the names of the hand shapes of manual alphabets that are no gestures."""
    return tuple(read_table("gestures")["spelling"])


@lru_cache(maxsize=1)
def thumb_postures() -> FloatArray:
    """Return the thumb angles (T, 3, 3) in radians of all gestures."""
    return np.stack([_thumb(values) for values in read_table("gestures")["thumbs"].values()])


def _gesture(name: str, entry: Mapping[str, Any], table: Mapping[str, Any]) -> GesturePose:
    angles = np.zeros((5, 3, 3))
    angles[0] = _thumb(table["thumbs"][entry["thumb"]])
    angles[1:, :, 1] = np.deg2rad([table["fingers"][posture] for posture in entry["fingers"]])
    angles[1:, 0, 0] = np.deg2rad(entry.get("turns", entry.get("spread", 0) * _FAN))
    return GesturePose(name, angles, tuple(entry.get("touch", ())))


def _thumb(values: list[float]) -> FloatArray:
    """Return thumb angles (3, 3) in radians of six angles in degrees."""
    angles = np.zeros((3, 3))
    angles[0] = values[:3]
    angles[1, :2] = values[3:5]
    angles[2, 1] = values[5]
    return np.deg2rad(angles)


@dataclass(frozen=True)
class Station:
    """Gesture and position of a hand."""

    gesture: str  # name of the gesture
    palm: str  # direction that the palm faces, a word of the file
    fingers: str  # direction that the fingers point to, a word of the file
    # position of the palm's middle in metres: towards its own side, down, away from the camera
    at_m: tuple[float, float, float]
    tilt_rad: float = 0.0  # rotation around the palm's normal, towards the thumb


@dataclass(frozen=True)
class Script:
    """Sequence as defined in the file."""

    name: str  # name without number
    stations: Mapping[Side, tuple[Station, ...]]  # stations of each hand that takes part, equally many for both
    touch: tuple[tuple[int, int], ...] = ()  # fingers of the right and the left hand whose tips meet at every station


@lru_cache(maxsize=1)
def scripts() -> Mapping[str, tuple[Script, ...]]:
    """Return scripts by kind: `peak`, `both`, `range` and `range_both`. Those of one hand are for the right one."""
    kinds = ("peak", "range", "both", "range_both")
    return {kind: tuple(_script(entry) for entry in read_table("sequences")[kind]) for kind in kinds}


def pair_names() -> tuple[str, ...]:
    """Return the names of the interacting poses."""
    return tuple(script.name for script in scripts()["both"])


@lru_cache(maxsize=1)
def neutral_station() -> Station:
    """Return the neutral station: in front of the chest, away from the other hand."""
    return _station(read_table("sequences")["neutral"])


def pose_from_station(rig: Rig, station: Station, rng: np.random.Generator | None = None) -> RigPose:
    """Return a one-frame pose from the point in front of the chest, with deviations of some mm and degrees if `rng`."""
    mirror = np.array([1.0 if rig.side == "Right" else -1.0, 1, 1])
    palm, fingers = (np.array(_DIRECTIONS[word]) * mirror for word in (station.palm, station.fingers))
    rest = rig.frames[0]
    rotation = _basis(fingers, palm) @ _basis(-rest[:, 2], -rest[:, 1]).T
    rotation = matrix_from_rotation_vector(palm * station.tilt_rad * -mirror[0]) @ rotation
    at = np.array(station.at_m) * [-mirror[0], 1, 1]  # the right hand's own side is the image's left
    if rng is not None:
        rotation = matrix_from_rotation_vector(rng.normal(0, np.deg2rad(6), 3)) @ rotation
        at = at + rng.normal(0, 0.006, 3)
    middle = (rig.joints[11] - rig.joints[0]) / 2
    angles = angles_from_gesture(rig, station.gesture, rng)
    return RigPose(rotation[None], (at - rotation @ middle)[None], angles[None])


def _basis(along: FloatArray, across: FloatArray) -> FloatArray:
    """Return orthonormal columns (3, 3) whose first is `along` and whose second is near `across`."""
    across = across - along * (across @ along)
    across = across / np.linalg.norm(across)
    return np.stack([along, across, np.cross(along, across)], 1)


def _script(entry: Mapping[str, Any]) -> Script:
    hands: dict[Side, Any] = {"Right": entry.get("right", entry.get("stations", entry))}
    if "left" in entry:
        hands["Left"] = entry["left"]
    stations: dict[Side, tuple[Station, ...]] = {
        side: tuple(map(_station, item if isinstance(item, list) else [item])) for side, item in hands.items()
    }
    return Script(entry.get("name", ""), stations, tuple((right, left) for right, left in entry.get("touch", ())))


def _station(entry: Mapping[str, Any]) -> Station:
    values: Mapping[str, Any] = {"tilt": 0, **read_table("sequences")["defaults"], **entry}
    out, down, away = (value / 100 for value in values["at"])
    tilt_rad = float(np.deg2rad(values["tilt"]))
    return Station(values["gesture"], values["palm"], values["fingers"], (out, down, away), tilt_rad)

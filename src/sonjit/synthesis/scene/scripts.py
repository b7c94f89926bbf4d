"""Scripts of sequences: which gesture each hand makes, and where before the chest, read from `sequences.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, cast

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.hand_models.rig import RigPose
from sonjit.synthesis.scene.gestures import angles_from_gesture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, Side

_WAYS: Final = {
    "camera": (0.0, 0.0, -1.0),
    "person": (0.0, 0.0, 1.0),
    "up": (0.0, -1.0, 0.0),
    "down": (0.0, 1.0, 0.0),
    "in": (1.0, 0.0, 0.0),
    "out": (-1.0, 0.0, 0.0),
}
"""Of the right hand of a person who faces the camera; the left hand's are mirrored."""


@dataclass(frozen=True)
class Station:
    """What a hand does, and where.

    Attributes:
        gesture: its name.
        palm: direction that the palm faces, a word of the file's.
        fingers: direction that the fingers point, likewise.
        at_m: metres of the palm's middle: towards its own side, down, away from the camera.
        tilt_rad: turn about the palm's normal, towards the thumb.
    """

    gesture: str
    palm: str
    fingers: str
    at_m: tuple[float, float, float]
    tilt_rad: float = 0.0


@dataclass(frozen=True)
class Script:
    """A sequence as the file has it.

    Attributes:
        name: without number.
        stations: for each hand that takes part what it does, equally many for both.
        touch: fingers of the right and the left hand whose tips meet, at every station.
    """

    name: str
    stations: Mapping[Side, tuple[Station, ...]]
    touch: tuple[tuple[int, int], ...] = ()


@lru_cache(maxsize=1)
def scripts() -> Mapping[str, tuple[Script, ...]]:
    """Scripts by kind: `peak`, `both`, `range` and `range_both`; those of one hand stand for the right one."""
    table = _table()
    one = {
        "peak": [Script(each["name"], {"Right": (_station(each),)}) for each in table["peak"]],
        "range": [Script(each["name"], {"Right": _stations(each["stations"])}) for each in table["range"]],
    }
    two = {
        "both": [
            Script(
                each["name"],
                {"Right": (_station(each["right"]),), "Left": (_station(each["left"]),)},
                tuple((right, left) for right, left in each.get("touch", ())),
            )
            for each in table["both"]
        ],
        "range_both": [
            Script(each["name"], {"Right": _stations(each["right"]), "Left": _stations(each["left"])})
            for each in table["range_both"]
        ],
    }
    return {kind: tuple(each) for kind, each in (one | two).items()}


def pair_names() -> tuple[str, ...]:
    """Names of the interacting poses."""
    return tuple(script.name for script in scripts()["both"])


@lru_cache(maxsize=1)
def neutral_station() -> Station:
    """Before the chest, away from the other hand."""
    return _station(_table()["neutral"])


def pose_from_station(rig: Rig, station: Station, rng: np.random.Generator | None = None) -> RigPose:
    """A pose of one frame; the point before the chest is the origin.

    Args:
        rig: of `rig_from_shape`.
        station: what the hand does.
        rng: gives place, turn and joints a deviation of some millimetres and degrees; None for none.
    """
    mirror = np.array([1.0 if rig.side == "Right" else -1.0, 1, 1])
    palm, fingers = (np.array(_WAYS[word]) * mirror for word in (station.palm, station.fingers))
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


def _basis(along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) orthonormal columns of which the first is a way and the second near another."""
    across = across - along * (across @ along)
    across = across / np.linalg.norm(across)
    return np.stack([along, across, np.cross(along, across)], 1)


class _Defaults(TypedDict):
    palm: str
    fingers: str
    at: list[float]


class _StationEntry(TypedDict):
    gesture: str
    palm: NotRequired[str]
    fingers: NotRequired[str]
    at: NotRequired[list[float]]
    tilt: NotRequired[float]


class _NamedEntry(_StationEntry):
    name: str


class _BothEntry(TypedDict):
    name: str
    right: _StationEntry
    left: _StationEntry
    touch: NotRequired[list[tuple[int, int]]]


class _RangeEntry(TypedDict):
    name: str
    stations: list[_StationEntry]


class _RangeBothEntry(TypedDict):
    name: str
    right: list[_StationEntry]
    left: list[_StationEntry]


class _Table(TypedDict):
    neutral: _StationEntry
    defaults: _Defaults
    peak: list[_NamedEntry]
    both: list[_BothEntry]
    range: list[_RangeEntry]
    range_both: list[_RangeBothEntry]


def _table() -> _Table:
    return cast("_Table", tomllib.loads((files("sonjit.synthesis") / "sequences.toml").read_text("utf-8")))


def _stations(entries: list[_StationEntry]) -> tuple[Station, ...]:
    return tuple(_station(entry) for entry in entries)


def _station(entry: _StationEntry) -> Station:
    usual = _defaults()
    out, down, away = (value / 100 for value in entry.get("at", usual["at"]))
    palm, fingers = entry.get("palm", usual["palm"]), entry.get("fingers", usual["fingers"])
    return Station(entry["gesture"], palm, fingers, (out, down, away), float(np.deg2rad(entry.get("tilt", 0))))


@lru_cache(maxsize=1)
def _defaults() -> _Defaults:
    return _table()["defaults"]

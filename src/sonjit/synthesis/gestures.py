"""Named gestures: what each finger does, read from `gestures.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_FAN: Final = np.array([1.4, 0.3, -0.7, -1.7])  # each finger's turn towards the thumb where they lie 1 apart


@dataclass(frozen=True, eq=False)
class Gesture:
    """A hand's pose without its place.

    Attributes:
        name: of it.
        angles: (5, 3, 3) radians as `RigPose.angles`.
        touch: fingers, 1 index to 4 little, whose tips meet the thumb's.
    """

    name: str
    angles: NDArray[np.float64]
    touch: tuple[int, ...] = ()


def gesture_named(name: str) -> Gesture:
    """The gesture of a name.

    Raises:
        InputError: there is none of that name; the line names all.
    """
    known = gestures()
    if name not in known:
        raise InputError(f"no gesture is named '{name}': known are {', '.join(known)}")
    return known[name]


@lru_cache(maxsize=1)
def gestures() -> Mapping[str, Gesture]:
    """All gestures by name."""
    table = tomllib.loads((files("sonjit.synthesis") / "gestures.toml").read_text("utf-8"))
    return {name: _gesture(name, entry, table) for name, entry in table["gestures"].items()}


@lru_cache(maxsize=1)
def thumb_postures() -> NDArray[np.float64]:
    """(T, 3, 3) radians: what a thumb does in some gesture."""
    table = tomllib.loads((files("sonjit.synthesis") / "gestures.toml").read_text("utf-8"))
    return np.stack([_thumb(values) for values in table["thumbs"].values()])


def _gesture(name: str, entry: Mapping[str, Any], table: Mapping[str, Any]) -> Gesture:
    angles = np.zeros((5, 3, 3))
    angles[0] = _thumb(table["thumbs"][entry["thumb"]])
    angles[1:, :, 1] = np.deg2rad([table["fingers"][posture] for posture in entry["fingers"]])
    angles[1:, 0, 0] = np.deg2rad(entry.get("turns", entry.get("spread", 0) * _FAN))
    return Gesture(name, angles, tuple(entry.get("touch", ())))


def _thumb(values: list[float]) -> NDArray[np.float64]:
    """(3, 3) radians of six angles in degrees."""
    angles = np.zeros((3, 3))
    angles[0] = values[:3]
    angles[1, :2] = values[3:5]
    angles[2, 1] = values[5]
    return np.deg2rad(angles)

"""What poses of `sonjit synth` mean: the shipped gestures, and manual alphabets, each a file of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit.arrays import FloatArray, IntArray
from sonjit.errors import InputError
from sonjit.gestures.classifier import NONE, VOCABULARY, Direction, Vocabulary
from sonjit.synthesis.scene.gestures import gestures, spelling_shapes

POSES: Final[Mapping[str, tuple[str, ...]]] = {
    "Closed_Fist": ("fist", "tight_fist", "loose_fist", "middle_fist"),
    "Open_Palm": ("open", "spread", "stretched", "flat_out", "flat", "rigid", "slack_open"),
    "Pointing": ("point", "beside_point", "slack_point"),
    "Thumb": ("thumb_up", "thumb_up_loose", "loose_thumb_up"),
    "Victory": ("victory", "two", "slack_victory", "tucked_victory"),
    "Three": ("three", "slack_three"),
    "Three_With_Thumb": ("three_thumb", "double_gun", "slack_three_thumb"),
    "Four": ("four", "slack_four"),
    "OK": ("ok", "slack_ok"),
    "Pinch": ("pinch", "two_pinch"),
    "Call_Me": ("call", "loose_call"),
    "ILoveYou": ("ily", "loose_ily"),
    "Thumb_And_Index": ("gun", "slack_gun"),
    "Hooked_Index": ("hooked_index",),
    "Horns": ("horns", "loose_horns"),
    "Little_Finger": ("little", "slack_little"),
}
"""Poses of `sonjit synth` that make each shape; all others make none."""
"""Poses that make each shape of the shipped gestures; all others make none."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """How a letter is drawn by the right hand, seen from before it.

    Attributes:
        pose: of the fingers on the way.
        place: (K, 2) hand lengths to the right and down, of the palm.
        yaw_deg: (K,) turn about the hand's length.
        roll_deg: (K,) turn in the image.
    """

    pose: str
    place: FloatArray
    yaw_deg: FloatArray
    roll_deg: FloatArray


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Which poses mean what.

    Attributes:
        vocabulary: what a classifier of it tells apart.
        poses: names of poses that make each shape.
        none: names of poses that make none.
        moving: what is drawn, by its letter.
    """

    vocabulary: Vocabulary
    poses: Mapping[str, tuple[str, ...]]
    none: tuple[str, ...]
    moving: Mapping[str, Stroke] = field(default_factory=dict[str, Stroke])

    @property
    def posed(self) -> tuple[str, ...]:
        """Every pose by name."""
        return (*(pose for poses in self.poses.values() for pose in poses), *self.none)

    def shapes_of(self, poses: Iterable[str]) -> IntArray:
        """(N,) the index of the shape that each pose makes, 0 for none."""
        shape = {pose: self.vocabulary.shapes.index(one) for one, own in self.poses.items() for pose in own}
        return np.array([shape.get(pose, 0) for pose in poses], np.int64)


@lru_cache(maxsize=1)
def shipped_gestures() -> Alphabet:
    """That of the shipped classifier."""
    made = {pose for poses in POSES.values() for pose in poses}
    return Alphabet(VOCABULARY, POSES, tuple(one for one in gestures() if one not in {*made, *spelling_shapes()}))


def load_alphabet(name: str) -> Alphabet:
    """A manual alphabet.

    Args:
        name: of a shipped one, such as "asl", or the path of a `.toml` file of the same form; "" for the shipped
            gestures.

    Raises:
        InputError: there is none of that name, or the file says something else.
    """
    if not name:
        return shipped_gestures()
    own = files("sonjit.training.gestures.alphabets") / f"{name}.toml"
    if not name.endswith(".toml") and not own.is_file():
        raise InputError(f"alphabet {name!r}: give asl, or the path of a .toml file of its form")
    try:
        text = Path(name).read_text("utf-8") if name.endswith(".toml") else own.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    try:
        alphabet = _alphabet(tomllib.loads(text))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: no manual alphabet: {error!r}") from None
    drawn = [one.pose for one in alphabet.moving.values()]
    if unknown := sorted({*alphabet.posed, *drawn} - set(gestures())):
        raise InputError(f"{name}: no pose is called {', '.join(unknown)}; sonjit synth --list-factors shows all")
    if both := {one for one in alphabet.posed if alphabet.posed.count(one) > 1}:
        raise InputError(f"{name}: {', '.join(sorted(both))} stands there twice; a pose makes one letter or none")
    return alphabet


def _alphabet(table: Mapping[str, Any]) -> Alphabet:
    directed: Mapping[str, Any] = table.get("directed", {})
    poses = {name: tuple(own) for name, own in table["letters"].items()}
    poses |= {name: tuple(one["poses"]) for name, one in directed.items()}
    directions = {
        name: Direction((one["finger"][0], one["finger"][1]), tuple(letter or None for letter in one["letters"]))
        for name, one in directed.items()
    }
    if any(len(one.names) != len(_WAYS) for one in directions.values()):
        raise ValueError(f"letters of a directed shape: give four, {', '.join(_WAYS)}")
    moving = {name: _stroke(one) for name, one in table.get("moving", {}).items()}
    return Alphabet(Vocabulary((NONE, *poses), directions), poses, tuple(table["none"]), moving)


_WAYS: Final = ("up", "right", "down", "left")


def _stroke(one: Mapping[str, Any]) -> Stroke:
    place, yaw, roll = (np.array(one[name], np.float64) for name in ("place", "yaw_deg", "roll_deg"))
    if place.shape != (len(place), 2) or not len(place) == len(yaw) == len(roll) > 1:
        raise ValueError("a letter that is drawn needs two places or more, and a yaw_deg and a roll_deg for each")
    return Stroke(str(one["pose"]), place, yaw, roll)

"""Meanings of the poses of `sonjit synth`: the shipped gestures, and manual alphabets with a file each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util import FloatArray, InputError, IntArray
from sonjit._util.data_files import read_toml_table
from sonjit.gestures.classifier import NONE, VOCABULARY, Direction, Vocabulary
from sonjit_lab.synthesis.gestures import gestures, spelling_shapes

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
"""Poses of `sonjit synth` that make each shape of the shipped gestures; all other poses make none."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """How the right hand draws a letter, as seen by a person in front of it."""

    pose: str  # pose of the fingers
    place: FloatArray  # (K, 2) path of the palm in hand lengths, to the right and down
    yaw_deg: FloatArray  # (K,) rotation about the hand's length
    roll_deg: FloatArray  # (K,) rotation in the image


@dataclass(frozen=True, eq=False)
class Alphabet:
    """The shapes of a gesture vocabulary and the poses that make them."""

    vocabulary: Vocabulary  # vocabulary of a classifier
    poses: Mapping[str, tuple[str, ...]]  # names of poses that make each shape
    none: tuple[str, ...]  # names of poses that make no shape
    moving: Mapping[str, Stroke] = field(default_factory=dict[str, Stroke])  # drawn letters by name

    @property
    def posed(self) -> tuple[str, ...]:
        """All pose names."""
        return (*(pose for poses in self.poses.values() for pose in poses), *self.none)

    def shapes_of(self, poses: Iterable[str]) -> IntArray:
        """Return the (N,) index of the shape that each pose makes, 0 for none."""
        shape = {
            pose: self.vocabulary.shapes.index(name)
            for name, letter_poses in self.poses.items()
            for pose in letter_poses
        }
        return np.array([shape.get(pose, 0) for pose in poses], np.int64)


@lru_cache(maxsize=1)
def shipped_gestures() -> Alphabet:
    """Return the alphabet of the shipped classifier."""
    used = {pose for poses in POSES.values() for pose in poses} | {*spelling_shapes()}
    return Alphabet(VOCABULARY, POSES, tuple(pose for pose in gestures() if pose not in used))


def load_alphabet(name: str) -> Alphabet:
    """Read a manual alphabet."""
    if not name:
        return shipped_gestures()
    shipped_file = files("sonjit_lab.training.alphabets") / f"{name}.toml"
    if not name.endswith(".toml") and not shipped_file.is_file():
        raise InputError(f"Unknown alphabet {name!r}. Choose from asl, or the path of a .toml file of its form")
    table = read_toml_table(Path(name) if name.endswith(".toml") else shipped_file)
    try:
        alphabet = _alphabet_from_table(table)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: not a manual alphabet: {error!r}") from None
    drawn = [stroke.pose for stroke in alphabet.moving.values()]
    if unknown := sorted({*alphabet.posed, *drawn} - set(gestures())):
        raise InputError(f"{name}: Unknown pose {', '.join(unknown)}. sonjit synth --list-factors lists all poses")
    if both := {pose for pose in alphabet.posed if alphabet.posed.count(pose) > 1}:
        raise InputError(f"{name}: {', '.join(sorted(both))} occurs twice; each letter needs its own pose")
    return alphabet


def _alphabet_from_table(table: Mapping[str, Any]) -> Alphabet:
    directed: Mapping[str, Any] = table.get("directed", {})
    poses = {name: tuple(letter_poses) for name, letter_poses in table["letters"].items()}
    poses |= {name: tuple(record["poses"]) for name, record in directed.items()}
    directions = {
        name: Direction.checked(record["finger"], [letter or None for letter in record["letters"]])
        for name, record in directed.items()
    }
    moving = {name: _stroke_from_table(record) for name, record in table.get("moving", {}).items()}
    return Alphabet(Vocabulary((NONE, *poses), directions), poses, tuple(table["none"]), moving)


def _stroke_from_table(record: Mapping[str, Any]) -> Stroke:
    path, yaw, roll = (np.array(record[name], np.float64) for name in ("place", "yaw_deg", "roll_deg"))
    if path.shape != (len(path), 2) or not len(path) == len(yaw) == len(roll) > 1:
        raise ValueError("a drawn letter requires at least two places, with a yaw_deg and a roll_deg for each")
    return Stroke(str(record["pose"]), path, yaw, roll)

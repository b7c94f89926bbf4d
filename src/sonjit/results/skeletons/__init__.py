"""Load skeletons: keypoint names, bones and drawing connections, stored as JSON in this package.

The public order of a hand is MediaPipe's 21 keypoints: wrist, then four per finger from the palm to the tip,
thumb first. The names of a face mesh's points are those of their contours in tfjs-models, with the three corners
that its lists leave out by an oversight: 291 (lips), 285 (leftEyebrow) and 55 (rightEyebrow).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sonjit._util import InputError, already_registered, unknown_name
from sonjit._util.data_files import read_json
from sonjit._util.extensions import Registry, extension_problems, load_extensions

_FOLDER = resources.files("sonjit.results.skeletons")
_REGISTERED: "Registry[Skeleton]" = Registry("skeleton")
_OTHER_SIDE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
_OTHER_LETTER = {"l": "r", "r": "l", "L": "R", "R": "L"}
_SIDE_WORD = re.compile("|".join(_OTHER_SIDE))
_SIDE_LETTER = re.compile(r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[LR]))[lrLR](?![a-z])")  # of l_eye, eye.R, REye and eyeL


@dataclass(frozen=True)
class Skeleton:
    """One convention of keypoints.

    Attributes:
        name: Name of the convention, such as `hand_mediapipe21`.
        keypoints: Names (K) of the keypoints in index order.
        parents: Index of each keypoint's parent (K) along the kinematic chain; -1 for the root.
        connections: Index pairs to draw as lines.
        groups: Named index sets, such as fingers.
    """

    name: str
    keypoints: tuple[str, ...]
    parents: tuple[int, ...]
    connections: tuple[tuple[int, int], ...]
    groups: dict[str, tuple[int, ...]]

    def index(self, keypoint: str) -> int:
        """Return the index of a keypoint by its name.

        >>> load_skeleton("hand_mediapipe21").index("index_finger_tip")
        8
        """
        try:
            return self.keypoints.index(keypoint)
        except ValueError:
            raise InputError(
                f"{self.name} has no keypoint {keypoint!r}. Choose from {', '.join(self.keypoints)}"
            ) from None

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Return the (parent, child) index pairs along the kinematic chain."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)


def mirrored_order(names: Sequence[str]) -> list[int]:
    """Return the index of the name that each name becomes in a mirror; left and right swap where both are known.

    >>> mirrored_order(["nose", "left_eye", "right_eye", "l_hip", "r_hip", "left_only"])
    [0, 2, 1, 4, 3, 5]
    """
    indices = {name: index for index, name in enumerate(names)}
    others = map(_mirrored_name, names)
    return [
        index if other == name else indices.get(other, index)
        for index, (name, other) in enumerate(zip(names, others, strict=True))
    ]


def _mirrored_name(name: str) -> str:
    """Return a name with the other side. A single letter, such as of an alphabet, is no side."""
    other = _SIDE_WORD.sub(lambda match: _OTHER_SIDE[match[0]], name)
    if other == name and len(name) > 1:
        other = _SIDE_LETTER.sub(lambda match: _OTHER_LETTER[match[0]], name)
    return other


def register_skeleton(skeleton: Skeleton) -> Skeleton:
    """Make a skeleton of your own known by its name.

    Raises:
        InputError: Another one has that name.
    """
    if skeleton.name in _skeleton_names() or _REGISTERED.get(skeleton.name, skeleton) != skeleton:
        raise InputError(already_registered("skeleton", skeleton.name))
    _REGISTERED.add(skeleton.name, skeleton, replace=True)
    return skeleton


def list_skeletons() -> list[str]:
    """Return the names that `load_skeleton` accepts."""
    load_extensions()
    return [*_skeleton_names(), *_REGISTERED]


def load_skeleton(name: str) -> Skeleton:
    """Load a skeleton by name. An unknown name raises an InputError that lists the known names."""
    if name in _skeleton_names():
        return _read_skeleton(name)
    if not _REGISTERED.has(name):
        raise InputError(unknown_name("skeleton", name, list_skeletons()) + extension_problems())
    return _REGISTERED[name]


@cache
def _skeleton_names() -> tuple[str, ...]:
    stems = (entry.name.removesuffix(".json") for entry in _FOLDER.iterdir() if entry.name.endswith(".json"))
    return tuple(sorted(stem for stem in stems if stem[-1].isdigit()))  # others are further tables


@cache
def _read_skeleton(name: str) -> Skeleton:
    data = read_json(_FOLDER / f"{name}.json")
    return Skeleton(
        name=data["name"],
        keypoints=tuple(data["keypoints"]),
        parents=tuple(data["parents"]),
        connections=tuple((a, b) for a, b in data["connections"]),
        groups={key: tuple(value) for key, value in data["groups"].items()},
    )

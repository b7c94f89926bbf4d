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
from typing import Literal

from sonjit._util import InputError, already_registered, unknown_name
from sonjit._util.data_files import read_json
from sonjit._util.extensions import Registry, extension_problems, load_extensions

_FOLDER = resources.files("sonjit.results.skeletons")
_REGISTERED: "Registry[Skeleton]" = Registry("skeleton")
_PAIRS = (
    "left/right Left/Right LEFT/RIGHT 왼/오른 좌/우 左/右 links/rechts Links/Rechts linke/rechte Linke/Rechte "
    "gauche/droite Gauche/Droite izquierda/derecha Izquierda/Derecha izquierdo/derecho esquerda/direita "
    "sinistra/destra левая/правая"
)
_SIDES: dict[str, str] = {left: right for left, _, right in (pair.partition("/") for pair in _PAIRS.split())}
"""Words for right by those for left."""
_OTHER_SIDE = _SIDES | {right: left for left, right in _SIDES.items()}
_OTHER_LETTER = {"l": "r", "r": "l", "L": "R", "R": "L"}
_SIDE_WORD = re.compile("|".join(_OTHER_SIDE))
_LETTERS = ("l", "r", "L", "R", "lh", "rh", "LH", "RH", "Lh", "Rh")  # sides that are a complete name
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\dA-Za-z_]+")
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

    The letters L and R alone are sides, unless further letters make them an alphabet.

    >>> mirrored_order(["nose", "left_eye", "right_eye", "l_hip", "r_hip", "left_only"])
    [0, 2, 1, 4, 3, 5]
    >>> mirrored_order(["L", "R", "none"]), mirrored_order(["L", "M", "R"])
    ([1, 0, 2], [0, 1, 2])
    """
    indices = {name: index for index, name in enumerate(names)}
    is_alphabet = any(len(name) == 1 and name not in _LETTERS for name in names)
    others = [_mirrored_name(name, is_alphabet=is_alphabet) for name in names]
    return [
        index if other == name else indices.get(other, index)
        for index, (name, other) in enumerate(zip(names, others, strict=True))
    ]


def side_of_name(name: str) -> Literal["Left", "Right"] | None:
    """Return the side that a word or a letter of a name states; None without one, or with both.

    >>> side_of_name("left_hand"), side_of_name("RHand"), side_of_name("왼손"), side_of_name("bright")
    ('Left', 'Right', 'Left', None)
    """
    words = [re.sub(r"(?<=.)hands?$", "", word) for word in map(str.lower, _WORD.findall(name))]
    is_left, is_right = (
        any(word in (*sides, letter, f"{letter}h") or word[:2] in sides or word[:1] in sides for word in words)
        for sides, letter in ((_SIDES.keys(), "l"), (_SIDES.values(), "r"))
    )
    return None if is_left == is_right else "Left" if is_left else "Right"


def _mirrored_name(name: str, *, is_alphabet: bool) -> str:
    """Return a name with the other side."""
    other = _SIDE_WORD.sub(lambda match: _OTHER_SIDE[match[0]], name)
    if name in _LETTERS:
        return name if is_alphabet else _OTHER_LETTER[name[0]] + name[1:]
    if other == name:
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

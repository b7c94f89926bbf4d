"""Lengths of bones, and which of them cannot be right."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sonjit.multiview.marks import PER_HAND, SIDES
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

BONES: Final = tuple(
    (PER_HAND * side + parent, PER_HAND * side + child)
    for side in range(len(SIDES))
    for parent, child in load_skeleton("hand_mediapipe21").bones
)
"""Pairs of joints, parent first: 20 of the right hand, then 20 of the left."""

_SHARES = np.array([
    *(np.nan, 0.251, 0.196, 0.158), *(0.463, 0.245, 0.143, 0.097), *(0.446, 0.266, 0.170, 0.108),
    *(0.421, 0.244, 0.165, 0.107), *(0.414, 0.204, 0.117, 0.093),
])  # fmt: skip
"""(20,) of the hand's length; from the wrist to the thumb's first joint none is given.
Source: Buchholz, Armstrong and Goldstein, Ergonomics 35 (1992) 261-273."""

_LIKELY = (0.6, 1.6)  # times the share: hands differ, and marks lie on skin here and there
_FEWEST_BONES = 4
_FEWEST_FRAMES = 3
_CHANGE = 0.15
_CHANGE_M = 0.004


@dataclass(frozen=True)
class BoneWarning:
    """A bone of an unlikely length.

    Attributes:
        bone: parent and child joint.
        length_m: measured.
        expected_m: by what it was compared with.
        against: this person's other frames, or the proportions of human hands.
    """

    bone: tuple[int, int]
    length_m: float
    expected_m: float
    against: Literal["frames", "anatomy"]


def bone_lengths(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 40) metres, as in `BONES`, of joints (..., 42, 3); NaN where an end is unknown."""
    parents, children = np.array(BONES).T
    return np.linalg.norm(points_m[..., children, :] - points_m[..., parents, :], axis=-1)


def anatomical_lengths(lengths_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(40,) what each bone would measure in a hand as large as this one; NaN where too few bones (40,) are known."""
    expected = np.full(2 * len(_SHARES), np.nan)
    for side in range(2):
        own = slice(len(_SHARES) * side, len(_SHARES) * (side + 1))
        hand_m = lengths_m[own] / _SHARES
        if np.isfinite(hand_m).sum() >= _FEWEST_BONES:
            expected[own] = np.nanmedian(hand_m) * _SHARES
    return expected


def bone_warnings(lengths_m: NDArray[np.float64], usual_m: NDArray[np.float64]) -> list[BoneWarning]:
    """Bones that are unlikely.

    Args:
        lengths_m: (40,) measured.
        usual_m: (40,) of the same person in other frames; NaN where unknown.
    """
    off = np.abs(lengths_m - usual_m) > np.maximum(_CHANGE * usual_m, _CHANGE_M)
    expected = anatomical_lengths(lengths_m)
    ratio = lengths_m / expected
    strange = (ratio < _LIKELY[0]) | (ratio > _LIKELY[1])
    found: list[BoneWarning] = []
    for k, bone in enumerate(BONES):
        if off[k]:
            found.append(BoneWarning(bone, float(lengths_m[k]), float(usual_m[k]), "frames"))
        elif strange[k]:
            found.append(BoneWarning(bone, float(lengths_m[k]), float(expected[k]), "anatomy"))
    return found


class BoneBook:
    """What a person's bones measure, frame by frame."""

    def __init__(self) -> None:
        self._frames: dict[int, NDArray[np.float64]] = {}

    def write(self, frame: int, lengths_m: NDArray[np.float64]) -> None:
        """Note the lengths (40,) of one frame anew."""
        self._frames[frame] = lengths_m

    def usual_m(self, *, without: int) -> NDArray[np.float64]:
        """(40,) median over all frames but one; NaN for bones that fewer than three of them know."""
        others = [lengths for frame, lengths in self._frames.items() if frame != without]
        if not others:
            return np.full(len(BONES), np.nan)
        table = np.stack(others)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # bones that no frame knows
            middle = np.nanmedian(table, axis=0)
        return np.where(np.isfinite(table).sum(0) >= _FEWEST_FRAMES, middle, np.nan)

"""Define the parts of a person, measure the lengths of bones, and compare them with human proportions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit.results.skeletons import load_skeleton

JOINTS_PER_HAND: Final = 21
SIDES: Final = ("Right", "Left")
"""The order of hands in arrays, as in InterHand2.6M."""

BONES: Final = tuple(
    (JOINTS_PER_HAND * side + parent, JOINTS_PER_HAND * side + child)
    for side in range(len(SIDES))
    for parent, child in load_skeleton("hand_mediapipe21").bones
)
"""Pairs of joints, parent first: 20 of the right hand, then 20 of the left."""

_BONE_PROPORTIONS = np.array([
    *(np.nan, 0.251, 0.196, 0.158), *(0.463, 0.245, 0.143, 0.097), *(0.446, 0.266, 0.170, 0.108),
    *(0.421, 0.244, 0.165, 0.107), *(0.414, 0.204, 0.117, 0.093),
])  # fmt: skip
"""Bone lengths (20,) as fractions of the hand's length. The source has none from the wrist to the thumb's first joint.

Source: Buchholz, Armstrong and Goldstein, Ergonomics 35 (1992) 261-273."""

_PROPORTION_STD = 0.1
"""Standard deviation of a bone's proportion: variation among people and of detectors' joint positions."""

_RATIO_RANGE = (0.6, 1.6)  # measured to expected length; hands differ, and some marks lie on the skin
_MIN_BONES = 4  # known bones from which the size of a hand is estimated
_MIN_FRAMES = 3  # frames with a bone from which its usual length is known
_MAX_CHANGE = 0.15  # change of a bone's length that is reported, relative to its usual length
_MIN_CHANGE_M = 0.004  # change that is never reported, because marks scatter as much

HAND_BONES: Final = np.array(load_skeleton("hand_mediapipe21").bones)
"""(20, 2) parent and child of one hand's bones."""


@dataclass(frozen=True)
class BoneWarning:
    """A bone of an unlikely length.

    Attributes:
        bone: Parent and child joint.
        length_m: Measured length, metres.
        expected_m: Expected length, metres.
        against: Source of the expected length: the person's other frames, or the proportions of human hands.
    """

    bone: tuple[int, int]
    length_m: float
    expected_m: float
    against: Literal["frames", "anatomy"]


def hand_length_m(points_m: FloatArray) -> float:
    """Estimate a person's hand length, wrist to middle fingertip, by the usual proportions of its bones.

    Args:
        points_m: (N, 21, 3) joints, metres.

    Returns:
        Length in metres, NaN without bones.
    """
    return float(medians((median_lengths(points_m) / _BONE_PROPORTIONS)[:, None])[0])


def regularized_lengths(points_m: FloatArray) -> FloatArray:
    """Return bone lengths (20,) in metres, medians that are pulled towards usual proportions as much as they scatter.

    Detectors shorten bent fingers in every frame, which no median over a recording of a fist corrects.

    Args:
        points_m: (N, 21, 3) joints, metres.
    """
    lengths = bone_lengths(points_m)
    median = medians(lengths)
    scatter = 1.4826 * medians(np.abs(lengths - median)) / median
    expected = hand_length_m(points_m) * _BONE_PROPORTIONS
    trust = scatter**2 / (scatter**2 + _PROPORTION_STD**2)
    return np.where(np.isfinite(expected), median + trust * (expected - median), median)


def anatomical_lengths(lengths_m: FloatArray) -> FloatArray:
    """Return the usual lengths (40,) of bones in a hand of this size, NaN where too few bones (40,) are known."""
    expected = np.full(2 * len(_BONE_PROPORTIONS), np.nan)
    for side in range(2):
        side_bones = slice(len(_BONE_PROPORTIONS) * side, len(_BONE_PROPORTIONS) * (side + 1))
        hand_m = lengths_m[side_bones] / _BONE_PROPORTIONS
        if np.isfinite(hand_m).sum() >= _MIN_BONES:
            expected[side_bones] = np.nanmedian(hand_m) * _BONE_PROPORTIONS
    return expected


def bone_warnings(lengths_m: FloatArray, median_m: FloatArray) -> list[BoneWarning]:
    """Return the bones of unlikely length.

    Args:
        lengths_m: (40,) measured lengths, metres.
        median_m: (40,) lengths of the same person in other frames, NaN where unknown.
    """
    changed = np.abs(lengths_m - median_m) > np.maximum(_MAX_CHANGE * median_m, _MIN_CHANGE_M)
    expected = anatomical_lengths(lengths_m)
    ratio = lengths_m / expected
    unlikely = (ratio < _RATIO_RANGE[0]) | (ratio > _RATIO_RANGE[1])
    warnings_found: list[BoneWarning] = []
    for k, bone in enumerate(BONES):
        if changed[k]:
            warnings_found.append(BoneWarning(bone, float(lengths_m[k]), float(median_m[k]), "frames"))
        elif unlikely[k]:
            warnings_found.append(BoneWarning(bone, float(lengths_m[k]), float(expected[k]), "anatomy"))
    return warnings_found


def median_lengths(points_m: FloatArray) -> FloatArray:
    """Return the median length (20,) of each bone over joints (N, 21, 3), NaN for bones that were never seen."""
    return medians(bone_lengths(points_m))


def bone_lengths(points_m: FloatArray, bones: IndexArray = HAND_BONES) -> FloatArray:
    """Return the lengths (..., B) of bones (B, 2), by default a hand's, of joints (..., K, 3)."""
    return np.linalg.norm(points_m[..., bones[:, 1], :] - points_m[..., bones[:, 0], :], axis=-1)


def medians(rows: FloatArray) -> FloatArray:
    """Return the median of each column's known values, NaN for a column without any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(rows, axis=0), np.float64)


def median_of_other_frames(lengths_m: Mapping[int, FloatArray], frame: int) -> FloatArray:
    """Return the medians (40,) of a person's bone lengths by frame, without one of the frames.

    Bones that fewer than three of the frames know are NaN.
    """
    others = [lengths for number, lengths in lengths_m.items() if number != frame]
    if not others:
        return np.full(len(BONES), np.nan)
    table = np.stack(others)
    return np.where(np.isfinite(table).sum(0) >= _MIN_FRAMES, medians(table), np.nan)


_BODY: Final = load_skeleton("body_blazepose33")
_LIMB_BONES: Final = np.array([(a, b) for a, b in _BODY.bones if _BODY.index("left_shoulder") <= a < b])
"""Bones (18, 2), parents first: across the shoulders and down the arms, across the hips and down the legs.

Spines bend and are excluded."""
_PART_NAMES: Final = {"bodies": "body", "faces": "face"}


class Part(NamedTuple):
    """The part of a person that one network detects.

    Attributes:
        list_name: hands, faces or bodies, as in `Frame`.
        skeleton: Name of the convention of its keypoints.
        handedness: Right or Left of hands, otherwise "".
    """

    list_name: str
    skeleton: str
    handedness: str = ""

    @property
    def name(self) -> str:
        """right_hand, left_hand, face or body."""
        return f"{self.handedness.lower()}_hand" if self.handedness else _PART_NAMES[self.list_name]

    @property
    def size(self) -> int:
        """Number of keypoints."""
        return len(load_skeleton(self.skeleton).keypoints)

    @property
    def bones(self) -> IndexArray:
        """Parent and child (B, 2) of bones of constant length, parents first."""
        if self.list_name == "hands":
            return HAND_BONES
        return _LIMB_BONES if self.list_name == "bodies" else np.zeros((0, 2), np.intp)

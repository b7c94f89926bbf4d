"""Triangulated joints over time: lengths of bones, the fit of a skeleton to them, the fit of the rigged hand's mesh.

The skeleton is fitted by damped Gauss-Newton steps over all frames at once: bones keep their lengths and joints move as
hands can. Each frame is a system of equations whose neighbours stand still within a step. An observation counts less
the further it lies off (Geman and McClure), so that a joint that all views got wrong gives way to its bones.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.hand_models.rig import Rig, RigPose
from sonjit.hand_models.rig_files import load_rig
from sonjit.hand_models.rig_ik import fit_pose
from sonjit.skeletons import load_skeleton

PER_HAND: Final = 21
SIDES: Final = ("Right", "Left")
"""The order of hands in arrays, as in InterHand2.6M."""


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

_PROPORTION = 0.1
"""Standard deviation of a bone's share of the hand among people, and of where detectors put joints in it."""

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
        expected_m: by what it was compared to.
        against: this person's other frames, or the proportions of human hands.
    """

    bone: tuple[int, int]
    length_m: float
    expected_m: float
    against: Literal["frames", "anatomy"]


def bone_lengths(points_m: FloatArray) -> FloatArray:
    """(..., 40) metres, as in `BONES`, of joints (..., 42, 3); NaN where an end is unknown."""
    parents, children = np.array(BONES).T
    return np.linalg.norm(points_m[..., children, :] - points_m[..., parents, :], axis=-1)


def hand_length_m(points_m: FloatArray) -> float:
    """Of a person's hand, wrist to middle finger's tip, by its bones' usual proportions; NaN without bones.

    Args:
        points_m: (N, 21, 3).
    """
    return float(medians((usual_lengths(points_m) / _SHARES)[:, None])[0])


def likely_lengths(points_m: FloatArray) -> FloatArray:
    """(20,) metres: medians over joints (N, 21, 3), drawn to a hand's usual proportions as much as they scatter.

    Detectors shorten bent fingers in every frame, which no median over a recording of a fist mends.
    """
    lengths = fitted_lengths(points_m)
    usual = medians(lengths)
    scatter = 1.4826 * medians(np.abs(lengths - usual)) / usual
    expected = hand_length_m(points_m) * _SHARES
    trust = scatter**2 / (scatter**2 + _PROPORTION**2)
    return np.where(np.isfinite(expected), usual + trust * (expected - usual), usual)


def anatomical_lengths(lengths_m: FloatArray) -> FloatArray:
    """(40,) what each bone would measure in a hand as large as this one; NaN where too few bones (40,) are known."""
    expected = np.full(2 * len(_SHARES), np.nan)
    for side in range(2):
        own = slice(len(_SHARES) * side, len(_SHARES) * (side + 1))
        hand_m = lengths_m[own] / _SHARES
        if np.isfinite(hand_m).sum() >= _FEWEST_BONES:
            expected[own] = np.nanmedian(hand_m) * _SHARES
    return expected


def bone_warnings(lengths_m: FloatArray, usual_m: FloatArray) -> list[BoneWarning]:
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


class BoneLengths:
    """A person's bone lengths, frame by frame."""

    def __init__(self) -> None:
        self._frames: dict[int, FloatArray] = {}

    def write(self, frame: int, lengths_m: FloatArray) -> None:
        """Set the lengths (40,) of one frame."""
        self._frames[frame] = lengths_m

    def usual_m(self, *, without: int) -> FloatArray:
        """(40,) median over all frames but one; NaN for bones that fewer than three of them know."""
        others = [lengths for frame, lengths in self._frames.items() if frame != without]
        if not others:
            return np.full(len(BONES), np.nan)
        table = np.stack(others)
        return np.where(np.isfinite(table).sum(0) >= _FEWEST_FRAMES, medians(table), np.nan)


FITTED_BONES: Final = np.array(load_skeleton("hand_mediapipe21").bones)
"""(20, 2) parent and child."""

_BONE_M: Final = 0.001  # how exactly a bone keeps its length: detectors' joints slide a little
_ACCELERATION: Final = 8.0  # m/s² that hands' joints have, root mean square, in quick gestures
_LINKED_S: Final = 0.25
_LEAST_M: Final = 0.001  # no joint that was triangulated is trusted more than this
_TAIL: Final = 3.0  # deviations beyond which an observation counts a quarter
_ROUNDS: Final = 12
_GAP_S: Final = 0.5  # joints unseen for longer are not interpolated


class Skeletons(NamedTuple):
    """A hand's or a body's K joints over N frames.

    Attributes:
        points_m: (N, K, 3); NaN where unknown.
        covariance_m2: (N, K, 3, 3) NaN likewise.
    """

    points_m: FloatArray
    covariance_m2: FloatArray


def usual_lengths(points_m: FloatArray) -> FloatArray:
    """(20,) median length of each bone over joints (N, 21, 3), metres; NaN for bones that were never seen."""
    return medians(fitted_lengths(points_m))


def fitted_lengths(points_m: FloatArray, bones: IndexArray = FITTED_BONES) -> FloatArray:
    """(..., B) metres of bones (B, 2), by default a hand's, of joints (..., K, 3); NaN where an end is unknown."""
    return np.linalg.norm(points_m[..., bones[:, 1], :] - points_m[..., bones[:, 0], :], axis=-1)


def medians(rows: FloatArray) -> FloatArray:
    """Median of each column's known values; NaN for one without any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(rows, axis=0), np.float64)


def fit_skeletons(
    points_m: FloatArray,
    covariance_m2: FloatArray,
    lengths_m: FloatArray,
    times_s: FloatArray,
    *,
    bones: IndexArray = FITTED_BONES,
    acceleration: float = _ACCELERATION,
    gives_way: bool = True,
) -> Skeletons:
    """Joints that agree with what was seen, keep their bones' lengths, and move as hands can.

    Args:
        points_m: (N, K, 3) triangulated; NaN without.
        covariance_m2: (N, K, 3, 3) of them.
        lengths_m: (B,) of the bones; NaN leaves a bone free.
        times_s: (N,) rising; frames more than a quarter of a second apart do not constrain each other.
        bones: (B, 2) parent and child; by default those of a hand of 21 joints.
        acceleration: that joints have, root mean square, m/s².
        gives_way: a joint far from where its bones allow is as good as unseen, for many views that may all be wrong
            together; else it keeps its pull (Cauchy's loss), for few views that seldom are.
    """
    known = np.asarray(np.isfinite(points_m).all(-1) & np.isfinite(covariance_m2).all((-1, -2)), np.bool_)
    floor = _LEAST_M**2 * np.eye(3)
    spread = np.where(known[..., None, None], covariance_m2, 0) + floor
    sure = np.where(known[..., None, None], np.linalg.inv(spread), 0)
    target = np.where(known[..., None], points_m, 0)
    x = _filled(points_m, known, times_s)
    there = np.asarray(np.isfinite(x).all(-1), np.bool_)
    x = np.where(there[..., None], x, 0)
    step_s = np.diff(times_s)
    links = np.zeros(len(x) + 1)
    near = step_s < _LINKED_S
    links[1:-1][near] = 1 / (acceleration * np.maximum(step_s[near], 1e-3) ** 2 / 2) ** 2
    joints = x.shape[1]
    normal = np.zeros((0, 3 * joints, 3 * joints))
    for _ in range(_ROUNDS):
        normal, downhill = _system(x, target, sure, there, bones, lengths_m, links, 2 if gives_way else 1)
        x += np.linalg.solve(normal, downhill[..., None])[..., 0].reshape(x.shape)
    if not len(x):
        return Skeletons(points_m, covariance_m2)
    own = np.linalg.inv(normal).reshape(-1, joints, 3, joints, 3)
    own = np.moveaxis(np.diagonal(own, axis1=1, axis2=3), -1, 1)  # (N, K, 3, 3)
    return Skeletons(np.where(there[..., None], x, np.nan), np.where(there[..., None, None], own, np.nan))


def with_exact_lengths(points_m: FloatArray, lengths_m: FloatArray, bones: IndexArray = FITTED_BONES) -> FloatArray:
    """Joints (N, K, 3) moved along their bones (B, 2), parents first, until these have their lengths (B,).

    Bones of unknown lengths stay as they are, and so does a joint whose parent is unknown.
    """
    moved = points_m.copy()
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        way = points_m[:, child] - points_m[:, parent]
        grown = length / np.maximum(np.linalg.norm(way, axis=1), 1e-9) if np.isfinite(length) else np.ones(len(way))
        placed = moved[:, parent] + way * grown[:, None]
        moved[:, child] = np.where(np.isfinite(placed), placed, moved[:, child])
    return moved


def _links(there: BoolArray, links: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N, K, 1) weights of a joint's places before and after; 0 where it is not there before and after."""
    whole = there & np.roll(there, 1, 0) & np.roll(there, -1, 0)
    whole &= ((links[:-1] > 0) & (links[1:] > 0))[:, None]
    before, after = (np.where(whole, link[:, None], 0)[..., None] for link in (links[:-1], links[1:]))
    return before, after


def _middles(x: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """(N, K, 3) between where joints were and where they will be."""
    return (before * np.roll(x, 1, 0) + after * np.roll(x, -1, 0)) / np.maximum(before + after, 1e-30)


def _system(
    x: FloatArray,
    target: FloatArray,
    sure: FloatArray,
    there: BoolArray,
    bones: IndexArray,
    lengths_m: FloatArray,
    links: FloatArray,
    power: int,
) -> tuple[FloatArray, FloatArray]:
    """(N, 3 K, 3 K) and (N, 3 K) of one step."""
    count, size = len(x), x.shape[1]
    normal, downhill = np.zeros((count, size, 3, size, 3)), np.zeros((count, size, 3))
    off = target - x
    far = np.einsum("nki,nkij,nkj->nk", off, sure, off)
    weighted = sure * (1 / (1 + far / _TAIL**2) ** power)[..., None, None]
    joints = np.arange(size)
    normal[:, joints, :, joints] += np.swapaxes(weighted, 0, 1)
    downhill += (weighted @ off[..., None])[..., 0]
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        both = there[:, parent] & there[:, child] & bool(np.isfinite(length))
        way = x[:, child] - x[:, parent]
        now = np.maximum(np.linalg.norm(way, axis=1), 1e-6)
        along = np.where(both[:, None], way / now[:, None], 0) / _BONE_M
        pull = along * ((np.nan_to_num(length) - now) / _BONE_M)[:, None]
        square = along[:, :, None] * along[:, None, :]
        normal[:, child, :, child] += square
        normal[:, parent, :, parent] += square
        normal[:, child, :, parent] -= square
        normal[:, parent, :, child] -= square
        downhill[:, child] += pull
        downhill[:, parent] -= pull
    before, after = _links(there, links)
    weight = (before + after) / 2
    downhill += weight * (_middles(x, before, after) - x)
    calm = weight + np.where(there, 1e-3, 1.0)[..., None]
    flat, diagonal = normal.reshape(count, 3 * size, 3 * size), np.arange(3 * size)
    flat[:, diagonal, diagonal] += np.repeat(calm, 3, -1).reshape(count, 3 * size)
    return flat, downhill.reshape(count, 3 * size)


def _filled(points_m: FloatArray, known: BoolArray, times_s: FloatArray) -> FloatArray:
    """Joints that were unseen for a moment, between where they were and where they are; NaN for longer."""
    filled = np.where(known[..., None], points_m, np.nan)
    for joint in range(points_m.shape[1]):
        seen = np.flatnonzero(known[:, joint])
        lost = np.flatnonzero(~known[:, joint])
        if not len(seen) or not len(lost):
            continue
        after = np.searchsorted(seen, lost)
        inside = (after > 0) & (after < len(seen))
        lost, after = lost[inside], after[inside]
        first, last = seen[after - 1], seen[after]
        lost, first, last = (one[times_s[last] - times_s[first] <= _GAP_S] for one in (lost, first, last))
        share = ((times_s[lost] - times_s[first]) / (times_s[last] - times_s[first]))[:, None]
        filled[lost, joint] = (1 - share) * points_m[first, joint] + share * points_m[last, joint]
    return filled


def rig_of_lengths(side: Literal["Right", "Left"], lengths_m: FloatArray) -> Rig:
    """The rigged hand with a person's bones (20,); unknown bones keep their share of the hand.

    Raises:
        InputError: the rig's file is not there; the message says how to fetch it.
    """
    rig = load_rig(side)
    known = np.isfinite(lengths_m)
    growth = float(np.median(lengths_m[known] / rig.lengths[known])) if known.any() else 1.0
    return rig.resized(np.where(known, lengths_m, growth * rig.lengths))


def fit_mesh(rig: Rig, points_m: FloatArray) -> tuple[RigPose | None, IndexArray, FloatArray]:
    """The rig's pose in each frame whose joints are all known.

    Args:
        rig: with the person's bones.
        points_m: (N, 21, 3).

    Returns:
        The pose of M frames, or None without any; which (M,) they are; (N,) mean distance of the rig's joints from
        the labels, metres, NaN for the others.
    """
    whole = np.flatnonzero(np.isfinite(points_m).all((1, 2)))
    off = np.full(len(points_m), np.nan)
    if not len(whole):
        return None, whole, off
    pose = fit_pose(rig, points_m[whole])
    off[whole] = np.linalg.norm(rig.keypoints(pose) - points_m[whole], axis=-1).mean(-1)
    return pose, whole, off

"""Define the parts of a person, measure and compare bones, and fit joints that keep their bones' lengths.

The joints are fitted by damped Gauss-Newton steps over all frames together: bones keep their lengths and joints have
limited acceleration. In each frame's equations the neighbouring frames are fixed within a step. The weight of an
observation decreases with its error (Geman and McClure), so that a joint that all views have wrong yields to its bones.
"""

import warnings
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.hand_models.rig import Rig, fit_pose, load_rig

JOINTS_PER_HAND: Final = 21
SIDES: Final = ("Right", "Left")  # the order of hands in arrays, as in InterHand2.6M
BONES: Final = tuple(  # pairs of joints, parent first: 20 of the right hand, then 20 of the left
    (JOINTS_PER_HAND * side + parent, JOINTS_PER_HAND * side + child)
    for side in range(len(SIDES))
    for parent, child in load_skeleton("hand_mediapipe21").bones
)
_BONE_PROPORTIONS = np.array([
    *(np.nan, 0.251, 0.196, 0.158), *(0.463, 0.245, 0.143, 0.097), *(0.446, 0.266, 0.170, 0.108),
    *(0.421, 0.244, 0.165, 0.107), *(0.414, 0.204, 0.117, 0.093),
])  # fmt: skip
"""Bone lengths (20,) as fractions of the hand's length. The source has none from the wrist to the thumb's first joint.

Source: Buchholz, Armstrong and Goldstein, Ergonomics 35 (1992) 261-273."""
_PROPORTION_STD = 0.1  # standard deviation of a bone's proportion: people's and detectors' variation
_RATIO_RANGE = (0.6, 1.6)  # measured to expected length; hands differ, and some marks lie on the skin
_MIN_BONES = 4  # known bones from which the size of a hand is estimated
_MIN_FRAMES = 3  # frames with a bone from which its usual length is known
_MAX_CHANGE = 0.15  # change of a bone's length that is reported, relative to its usual length
_MIN_CHANGE_M = 0.004  # change that is never reported, because marks scatter as much
HAND_BONES: Final = np.array(load_skeleton("hand_mediapipe21").bones)  # (20, 2) parent and child of one hand's bones
_BODY: Final = load_skeleton("body_blazepose33")
_BODY_CHAINS: Final = [
    [_BODY.index(f"{side}_{joint}") for joint in ("shoulder", "hip", "knee", "ankle")] for side in ("left", "right")
]
_LIMB_BONES: Final = np.array([(a, b) for a, b in _BODY.bones if _BODY.index("left_shoulder") <= a < b])
"""Bones (18, 2), parents first: across the shoulders and down the arms, across the hips and down the legs.

Spines bend and are excluded."""
_PART_NAMES: Final = {"bodies": "body", "faces": "face"}
_LENGTH_STD_M: Final = 0.001  # of a bone's length, because detectors' joints slide
_ACCELERATION: Final = 8.0  # m/s², root mean square of hands' joints in quick gestures
_MAX_LINK_S: Final = 0.25  # time between frames from which they do not constrain each other
_MIN_STD_M: Final = 0.001  # least standard deviation of a triangulated joint
_ROBUST_SCALE: Final = 3.0  # deviations at which an observation has a quarter of its weight
_GAUSS_NEWTON_STEPS: Final = 12  # fixed number of steps, so that equal inputs give equal results
_MAX_GAP_S: Final = 0.5  # longest gap that is interpolated


def hand_length_m(points_m: FloatArray) -> float:
    """Estimate the metres from wrist to middle fingertip of joints (N, 21, 3) by usual proportions; NaN without any."""
    return float(medians((median_lengths(points_m) / _BONE_PROPORTIONS)[:, None])[0])


def body_length_m(points_m: FloatArray) -> float:
    """Return the metres from shoulder over hip and knee to ankle of bodies (N, 33, 3) in metres; NaN without any."""
    steps_m = np.linalg.norm(np.diff(points_m[:, _BODY_CHAINS], axis=2), axis=-1)  # (N, 2, 3)
    return float(medians(steps_m.reshape(-1, 3)).sum())


def regularized_lengths(points_m: FloatArray) -> FloatArray:
    """Return bone lengths (20,) in metres of joints (N, 21, 3): medians, pulled to usual proportions as they scatter.

    Detectors shorten bent fingers in every frame.
    """
    lengths = bone_lengths(points_m)
    median = medians(lengths)
    scatter = 1.4826 * medians(np.abs(lengths - median)) / median
    expected = hand_length_m(points_m) * _BONE_PROPORTIONS
    trust = scatter**2 / (scatter**2 + _PROPORTION_STD**2)
    return np.where(np.isfinite(expected), median + trust * (expected - median), median)


def anatomical_lengths(lengths_m: FloatArray) -> FloatArray:
    """Return the usual lengths (40,) in metres of bones in a hand of this size, NaN where too few bones are known."""
    hands_m = lengths_m.reshape(2, -1) / _BONE_PROPORTIONS
    is_known = np.isfinite(hands_m).sum(1) >= _MIN_BONES
    return np.where(is_known[:, None], medians(hands_m.T)[:, None] * _BONE_PROPORTIONS, np.nan).ravel()


def bone_warnings(lengths_m: FloatArray, median_m: FloatArray) -> list[dict[str, object]]:
    """Return records of the bones (parent and child) of unlikely length (40,), with the medians (40,) of other frames.

    Lengths are in metres, NaN where unknown. `against` is the source of `expected_mm`: the person's other "frames", or
    "anatomy".
    """
    changed = np.abs(lengths_m - median_m) > np.maximum(_MAX_CHANGE * median_m, _MIN_CHANGE_M)
    usual_m = anatomical_lengths(lengths_m)
    ratio = lengths_m / usual_m
    unlikely = (ratio < _RATIO_RANGE[0]) | (ratio > _RATIO_RANGE[1])
    expected_m = np.where(changed, median_m, usual_m)
    return [
        {
            "bone": BONES[k],
            "length_mm": round(1e3 * float(lengths_m[k]), 1),
            "expected_mm": round(1e3 * float(expected_m[k]), 1),
            "against": "frames" if changed[k] else "anatomy",
        }
        for k in np.flatnonzero(changed | unlikely).tolist()
    ]


def median_lengths(points_m: FloatArray) -> FloatArray:
    """Return the median length (20,) in metres of each bone over joints (N, 21, 3), NaN for bones never seen."""
    return medians(bone_lengths(points_m))


def bone_lengths(points_m: FloatArray, bones: IndexArray = HAND_BONES) -> FloatArray:
    """Return the lengths (..., B) in metres of bones (B, 2), by default a hand's, of joints (..., K, 3)."""
    return np.linalg.norm(points_m[..., bones[:, 1], :] - points_m[..., bones[:, 0], :], axis=-1)


def medians(rows: FloatArray) -> FloatArray:
    """Return the median (K,) of each column of rows (N, K), in their unit; NaN for a column without known values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(rows, axis=0), np.float64)


def median_of_other_frames(lengths_m: Mapping[int, FloatArray], frame: int) -> FloatArray:
    """Return median bone lengths (40,) in metres without one frame's, NaN for bones that under three frames know."""
    others = [lengths for number, lengths in lengths_m.items() if number != frame]
    if not others:
        return np.full(len(BONES), np.nan)
    table = np.stack(others)
    return np.where(np.isfinite(table).sum(0) >= _MIN_FRAMES, medians(table), np.nan)


class Part(NamedTuple):
    """The part of a person that one network detects."""

    list_name: str  # hands, faces or bodies, as in `Frame`
    skeleton: str
    handedness: str = ""  # Right or Left of hands

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


class Skeletons(NamedTuple):
    """The K joints of a hand or a body over N frames."""

    points_m: FloatArray  # (N, K, 3) positions in metres, NaN where unknown
    covariance_m2: FloatArray  # (N, K, 3, 3) covariances, NaN where unknown


def fit_skeletons(
    points_m: FloatArray,
    covariance_m2: FloatArray,
    lengths_m: FloatArray,
    times_s: FloatArray,
    *,
    bones: IndexArray = HAND_BONES,
    acceleration: float = _ACCELERATION,
    redescending: bool = True,
) -> Skeletons:
    """Fit joints (N, K, 3), NaN where unknown, to observations, bones' lengths and limited acceleration.

    `lengths_m`: (B,), NaN for a free bone; `bones`: (B, 2) parent and child; `times_s`: (N,) ascending, independent
    beyond a quarter of a second. With `redescending`, a joint far from its bones has no influence, which suits many
    views; otherwise it keeps its pull (Cauchy's loss), which suits few.
    """
    finite = np.asarray(np.isfinite(points_m).all(-1) & np.isfinite(covariance_m2).all((-1, -2)), np.bool_)
    min_covariance = _MIN_STD_M**2 * np.eye(3)
    covariance = np.where(finite[..., None, None], covariance_m2, 0) + min_covariance
    information = np.where(finite[..., None, None], np.linalg.inv(covariance), 0)
    target = np.where(finite[..., None], points_m, 0)
    x = _interpolate(points_m, finite, times_s)
    is_known = np.asarray(np.isfinite(x).all(-1), np.bool_)
    x = np.where(is_known[..., None], x, 0)
    step_s = np.diff(times_s)
    links = np.zeros(len(x) + 1)
    is_linked = step_s < _MAX_LINK_S
    links[1:-1][is_linked] = 1 / (acceleration * np.maximum(step_s[is_linked], 1e-3) ** 2 / 2) ** 2
    joints = x.shape[1]
    power, normal = 2 if redescending else 1, np.zeros((0, 3 * joints, 3 * joints))
    for _ in range(_GAUSS_NEWTON_STEPS):
        normal, gradient = _normal_system(x, target, information, is_known, bones, lengths_m, links, power)
        x += np.linalg.solve(normal, gradient[..., None])[..., 0].reshape(x.shape)
    if not len(x):
        return Skeletons(points_m, covariance_m2)
    posterior = np.linalg.inv(normal).reshape(-1, joints, 3, joints, 3)
    posterior = np.moveaxis(np.diagonal(posterior, axis1=1, axis2=3), -1, 1)  # (N, K, 3, 3)
    return Skeletons(np.where(is_known[..., None], x, np.nan), np.where(is_known[..., None, None], posterior, np.nan))


def enforce_lengths(points_m: FloatArray, lengths_m: FloatArray, bones: IndexArray) -> FloatArray:
    """Move joints (N, K, 3) in metres along bones (B, 2), parents first, to lengths (B,), unless one is unknown."""
    moved = points_m.copy()
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        vector = points_m[:, child] - points_m[:, parent]
        if np.isfinite(length):
            vector *= length / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-9)
        position = moved[:, parent] + vector
        moved[:, child] = np.where(np.isfinite(position), position, moved[:, child])
    return moved


def _normal_system(
    x: FloatArray,
    target: FloatArray,
    information: FloatArray,
    is_known: BoolArray,
    bones: IndexArray,
    lengths_m: FloatArray,
    links: FloatArray,
    power: int,
) -> tuple[FloatArray, FloatArray]:
    """Return the normal matrices (N, 3 K, 3 K) and gradients (N, 3 K) of one step."""
    count, size = len(x), x.shape[1]
    normal, gradient = np.zeros((count, size, 3, size, 3)), np.zeros((count, size, 3))
    residual = target - x
    distance2 = np.einsum("nki,nkij,nkj->nk", residual, information, residual)
    weighted = information * (1 / (1 + distance2 / _ROBUST_SCALE**2) ** power)[..., None, None]
    joints = np.arange(size)
    normal[:, joints, :, joints] += np.swapaxes(weighted, 0, 1)
    gradient += (weighted @ residual[..., None])[..., 0]
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        both_known = is_known[:, parent] & is_known[:, child] & bool(np.isfinite(length))
        vector = x[:, child] - x[:, parent]
        current = np.maximum(np.linalg.norm(vector, axis=1), 1e-6)
        direction = np.where(both_known[:, None], vector / current[:, None], 0) / _LENGTH_STD_M
        pull = direction * ((np.nan_to_num(length) - current) / _LENGTH_STD_M)[:, None]
        square = direction[:, :, None] * direction[:, None, :]
        normal[:, child, :, child] += square
        normal[:, parent, :, parent] += square
        normal[:, child, :, parent] -= square
        normal[:, parent, :, child] -= square
        gradient[:, child] += pull
        gradient[:, parent] -= pull
    # the previous and next position of a joint count only if it is known in all three
    is_inside = is_known & np.roll(is_known, 1, 0) & np.roll(is_known, -1, 0)
    is_inside &= ((links[:-1] > 0) & (links[1:] > 0))[:, None]
    before, after = (np.where(is_inside, link[:, None], 0)[..., None] for link in (links[:-1], links[1:]))
    weight = (before + after) / 2
    mean = (before * np.roll(x, 1, 0) + after * np.roll(x, -1, 0)) / np.maximum(before + after, 1e-30)
    gradient += weight * (mean - x)
    regularization = weight + np.where(is_known, 1e-3, 1.0)[..., None]
    flat, diagonal = normal.reshape(count, 3 * size, 3 * size), np.arange(3 * size)
    flat[:, diagonal, diagonal] += np.repeat(regularization, 3, -1).reshape(count, 3 * size)
    return flat, gradient.reshape(count, 3 * size)


def _interpolate(points_m: FloatArray, finite: BoolArray, times_s: FloatArray) -> FloatArray:
    """Interpolate joints that are unknown for a short time. Longer gaps stay NaN."""
    filled = np.where(finite[..., None], points_m, np.nan)
    for joint in range(points_m.shape[1]):
        measured = np.flatnonzero(finite[:, joint])
        lost = np.flatnonzero(~finite[:, joint])
        if not len(measured) or not len(lost):
            continue
        after = np.searchsorted(measured, lost)
        inside = (after > 0) & (after < len(measured))
        lost, after = lost[inside], after[inside]
        first, last = measured[after - 1], measured[after]
        lost, first, last = (indices[times_s[last] - times_s[first] <= _MAX_GAP_S] for indices in (lost, first, last))
        fraction = ((times_s[lost] - times_s[first]) / (times_s[last] - times_s[first]))[:, None]
        filled[lost, joint] = (1 - fraction) * points_m[first, joint] + fraction * points_m[last, joint]
    return filled


def rig_with_lengths(side: Literal["Right", "Left"], lengths_m: FloatArray) -> Rig:
    """Load the rigged hand with a person's bones (20,) in metres. Unknown bones keep their proportion."""
    rig = load_rig(side)
    finite = np.isfinite(lengths_m)
    growth = float(np.median(lengths_m[finite] / rig.lengths[finite])) if finite.any() else 1.0
    return rig.resized(np.where(finite, lengths_m, growth * rig.lengths))


def mesh_distances(side: Literal["Right", "Left"], lengths_m: FloatArray, points_m: FloatArray) -> FloatArray:
    """Return the mean distances (N,) in metres of joints (N, 21, 3) from the rigged hand of bones (20,).

    They are NaN where a joint is unknown.
    """
    complete = np.isfinite(points_m).all((1, 2))
    distances = np.full(len(points_m), np.nan)
    if complete.any():
        rig = rig_with_lengths(side, lengths_m)
        keypoints = rig.keypoints(fit_pose(rig, points_m[complete]))
        distances[complete] = np.linalg.norm(keypoints - points_m[complete], axis=-1).mean(-1)
    return distances

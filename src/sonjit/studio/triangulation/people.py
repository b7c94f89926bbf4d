"""Match what several cameras detected to people, fit joints that keep their bones' lengths, save and load people.

A person is an array of keypoints, part after part. The parts are body, right hand, left hand and face, as far as the
tables contain them.

The joints are fitted by damped Gauss-Newton steps over all frames together: bones keep their lengths and joints have
limited acceleration. In each frame's equations the neighbouring frames are fixed within a step. The weight of an
observation decreases with its error (Geman and McClure), so that a joint that all views have wrong yields to its bones.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IndexArray
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.reading import field
from sonjit.lab.hand_models.rig import Rig, RigPose, fit_pose, load_rig
from sonjit.media import load_frames
from sonjit.results import Body, Frame, Hand, Instance
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.cameras.views import CameraFrames, CameraRig, frame_numbers
from sonjit.studio.triangulation.triangulation import (
    Group,
    Tracker,
    Triangulation,
    camera_arrays,
    covariances,
    group_views,
)

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


_LENGTH_STD_M: Final = 0.001  # of a bone's length, because detectors' joints slide
_ACCELERATION: Final = 8.0  # m/s², root mean square of hands' joints in quick gestures
_MAX_LINK_S: Final = 0.25  # time between frames from which they do not constrain each other
_MIN_STD_M: Final = 0.001  # least standard deviation of a triangulated joint
_ROBUST_SCALE: Final = 3.0  # deviations at which an observation has a quarter of its weight
_GAUSS_NEWTON_STEPS: Final = 12  # fixed number of steps, so that equal inputs give equal results
_MAX_GAP_S: Final = 0.5  # longest gap that is interpolated


class Skeletons(NamedTuple):
    """The K joints of a hand or a body over N frames.

    Attributes:
        points_m: (N, K, 3) positions in metres, NaN where unknown.
        covariance_m2: (N, K, 3, 3) covariances, NaN where unknown.
    """

    points_m: FloatArray
    covariance_m2: FloatArray


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
    """Fit joints that agree with the observations, keep their bones' lengths, and have limited acceleration.

    Args:
        points_m: (N, K, 3) triangulated joints, NaN where unknown.
        covariance_m2: (N, K, 3, 3) covariances of the joints.
        lengths_m: (B,) lengths of the bones, NaN for a free bone.
        times_s: (N,) ascending times. Frames more than a quarter of a second apart do not constrain each other.
        bones: (B, 2) parent and child. By default those of a hand of 21 joints.
        redescending: True if a joint far from its bones has no influence, which suits many views. Otherwise it keeps
            its pull (Cauchy's loss), which suits few views.
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
    normal = np.zeros((0, 3 * joints, 3 * joints))
    for _ in range(_GAUSS_NEWTON_STEPS):
        normal, gradient = _normal_system(
            x,
            target,
            information,
            is_known,
            bones=bones,
            lengths_m=lengths_m,
            links=links,
            power=2 if redescending else 1,
        )
        x += np.linalg.solve(normal, gradient[..., None])[..., 0].reshape(x.shape)
    if not len(x):
        return Skeletons(points_m, covariance_m2)
    posterior = np.linalg.inv(normal).reshape(-1, joints, 3, joints, 3)
    posterior = np.moveaxis(np.diagonal(posterior, axis1=1, axis2=3), -1, 1)  # (N, K, 3, 3)
    return Skeletons(np.where(is_known[..., None], x, np.nan), np.where(is_known[..., None, None], posterior, np.nan))


def enforce_lengths(points_m: FloatArray, lengths_m: FloatArray, bones: IndexArray) -> FloatArray:
    """Move joints (N, K, 3) along their bones (B, 2), parents first, until these have their lengths (B,).

    Bones of unknown length keep theirs, and so does a joint whose parent is unknown.
    """
    moved = points_m.copy()
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        vector = points_m[:, child] - points_m[:, parent]
        factor = (
            length / np.maximum(np.linalg.norm(vector, axis=1), 1e-9) if np.isfinite(length) else np.ones(len(vector))
        )
        position = moved[:, parent] + vector * factor[:, None]
        moved[:, child] = np.where(np.isfinite(position), position, moved[:, child])
    return moved


def _normal_system(
    x: FloatArray,
    target: FloatArray,
    information: FloatArray,
    is_known: BoolArray,
    *,
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
    """Load the rigged hand with a person's bones (20,). Unknown bones keep their proportion."""
    rig = load_rig(side)
    finite = np.isfinite(lengths_m)
    growth = float(np.median(lengths_m[finite] / rig.lengths[finite])) if finite.any() else 1.0
    return rig.resized(np.where(finite, lengths_m, growth * rig.lengths))


def fit_mesh(rig: Rig, points_m: FloatArray) -> tuple[RigPose | None, IndexArray, FloatArray]:
    """Fit the rig's pose in each frame whose joints are all known.

    Args:
        points_m: (N, 21, 3) joints, metres.

    Returns:
        Pose of M frames or None, indices (M,) of these frames, and mean distance (N,) of the rig's joints from the
        labels in metres, NaN for the others.
    """
    complete = np.flatnonzero(np.isfinite(points_m).all((1, 2)))
    distance = np.full(len(points_m), np.nan)
    if not len(complete):
        return None, complete, distance
    pose = fit_pose(rig, points_m[complete])
    distance[complete] = np.linalg.norm(rig.keypoints(pose) - points_m[complete], axis=-1).mean(-1)
    return pose, complete, distance


LIST_ORDER: Final = ("bodies", "hands", "faces")
_LIST_NAMES: Final = ("people", "bodies", "faces", "hands")
_MIN_VISIBILITY: Final = 0.5  # least visibility of a body's keypoint that identifies a person
_COMPARED_KEYPOINTS: Final = 33  # keypoints that identify a person: all of a body's, some of a face's
_MIN_SUPPORT: Final = 0.4  # least support of a group that is one person; views of different people may almost match
_MIN_FRAME_SETS: Final = 3  # frame sets in which a person must be matched
DEFAULT_STEP_S: Final = 1 / 30
RIGHT_HAND, LEFT_HAND = HANDS = tuple(Part("hands", "hand_mediapipe21", side) for side in SIDES)
_Person = Mapping[Part, Instance]  # a person in one image


def part_slices(parts: Sequence[Part]) -> Iterator[tuple[Part, slice]]:
    """Iterate over the parts and their slices of a person's keypoints."""
    first = 0
    for part in parts:
        yield part, slice(first, first + part.size)
        first += part.size


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections by C cameras of N people in F frame sets.

    Attributes:
        frames: (F,) numbers of the frame sets, ascending.
        times_s: (F,) times in seconds, medians over the cameras, NaN where no table has them.
        points_px: (C, F, N, K, 2) keypoints in pixels, NaN where unknown.
        confidence: (C, F, N, K) weights: scores, for bodies times the visibility.
        unmatched: (C,) number of detections of each view that match no other view and are dropped.
    """

    parts: tuple[Part, ...]
    frames: tuple[int, ...]
    times_s: FloatArray
    points_px: FloatArray
    confidence: FloatArray
    unmatched: tuple[int, ...] = ()

    def of_cameras(self, rows: Sequence[int]) -> Detections:
        """Return the detections of some cameras."""
        which = list(rows)
        unmatched = tuple(self.unmatched[row] for row in rows) if self.unmatched else ()
        points, confidence = self.points_px[which], self.confidence[which]
        return replace(self, points_px=points, confidence=confidence, unmatched=unmatched)


def load_detections(
    rig: CameraRig,
    tables: Mapping[str, Path],
    frame_sets: Mapping[str, CameraFrames] | None = None,
    fps: float | None = None,
) -> Detections:
    """Load a table per camera and match people across views and over time.

    Tables of hands describe one person: of several hands of one side in an image the one with the highest score counts.
    If no image shows two bodies (faces, people), they belong to one person, too.

    Args:
        tables: Tables of `sonjit hands|face|body|holistic --save` by camera. The same frame of a video, or images of
            the same number, belong to the same frame set in all.
        fps: Frame sets per second, for folders of images, whose tables have no times.
    """
    frames_by_view = {rig.index(name): load_frames(path)[1] for name, path in tables.items()}
    for view, frames in frames_by_view.items():
        _assign_frame_sets(frames, None if frame_sets is None else frame_sets[rig.names[view]])
    every_frame = [frame for frames in frames_by_view.values() for frame in frames]
    list_names = [name for name in _LIST_NAMES if any(frame.results(name) for frame in every_frame)]
    files = ", ".join(str(path) for path in tables.values())[:80]
    if not list_names:
        raise InputError(f"{files}: no detections; choose tables with hands, faces, bodies or people")
    if len(list_names) > 1:
        raise InputError(f"{' and '.join(list_names)} in {files}; choose tables of one kind")
    numbers = sorted({frame.index for frame in every_frame})
    rows = {number: row for row, number in enumerate(numbers)}
    times = np.full((len(rig), len(numbers)), np.nan)
    people = [[list[_Person]() for _ in rig] for _ in numbers]
    for view, frames in frames_by_view.items():
        for frame in frames:
            times[view, rows[frame.index]] = np.nan if frame.time is None else frame.time
            people[rows[frame.index]][view] = list(_people_in(frame, list_names[0]))
    times_s = medians(times)
    if fps is not None:
        if not 0 < fps < math.inf:
            raise InputError(f"--fps {fps:g}: give frames per second, above 0")
        if np.isfinite(times).any():
            raise InputError("--fps applies only to tables without times, such as those of images")
        times_s = np.array(numbers) / fps
    return _match_people(rig, tuple(numbers), times_s, people)


def _assign_frame_sets(frames: list[Frame], camera_frames: CameraFrames | None) -> None:
    """Set each frame's index and time to those of its frame set, and remove frames of none."""
    names = [frame.source for frame in frames]
    if all(name is not None for name in names) and len(set(names)) == len(names):
        for frame, number in zip(frames, frame_numbers([Path(str(name)) for name in names]), strict=True):
            frame.index = number
    if camera_frames is None:
        return
    frames[:] = [frame for frame in frames if frame.index in camera_frames.frame_sets]
    for frame in frames:
        frame.index = camera_frames.frame_sets[frame.index]
        frame.time = camera_frames.times_s[frame.index] if camera_frames.times_s else frame.time


def _people_in(frame: Frame, list_name: str) -> Iterator[_Person]:
    if list_name == "hands":
        best = {hand.handedness: hand for hand in sorted(frame.hands, key=lambda hand: hand.score)}
        if best:
            yield {_part_of(hand): hand for hand in best.values()}
    elif list_name == "people":
        for person in frame.people:
            hands = {HANDS[side]: hand for side, hand in enumerate((person.right_hand, person.left_hand)) if hand}
            others = [part for part in (person.body, person.face) if part is not None]
            yield {_part_of(instance): instance for instance in others} | hands
    else:
        for instance in frame.bodies if list_name == "bodies" else frame.faces:
            yield {_part_of(instance): instance}


def _part_of(instance: Instance) -> Part:
    if isinstance(instance, Hand):
        return HANDS[SIDES.index(instance.handedness)]
    return Part(instance.list_name, instance.skeleton.name)


def _match_people(
    rig: CameraRig, frames: tuple[int, ...], times_s: FloatArray, people_by_view: Sequence[Sequence[Sequence[_Person]]]
) -> Detections:
    images = [people for views in people_by_view for people in views]
    parts = tuple(
        sorted(
            {part for people in images for person in people for part in person},
            key=lambda part: (LIST_ORDER.index(part.list_name), part.handedness != "Right", part.skeleton),
        )
    )
    face_models = [part.skeleton for part in parts if part.list_name == "faces"]
    if len(face_models) > 1:
        raise InputError(f"faces of several models ({', '.join(face_models)}): use one model in all views")
    if any(len(people) > 1 for people in images):
        identities, unmatched = _identities(rig, frames, times_s, parts, people_by_view)
    else:
        identities = [[[0] * len(people) for people in views] for views in people_by_view]
        unmatched = [0] * len(rig)
    count = 1 + max((number for views in identities for numbers in views for number in numbers), default=-1)
    if not count:
        raise InputError("no person matches in two views: do the cameras belong to these tables?")
    points = np.full((len(rig), len(frames), count, sum(part.size for part in parts), 2), np.nan)
    confidence = np.zeros(points.shape[:-1])
    for row, views in enumerate(people_by_view):
        for view, people in enumerate(views):
            for person, number in zip(people, identities[row][view], strict=True):
                for part, keypoints in part_slices(parts):
                    if number >= 0 and part in person:
                        instance = person[part]
                        points[view, row, number, keypoints] = instance.keypoints[:, :2]
                        weight = instance.visibility if isinstance(instance, Body) else 1
                        confidence[view, row, number, keypoints] = instance.score * weight
    return Detections(parts, frames, times_s, points, confidence, tuple(unmatched))


def _identities(
    rig: CameraRig,
    frames: tuple[int, ...],
    times_s: FloatArray,
    parts: tuple[Part, ...],
    people_by_view: Sequence[Sequence[Sequence[_Person]]],
) -> tuple[list[list[list[int]]], list[int]]:
    """Assign detections to people.

    Returns:
        Index of the person of each detection, or -1, and the number of unassigned detections of each view.
    """
    part = parts[0]  # bodies identify best, and people have one
    compared = np.unique(np.linspace(0, part.size - 1, min(part.size, _COMPARED_KEYPOINTS)).round().astype(int))
    known_when = np.isfinite(times_s).all()
    tracker, counts = Tracker(), dict[int, int]()
    identities = [[[-1] * len(people) for people in views] for views in people_by_view]
    for row, views in enumerate(people_by_view):
        positions = [(view, which) for view, people in enumerate(views) for which in range(len(people))]
        if len(positions) < 2:
            continue
        matches = _match_views(rig, [(view, views[view][which][part]) for view, which in positions], compared)
        time = float(times_s[row]) if known_when else frames[row] * DEFAULT_STEP_S
        for group, number in zip(
            matches, tracker.assign(time, [instance.points_m for instance in matches]), strict=True
        ):
            counts[number] = counts.get(number, 0) + 1
            for index in group.rows.tolist():
                view, which = positions[index]
                identities[row][view][which] = number
    min_count = min(_MIN_FRAME_SETS, len(frames))
    persons = [number for number, count in sorted(counts.items()) if count >= min_count]
    new_numbers = {number: index for index, number in enumerate(persons)}
    identities = [[[new_numbers.get(number, -1) for number in numbers] for numbers in views] for views in identities]
    return identities, [sum(numbers.count(-1) for numbers in column) for column in zip(*identities, strict=True)]


def _match_views(rig: CameraRig, instances: Sequence[tuple[int, Instance]], compared: IndexArray) -> list[Group]:
    """Return the groups of instances of one person that enough views agree on, by the compared keypoints."""
    points = np.stack([instance.keypoints[:, :2].astype(np.float64) for _, instance in instances])
    for row, (_, instance) in enumerate(instances):
        if isinstance(instance, Body):
            points[row, instance.visibility < _MIN_VISIBILITY] = np.nan  # networks guess occluded ones
    score = np.array([max(instance.score, 1e-3) for _, instance in instances])
    groups = group_views(rig, np.array([view for view, _ in instances]), points[:, compared], score)
    return [group for group in groups if group.support >= _MIN_SUPPORT]


_GESTURE_ACCELERATION: Final = 16.0  # m/s² of gestures; with few cameras only smoothness separates depth from noise


def fit_constant_bones(rig: CameraRig, detections: Detections, found: Triangulation) -> Triangulation:
    """Fit the same people with bones of constant length and limited acceleration. Faces have no bones and stay.

    Joints that were lost for up to half a second are interpolated; `inlier` stays that of the triangulation.

    Args:
        found: Triangulation of points (F, N, K).
    """
    if not any(len(part.bones) for part in detections.parts):
        raise InputError("--constant-bones applies only to hands and bodies")
    if not (np.diff(detections.times_s) > 0).all():
        raise InputError(
            "--constant-bones requires the times of frame sets: give --fps, or --frame-sets "
            "of sonjit annotate sync --stamps"
        )
    points, covariance, residual = found.points_m.copy(), found.covariance_m2.copy(), found.residual_px.copy()
    for part, keypoints in part_slices(detections.parts):
        if len(part.bones):
            pooled = _pooled_covariances(rig, found, keypoints)
            for person in range(points.shape[1]):
                joints = points[:, person, keypoints]
                hand = part.list_name == "hands"
                lengths_m = regularized_lengths(joints) if hand else medians(bone_lengths(joints, part.bones))
                fitted = fit_skeletons(
                    joints, pooled[:, person], lengths_m, detections.times_s,
                    bones=part.bones, acceleration=_GESTURE_ACCELERATION, redescending=False,
                )  # fmt: skip
                points[:, person, keypoints] = enforce_lengths(fitted.points_m, lengths_m, part.bones)
                covariance[:, person, keypoints] = fitted.covariance_m2
            difference = rig.project(points[:, :, keypoints]) - detections.points_px[:, :, :, keypoints]
            residual[..., keypoints] = np.linalg.norm(difference, axis=-1)
    return Triangulation(points, covariance, residual, found.inlier, np.asarray(np.isfinite(points).all(-1), np.bool_))


def _pooled_covariances(rig: CameraRig, found: Triangulation, keypoints: slice) -> FloatArray:
    """Return the covariances (F, N, J, 3, 3) of a part's joints for the noise of all its joints.

    Two views alone do not determine the noise of a single joint.
    """
    ok, inlier = found.ok[..., keypoints], found.inlier[..., keypoints]
    squares = np.where(inlier, found.residual_px[..., keypoints] ** 2, 0).sum(0)
    freedom = 2 * inlier.sum(0) - 3
    noise_px2 = max(1.0, float(squares[ok].sum() / max(freedom[ok].sum(), 1)))
    points = found.points_m[..., keypoints, :]
    weights = inlier.reshape(len(rig), -1).astype(np.float64)
    covariance = covariances(camera_arrays(rig), points.reshape(-1, 3), np.zeros_like(weights), weights)
    return noise_px2 * covariance.reshape(*points.shape, 3)


def save_people(path: Path, rig: CameraRig, detections: Detections, found: Triangulation) -> None:
    """Write people in space, triangulated as points (F, N, K), as JSON.

    `{"unit": "m", "cameras": [names], "skeletons": {list: name}, "frames": [{"index", "time" s, LIST: [{"id",
    "handedness" of hands, "keypoints_m" J x 3, "spread_mm" J, "residual_px" {camera: J}, "views" J}]}]}`, where LIST is
    hands, faces or bodies and an id, from 1, is one person's in all lists and frame sets. Unknown values are null.
    `spread_mm` is the root of the covariance's trace, `views` the number of inlier views.
    """
    std_mm = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1)) * 1000
    skeletons = {part.list_name: part.skeleton for part in detections.parts}
    records: list[dict[str, object]] = []
    for row, number in enumerate(detections.frames):
        lists: dict[str, list[dict[str, object]]] = {name: [] for name in skeletons}
        for person in range(found.ok.shape[1]):
            for part, keypoints in part_slices(detections.parts):
                entry = row, person, keypoints
                if found.ok[entry].any():
                    residual = {name: _plain(found.residual_px[view][entry], 2) for view, name in enumerate(rig.names)}
                    lists[part.list_name].append({
                        "id": person + 1,
                        **({"handedness": part.handedness} if part.handedness else {}),
                        "keypoints_m": _plain(found.points_m[entry], 6),
                        "spread_mm": _plain(std_mm[entry], 3),
                        "residual_px": residual,
                        "views": found.inlier[:, row, person, keypoints].sum(0).tolist(),
                    })  # fmt: skip
        records.append({"index": number, "time": _plain(detections.times_s[row], 6), **lists})
    write_json(path, {"unit": "m", "cameras": list(rig.names), "skeletons": skeletons, "frames": records})


def _plain(values: FloatArray, digits: int) -> Any:  # noqa: ANN401  # nested lists
    """Convert to a number or nested lists, with null for unknown values."""
    rounded = np.asarray(np.round(values, digits)).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


@dataclass(frozen=True, eq=False)
class PeopleInSpace:
    """People over a recording.

    Attributes:
        people: (N,) ids of the people.
        frames: (F,) numbers of the frame sets, ascending.
        times_s: (F,) times in seconds.
        points_m: (F, N, K, 3) keypoints in metres, NaN where unknown.
    """

    parts: tuple[Part, ...]
    people: tuple[int, ...]
    frames: IndexArray
    times_s: FloatArray
    points_m: FloatArray

    @cached_property
    def step_s(self) -> float:
        """Median time between frame sets, over half the recording because times are rounded to microseconds."""
        if len(self.frames) < 2:
            return DEFAULT_STEP_S
        half = len(self.frames) // 2
        return float(
            np.median((self.times_s[half:] - self.times_s[:-half]) / (self.frames[half:] - self.frames[:-half]))
        )

    def every_frame(self) -> tuple[FloatArray, FloatArray]:
        """Return times (M,) and points (M, N K, 3) of all frame sets from first to last, NaN for missing ones."""
        rows = self.frames - self.frames[0]
        points = np.full((int(rows[-1]) + 1, self.points_m[0, ..., 0].size, 3), np.nan)
        points[rows] = self.points_m.reshape(len(rows), -1, 3)
        return self.times_s[0] + self.step_s * np.arange(len(points)), points

    def each_part(self) -> Iterator[tuple[int, Part, FloatArray]]:
        """Iterate over each person's id, part, and points (F, J, 3)."""
        for index, person in enumerate(self.people):
            for part, keypoints in part_slices(self.parts):
                yield person, part, self.points_m[:, index, keypoints]


def load_people(path: Path) -> PeopleInSpace:
    """Load a file of `save_people`."""
    content = read_json(path)
    records: Any = field(content, "frames", str(path))
    skeletons: Any = field(content, "skeletons", str(path))
    try:
        frames = np.array([int(entry["index"]) for entry in records], np.intp)
        times = np.array([entry.get("time") for entry in records], np.float64)  # None becomes NaN
        people, parts, points = _people_of_records(records, skeletons)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a file of sonjit annotate triangulate ({error})") from None
    if not np.isfinite(points).any() or (np.diff(frames) <= 0).any():
        raise InputError(f"{path} contains no people, or its frame sets are not in order")
    if not np.isfinite(times).all():
        raise InputError(f"{path} has no times of its frame sets: triangulate with --fps")
    existing = [
        (part, keypoints) for part, keypoints in part_slices(parts) if np.isfinite(points[..., keypoints, :]).any()
    ]
    finite = np.concatenate([points[..., keypoints, :] for _, keypoints in existing], 2)
    return PeopleInSpace(tuple(part for part, _ in existing), tuple(people), frames, times, finite)


def _people_of_records(
    records: Sequence[Any], skeletons: Mapping[str, str]
) -> tuple[list[int], tuple[Part, ...], FloatArray]:
    """Return the ids of P people, their parts, and their points (F, P, J, 3) in the records of F frame sets."""
    parts: list[Part] = []
    for name in sorted(skeletons, key=LIST_ORDER.index):
        parts += HANDS if name == "hands" else [Part(name, skeletons[name])]
    people = sorted({entry["id"] for frame in records for name in skeletons for entry in frame[name]})
    points = np.full((len(records), len(people), sum(part.size for part in parts), 3), np.nan)
    for row, frame in enumerate(records):
        for part, keypoints in part_slices(parts):
            for entry in frame[part.list_name]:
                if entry.get("handedness", "") == part.handedness:
                    points[row, people.index(entry["id"]), keypoints] = np.array(entry["keypoints_m"], np.float64)
    return people, tuple(parts), points

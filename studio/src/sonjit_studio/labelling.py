"""Label joints in space from detections: triangulate, correct by people's marks, fit, and withhold uncertain ones.

Where hands overlap, all views may swap them together for a while. Motion reveals it next to frame sets that people
marked: both hands would jump to each other's position.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, FloatArray, Image, InputError, IntArray
from sonjit.results import Hand
from sonjit_studio import bones, learning, run_folder, triangulation, weighing
from sonjit_studio.marks import MACHINE, Mark, ReviewPriority
from sonjit_studio.project import Project
from sonjit_studio.rig import CameraRig

_SWAP_COST_M: Final = 0.1  # path length that each of two swaps must save: hands that rub each other move as far
_FRAME_COST_M: Final = 0.02  # path length per swapped frame set, so that the shorter part counts as wrong
_UNKNOWN_DISTANCE_M: Final = 0.1  # assumed path length of a hand that is unknown in a frame set
_MAX_DISTANCE_M: Final = 0.4  # largest path length that counts between two frame sets
_PAUSE_STEPS: Final = 2.5  # usual steps between frame sets from which motion is not compared
SAMPLED_FRAME_SETS: Final = 1000  # spread over the recording, from which bone lengths are measured
_MIN_HUMAN: Final = 5  # number of frame sets annotated by people from which their bones are used
# Chosen on recording A of `python research/annotator.py`; research/annotator.md has the errors on B, C and D.
_HALF_WEIGHT_PX: Final = 4.0  # distance from the fitted hand at which a detection has half its weight
_MAX_SHIFT_M: Final = 0.012  # largest shift of a joint by the fit
_MAX_LENGTH_ERROR_M: Final = 0.006  # largest error of a fitted bone's length
_MAX_STD_M: Final = 0.005  # largest standard deviation of a labelled joint
_MIN_VIEW_FRACTION: Final = 1 / 3  # least fraction of views that must agree, at least two
DetectHands = Callable[["NDArray[np.uint8]"], "Sequence[Hand]"]  # hands of an image (H, W, 3)
_MIN_VIEWS: Final = 4  # views below which a labelled joint counts as "few"
_USUAL_SPEED: Final = 3.0  # m/s up to which a joint does not jump
_MAX_LINK_S: Final = 0.5  # time between frame sets from which speed is unknown
_SCORE_UNITS: Final = {"lost": 4.0, "few": 5.0, "spread": 3.0, "residual": 3.0, "bones": 3.0, "jump": 1.0, "mesh": 6.0}
"""Joints, millimetres, pixels or m/s above the usual speed that contribute a score of 1."""
_DOUBT_SCORE: Final = 1000.0  # of people's marks that need a check, above that of any other reason
_REASONS: Final = {
    "lost": "{:.0f} joints without a label",
    "few": "{:.0f} joints in few views",
    "spread": "uncertain by {:.1f} mm",
    "residual": "{:.1f} px off in the views",
    "bones": "bones off by {:.1f} mm",
    "jump": "jumps at {:.1f} m/s",
    "mesh": "{:.1f} mm off a possible hand",
}


def swapped_frame_sets(frames: IntArray, points_m: FloatArray, human_m: FloatArray) -> BoolArray:
    """Return a mask of the frame sets (N,) in which the hands should be swapped: as people marked, and around those.

    Frame sets ascend. Joints of the machine and of people are (N, 2, 21, 3) in metres, right first, NaN where unknown
    or unmarked. Unmarked frame sets at the start, and before a pause, stay as they are.
    """
    is_marked = np.asarray(np.isfinite(human_m), np.bool_)
    certain = np.asarray(is_marked.any((1, 2, 3)), np.bool_)
    swapped = np.zeros(len(frames), np.bool_)
    if not certain.any():
        return swapped
    is_crossed = _mean_distances(points_m[:, ::-1], human_m) < _mean_distances(points_m, human_m)
    crossed = np.asarray(certain & is_crossed, np.bool_)
    points = np.where(is_marked, np.where(crossed[:, None, None, None], human_m[:, ::-1], human_m), points_m)
    steps = np.diff(frames)
    pauses = np.flatnonzero(steps > _PAUSE_STEPS * np.median(steps)) + 1 if len(steps) else []
    for first, last in pairwise([0, *map(int, pauses), len(frames)]):
        swapped[first:last] = _best_path(points[first:last], certain[first:last], crossed[first:last])
    return swapped


def _mean_distances(points_m: FloatArray, human_m: FloatArray) -> FloatArray:
    """Return the mean distance (n,) of joints (n, 2, 21, 3) from people's, infinity without common ones."""
    distances = np.linalg.norm(points_m - human_m, axis=-1)
    count = np.isfinite(distances).sum((1, 2))
    return np.where(count > 0, np.nansum(distances, (1, 2)) / np.maximum(count, 1), np.inf)


def _best_path(points_m: FloatArray, certain: BoolArray, marked_swapped: BoolArray) -> BoolArray:
    """Return the path of least cost (Viterbi) of joints (n, 2, 21, 3), as marked if certain, unswapped at its ends."""
    lengths = np.stack([_path_lengths(points_m, points_m), _path_lengths(points_m, points_m[:, ::-1])])  # (2, n - 1)
    contradicts = certain[:, None] & (marked_swapped[:, None] == [True, False])
    state_costs = np.where(contradicts, np.inf, [0.0, _FRAME_COST_M])  # (n, 2)
    state_costs[[0, -1], 1] += np.where(certain[[0, -1]], 0.0, np.inf)
    cost, previous = state_costs[0], np.zeros((len(points_m), 2), np.intp)
    for row in range(1, len(points_m)):
        same, other = lengths[:, row - 1]
        total = cost[:, None] + np.array([[same, other + _SWAP_COST_M], [other + _SWAP_COST_M, same]])  # before, now
        previous[row] = total.argmin(0)
        cost = total.min(0) + state_costs[row]
    state, path = int(cost.argmin()), np.zeros(len(points_m), np.bool_)
    for row in range(len(points_m) - 1, -1, -1):
        path[row] = state == 1
        state = int(previous[row, state])
    return path


def _path_lengths(points_m: FloatArray, next_m: FloatArray) -> FloatArray:
    """Return the distance (n - 1,) that both hands move to the next frame set of others (n, 2, 21, 3), metres."""
    distances = np.linalg.norm(next_m[1:] - points_m[:-1], axis=-1)  # (n - 1, 2, 21)
    count = np.isfinite(distances).sum(-1)
    mean = np.nansum(distances, -1) / np.maximum(count, 1)
    return np.where(count > 0, np.minimum(mean, _MAX_DISTANCE_M), _UNKNOWN_DISTANCE_M).sum(-1)


def correct_swaps(
    rig: CameraRig, detections: run_folder.ChunkDetections, people: Sequence[triangulation.Triangulation]
) -> run_folder.ChunkDetections:
    """Swap the hands of detections where people's joints (2, 21) in the frame set or nearby ones show a swap."""
    if not any(human.ok.any() for human in people):
        return detections
    human_m = np.stack([np.where(human.ok[..., None], human.points_m, np.nan) for human in people])
    rows = swapped_frame_sets(detections.frames, learning.triangulate_detections(rig, detections).points_m, human_m)
    return detections.swap_hands(rows) if rows.any() else detections


def person_bone_lengths(
    project: Project, rig: CameraRig, chunks: Iterable[run_folder.ChunkDetections], offsets: learning.Offsets | None
) -> FloatArray:
    """Return bone lengths (2, 20) in metres, from people's joints if enough are annotated, otherwise the machine's."""
    sample = slice(None, None, max(1, len(project.frames) // SAMPLED_FRAME_SETS))
    samples = (detections.part(sample) for detections in chunks)
    machine = np.concatenate([learning.triangulate_detections(rig, part, offsets).points_m for part in samples])
    if not np.isfinite(machine).any():
        raise InputError(
            f"{project.folder}: no hand is visible in two views of a frame set; do the views show the same frame sets?"
        )
    lengths = np.stack([bones.median_lengths(machine[:, side]) for side in range(2)])
    marked = learning.human_frames(project)
    if len(marked) < _MIN_HUMAN:
        return lengths
    rows = np.unique(np.linspace(0, len(marked) - 1, SAMPLED_FRAME_SETS).round().astype(int))
    human = np.stack([learning.human_joints(rig, project.store.marks(marked[row])).points_m for row in rows])
    human_lengths = np.stack([bones.median_lengths(human[:, side]) for side in range(2)])
    return np.where(np.isfinite(human_lengths), human_lengths, lengths)


def label_chunk(
    rig: CameraRig,
    detections: run_folder.ChunkDetections,
    *,
    lengths_m: FloatArray,
    offsets: learning.Offsets | None,
    marks: Sequence[Sequence[Mark]],
    fps: float,
) -> run_folder.Labels:
    """Label consecutive frame sets with bone lengths (2, 20) in metres, offsets, and the marks of all annotators."""
    people = [learning.human_joints(rig, frame_marks) for frame_marks in marks]
    times = detections.frames / fps
    detections = correct_swaps(rig, detections, people)
    if offsets is not None:
        detections = offsets.correct(rig, detections, learning.triangulate_detections(rig, detections).points_m)
    initial, covariance_in = _merge_people(learning.triangulate_detections(rig, detections), people)
    fits = [bones.fit_skeletons(initial[:, side], covariance_in[:, side], lengths_m[side], times) for side in range(2)]
    fitted_m = np.stack([fit.points_m for fit in fits], 1)
    triangulated = learning.triangulate_detections(rig, _reweight(rig, detections, fitted_m))
    observed, covariance = _merge_people(triangulated, people)
    source, seen = np.where(triangulated.ok, 1, 0), np.moveaxis(triangulated.inlier, 0, 1).copy()
    square = np.where(triangulated.inlier, triangulated.residual_px**2, 0).sum(0)
    residual = np.where(triangulated.inlier.any(0), np.sqrt(square / np.maximum(triangulated.inlier.sum(0), 1)), np.nan)
    for row, (frame_marks, human) in enumerate(zip(marks, people, strict=True)):
        if human.ok.any():  # residual and views are those of the marks, which replace the machine's joint
            weighed = weighing.weigh_marks(rig, frame_marks, np.where(human.ok[..., None], human.points_m, np.nan))
            source[row][human.ok] = weighed.source[human.ok]
            residual[row][human.ok] = weighed.residual_px[human.ok]
            seen[row] = np.where(human.ok, weighed.seen, seen[row])
    views = seen.sum(1)
    points, fitted_covariance = observed.copy(), covariance.copy()
    mesh = np.full((len(times), 2), np.nan)
    for side, name in enumerate(bones.SIDES):
        fitted = bones.fit_skeletons(observed[:, side], covariance[:, side], lengths_m[side], times)
        human = source[:, side] >= 2
        has_views = views[:, side] >= max(2, round(_MIN_VIEW_FRACTION * len(rig)))
        certain = _is_certain(fitted.points_m, fitted.covariance_m2, observed[:, side], lengths_m[side])
        certain = human | (has_views & certain)
        points[:, side] = np.where(human[..., None], observed[:, side], fitted.points_m)
        points[:, side][~certain] = np.nan
        fitted_covariance[:, side] = np.where(human[..., None, None], covariance[:, side], fitted.covariance_m2)
        fitted_covariance[:, side][~certain] = np.nan
        source[:, side] = np.where(certain, np.maximum(source[:, side], 1), 0)
        mesh[:, side] = bones.mesh_distances(name, lengths_m[side], fitted.points_m)
    return run_folder.Labels(
        frames=detections.frames,
        points_m=points,
        covariance_m2=fitted_covariance,
        source=source.astype(np.int64),
        views=views.astype(np.int64),
        residual_px=residual,
        seen=np.asarray(seen, np.bool_),
        mesh_m=mesh,
    )


def _merge_people(
    triangulated: triangulation.Triangulation, people: Sequence[triangulation.Triangulation]
) -> tuple[FloatArray, FloatArray]:
    """Return the machine's joints (n, 2, 21, 3) and covariances, replaced by people's where they marked."""
    points, covariance = triangulated.points_m.copy(), triangulated.covariance_m2.copy()
    for row, human in enumerate(people):
        points[row][human.ok], covariance[row][human.ok] = human.points_m[human.ok], human.covariance_m2[human.ok]
    return points, covariance


def _reweight(
    rig: CameraRig, detections: run_folder.ChunkDetections, points_m: FloatArray
) -> run_folder.ChunkDetections:
    """Reduce the weight of detections with their distance from fitted joints (n, 2, 21, 3), whose bones are right."""
    distance = np.linalg.norm(np.moveaxis(rig.project(points_m), 0, 1) - detections.points_px, axis=-1)
    weight = np.where(np.isfinite(distance), 1 / (1 + (distance / _HALF_WEIGHT_PX) ** 2), 1)
    return replace(detections, confidence=(detections.confidence * weight).astype(np.float32))


def _is_certain(
    points_m: FloatArray, covariance_m2: FloatArray, observed_m: FloatArray, lengths_m: FloatArray
) -> BoolArray:
    """Return which joints (N, 21) are certain, near to the observations, and keep their bones' lengths."""
    std = np.sqrt(np.trace(covariance_m2, axis1=-2, axis2=-1))
    shift = np.linalg.norm(points_m - observed_m, axis=-1)
    certain = (std < _MAX_STD_M) & (shift < _MAX_SHIFT_M)
    wrong_length = np.abs(bones.bone_lengths(points_m) - lengths_m) > _MAX_LENGTH_ERROR_M
    for end in (0, 1):
        for bone in range(len(bones.HAND_BONES)):
            certain[:, bones.HAND_BONES[bone, end]] &= ~wrong_length[:, bone]
    return np.asarray(certain, np.bool_)


def doubts_of_marks(rig: CameraRig, frames: IntArray, marks: Sequence[Sequence[Mark]]) -> Mapping[int, str]:
    """Return why the marks of people need a check, by the number of the frame set."""
    doubts: dict[int, str] = {}
    for frame, frame_marks in zip(frames.tolist(), marks, strict=True):
        if any(mark.annotator != MACHINE for mark in frame_marks):
            human = learning.human_joints(rig, frame_marks)
            joints = np.where(human.ok[..., None], human.points_m, np.nan)
            doubts[frame] = weighing.doubt_of(weighing.weigh_marks(rig, frame_marks, joints))
    return {frame: doubt for frame, doubt in doubts.items() if doubt}


def review_priorities(
    labels: run_folder.Labels, lengths_m: FloatArray, fps: float, doubts: Mapping[int, str] | None = None
) -> Mapping[int, ReviewPriority]:
    """Return each frame set's need of review, summed over reasons in their own units, and the strongest reason.

    Args:
        labels: Labels of the frame sets.
        lengths_m: (2, 20) bone lengths in metres of the right and the left hand.
        fps: Frames per second.
        doubts: Why people's marks need a check, by frame set. These frame sets come first.
    """
    labelled = np.isfinite(labels.points_m).all(-1)
    measures = {
        "lost": (~labelled & labels.expected[..., None]).sum((1, 2)).astype(np.float64),
        "few": (labelled & (labels.views < _MIN_VIEWS)).sum((1, 2)).astype(np.float64),
        "spread": 1000 * _worst(labels.std_m),
        "residual": _worst(labels.residual_px),
        "bones": 1000 * _worst(np.abs(bones.bone_lengths(labels.points_m) - lengths_m)),
        "jump": _speeds(labels.points_m, labels.frames / fps),
        "mesh": 1000 * _worst(labels.mesh_m),
    }
    scores = np.stack(
        [np.maximum(measures[name] / unit - (name == "jump") * _USUAL_SPEED, 0) for name, unit in _SCORE_UNITS.items()]
    )
    priorities: dict[int, ReviewPriority] = {}
    for row, (frame, score) in enumerate(zip(labels.frames.tolist(), scores.sum(0).tolist(), strict=True)):
        reason = list(_SCORE_UNITS)[int(scores[:, row].argmax())]
        why = _REASONS[reason].format(measures[reason][row]) if score > 0 else ""
        if doubt := (doubts or {}).get(frame):
            score, why = score + _DOUBT_SCORE, doubt
        priorities[frame] = ReviewPriority(round(score, 3), why)
    return priorities


def _worst(values: FloatArray) -> FloatArray:
    """Return the 95th percentile (N,) of each row of (N, ...), 0 for a row without known values."""
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).any(1)
    worst = np.zeros(len(flat))
    if finite.any():
        worst[finite] = np.nanpercentile(flat[finite], 95, axis=1)
    return worst


def _speeds(points_m: FloatArray, times_s: FloatArray) -> FloatArray:
    """Return the speed (N,) of the fastest joint to a neighbouring frame set in m/s, 0 if that is far in time."""
    speeds = np.zeros(len(points_m))
    if len(points_m) < 2:
        return speeds
    step_s = np.maximum(np.diff(times_s), 1e-6)
    moved = np.linalg.norm(np.diff(points_m, axis=0), axis=-1).reshape(len(step_s), -1)
    fastest = np.where(step_s < _MAX_LINK_S, np.nan_to_num(moved).max(1) / step_s, 0)
    return np.maximum(np.append(fastest, 0), np.append(0, fastest))


def prelabel(detect: DetectHands, rgb: Image, frame: int, view: str) -> list[Mark]:
    """Return marks of the keypoints of the best right and the best left hand that lie in an image (H, W, 3)."""
    height, width = rgb.shape[:2]
    hands = sorted(detect(rgb), key=lambda hand: hand.score)
    marks: list[Mark] = []
    for side, hand in {hand.handedness: hand for hand in hands}.items():
        for joint, (x, y) in enumerate(
            np.asarray(hand.keypoints, np.float64)[:, :2].tolist(), 21 * bones.SIDES.index(side)
        ):
            if 0 <= x <= width and 0 <= y <= height:
                marks.append(Mark(uuid4().hex, frame, view, joint, MACHINE, x=x, y=y, source="M"))
    return marks

"""Label joints in space from detections: triangulate, correct by people's marks, fit, and withhold uncertain ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, FloatArray, Image
from sonjit.results import Hand
from sonjit.studio.annotation.marks import MACHINE, Mark
from sonjit.studio.automatic.detection import ChunkDetections
from sonjit.studio.automatic.labels import Labels
from sonjit.studio.automatic.learning import human_joints
from sonjit.studio.automatic.offsets import Offsets, triangulate_detections
from sonjit.studio.automatic.swaps import correct_swaps
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.bones import HAND_BONES, JOINTS_PER_HAND, SIDES, bone_lengths
from sonjit.studio.triangulation.rig_fit import fit_mesh, rig_with_lengths
from sonjit.studio.triangulation.skeleton_fit import fit_skeletons
from sonjit.studio.triangulation.triangulation import Triangulation

# Chosen on recording A of `python benchmarks/annotator.py`; research/annotator.md has the errors on B, C and D.
_HALF_WEIGHT_PX: Final = 4.0  # distance from the fitted hand at which a detection has half its weight
_MAX_SHIFT_M: Final = 0.012  # largest shift of a joint by the fit
_MAX_LENGTH_ERROR_M: Final = 0.006  # largest error of a fitted bone's length
_MAX_STD_M: Final = 0.005  # largest standard deviation of a labelled joint
_MIN_VIEW_FRACTION: Final = 1 / 3  # least fraction of views that must agree, at least two
DetectHands = Callable[["NDArray[np.uint8]"], "Sequence[Hand]"]
"""Function from an image (H, W, 3) to its hands, such as `Detector.detect`."""


def label_chunk(
    rig: CameraRig,
    detections: ChunkDetections,
    *,
    lengths_m: FloatArray,
    offsets: Offsets | None,
    marks: Sequence[Sequence[Mark]],
    fps: float,
) -> Labels:
    """Label consecutive frame sets.

    Args:
        rig: Rig of C cameras.
        detections: Detections of these cameras.
        lengths_m: (2, 20) bone lengths of the person.
        offsets: Offsets from the detector's keypoints to people's, or None.
        marks: Marks of all annotators for each frame set.
        fps: Frames per second of the recordings.
    """
    people = [human_joints(rig, frame_marks) for frame_marks in marks]
    times = detections.frames / fps
    detections = correct_swaps(rig, detections, people)
    if offsets is not None:
        detections = offsets.correct(rig, detections, triangulate_detections(rig, detections).points_m)
    initial, covariance_in = _merge_people(triangulate_detections(rig, detections), people)
    fits = [fit_skeletons(initial[:, side], covariance_in[:, side], lengths_m[side], times) for side in range(2)]
    fitted_m = np.stack([fit.points_m for fit in fits], 1)
    triangulated = triangulate_detections(rig, _reweight(rig, detections, fitted_m))
    observed, covariance = _merge_people(triangulated, people)
    source = np.where(triangulated.ok, 1, 0)
    for row, (frame_marks, human) in enumerate(zip(marks, people, strict=True)):
        source[row][human.ok] = 3 if any(mark.source == "H+M" for mark in frame_marks) else 2
    views = triangulated.inlier.sum(0)
    points, fitted_covariance = observed.copy(), covariance.copy()
    mesh = np.full((len(times), 2), np.nan)
    for side, name in enumerate(SIDES):
        fitted = fit_skeletons(observed[:, side], covariance[:, side], lengths_m[side], times)
        human = source[:, side] >= 2
        has_views = views[:, side] >= max(2, round(_MIN_VIEW_FRACTION * len(rig)))
        certain = _is_certain(fitted.points_m, fitted.covariance_m2, observed[:, side], lengths_m[side])
        certain = human | (has_views & certain)
        points[:, side] = np.where(human[..., None], observed[:, side], fitted.points_m)
        points[:, side][~certain] = np.nan
        fitted_covariance[:, side] = np.where(human[..., None, None], covariance[:, side], fitted.covariance_m2)
        fitted_covariance[:, side][~certain] = np.nan
        source[:, side] = np.where(certain, np.maximum(source[:, side], 1), 0)
        mesh[:, side] = fit_mesh(rig_with_lengths(name, lengths_m[side]), fitted.points_m)[2]
    square = np.where(triangulated.inlier, triangulated.residual_px**2, 0).sum(0)
    residual = np.where(views > 0, np.sqrt(square / np.maximum(views, 1)), np.nan)
    return Labels(
        frames=detections.frames,
        points_m=points,
        covariance_m2=fitted_covariance,
        source=source.astype(np.int64),
        views=views.astype(np.int64),
        residual_px=residual,
        seen=np.moveaxis(triangulated.inlier, 0, 1),
        mesh_m=mesh,
    )


def _merge_people(found: Triangulation, people: Sequence[Triangulation]) -> tuple[FloatArray, FloatArray]:
    """Return the machine's joints (n, 2, 21, 3) and covariances, replaced by people's where they marked."""
    points, covariance = found.points_m.copy(), found.covariance_m2.copy()
    for row, human in enumerate(people):
        points[row][human.ok], covariance[row][human.ok] = human.points_m[human.ok], human.covariance_m2[human.ok]
    return points, covariance


def _reweight(rig: CameraRig, detections: ChunkDetections, points_m: FloatArray) -> ChunkDetections:
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
    wrong_length = np.abs(bone_lengths(points_m) - lengths_m) > _MAX_LENGTH_ERROR_M
    for end in (0, 1):
        for bone in range(len(HAND_BONES)):
            certain[:, HAND_BONES[bone, end]] &= ~wrong_length[:, bone]
    return np.asarray(certain, np.bool_)


def marks_of_labels(rig: CameraRig, labels: Labels, run: str) -> list[Mark]:
    """Return a mark for each label and view whose image contains it, seen in inlier views, otherwise occluded.

    Args:
        rig: Rig of the cameras of `labels.seen`.
        labels: Labels in space.
        run: Name of the run, part of the marks' ids.
    """
    pixels = rig.project(labels.points_m)  # (C, N, 2, 21, 2)
    inside = np.stack(
        [camera.inside(np.nan_to_num(points, nan=-1.0)) for camera, points in zip(rig, pixels, strict=True)]
    )
    marks: list[Mark] = []
    rows = np.argwhere(inside).tolist(), np.round(pixels[inside], 2).tolist(), np.moveaxis(labels.seen, 1, 0)[inside]
    for (view, row, side, joint), (x, y), detections in zip(*rows, strict=True):
        frame, joint_index = int(labels.frames[row]), JOINTS_PER_HAND * side + joint
        name, state = f"{run}-{frame}-{view}-{joint_index}", "seen" if detections else "occluded"
        marks.append(
            Mark(
                id=name,
                frame=frame,
                view=rig.names[view],
                joint=joint_index,
                annotator=MACHINE,
                state=state,
                x=x,
                y=y,
                source="M",
            )
        )
    return marks


def prelabel(detect: DetectHands, rgb: Image, frame: int, view: str) -> list[Mark]:
    """Return marks of the right and the left hand with the highest scores in one image.

    Args:
        detect: Function that detects hands.
        rgb: (H, W, 3) image.
        frame: Number of the frame set.
        view: Name of the camera.

    Returns:
        21 or 42 marks, fewer if keypoints lie outside the image, none without hands.
    """
    height, width = rgb.shape[:2]
    hands = sorted(detect(rgb), key=lambda hand: hand.score)
    marks: list[Mark] = []
    for side, hand in {hand.handedness: hand for hand in hands}.items():
        first = JOINTS_PER_HAND * SIDES.index(side)
        for k, (x, y) in enumerate(np.asarray(hand.keypoints, np.float64)[:, :2].tolist()):
            if 0 <= x <= width and 0 <= y <= height:
                marks.append(
                    Mark(
                        id=uuid4().hex,
                        frame=frame,
                        view=view,
                        joint=first + k,
                        annotator=MACHINE,
                        state="seen",
                        x=x,
                        y=y,
                        source="M",
                    )
                )
    return marks

"""Offsets from a detector's keypoints to people's, in the images, learned from what people marked.

A network was trained on other people's labels; its wrist may lie a centimetre from one's own, and on one side of the
joint or the other as the hand is seen: the detector finds the skin that it sees. So an offset is a vector in axes that
move with the joint, those of the palm, and beyond the knuckles those of the bone that leads to it; it changes with the
bends of the fingers and with the direction from which the view sees the joint. Both hands share it, mirrored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from sonjit.arrays import FloatArray, IntArray
from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.measures.joints import unit
from sonjit.multiview.automatic.detection import ChunkDetections
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.bones import PER_HAND
from sonjit.multiview.triangulation.triangulation import Triangulation, triangulate

_BENT: Final = tuple(k for k in range(1, 21) if k % 4 in (1, 2, 3) and k != 1)  # joints that bend and have one beyond
_TERMS: Final = 1 + len(_BENT) + 8  # one, bends, and of the direction its three parts and five products of them
_FEWEST: Final = 5
_STIFF: Final = 4.0  # how much an offset's changes are held back, in keypoints that were seen
_OFF_M: Final = 0.04  # beyond which it is not an offset but another hand
_STEP_M: Final = 1e-4
_ROUNDS: Final = 6
THRESHOLD_PX: Final = 11.0


@dataclass(frozen=True, eq=False)
class Offsets:
    """Learned offsets.

    Attributes:
        values_m: (21, 3, T) of a right hand's joints along their three axes, for each term of what changes it.
        frames: (21,) frame sets that each was fitted to.
    """

    values_m: FloatArray
    frames: IntArray

    def correct(self, rig: CameraRig, seen: ChunkDetections, points_m: FloatArray) -> ChunkDetections:
        """Detections as people would have marked them; left as they are where a joint or its axes are unknown.

        Args:
            rig: the cameras of `seen`.
            seen: in n frame sets.
            points_m: (n, 2, 21, 3) triangulated from them.
        """
        axes = joint_axes(points_m)
        local = np.einsum("jat,cnsjt->cnsja", self.values_m, _terms(rig, points_m, axes))
        moved = points_m + np.einsum("nsjia,cnsja->cnsji", axes, local)
        shift = np.stack([camera.project(there) for camera, there in zip(rig, moved, strict=True)])
        shift -= rig.project(points_m)
        shift = np.moveaxis(np.where(np.isfinite(shift), shift, 0), 0, 1)
        return replace(seen, points_px=(seen.points_px - shift).astype(np.float32))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        record = {"format": "sonjit-view-offsets", "values_m": self.values_m.tolist(), "frames": self.frames.tolist()}
        write_text(path, json.dumps(record) + "\n")


def load_offsets(path: Path) -> Offsets:
    """Read what `Offsets.save` wrote.

    Raises:
        InputError: it is missing, damaged or not such a file.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        values = np.array(record["values_m"], np.float64).reshape(PER_HAND, 3, _TERMS)
        return Offsets(values, np.array(record["frames"], np.int64).reshape(PER_HAND))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} holds no offsets that this version reads ({error}): run sonjit annotate train again"
        ) from None


def triangulate_detections(rig: CameraRig, seen: ChunkDetections, offsets: Offsets | None = None) -> Triangulation:
    """Joints (N, 2, 21) that the views agree on, where people would mark them if offsets are given."""
    pixels = np.moveaxis(seen.points_px, 1, 0).astype(np.float64)
    confidence = np.moveaxis(seen.confidence, 1, 0).astype(np.float64)
    found = triangulate(rig, pixels, confidence=confidence, method="ransac", threshold_px=THRESHOLD_PX)
    return found if offsets is None else triangulate_detections(rig, offsets.correct(rig, seen, found.points_m))


def fit_offsets(rig: CameraRig, seen: ChunkDetections, human_m: FloatArray) -> Offsets:
    """Fit offsets from detected keypoints to people's joints.

    Args:
        rig: C cameras.
        seen: by them, in n frame sets.
        human_m: (n, 2, 21, 3) of the same frame sets; NaN where unknown.

    Raises:
        InputError: fewer than five frame sets have both.
    """
    machine_m = triangulate_detections(rig, seen).points_m
    axes = joint_axes(machine_m)
    terms = _terms(rig, machine_m, axes)
    at = rig.project(machine_m)
    slopes = np.stack([(rig.project(machine_m + _STEP_M * axes[..., k]) - at) / _STEP_M for k in range(3)], -1)
    off = np.moveaxis(seen.points_px, 1, 0) - rig.project(human_m)  # (C, n, 2, 21, 2)
    near = np.linalg.norm(off, axis=-1) < _OFF_M * np.sqrt((slopes**2).sum((-1, -2)) / 2)  # NaN is not
    known = near & np.isfinite(terms).all(-1)
    frames = np.asarray(known.any((0, 2)).sum(0), np.int64)
    if not (frames >= _FEWEST).any():
        raise InputError(
            f"{int(frames.max())} frames have joints both by people and by the machine: mark {_FEWEST} or more frames "
            "in two views each, spread over the recording"
        )
    values = np.zeros((PER_HAND, 3, _TERMS))
    for joint in np.flatnonzero(frames >= _FEWEST):
        own = known[..., joint]
        values[joint] = _robust(slopes[..., joint, :, :][own], terms[..., joint, :][own], off[..., joint, :][own])
    return Offsets(values, frames)


def _robust(slopes: FloatArray, terms: FloatArray, off_px: FloatArray) -> FloatArray:
    """(3, T) by regularised least squares of pixels (M, 2); those that lie far off count less.

    Args:
        slopes: (M, 2, 3) pixels for a metre along each axis.
        terms: (M, T).
        off_px: (M, 2).
    """
    rows = (slopes[..., None] * terms[:, None, None]).reshape(len(slopes), 2, -1)
    usual_slope = (slopes**2).sum((1, 2)).mean() / 3
    held = np.full((3, terms.shape[1]), _STIFF * usual_slope)
    held[:, 0] = 1e-6 * usual_slope
    weights, solved = np.ones(len(rows)), np.zeros(held.size)
    for _ in range(_ROUNDS):
        weighted = rows * weights[:, None, None]
        normal = np.einsum("mij,mik->jk", weighted, rows) + np.diag(held.ravel())
        solved = np.linalg.solve(normal, np.einsum("mij,mi->j", weighted, off_px))
        far = np.linalg.norm(off_px - rows @ solved, axis=1)
        usual = max(float(np.median(far)), 0.1)
        weights = 1 / (1 + (far / (2 * usual)) ** 2)
    return solved.reshape(held.shape)


def joint_axes(points_m: FloatArray) -> FloatArray:
    """(n, 2, 21, 3, 3) columns that move with each joint of hands (n, 2, 21, 3), mirrored for the left ones."""
    wrist, index, middle, little = (points_m[..., k, :] for k in (0, 5, 9, 17))
    across, along = unit(little - index), middle - wrist
    out = unit(np.cross(across, along))
    out[:, 1] *= -1
    palm = np.stack([across, unit(along - (along * across).sum(-1, keepdims=True) * across), out], -1)
    axes = np.repeat(palm[..., None, :, :], PER_HAND, -3)
    for joint in range(2, PER_HAND):
        if joint % 4 == 1:
            continue  # the first joint of each finger goes with the palm
        bone = unit(points_m[..., joint, :] - points_m[..., joint - 1, :])
        beside = out if joint < 5 else across
        side = unit(beside - (beside * bone).sum(-1, keepdims=True) * bone)
        third = np.cross(side, bone)
        third[:, 1] *= -1
        axes[..., joint, :, :] = np.stack([side, bone, third], -1)
    return axes


def _terms(rig: CameraRig, points_m: FloatArray, axes: FloatArray) -> FloatArray:
    """(C, n, 2, 21, T) what an offset changes with: one, bends, and the direction to the camera in the joint's axes."""
    chains = [(0 if k % 4 == 1 else k - 1, k, k + 1) for k in _BENT]
    before, at, after = (points_m[..., list(places), :] for places in zip(*chains, strict=True))
    bends = 1 - (unit(at - before) * unit(after - at)).sum(-1)
    hand = np.concatenate([np.ones((*bends.shape[:-1], 1)), bends], -1)
    to_camera = unit(rig.centres_m[:, None, None, None] - points_m)
    x, y, z = np.moveaxis(np.einsum("nsjia,cnsji->cnsja", axes, to_camera), -1, 0)
    view = np.stack([x, y, z, x * x, y * y, x * y, x * z, y * z], -1)
    own = np.broadcast_to(hand[:, :, None], (*view.shape[:-1], hand.shape[-1]))
    return np.concatenate([own, view], -1)

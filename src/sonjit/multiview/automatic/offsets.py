"""Offsets from a detector's keypoints to people's, in the images, learned from what people marked.

A network was trained on other people's labels; its wrist may lie a centimetre from one's own, and it errs as a hand
looks: the detector finds the skin that it sees, and guesses what is hidden. So an offset is learned as a function of
how a view sees the hand and the finger, by a Gaussian process (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, chapter 2). What it leaves of a marked hand's error when that hand is left out (section 5.4.2) tells how
far the view can be trusted where a hand looks alike. Both hands share all that, mirrored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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

_FORMAT: Final = "sonjit-offsets-by-looks"
_ALL: Final = tuple(range(PER_HAND))
_PARTS: Final = (
    ((0, 5, 9, 13, 17), (0,)),
    *(((0, 5, 17, *own), own) for first in range(1, PER_HAND, 4) if (own := tuple(range(first, first + 4)))),
)
"""Joints whose places an offset goes with beside the whole hand's, and the joints that have it: wrist, five fingers."""

_ALIKE_M: Final = 0.016  # root mean square of joints' distances, at which hands look alike by 0.6
_SHARE: Final = 2.0  # variance of offsets that go with the hand, and with the finger, in that of the detector's noise
_FEWEST: Final = 5
_MOST: Final = 1500  # hands that offsets are fitted to: time grows with their cube
_OFF_M: Final = 0.04  # beyond which it is not an offset but another hand
_TRUST_M: Final = 0.006  # a view counts half where its errors are as large as that
_ROUNDS: Final = 3
THRESHOLD_PX: Final = 11.0


@dataclass(frozen=True, eq=False)
class Offsets:
    """Learned offsets, for M hands that views saw.

    Attributes:
        looks_m: (M, 21, 3) each of them, see `_views_of_hands`.
        usual_m: (21, 2) the usual offset across the direction of view.
        pulls_m: (M, 21, 2) how much each adds to it where a hand looks as this one.
        squares_m2: (M, 21) the error that it had when its offset was told by the others; NaN where unknown.
        frames: (21,) frame sets that each joint's was fitted to.
    """

    looks_m: FloatArray
    usual_m: FloatArray
    pulls_m: FloatArray
    squares_m2: FloatArray
    frames: IntArray

    def correct(self, rig: CameraRig, seen: ChunkDetections, points_m: FloatArray) -> ChunkDetections:
        """Detections as people would have marked them, which count by how right such ones were.

        They stay as they are where a hand or the offset is unknown.

        Args:
            rig: the cameras of `seen`.
            seen: in n frame sets.
            points_m: (n, 2, 21, 3) triangulated from them.
        """
        moved, confidence = seen.points_px.copy(), seen.confidence.copy()
        learned = self.frames >= _FEWEST
        for view, camera in enumerate(rig):
            axes, looks = _views_of_hands(camera.centre_m, points_m)
            known = np.asarray(np.isfinite(looks).all((-1, -2)), np.bool_)  # (n, 2)
            offset, trust = self._of(looks[known])
            hands = points_m[known]
            shift = camera.project(hands + offset @ np.swapaxes(axes[known], -1, -2)) - camera.project(hands)
            moved[:, view][known] -= np.where(learned[:, None] & np.isfinite(shift), shift, 0)
            confidence[:, view][known] *= np.where(learned, trust, 1)
        return replace(seen, points_px=moved, confidence=confidence)

    def _of(self, looks_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Offsets (N, 21, 2) of hands (N, 21, 3), and the weights (N, 21) of views that see them so."""
        offset = np.repeat(self.usual_m[None], len(looks_m), 0)
        for joints, alike in _likeness(looks_m, self.looks_m):
            offset[:, joints] += np.einsum("nm,mja->nja", alike, self.pulls_m[:, joints])
        known = np.isfinite(self.squares_m2)
        usual = np.where(known, self.squares_m2, 0).sum(0) / np.maximum(known.sum(0), 1)
        alike = _alike(looks_m, self.looks_m, _ALL)
        square = (alike @ np.where(known, self.squares_m2, 0) + usual) / (alike @ known + 1)  # usual counts as one hand
        return offset, _TRUST_M**2 / (_TRUST_M**2 + square)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        arrays = {name: values.tolist() for name, values in self.__dict__.items()}
        write_text(path, json.dumps({"format": _FORMAT, **arrays}) + "\n")


def load_offsets(path: Path) -> Offsets:
    """Read what `Offsets.save` wrote.

    Raises:
        InputError: it is missing, damaged or not such a file.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        if record.pop("format") != _FORMAT:
            raise ValueError("another format")
        frames = np.array(record.pop("frames"), np.int64)
        return Offsets(frames=frames, **{name: np.array(values, np.float64) for name, values in record.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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
    looks, off = _marked_hands(rig, seen, human_m)  # (C, n, 2, 21, 3 and 2)
    far = np.linalg.norm(off, axis=-1)
    whole = np.asarray(np.isfinite(looks).all((-1, -2)), np.bool_)
    told = np.asarray(np.isfinite(far) & whole[..., None], np.bool_)
    near = np.asarray(told & (far < _OFF_M), np.bool_)
    frames = np.asarray(near.any((0, 2)).sum(0), np.int64)
    if frames.max() < _FEWEST:
        raise InputError(
            f"{int(frames.max())} frames have joints both by people and by the machine: mark {_FEWEST} or more frames "
            "in two views each, spread over the recording"
        )
    hands = np.argwhere(told.any(-1))
    chosen = tuple(hands[np.linspace(0, len(hands) - 1, min(len(hands), _MOST)).astype(int)].T)
    looks, off, told, near = looks[chosen], off[chosen], told[chosen], near[chosen]
    usual, pulls = np.zeros((PER_HAND, 2)), np.zeros((len(looks), PER_HAND, 2))
    squares = np.where(told, _OFF_M**2, np.nan)
    for joints, alike in _likeness(looks, looks):
        for joint in joints:
            own = np.flatnonzero(near[:, joint])
            if frames[joint] >= _FEWEST:
                usual[joint] = np.median(off[own, joint], 0)
                pulls[own, joint], left = _regression(alike[np.ix_(own, own)], off[own, joint] - usual[joint])
                squares[own, joint] = np.minimum((left**2).sum(1), _OFF_M**2)
    return Offsets(looks, usual, pulls, squares, frames)


def _marked_hands(rig: CameraRig, seen: ChunkDetections, human_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How C views see hands of n frame sets (C, n, 2, 21, 3), and how far off their joints are (C, n, 2, 21, 2)."""
    machine_m = triangulate_detections(rig, seen).points_m
    looks, off = np.full((len(rig), *machine_m.shape), np.nan), np.full((len(rig), *machine_m.shape[:-1], 2), np.nan)
    for view, camera in enumerate(rig):
        axes, looks[view] = _views_of_hands(camera.centre_m, machine_m)
        away = np.cross(axes[..., 0], axes[..., 1])[..., None, :]
        rays = camera.directions(seen.points_px[:, view].astype(np.float64))
        depth = ((human_m - camera.centre_m) * away).sum(-1) / (rays * away).sum(-1)
        off[view] = (camera.centre_m + depth[..., None] * rays - human_m) @ axes
    return looks, off


def _regression(alike: FloatArray, off_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pulls (M, 2) of M offsets (M, 2), and what is left of each if the others tell it; those far off count less."""
    noise = np.ones(len(off_m))
    pulls = left = off_m
    for _ in range(_ROUNDS):
        inverse = np.linalg.inv(alike + np.diag(noise))
        pulls = inverse @ off_m
        left = pulls / np.diag(inverse)[:, None]
        far = np.linalg.norm(left, axis=1)
        noise = 1 + (far / (2 * max(float(np.median(far)), 1e-4))) ** 2
    return pulls, left


def _likeness(a_m: FloatArray, b_m: FloatArray) -> Iterator[tuple[list[int], FloatArray]]:
    """Joints, and the covariance (A, B) of their offsets in hands (A, 21, 3) and (B, 21, 3)."""
    whole = _alike(a_m, b_m, _ALL)
    for part, joints in _PARTS:
        yield list(joints), _SHARE * (whole + _alike(a_m, b_m, part))


def _alike(a_m: FloatArray, b_m: FloatArray, joints: tuple[int, ...]) -> FloatArray:
    """(A, B) how much hands (A, 21, 3) and (B, 21, 3) look alike, 0 to 1, by some of their joints."""
    a, b = (hands[:, list(joints)].reshape(len(hands), -1) / _ALIKE_M for hands in (a_m, b_m))
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-np.maximum(square, 0) / (2 * len(joints)))


def _views_of_hands(centre_m: FloatArray, points_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How a camera sees hands (n, 2, 21, 3), the left ones mirrored.

    Returns:
        Axes (n, 2, 3, 2) across the direction of view, along the hand and beside it; joints (n, 2, 21, 3) from the
        middle finger's knuckle along these and away from the camera.
    """
    wrist, knuckle = points_m[..., 0, :], points_m[..., 9, :]
    away = unit(knuckle - centre_m)
    along = knuckle - wrist
    along = unit(along - (along * away).sum(-1, keepdims=True) * away)
    beside = np.cross(along, away)
    beside[:, 1] *= -1
    axes = np.stack([along, beside, away], -1)
    return axes[..., :2], (points_m - knuckle[..., None, :]) @ axes

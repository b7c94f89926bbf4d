"""Labels in space from detections: triangulated, corrected by people's marks, fitted, and withheld where uncertain.

They are stored as Parquet, a file for each chunk of frame sets and in it a row for each joint, and nowhere else: the
marks that the annotation page shows are projections of them.

Where hands lie on each other, all views may exchange right and left at once, and for a while. Next to frame sets that
people marked, motion shows it: both hands would leap to where the other one was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, FloatArray, Image, IntArray
from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.media.tables.parquet_tables import arrow
from sonjit.multiview.annotation.marks import MACHINE, Mark
from sonjit.multiview.automatic.detection import ChunkDetections
from sonjit.multiview.automatic.learning import human_joints
from sonjit.multiview.automatic.offsets import Offsets, triangulate_detections
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.bones import (
    FITTED_BONES,
    PER_HAND,
    SIDES,
    fit_mesh,
    fit_skeletons,
    fitted_lengths,
    rig_of_lengths,
)
from sonjit.multiview.triangulation.triangulation import Triangulation
from sonjit.results import Hand

_TURN_M: Final = 0.1
"""How much shorter both hands' ways must become for each of two leaps: hands that rub swing as far as that."""

_EACH_M: Final = 0.02
"""And for each frame set between them, so that the shorter part is the wrong one."""

_UNKNOWN_M: Final = 0.1
_FAR_M: Final = 0.4
_PAUSE: Final = 2.5  # usual steps between frame sets, beyond which a hand may be anywhere


def swapped_frame_sets(frames: IntArray, points_m: FloatArray, human_m: FloatArray) -> BoolArray:
    """(n,) frame sets in which the two hands should be exchanged: where people marked them so, and next to those.

    None that nobody marked is first, or last before a pause.

    Args:
        frames: (n,) numbers, ascending.
        points_m: (n, 2, 21, 3) the machine's right and left hand; NaN where unknown.
        human_m: the same by people; NaN where nobody marked.
    """
    certain = np.asarray(np.isfinite(human_m).any((1, 2, 3)), np.bool_)
    swapped = np.zeros(len(frames), np.bool_)
    if not certain.any():
        return swapped
    told = np.asarray(certain & (_apart(points_m[:, ::-1], human_m) < _apart(points_m, human_m)), np.bool_)
    placed = np.where(np.isfinite(human_m), np.where(told[:, None, None, None], human_m[:, ::-1], human_m), points_m)
    steps = np.diff(frames)
    pauses = np.flatnonzero(steps > _PAUSE * np.median(steps)) + 1 if len(steps) else []
    for first, last in pairwise([0, *map(int, pauses), len(frames)]):
        swapped[first:last] = _cheapest(placed[first:last], certain[first:last], told[first:last])
    return swapped


def _apart(points_m: FloatArray, human_m: FloatArray) -> FloatArray:
    """(n,) how far joints (n, 2, 21, 3) lie from people's on average; infinity where none is known by both."""
    apart = np.linalg.norm(points_m - human_m, axis=-1)
    known = np.isfinite(apart)
    return np.where(known.any((1, 2)), np.where(known, apart, 0).sum((1, 2)) / np.maximum(known.sum((1, 2)), 1), np.inf)


def _cheapest(points_m: FloatArray, certain: BoolArray, told: BoolArray) -> BoolArray:
    """The way through as they are (0) and exchanged (1) that costs least (Viterbi's).

    It is as people told where they did, and begins and ends with 0 where they did not.
    """
    ways = np.stack([_ways(points_m, points_m), _ways(points_m, points_m[:, ::-1])])  # (2, n - 1)
    barred = np.where((certain[:, None] & (told[:, None] == [True, False])), np.inf, [0.0, _EACH_M])  # (n, 2)
    barred[[0, -1], 1] += np.where(certain[[0, -1]], 0.0, np.inf)
    cost, came = barred[0], np.zeros((len(points_m), 2), np.intp)
    for row in range(1, len(points_m)):
        same, other = ways[:, row - 1]
        total = cost[:, None] + np.array([[same, other + _TURN_M], [other + _TURN_M, same]])  # before, now
        came[row] = total.argmin(0)
        cost = total.min(0) + barred[row]
    state, found = int(cost.argmin()), np.zeros(len(points_m), np.bool_)
    for row in range(len(points_m) - 1, -1, -1):
        found[row] = state == 1
        state = int(came[row, state])
    return found


def _ways(points_m: FloatArray, then_m: FloatArray) -> FloatArray:
    """(n - 1,) how far both hands go from each frame set to the next one of others (n, 2, 21, 3), metres."""
    apart = np.linalg.norm(then_m[1:] - points_m[:-1], axis=-1)  # (n - 1, 2, 21)
    known = np.isfinite(apart)
    mean = np.where(known, apart, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    return np.where(known.any(-1), np.minimum(mean, _FAR_M), _UNKNOWN_M).sum(-1)


SOURCES: Final = ("", "M", "H", "H+M")
"""By whom a label is; files hold the index."""

_NEAR_PX: Final = 4.0  # from the fitted hand, at which a detection counts half
_OFF_M: Final = 0.012  # a joint that the fit moved further was wrong in its views
_BONE_M: Final = 0.006  # a bone that could not be given its length has a wrong end
_SPREAD_M: Final = 0.005
_SHARE: Final = 1 / 3  # of the views must agree; two at least
_AXES: Final = ("x_m", "y_m", "z_m")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of N frame sets, for the right and the left hand.

    Attributes:
        frames: (N,) numbers.
        points_m: (N, 2, 21, 3) in the world; NaN where there is none.
        covariance_m2: (N, 2, 21, 3, 3).
        source: (N, 2, 21) index in `SOURCES`.
        views: (N, 2, 21) how many views agree.
        residual_px: (N, 2, 21) root mean square over them.
        seen: (N, C, 2, 21) which views agree.
        mesh_m: (N, 2) mean distance of the fitted mesh's joints; NaN without.
    """

    frames: IntArray
    points_m: FloatArray
    covariance_m2: FloatArray
    source: IntArray
    views: IntArray
    residual_px: FloatArray
    seen: BoolArray
    mesh_m: FloatArray

    @property
    def spread_m(self) -> FloatArray:
        """(N, 2, 21) root of the summed variances."""
        return np.sqrt(np.trace(self.covariance_m2, axis1=-2, axis2=-1))

    def part(self, rows: slice) -> Labels:
        """Some of the frame sets."""
        return Labels(**{name: value[rows] for name, value in self.__dict__.items()})

    def save(self, folder: Path) -> Path:
        """Write as `FRAME.parquet`, by the first frame, that is whole or not there; returns the file.

        A row for each frame set, hand and joint, in this order: frame, hand, joint, x_m, y_m, z_m, covariance_m2 (9),
        source, views, residual_px, seen (a truth value for each view), mesh_m. What is unknown is null.
        """
        pa = arrow()
        joints = len(self.frames) * len(SIDES) * PER_HAND
        places = np.indices((len(self.frames), len(SIDES), PER_HAND)).reshape(3, -1)

        def known(values: NDArray[Any]) -> Any:  # noqa: ANN401  # PyArrow's
            return pa.array(values.reshape(-1), from_pandas=True)  # null for NaN, which sums of SQL would hand on

        def lists(values: NDArray[Any], size: int) -> Any:  # noqa: ANN401  # PyArrow's
            return pa.FixedSizeListArray.from_arrays(known(np.ascontiguousarray(values)), size)

        columns = {
            "frame": self.frames[places[0]],
            "hand": np.array(SIDES)[places[1]],
            "joint": places[2].astype(np.int8),
            **{name: known(self.points_m[..., axis]) for axis, name in enumerate(_AXES)},
            "covariance_m2": lists(self.covariance_m2, 9),
            "source": self.source.reshape(-1),
            "views": self.views.reshape(-1),
            "residual_px": known(self.residual_px),
            "seen": lists(np.moveaxis(self.seen, 1, -1).reshape(joints, -1), self.seen.shape[1]),
            "mesh_m": known(np.repeat(self.mesh_m.reshape(-1), PER_HAND)),
        }
        path = label_file(folder, int(self.frames[0]))
        with atomic_file(path) as draft:
            pa.parquet.write_table(pa.table(columns), draft, compression="zstd")
        return path


def label_file(folder: Path, first: int) -> Path:
    """The file of the chunk whose first frame set has this number; `folder` is the run's `labels`."""
    return folder / f"{first:012d}.parquet"


def load_labels(path: Path) -> Labels:
    """What `Labels.save` wrote.

    Raises:
        InputError: it is damaged.
    """
    pa = arrow()
    try:
        table = pa.parquet.read_table(path)
        shape = (-1, len(SIDES), PER_HAND)

        def flat(name: str) -> NDArray[Any]:
            column = table[name].combine_chunks()
            return (column.flatten() if pa.types.is_fixed_size_list(column.type) else column).to_numpy(False)

        return Labels(
            flat("frame").reshape(shape)[:, 0, 0],
            np.stack([flat(name).reshape(shape) for name in _AXES], -1),
            flat("covariance_m2").reshape(*shape, 3, 3),
            flat("source").reshape(shape),
            flat("views").reshape(shape),
            flat("residual_px").reshape(shape),
            np.moveaxis(flat("seen").reshape(*shape, table.schema.field("seen").type.list_size), -1, 1),
            flat("mesh_m").reshape(shape)[..., 0],
        )
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and run sonjit annotate auto again") from None


def label_chunk(
    rig: CameraRig,
    seen: ChunkDetections,
    lengths_m: FloatArray,
    offsets: Offsets | None,
    marks: Sequence[Sequence[Mark]],
    fps: float,
) -> Labels:
    """Labels of consecutive frame sets.

    Args:
        rig: C cameras.
        seen: their detections.
        lengths_m: (2, 20) bones of the person.
        offsets: from the detector's keypoints to people's; None for none.
        marks: of each frame set, all annotators'.
        fps: frames per second of the recordings.
    """
    people = [human_joints(rig, own) for own in marks]
    times = seen.frames / fps
    seen = unswapped(rig, seen, people)
    if offsets is not None:
        seen = offsets.correct(rig, seen, triangulate_detections(rig, seen).points_m)
    rough, spread = _with_people(triangulate_detections(rig, seen), people)
    fits = [fit_skeletons(rough[:, side], spread[:, side], lengths_m[side], times) for side in range(2)]
    fitted_m = np.stack([fit.points_m for fit in fits], 1)
    found = triangulate_detections(rig, _trusted_by(rig, seen, fitted_m))
    observed, covariance = _with_people(found, people)
    source = np.where(found.ok, 1, 0)
    for row, (own, human) in enumerate(zip(marks, people, strict=True)):
        source[row][human.ok] = 3 if any(mark.source == "H+M" for mark in own) else 2
    views = found.inlier.sum(0)
    points, spread = observed.copy(), covariance.copy()
    mesh = np.full((len(times), 2), np.nan)
    for side, name in enumerate(SIDES):
        fitted = fit_skeletons(observed[:, side], covariance[:, side], lengths_m[side], times)
        human = source[:, side] >= 2
        enough = views[:, side] >= max(2, round(_SHARE * len(rig)))
        sure = _is_sure(fitted.points_m, fitted.covariance_m2, observed[:, side], lengths_m[side])
        sure = human | (enough & sure)
        points[:, side] = np.where(human[..., None], observed[:, side], fitted.points_m)
        points[:, side][~sure] = np.nan
        spread[:, side] = np.where(human[..., None, None], covariance[:, side], fitted.covariance_m2)
        spread[:, side][~sure] = np.nan
        source[:, side] = np.where(sure, np.maximum(source[:, side], 1), 0)
        mesh[:, side] = fit_mesh(rig_of_lengths(name, lengths_m[side]), fitted.points_m)[2]
    square = np.where(found.inlier, found.residual_px**2, 0).sum(0)
    residual = np.where(views > 0, np.sqrt(square / np.maximum(views, 1)), np.nan)
    return Labels(
        seen.frames, points, spread, source.astype(np.int64), views.astype(np.int64), residual,
        np.moveaxis(found.inlier, 0, 1), mesh,
    )  # fmt: skip


def _with_people(found: Triangulation, people: Sequence[Triangulation]) -> tuple[FloatArray, FloatArray]:
    """The machine's joints (n, 2, 21, 3) and their covariances, and people's where these marked."""
    points, covariance = found.points_m.copy(), found.covariance_m2.copy()
    for row, human in enumerate(people):
        points[row][human.ok], covariance[row][human.ok] = human.points_m[human.ok], human.covariance_m2[human.ok]
    return points, covariance


def _trusted_by(rig: CameraRig, seen: ChunkDetections, points_m: FloatArray) -> ChunkDetections:
    """Detections that count less the further they lie from joints (n, 2, 21, 3): bones tell which views are right."""
    off = np.linalg.norm(np.moveaxis(rig.project(points_m), 0, 1) - seen.points_px, axis=-1)
    weight = np.where(np.isfinite(off), 1 / (1 + (off / _NEAR_PX) ** 2), 1)
    return replace(seen, confidence=(seen.confidence * weight).astype(np.float32))


def unswapped(rig: CameraRig, seen: ChunkDetections, people: Sequence[Triangulation]) -> ChunkDetections:
    """Detections with the hands exchanged where people's joints in that frame set, or one close by, show it.

    Args:
        rig: C cameras.
        seen: by them, in n frame sets.
        people: (2, 21) joints that people marked in each of them.
    """
    if not any(human.ok.any() for human in people):
        return seen
    told = np.stack([np.where(human.ok[..., None], human.points_m, np.nan) for human in people])
    rows = swapped_frame_sets(seen.frames, triangulate_detections(rig, seen).points_m, told)
    return seen.exchanged(rows) if rows.any() else seen


def _is_sure(
    points_m: FloatArray, covariance_m2: FloatArray, observed_m: FloatArray, lengths_m: FloatArray
) -> BoolArray:
    """(N, 21) joints that are certain, near to what the views show, and keep their bones' lengths."""
    spread = np.sqrt(np.trace(covariance_m2, axis1=-2, axis2=-1))
    moved = np.linalg.norm(points_m - observed_m, axis=-1)
    sure = (spread < _SPREAD_M) & (moved < _OFF_M)
    bad = np.abs(fitted_lengths(points_m) - lengths_m) > _BONE_M
    for end in (0, 1):
        for bone in range(len(FITTED_BONES)):
            sure[:, FITTED_BONES[bone, end]] &= ~bad[:, bone]
    return np.asarray(sure, np.bool_)


def marks_of_labels(rig: CameraRig, labels: Labels, run: str) -> list[Mark]:
    """A mark for each label and view in whose image it lies: seen where the view is an inlier, else occluded.

    Args:
        rig: the cameras of `labels.seen`.
        labels: in space.
        run: its name, part of the marks' ids.
    """
    pixels = rig.project(labels.points_m)  # (C, N, 2, 21, 2)
    inside = np.stack([camera.inside(np.nan_to_num(own, nan=-1.0)) for camera, own in zip(rig, pixels, strict=True)])
    marks: list[Mark] = []
    rows = np.argwhere(inside).tolist(), np.round(pixels[inside], 2).tolist(), np.moveaxis(labels.seen, 1, 0)[inside]
    for (view, row, side, joint), (x, y), seen in zip(*rows, strict=True):
        frame, place = int(labels.frames[row]), PER_HAND * side + joint
        name, state = f"{run}-{frame}-{view}-{place}", "seen" if seen else "occluded"
        marks.append(Mark(name, frame, rig.names[view], place, MACHINE, state, x, y, "M"))
    return marks


Detect = Callable[["NDArray[np.uint8]"], "Sequence[Hand]"]
"""An image (H, W, 3) to its hands, such as the `detect` of a detector of stills."""


def prelabel(detect: Detect, rgb: Image, frame: int, view: str) -> list[Mark]:
    """Marks of the right and the left hand with the highest scores in one image.

    Args:
        detect: finds hands.
        rgb: (H, W, 3) the image.
        frame: number of the frame set.
        view: the camera's name.

    Returns:
        21 or 42 marks, fewer where keypoints lie outside the image; none where no hand is found.
    """
    height, width = rgb.shape[:2]
    hands = sorted(detect(rgb), key=lambda hand: hand.score)
    marks: list[Mark] = []
    for side, hand in {hand.handedness: hand for hand in hands}.items():
        first = PER_HAND * SIDES.index(side)
        for k, (x, y) in enumerate(np.asarray(hand.keypoints, np.float64)[:, :2].tolist()):
            if 0 <= x <= width and 0 <= y <= height:
                marks.append(Mark(uuid4().hex, frame, view, first + k, MACHINE, "seen", x, y, "M"))
    return marks

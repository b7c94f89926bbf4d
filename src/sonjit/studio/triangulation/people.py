"""Fit, save and load people in space: their keypoints over a recording, with bones of constant length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.reading import field
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.bones import bone_lengths, medians, regularized_lengths
from sonjit.studio.triangulation.camera_arrays import camera_arrays
from sonjit.studio.triangulation.detections import DEFAULT_STEP_S, HANDS, LIST_ORDER, Detections, Part, part_slices
from sonjit.studio.triangulation.skeleton_fit import enforce_lengths, fit_skeletons
from sonjit.studio.triangulation.triangulation import Triangulation, covariances

_ACCELERATION: Final = 16.0  # m/s² of gestures; with few cameras only smoothness separates depth from noise


def fit_constant_bones(rig: CameraRig, detections: Detections, found: Triangulation) -> Triangulation:
    """Fit the same people with bones of constant length and limited acceleration. Faces have no bones and stay.

    Joints that were lost for up to half a second are interpolated; `inlier` stays that of the triangulation.

    Args:
        rig: Rig of C cameras.
        detections: Detections of these cameras.
        found: Triangulation of points (F, N, K).

    Raises:
        InputError: The times of the frame sets are unknown, or the tables contain only faces.
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
                    bones=part.bones, acceleration=_ACCELERATION, redescending=False,
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
    """Write people in space as JSON.

    `{"unit": "m", "cameras": [names], "skeletons": {list: name}, "frames": [{"index", "time" s, LIST: [{"id",
    "handedness" of hands, "keypoints_m" J x 3, "spread_mm" J, "residual_px" {camera: J}, "views" J}]}]}`, where LIST is
    hands, faces or bodies and an id, from 1, is one person's in all lists and frame sets. Unknown values are null.
    `spread_mm` is the root of the covariance's trace, `views` the number of inlier views.

    Args:
        path: File to write.
        rig: Rig of the cameras.
        detections: Detections of F frame sets.
        found: Triangulation of points (F, N, K).
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
    content = {"unit": "m", "cameras": list(rig.names), "skeletons": skeletons, "frames": records}
    write_json(path, content)


def _plain(values: FloatArray, digits: int) -> Any:  # noqa: ANN401  # nested lists
    """Convert to a number or nested lists, with null for unknown values."""
    rounded = np.asarray(np.round(values, digits)).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


@dataclass(frozen=True, eq=False)
class PeopleInSpace:
    """People over a recording.

    Attributes:
        parts: Parts that somebody has in the order of keypoints, K together.
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
    """Load a file of `save_people`.

    Raises:
        InputError: The file cannot be read, has no people, or lacks the times of its frame sets.
    """
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

"""Calibration of a rig from sightings of a target: intrinsics and poses, refined together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import JobError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.multiview.calibration.bundle import Bundle, Observations, adjust, projected
from sonjit.multiview.calibration.initial_estimate import (
    LENS_TERMS,
    LensModel,
    Pair,
    Place,
    TargetPose,
    camera_from_sightings,
    inverse,
    joined,
    pairs_of,
    target_poses,
    tree_places,
)
from sonjit.multiview.cameras.rig import CameraRig, RigCamera

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.calibration.board import CalibrationTarget, Sighting, Sightings

_BAD_PX = 0.5
_BAD_TIMES = 2.0


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """A calibrated rig and the evidence for it.

    Attributes:
        rig: in the first camera's frame, metres.
        target: what was seen.
        target_places: target to world, by frame.
        sightings: those that were used.
        errors_px: (n, 2) of each sighting, where the rig sees its points less where they were seen.
        tree: the pairs of cameras that the initial estimate went along.
        problems: images that could not be read, and doubts about the rig; one line each.
    """

    rig: CameraRig
    target: CalibrationTarget
    target_places: Mapping[int, Place]
    sightings: tuple[Sighting, ...]
    errors_px: tuple[NDArray[np.float64], ...]
    tree: tuple[Pair, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def rms_px(self) -> float:
        """Root mean square distance of all points, pixels: what OpenCV and InterHand2.6M report."""
        return rms_of(self.errors_px)

    def rms_by_view(self) -> dict[str, float]:
        """Likewise for each camera."""
        return {name: rms_of([e for s, e in self._both() if s.view == name]) for name in self.rig.names}

    def rms_by_frame(self) -> dict[int, float]:
        """Likewise for each frame set."""
        return {frame: rms_of([e for s, e in self._both() if s.frame == frame]) for frame in self.target_places}

    def moved(self, R: NDArray[np.float64], t_m: NDArray[np.float64], scale: float = 1.0) -> RigCalibration:
        """The same in another world, x_new = scale R x_old + t_m; the target keeps its own axes but not its size."""
        places = {frame: (R @ turn, scale * R @ shift + t_m) for frame, (turn, shift) in self.target_places.items()}
        return replace(self, rig=self.rig.moved(R, t_m, scale), target_places=places)

    def _both(self) -> list[tuple[Sighting, NDArray[np.float64]]]:
        return list(zip(self.sightings, self.errors_px, strict=True))


def rms_of(errors_px: Sequence[NDArray[np.float64]]) -> float:
    """Root mean square distance of errors (n, 2); NaN without any."""
    if not errors_px:
        return float("nan")
    return float(np.sqrt((np.concatenate(list(errors_px)) ** 2).sum(1).mean()))


def calibrate(
    target: CalibrationTarget,
    sightings: Sightings,
    *,
    lens: LensModel = "usual",
    lenses: Mapping[str, CalibratedCamera] | None = None,
) -> RigCalibration:
    """A rig from sightings of a target that several cameras saw in the same frame sets.

    Args:
        target: what was seen; its size gives the world its metres.
        sightings: by all cameras; a frame's number means the same frame set in each.
        lens: which distortion coefficients to estimate.
        lenses: K and distortion by camera where they are known; they are kept then.

    Raises:
        InputError: a camera saw the target in too few images, or never together with the others.
        JobError: the sightings fit no rig.
    """
    names = list(sightings.sizes)
    known = lenses or {}
    cameras = [
        known[name] if name in known else camera_from_sightings(target, sightings.of(name), sightings.sizes[name], lens)
        for name in names
    ]
    poses: list[dict[int, list[TargetPose]]] = [
        {
            one.frame: found
            for one in sightings.of(name)
            if (found := target_poses(target.points_m[one.points], one.pixels, camera, flat=target.is_flat))
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    places, tree = tree_places(pairs_of(poses), names)
    placed = _target_places(target, sightings, names, cameras, poses, places)
    used = tuple(one for one in sightings.found if one.frame in placed)
    terms = np.zeros((len(names), 9), np.bool_)
    terms[:, [0, 1, 2, 3, *(4 + term for term in LENS_TERMS[lens])]] = True
    terms[[name in known for name in names]] = False
    frames = {frame: row for row, frame in enumerate(placed)}
    observed = Observations(
        np.concatenate([np.full(len(one.points), names.index(one.view)) for one in used]),
        np.concatenate([np.full(len(one.points), frames[one.frame]) for one in used]),
        np.concatenate([target.points_m[one.points] for one in used]),
        np.concatenate([one.pixels for one in used]),
    )
    start = Bundle(
        np.stack([_numbers(camera) for camera in cameras]),
        *(np.stack([place[part] for place in places]) for part in (0, 1)),
        *(np.stack([place[part] for place in placed.values()]) for part in (0, 1)),
    )
    best = adjust(start, observed, free_lens=terms)
    errors = projected(best, observed) - observed.pixels
    if not np.isfinite(errors).all():
        raise JobError("calibration failed: the cameras do not fit together; check for a wrong or swapped camera")
    ends = np.cumsum([len(one.points) for one in used])[:-1]
    made = RigCalibration(
        CameraRig(RigCamera(name, *sightings.sizes[name], _camera(best, row)) for row, name in enumerate(names)),
        target,
        {frame: (best.target_turns[row], best.target_shifts[row]) for frame, row in frames.items()},
        used,
        tuple(np.split(errors, ends)),
        tuple(tree),
    )
    return replace(made, problems=(*sightings.problems, *_doubts(made)))


def _doubts(made: RigCalibration) -> list[str]:
    """Reasons to doubt a calibration, one line each."""
    names, views = made.rig.names, made.rms_by_view()
    usual = float(np.nanmedian(list(views.values())))
    return [
        *(
            f"cameras {names[pair.first]} and {names[pair.second]} are linked by {pair.frames} frame sets that two "
            "solutions explain alike: show them the board nearer and tilted more"
            for pair in made.tree
            if pair.is_unsure
        ),
        *(
            f"camera {name} fits badly: {rms:.2f} px where half of the cameras have below {usual:.2f}"
            for name, rms in views.items()
            if rms > max(_BAD_TIMES * usual, _BAD_PX)
        ),
    ]


def _target_places(
    target: CalibrationTarget,
    sightings: Sightings,
    names: list[str],
    cameras: list[CalibratedCamera],
    poses: list[dict[int, list[TargetPose]]],
    places: list[Place],
) -> dict[int, Place]:
    """Target to world for each frame: of all that single cameras propose, the one that all of them fit best."""
    by_frame: dict[int, list[Sighting]] = {}
    for one in sightings.found:
        by_frame.setdefault(one.frame, []).append(one)
    chosen: dict[int, Place] = {}
    for frame, seen in sorted(by_frame.items()):
        proposals = [
            joined(inverse(places[row]), (pose.R, pose.t))
            for row in range(len(names))
            for pose in poses[row].get(frame, [])
        ]
        costs = [_misfit(target, seen, names, cameras, places, place) for place in proposals]
        if costs and np.isfinite(min(costs)):
            chosen[frame] = proposals[int(np.argmin(costs))]
    return chosen


def _misfit(
    target: CalibrationTarget,
    seen: list[Sighting],
    names: list[str],
    cameras: list[CalibratedCamera],
    places: list[Place],
    target_place: Place,
) -> float:
    """Sum over views of the median distance in pixels, none counting for more than 50 px."""
    total = 0.0
    for one in seen:
        row = names.index(one.view)
        R, t = joined(places[row], target_place)
        gap = np.linalg.norm(cameras[row].project(target.points_m[one.points] @ R.T + t) - one.pixels, axis=1)
        total += min(float(np.median(np.nan_to_num(gap, nan=np.inf))), 50.0)
    return total


def _numbers(camera: CalibratedCamera) -> NDArray[np.float64]:
    """(9,) fx, fy, cx, cy, k1, k2, p1, p2, k3."""
    lens = np.zeros(5) if camera.distortion is None else camera.distortion
    return np.array([*camera.intrinsics, *lens])


def _camera(bundle: Bundle, row: int) -> CalibratedCamera:
    fx, fy, cx, cy, *lens = bundle.lenses[row]
    bent = np.array(lens)
    return CalibratedCamera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        bundle.camera_turns[row],
        bundle.camera_shifts[row],
        bent if bent.any() else None,
    )

"""Single mistakes that would explain why one camera does not see what the others say it should."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.planar import angle_between, target_poses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig, RigCamera
    from sonjit.multiview.planar import TargetPose

_FEWEST_POINTS = 8
_SHIFTS = sorted({*range(-10, 11)} - {0}, key=abs)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a rig's points.

    Attributes:
        rig: C cameras.
        pixels: (C, ..., 2) what each sees, NaN without.
        points_m: (..., 3) what the cameras that agree say, NaN without.
        bad: places of the cameras that do not agree.
        threshold_px: how far a view may be off.
    """

    rig: CameraRig
    pixels: NDArray[np.float64]
    points_m: NDArray[np.float64]
    bad: frozenset[int]
    threshold_px: float

    def off_px(self, pixels: NDArray[np.float64], view: RigCamera) -> float:
        """Median distance of pixels (..., 2) from where a camera should see the points; infinite for a few."""
        gap = np.linalg.norm(pixels - view.project(self.points_m), axis=-1)
        known = np.isfinite(gap)
        return float(np.median(gap[known])) if known.sum() >= _FEWEST_POINTS else np.inf

    def fits(self, pixels: NDArray[np.float64], view: RigCamera) -> bool:
        """Whether half of the pixels (..., 2) are where a camera should see the points."""
        return self.off_px(pixels, view) < self.threshold_px


def explain(evidence: Evidence, row: int) -> tuple[str, str]:
    """The kind of mistake and one line about it; the first that explains what a camera sees."""
    view = evidence.rig.cameras[row]
    known = np.isfinite(evidence.pixels[row]).all(-1) & np.isfinite(evidence.points_m).all(-1)
    if known.sum() < _FEWEST_POINTS:
        return "silent", f"camera {view.name!r} shares {known.sum()} points with the others: too few to check it"
    return next(_explanations(evidence, row, known))


def _explanations(evidence: Evidence, row: int, known: NDArray[np.bool_]) -> Iterator[tuple[str, str]]:
    rig, own = evidence.rig, evidence.pixels[row]
    view = rig.cameras[row]
    named = f"camera {view.name!r}"
    for other, there in enumerate(rig.cameras):
        if other != row and evidence.fits(own, there):
            if other in evidence.bad and evidence.fits(evidence.pixels[other], view):
                yield "swapped", f"cameras {view.name!r} and {there.name!r} are exchanged: swap their names or pictures"
            yield (
                "duplicate",
                f"{named} shows what {there.name!r} should see: its pictures or calibration are the other's",
            )
    if own.ndim == 3:
        off, late = min((evidence.off_px(_shifted(own, by), view), by) for by in _SHIFTS)
        if off < evidence.threshold_px:
            yield "late", f"{named} is {abs(late)} frames {'late' if late > 0 else 'early'}: synchronise the views"
    x, y = own[..., 0], own[..., 1]
    width, height = view.width, view.height
    for kind, turned, says in (
        ("mirrored", (width - x, y), "its pictures are mirrored"),
        ("mirrored", (x, height - y), "its pictures are upside down and mirrored"),
        ("turned", (width - x, height - y), "its pictures are turned by 180 degrees"),
        ("turned", (y, height - x), "its pictures are turned by 90 degrees, clockwise"),
        ("turned", (width - y, x), "its pictures are turned by 90 degrees, counter-clockwise"),
    ):
        if evidence.fits(np.stack(turned, -1), view):
            yield kind, f"{named}: {says}"
    there = view.project(evidence.points_m)
    scale = _scale(own, there)
    if evidence.fits(own * scale, view):
        yield "resized", f"{named}: its pictures are {1 / scale:.3g} times as large as those it was calibrated with"
    scale = _scale(there - view.camera.K[:2, 2], own - view.camera.K[:2, 2])
    if scale > 0 and evidence.fits(own, _lens_changed(view, scale)):
        focal = view.camera.K[0, 0]
        yield "lens", f"{named} has wrong intrinsics: a focal length near {focal * scale:.0f} px fits, not {focal:.0f}"
    for pose in target_poses(evidence.points_m[known], own[known], view.camera, flat=False):
        moved = _moved(view, pose)
        if evidence.fits(own, moved):
            shift = 1000 * float(np.linalg.norm(moved.centre_m - view.centre_m))
            turn = np.degrees(angle_between(pose.R, view.R))
            yield "moved", f"{named} was moved by {shift:.0f} mm and turned by {turn:.1f} degrees since its calibration"
    yield (
        "unknown",
        f"{named} does not see what the others say it should, for no single mistake: leave it out",
    )


def _shifted(own: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    """(F, J, 2) what is seen `by` frames later."""
    shifted = np.full_like(own, np.nan)
    shifted[max(-by, 0) : len(own) - max(by, 0)] = own[max(by, 0) : len(own) - max(-by, 0)]
    return shifted


def _scale(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The median of how many times as long the second's vectors (..., 2) are as the first's."""
    ratio = np.linalg.norm(other, axis=-1) / np.maximum(np.linalg.norm(one, axis=-1), 1e-9)
    known = np.isfinite(ratio)
    return float(np.median(ratio[known])) if known.any() else 1.0


def _lens_changed(view: RigCamera, scale: float) -> RigCamera:
    K = np.asarray(view.camera.K, np.float64).copy()
    K[:2, :2] *= scale
    return replace(view, camera=replace(view.camera, K=K))


def _moved(view: RigCamera, pose: TargetPose) -> RigCamera:
    return replace(view, camera=replace(view.camera, R=pose.R, t=pose.t))

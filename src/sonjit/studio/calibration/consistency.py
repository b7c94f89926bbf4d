"""Find cameras that do not fit the others, and the reason: swapped, mirrored, resized, late, moved, or a wrong lens.

Two views of the same points must agree along their epipolar lines. The cameras of the largest group that agrees are
trusted. For each of the others, the single mistake that would explain its pixels is determined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, RealArray
from sonjit._util.errors import InputError, pluralize
from sonjit.studio.calibration.estimates import angle_between, poses_from_points
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.triangulation.triangulation import triangulate

_MAX_POINTS = 400  # number of shared points by which two cameras are compared
_MIN_POINTS = 8  # least number of shared points for a comparison
_MIN_AGREEMENT = 0.6  # least fraction of points, and of good cameras, that must agree
_FRAME_SHIFTS = sorted({*range(-10, 11)} - {0}, key=abs)
"""Delays of a camera in frames that are tried, small ones first."""


@dataclass(frozen=True)
class CameraFault:
    """A fault of a camera.

    Attributes:
        kind: swapped, duplicate, mirrored, turned, resized, late, moved, lens, unchecked, or unknown.
    """

    camera: str
    kind: str
    message: str


def check_views(
    rig: CameraRig, points_px: RealArray, *, threshold_px: float = 10.0
) -> tuple[tuple[str, ...], tuple[CameraFault, ...]]:
    """Find the cameras whose pixels do not fit the rig.

    Args:
        points_px: (C, N, 2) pixels, or (C, F, J, 2) over F frame sets, which separates a late camera from a wrong one.
            NaN where a point is unknown.
        threshold_px: Largest accepted distance between the views of one point, pixels.

    Returns:
        Names of the cameras that agree, and the faults of the others.
    """
    pixels = np.asarray(points_px, np.float64)
    if pixels.ndim not in (3, 4) or len(pixels) != len(rig) or pixels.shape[-1] != 2:
        raise InputError(f"points_px must have shape ({len(rig)}, N, 2) or ({len(rig)}, F, J, 2), not {pixels.shape}")
    pixels = np.where(np.isfinite(pixels).all(-1, keepdims=True), pixels, np.nan)
    agree = _agreement_matrix(rig, pixels.reshape(len(rig), -1, 2), threshold_px)
    best = int(np.argmax((agree == 1).sum(1)))
    good = np.flatnonzero((agree[best] == 1) | (np.arange(len(rig)) == best))
    good = good[[(agree[row, good] == 1).sum() >= _MIN_AGREEMENT * (len(good) - 1) for row in good]]
    if len(good) < 2:
        raise InputError(
            f"no two of the cameras {', '.join(rig.names)} agree within {threshold_px:g} px: the images are of "
            "another rig, of other frame sets, or their names are swapped"
        )
    bad = [row for row in range(len(rig)) if row not in good]
    points = triangulate(
        rig.subset(rig.names[row] for row in good), pixels[good], method="ransac", threshold_px=threshold_px
    ).points_m
    evidence = Evidence(rig, pixels, points, frozenset(int(row) for row in bad), threshold_px)
    return (
        tuple(rig.names[row] for row in good),
        tuple(CameraFault(rig.names[row], *next(diagnoses(evidence, row))) for row in bad),
    )


def _agreement_matrix(rig: CameraRig, pixels: FloatArray, threshold_px: float) -> NDArray[np.int8]:
    """Return (C, C): 1 if two cameras agree on their shared points, -1 if not, 0 if they share too few."""
    agree = np.zeros((len(rig), len(rig)), np.int8)
    finite = np.isfinite(pixels.sum(-1))
    for a in range(len(rig)):
        for b in range(a + 1, len(rig)):
            shared = np.flatnonzero(finite[a] & finite[b])
            if len(shared) < _MIN_POINTS:
                continue
            sample = shared[:: -(-len(shared) // _MAX_POINTS)]
            result = triangulate(rig.subset([rig.names[a], rig.names[b]]), pixels[[a, b]][:, sample], refine=False)
            is_near = result.ok & (np.nan_to_num(result.residual_px, nan=np.inf) < threshold_px / 2).all(0)
            agree[a, b] = agree[b, a] = 1 if is_near.mean() > _MIN_AGREEMENT else -1
    return agree


@dataclass(frozen=True, eq=False)
class Evidence:
    """A rig's points in pixels and in space.

    Attributes:
        pixels: (C, ..., 2) pixels of each camera, NaN if unknown.
        points_m: (..., 3) points triangulated from the cameras that agree, NaN if unknown.
        threshold_px: Largest accepted reprojection error, pixels.
    """

    rig: CameraRig
    pixels: FloatArray
    points_m: FloatArray
    bad: frozenset[int]
    threshold_px: float

    def median_error_px(self, pixels: FloatArray, view: RigCamera) -> float:
        """Return the median distance of pixels (..., 2) from a camera's projections, infinity for a few."""
        gap = np.linalg.norm(pixels - view.project(self.points_m), axis=-1)
        finite = np.isfinite(gap)
        return float(np.median(gap[finite])) if finite.sum() >= _MIN_POINTS else np.inf

    def fits(self, pixels: FloatArray, view: RigCamera) -> bool:
        """Check whether half of the pixels (..., 2) are where a camera should see the points."""
        return self.median_error_px(pixels, view) < self.threshold_px


def diagnoses(evidence: Evidence, row: int) -> Iterator[tuple[str, str]]:
    """Iterate over the mistakes that would explain a camera's pixels, as kind and description."""
    rig, own = evidence.rig, evidence.pixels[row]
    view = rig.cameras[row]
    label = f"camera {view.name!r}"
    finite = np.isfinite(own).all(-1) & np.isfinite(evidence.points_m).all(-1)
    if finite.sum() < _MIN_POINTS:
        few = pluralize(int(finite.sum()), "point")
        yield "unchecked", f"{label} shares {few} with the others: too few to check it"
    for other, other_camera in enumerate(rig.cameras):
        if other != row and evidence.fits(own, other_camera):
            if other in evidence.bad and evidence.fits(evidence.pixels[other], view):
                names = f"{view.name!r} and {other_camera.name!r}"
                yield "swapped", f"cameras {names} are swapped: exchange their names or images"
            whose = "its images or calibration are the other's"
            yield "duplicate", f"{label} shows what {other_camera.name!r} should see: {whose}"
    if own.ndim == 3:
        off, late = min((evidence.median_error_px(_shift_frames(own, by), view), by) for by in _FRAME_SHIFTS)
        if off < evidence.threshold_px:
            yield "late", f"{label} is {abs(late)} frames {'late' if late > 0 else 'early'}: synchronise the views"
    x, y = own[..., 0], own[..., 1]
    width, height = view.width, view.height
    for kind, turned, message in (
        ("mirrored", (width - x, y), "its images are mirrored"),
        ("mirrored", (x, height - y), "its images are upside down and mirrored"),
        ("turned", (width - x, height - y), "its images are turned by 180 degrees"),
        ("turned", (y, height - x), "its images are turned by 90 degrees, clockwise"),
        ("turned", (width - y, x), "its images are turned by 90 degrees, counter-clockwise"),
    ):
        if evidence.fits(np.stack(turned, -1), view):
            yield kind, f"{label}: {message}"
    expected = view.project(evidence.points_m)
    scale = _median_ratio(own, expected)
    if evidence.fits(own * scale, view):
        yield "resized", f"{label}: its images are {1 / scale:.3g} times as large as those it was calibrated with"
    K = np.asarray(view.camera.K, np.float64)
    scale = _median_ratio(expected - K[:2, 2], own - K[:2, 2])
    scaled = np.block([[scale * K[:2, :2], K[:2, 2:]], [K[2:]]])
    if scale > 0 and evidence.fits(own, replace(view, camera=replace(view.camera, K=scaled))):
        fits = f"a focal length near {K[0, 0] * scale:.0f} px fits, not {K[0, 0]:.0f}"
        yield "lens", f"{label} has wrong intrinsics: {fits}"
    for pose in poses_from_points(evidence.points_m[finite], own[finite], view.camera, flat=False):
        moved = replace(view, camera=replace(view.camera, R=pose.R, t=pose.t))
        if evidence.fits(own, moved):
            shift = 1000 * float(np.linalg.norm(moved.centre_m - view.centre_m))
            turn = np.degrees(angle_between(pose.R, view.R))
            yield "moved", f"{label} was moved by {shift:.0f} mm and turned by {turn:.1f} degrees since its calibration"
    yield "unknown", f"{label} contradicts the others, and no single mistake explains it: remove it"


def _shift_frames(own: FloatArray, by: int) -> FloatArray:
    """Shift pixels (F, J, 2) so that each frame has those of `by` frames later."""
    shifted = np.full_like(own, np.nan)
    shifted[max(-by, 0) : len(own) - max(by, 0)] = own[max(by, 0) : len(own) - max(-by, 0)]
    return shifted


def _median_ratio(first: FloatArray, second: FloatArray) -> float:
    """Return the median ratio of the lengths of the second vectors (..., 2) to those of the first."""
    ratio = np.linalg.norm(second, axis=-1) / np.maximum(np.linalg.norm(first, axis=-1), 1e-9)
    finite = np.isfinite(ratio)
    return float(np.median(ratio[finite])) if finite.any() else 1.0

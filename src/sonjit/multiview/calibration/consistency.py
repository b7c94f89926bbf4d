"""Which cameras do not fit the others, and why: swapped, mirrored, resized, late, moved, or of another lens.

Two views of the same points must agree along their epipolar lines. The cameras of the largest group that agrees are
trusted; for each of the others, the single mistake is found that would explain its pixels.

Whether a calibrated world may be mirrored: the planar ambiguity of a flat board.

A small flat board far away looks almost the same when it is tilted the other way. If enough images are solved so, all
cameras and points turn into their mirror image in depth, and reprojection errors hardly show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, FloatArray, RealArray
from sonjit.errors import InputError
from sonjit.multiview.calibration.calibrate import RigCalibration
from sonjit.multiview.calibration.initial_estimate import angle_between, joined, sighting_poses, target_poses
from sonjit.multiview.cameras.rig import CameraRig, RigCamera
from sonjit.multiview.triangulation.triangulation import triangulate
from sonjit.runs.processor import counted

_MOST_POINTS = 400

_FEWEST_POINTS = 8

_AGREEING_SHARE = 0.6


@dataclass(frozen=True)
class CameraFault:
    """What is wrong with a camera.

    Attributes:
        camera: its name.
        kind: swapped, duplicate, mirrored, turned, resized, late, moved, lens, unchecked, or unknown.
        message: one line.
    """

    camera: str
    kind: str
    message: str


@dataclass(frozen=True)
class Consistency:
    """Which cameras agree.

    Attributes:
        good: names of those that agree.
        faults: what is wrong with the others.
    """

    good: tuple[str, ...]
    faults: tuple[CameraFault, ...]


def check_views(
    rig: CameraRig, points_px: RealArray, valid: BoolArray | None = None, *, threshold_px: float = 10.0
) -> Consistency:
    """Find the cameras whose pixels do not fit the rig.

    Args:
        rig: C cameras.
        points_px: (C, N, 2), or (C, F, J, 2) over F frame sets, which separates a late camera from a wrong one.
        valid: (C, N) or (C, F, J) which are known; by default those that are finite.
        threshold_px: how far apart the views of one point may be.

    Raises:
        InputError: the arrays do not fit the rig, or no two cameras agree.
    """
    pixels = np.asarray(points_px, np.float64)
    if pixels.ndim not in (3, 4) or len(pixels) != len(rig) or pixels.shape[-1] != 2:
        raise InputError(
            f"points_px has the shape {pixels.shape}: ({len(rig)}, N, 2) or ({len(rig)}, F, J, 2) is needed"
        )
    known = np.asarray(np.isfinite(pixels).all(-1))
    if valid is not None:
        known &= np.asarray(valid, np.bool_)
    pixels = np.where(known[..., None], pixels, np.nan)
    agree = _agreements(rig, pixels.reshape(len(rig), -1, 2), threshold_px)
    best = int(np.argmax((agree == 1).sum(1)))
    good = np.flatnonzero((agree[best] == 1) | (np.arange(len(rig)) == best))
    good = good[[(agree[row, good] == 1).sum() >= _AGREEING_SHARE * (len(good) - 1) for row in good]]
    if len(good) < 2:
        raise InputError(
            f"no two of the cameras {', '.join(rig.names)} agree within {threshold_px:g} px: the images are of "
            "another rig, of other frame sets, or their names are swapped"
        )
    rest = [row for row in range(len(rig)) if row not in good]
    points = triangulate(
        rig.subset(rig.names[row] for row in good), pixels[good], method="ransac", threshold_px=threshold_px
    ).points_m
    evidence = Evidence(rig, pixels, points, frozenset(int(row) for row in rest), threshold_px)
    return Consistency(
        tuple(rig.names[row] for row in good),
        tuple(CameraFault(rig.names[row], *diagnose(evidence, row)) for row in rest),
    )


def _agreements(rig: CameraRig, pixels: FloatArray, threshold_px: float) -> NDArray[np.int8]:
    """(C, C) 1 where two cameras agree on what both see, -1 where not, 0 where they share too little."""
    agree = np.zeros((len(rig), len(rig)), np.int8)
    known = np.isfinite(pixels.sum(-1))
    for a in range(len(rig)):
        for b in range(a + 1, len(rig)):
            shared = np.flatnonzero(known[a] & known[b])
            if len(shared) < _FEWEST_POINTS:
                continue
            asked = shared[:: -(-len(shared) // _MOST_POINTS)]
            found = triangulate(rig.subset([rig.names[a], rig.names[b]]), pixels[[a, b]][:, asked], refine=False)
            near = found.ok & (np.nan_to_num(found.residual_px, nan=np.inf) < threshold_px / 2).all(0)
            agree[a, b] = agree[b, a] = 1 if near.mean() > _AGREEING_SHARE else -1
    return agree


_SHIFTS = sorted({*range(-10, 11)} - {0}, key=abs)


@dataclass(frozen=True, eq=False)
class Evidence:
    """A rig's points, in pixels and in space.

    Attributes:
        rig: C cameras.
        pixels: (C, ..., 2) of each camera, NaN without.
        points_m: (..., 3) triangulated from the cameras that agree, NaN without.
        bad: rows of the cameras that do not agree.
        threshold_px: reprojection error, at most.
    """

    rig: CameraRig
    pixels: FloatArray
    points_m: FloatArray
    bad: frozenset[int]
    threshold_px: float

    def off_px(self, pixels: FloatArray, view: RigCamera) -> float:
        """Median distance of pixels (..., 2) from where a camera should see the points; infinite for a few."""
        gap = np.linalg.norm(pixels - view.project(self.points_m), axis=-1)
        known = np.isfinite(gap)
        return float(np.median(gap[known])) if known.sum() >= _FEWEST_POINTS else np.inf

    def fits(self, pixels: FloatArray, view: RigCamera) -> bool:
        """Whether half of the pixels (..., 2) are where a camera should see the points."""
        return self.off_px(pixels, view) < self.threshold_px


def diagnose(evidence: Evidence, row: int) -> tuple[str, str]:
    """The kind of mistake and one line about it; the first that explains a camera's pixels."""
    view = evidence.rig.cameras[row]
    known = np.isfinite(evidence.pixels[row]).all(-1) & np.isfinite(evidence.points_m).all(-1)
    if known.sum() < _FEWEST_POINTS:
        few = counted(int(known.sum()), "point", "points")
        return "unchecked", f"camera {view.name!r} shares {few} with the others: too few to check it"
    return next(_diagnoses(evidence, row, known))


def _diagnoses(evidence: Evidence, row: int, known: BoolArray) -> Iterator[tuple[str, str]]:
    rig, own = evidence.rig, evidence.pixels[row]
    view = rig.cameras[row]
    named = f"camera {view.name!r}"
    for other, there in enumerate(rig.cameras):
        if other != row and evidence.fits(own, there):
            if other in evidence.bad and evidence.fits(evidence.pixels[other], view):
                yield "swapped", f"cameras {view.name!r} and {there.name!r} are swapped: exchange their names or images"
            whose = "its images or calibration are the other's"
            yield "duplicate", f"{named} shows what {there.name!r} should see: {whose}"
    if own.ndim == 3:
        off, late = min((evidence.off_px(_shifted(own, by), view), by) for by in _SHIFTS)
        if off < evidence.threshold_px:
            yield "late", f"{named} is {abs(late)} frames {'late' if late > 0 else 'early'}: synchronise the views"
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
            yield kind, f"{named}: {message}"
    there = view.project(evidence.points_m)
    scale = _scale(own, there)
    if evidence.fits(own * scale, view):
        yield "resized", f"{named}: its images are {1 / scale:.3g} times as large as those it was calibrated with"
    scale = _scale(there - view.camera.K[:2, 2], own - view.camera.K[:2, 2])
    if scale > 0 and evidence.fits(own, _lens_changed(view, scale)):
        focal = view.camera.K[0, 0]
        yield "lens", f"{named} has wrong intrinsics: a focal length near {focal * scale:.0f} px fits, not {focal:.0f}"
    for pose in target_poses(evidence.points_m[known], own[known], view.camera, flat=False):
        moved = replace(view, camera=replace(view.camera, R=pose.R, t=pose.t))
        if evidence.fits(own, moved):
            shift = 1000 * float(np.linalg.norm(moved.centre_m - view.centre_m))
            turn = np.degrees(angle_between(pose.R, view.R))
            yield "moved", f"{named} was moved by {shift:.0f} mm and turned by {turn:.1f} degrees since its calibration"
    yield "unknown", f"{named} contradicts the others, and no single mistake explains it: leave it out"


def _shifted(own: FloatArray, by: int) -> FloatArray:
    """(F, J, 2) what is seen `by` frames later."""
    shifted = np.full_like(own, np.nan)
    shifted[max(-by, 0) : len(own) - max(by, 0)] = own[max(by, 0) : len(own) - max(-by, 0)]
    return shifted


def _scale(one: FloatArray, other: FloatArray) -> float:
    """The median of how many times as long the second's vectors (..., 2) are as the first's."""
    ratio = np.linalg.norm(other, axis=-1) / np.maximum(np.linalg.norm(one, axis=-1), 1e-9)
    known = np.isfinite(ratio)
    return float(np.median(ratio[known])) if known.any() else 1.0


def _lens_changed(view: RigCamera, scale: float) -> RigCamera:
    K = np.asarray(view.camera.K, np.float64).copy()
    K[:2, :2] *= scale
    return replace(view, camera=replace(view.camera, K=K))


_CLEAR = 1.3

"""How many times worse the second solution must be for an image to decide."""

_FLOOR_PX = 0.1

_FAR_RAD = np.radians(8)


@dataclass(frozen=True)
class PlanarAmbiguity:
    """Which of its two solutions each image of the board favours, compared to a calibrated world.

    Attributes:
        agree: decisive images whose better solution is the world's.
        against: decisive images whose better solution is the other one.
        undecided: images that both solutions explain alike, or that have only one.
    """

    agree: int
    against: int
    undecided: int

    @property
    def is_mirrored(self) -> bool:
        """Most decisive images contradict the world."""
        return self.against > self.agree

    @property
    def is_open(self) -> bool:
        """Too few images are decisive."""
        return self.agree + self.against < max(3, 0.05 * (self.agree + self.against + self.undecided))

    def __str__(self) -> str:
        counts = f"of the board's images {self.agree} agree, {self.against} disagree, {self.undecided} are undecided"
        if self.is_mirrored:
            return f"the world is mirrored: {counts}; calibrate again with the board nearer and tilted more"
        if self.is_open:
            return f"whether the world is mirrored is open: {counts}; show the board nearer and tilted more"
        return f"the world is not mirrored: {counts}"


def may_be_mirrored(calibration: RigCalibration) -> bool:
    """Whether its world may be a mirror image: that of several cameras, by a flat board."""
    return len(calibration.rig) > 1 and any(one.target.is_flat for one in calibration.sightings)


def planar_ambiguity(calibration: RigCalibration) -> PlanarAmbiguity:
    """Solve every image alone for the tilt of the board, and compare it to the calibrated world."""
    agree = against = undecided = 0
    for one in calibration.sightings:
        view = calibration.rig[one.view]
        found = sighting_poses(one, view.camera)
        if len(found) < 2 or found[1].rms_px < _CLEAR * max(found[0].rms_px, _FLOOR_PX):
            undecided += 1
            continue
        turn, _ = joined((view.R, view.t), calibration.target_places[one.placed])
        apart = [angle_between(pose.R, turn) for pose in found]
        if min(apart) > _FAR_RAD:
            undecided += 1  # this image fits neither: the reprojection report names it
        elif apart[0] <= apart[1]:
            agree += 1
        else:
            against += 1
    return PlanarAmbiguity(agree, against, undecided)

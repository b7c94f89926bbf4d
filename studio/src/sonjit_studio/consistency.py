"""Report the errors of a calibration, and find cameras that do not fit the others and the reason.

Two views of the same points must agree along their epipolar lines. The cameras of the largest group that agrees are
trusted. For each of the others, the single mistake that would explain its pixels is determined.

A small flat board far away looks almost the same when it is tilted the other way. If enough images are solved so, all
cameras and points turn into their mirror image in depth, and reprojection errors hardly show it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonjit._util import FloatArray, Image, IndexArray, InputError, RealArray, pluralize
from sonjit.media.sources.images import encode_image
from sonjit.report.documents import Block, Heading, Plot, Table, Text, arrows_svg, heat_map_svg, html_from, save_files
from sonjit_studio import boards, estimates, triangulation
from sonjit_studio.calibration import RigCalibration
from sonjit_studio.rig import CameraRig, RigCamera

_MAX_POINTS = 400  # number of shared points by which two cameras are compared
_MIN_POINTS = 8  # least number of shared points for a comparison
_MIN_AGREEMENT = 0.6  # least fraction of points, and of good cameras, that must agree
_FRAME_SHIFTS = sorted({*range(-10, 11)} - {0}, key=abs)  # delays in frames that are tried, small first
_DECISIVE_RATIO = 1.3  # ratio of errors of the second to the first solution from which an image decides
_MIN_RMS_PX = 0.1  # least error of the first solution in that ratio
_MAX_ROTATION_RAD = np.radians(8)  # largest rotation between a solution of one image and the calibrated world
_MAX_ARROWS = 300  # number of arrows in a plot
_WORST_COUNT = 6  # number of images in the section of the worst ones
_ARROW_SCALE = 60  # length of arrows relative to the errors that they show


@dataclass(frozen=True)
class CameraFault:
    """A fault of a camera."""

    camera: str
    kind: str  # swapped, duplicate, mirrored, exchanged, turned, resized, late, moved, lens, unchecked, or unknown
    message: str


def check_views(
    rig: CameraRig, points_px: RealArray, *, threshold_px: float = 10.0, other_sides: IndexArray | None = None
) -> tuple[tuple[str, ...], tuple[CameraFault, ...]]:
    """Return the names of the cameras whose pixels fit the rig, and the faults of the others.

    Pixels (C, N, 2), or (C, F, J, 2) to separate late cameras from wrong ones, may be NaN. Views of a point may differ
    by `threshold_px`. `other_sides` (J,) is the index of each point's counterpart on the other side of the body.
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
            "another rig, of other frame sets, or their names are swapped, or --threshold is too small"
        )
    bad = [row for row in range(len(rig)) if row not in good]
    agreeing = rig.subset(rig.names[row] for row in good)
    points = triangulation.triangulate(agreeing, pixels[good], method="ransac", threshold_px=threshold_px).points_m
    evidence = Evidence(rig, pixels, points, frozenset(int(row) for row in bad), threshold_px, other_sides)
    faults = (CameraFault(rig.names[row], *next(diagnoses(evidence, row))) for row in bad)
    return agreeing.names, tuple(faults)


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
            result = triangulation.triangulate(
                rig.subset([rig.names[a], rig.names[b]]), pixels[[a, b]][:, sample], refine=False
            )
            is_near = result.ok & (np.nan_to_num(result.residual_px, nan=np.inf) < threshold_px / 2).all(0)
            agree[a, b] = agree[b, a] = 1 if is_near.mean() > _MIN_AGREEMENT else -1
    return agree


@dataclass(frozen=True, eq=False)
class Evidence:
    """A rig's points in pixels and in space."""

    rig: CameraRig
    pixels: FloatArray  # (C, ..., 2) pixels of each camera, NaN if unknown
    points_m: FloatArray  # (..., 3) points triangulated from the cameras that agree, NaN if unknown
    bad: frozenset[int]
    threshold_px: float
    other_sides: IndexArray | None = None  # (J,) indices of the points' counterparts on the other side

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
    rig, pixels = evidence.rig, evidence.pixels[row]
    view = rig.cameras[row]
    label = f"camera {view.name!r}"
    if evidence.other_sides is not None and pixels.ndim == 3:
        exchanged = pixels[:, evidence.other_sides]
        if evidence.fits(np.stack([view.width - exchanged[..., 0], exchanged[..., 1]], -1), view):
            yield "mirrored", f"{label}: its images are mirrored, so left and right are exchanged"
        if evidence.fits(exchanged, view):
            yield "exchanged", f"{label}: left and right are exchanged in its table"
    finite = np.isfinite(pixels).all(-1) & np.isfinite(evidence.points_m).all(-1)
    if finite.sum() < _MIN_POINTS:
        few = pluralize(int(finite.sum()), "point")
        yield "unchecked", f"{label} shares {few} with the others: too few to check it"
    for other, other_camera in enumerate(rig.cameras):
        if other != row and evidence.fits(pixels, other_camera):
            if other in evidence.bad and evidence.fits(evidence.pixels[other], view):
                names = f"{view.name!r} and {other_camera.name!r}"
                yield "swapped", f"cameras {names} are swapped: exchange their names or images"
            whose = "its images or calibration are the other's"
            yield "duplicate", f"{label} shows what {other_camera.name!r} should see: {whose}"
    if pixels.ndim == 3:
        off, late = min((evidence.median_error_px(_shift_frames(pixels, by), view), by) for by in _FRAME_SHIFTS)
        if off < evidence.threshold_px:
            yield "late", f"{label} is {abs(late)} frames {'late' if late > 0 else 'early'}: synchronise the views"
    x, y = pixels[..., 0], pixels[..., 1]
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
    scale = _median_ratio(pixels, expected)
    if evidence.fits(pixels * scale, view):
        yield "resized", f"{label}: its images are {1 / scale:.3g} times as large as those it was calibrated with"
    K = np.asarray(view.camera.K, np.float64)
    scale = _median_ratio(expected - K[:2, 2], pixels - K[:2, 2])
    scaled = np.block([[scale * K[:2, :2], K[:2, 2:]], [K[2:]]])
    if scale > 0 and evidence.fits(pixels, replace(view, camera=replace(view.camera, K=scaled))):
        fits = f"a focal length near {K[0, 0] * scale:.0f} px fits, not {K[0, 0]:.0f}"
        yield "lens", f"{label} has wrong intrinsics: {fits}"
    for pose in estimates.poses_from_points(evidence.points_m[finite], pixels[finite], view.camera, flat=False):
        moved = replace(view, camera=replace(view.camera, R=pose.R, t=pose.t))
        if evidence.fits(pixels, moved):
            shift = 1000 * float(np.linalg.norm(moved.centre_m - view.centre_m))
            turn = np.degrees(estimates.angle_between(pose.R, view.R))
            yield "moved", f"{label} was moved by {shift:.0f} mm and turned by {turn:.1f} degrees since its calibration"
    yield "unknown", f"{label} contradicts the others, and no single mistake explains it: remove it"


def _shift_frames(pixels: FloatArray, by: int) -> FloatArray:
    """Shift pixels (F, J, 2) so that each frame has those of `by` frames later."""
    shifted = np.full_like(pixels, np.nan)
    if abs(by) < len(pixels):
        shifted[max(-by, 0) : len(pixels) - max(by, 0)] = pixels[max(by, 0) : len(pixels) - max(-by, 0)]
    return shifted


def _median_ratio(first: FloatArray, second: FloatArray) -> float:
    """Return the median ratio of the lengths of the second vectors (..., 2) to those of the first."""
    ratio = np.linalg.norm(second, axis=-1) / np.maximum(np.linalg.norm(first, axis=-1), 1e-9)
    finite = np.isfinite(ratio)
    return float(np.median(ratio[finite])) if finite.any() else 1.0


@dataclass(frozen=True)
class PlanarAmbiguity:
    """Number of images whose favoured solution agrees with a calibrated world, or not."""

    agree: int
    against: int
    undecided: int  # both solutions explain the image alike, or there is only one

    @property
    def is_mirrored(self) -> bool:
        """Whether most decisive images contradict the world."""
        return self.against > self.agree

    @property
    def is_open(self) -> bool:
        """Whether too few images are decisive."""
        return self.agree + self.against < max(3, 0.05 * (self.agree + self.against + self.undecided))

    def __str__(self) -> str:
        counts = f"of the board's images {self.agree} agree, {self.against} disagree, {self.undecided} are undecided"
        if self.is_mirrored:
            return f"the world is mirrored: {counts}; calibrate again with the board nearer and tilted more"
        if self.is_open:
            return f"whether the world is mirrored is open: {counts}; show the board nearer and tilted more"
        return f"the world is not mirrored: {counts}"


def is_mirroring_possible(calibration: RigCalibration) -> bool:
    """Check whether the world may be a mirror image: several cameras were calibrated by a flat board."""
    return len(calibration.rig) > 1 and any(observation.target.is_flat for observation in calibration.observations)


def planar_ambiguity(calibration: RigCalibration) -> PlanarAmbiguity:
    """Solve the tilt of the board in every image independently and compare it to the calibrated world."""
    agree = against = undecided = 0
    for observation in calibration.observations:
        view = calibration.rig[observation.view]
        poses = estimates.observation_poses(observation, view.camera)
        if len(poses) < 2 or poses[1].rms_px < _DECISIVE_RATIO * max(poses[0].rms_px, _MIN_RMS_PX):
            undecided += 1
            continue
        rotation, _ = estimates.compose_transforms((view.R, view.t), calibration.target_poses[observation.pose_key])
        angles = [estimates.angle_between(pose.R, rotation) for pose in poses]
        if min(angles) > _MAX_ROTATION_RAD:
            undecided += 1  # the image fits neither solution; the reprojection report names it
        elif angles[0] <= angles[1]:
            agree += 1
        else:
            against += 1
    return PlanarAmbiguity(agree, against, undecided)


def reprojection_line(calibration: RigCalibration) -> str:
    """Summarise the reprojection errors in one line, with those of InterHand2.6M's rigs for comparison."""
    views = calibration.rms_by_view()
    worst = max(views, key=lambda name: np.nan_to_num(views[name], nan=np.inf))
    points = sum(len(errors) for errors in calibration.errors_px)
    frames = len({frame for frame, _ in calibration.target_poses})
    worst_note = f"; worst camera {worst} {views[worst]:.3f} px" if len(views) > 1 else ""
    return (
        f"RMS reprojection error {calibration.rms_px:.3f} px over {pluralize(len(views), 'camera')}, "
        f"{pluralize(frames, 'frame set', 'frame sets')} and {pluralize(points, 'point')}{worst_note} "
        "(InterHand2.6M's rigs: 0.42 to 0.48 px)"
    )


def save_report(
    calibration: RigCalibration,
    path: Path,
    *,
    warnings: Sequence[str] = (),
    image: Callable[[str, int], NDArray[np.uint8] | None] = lambda view, frame: None,
) -> None:
    """Write the report as one HTML file, with the `image` (H, W, 3) of a camera and frame for the worst ones."""
    save_files(path.parent, {path.name: html_from("Calibration", list(_blocks(calibration, warnings, image)))})


def _blocks(
    calibration: RigCalibration, warnings: Sequence[str], image: Callable[[str, int], NDArray[np.uint8] | None]
) -> Iterator[Block]:
    yield Text(
        "How far the board's corners were seen from where the calibrated cameras see them: under half a pixel is good. "
        "Standard errors estimate the precision of each number."
    )
    yield Text(reprojection_line(calibration))
    if is_mirroring_possible(calibration):
        ambiguity = planar_ambiguity(calibration)
        yield Text(_format_sentence(str(ambiguity)), strong=ambiguity.is_mirrored or ambiguity.is_open)
    for line in (*warnings, *calibration.problems):
        yield Text(line if line.partition(":")[0] in calibration.rig.names else _format_sentence(line), strong=True)
    yield Heading("Cameras")
    yield _cameras(calibration)
    yield Heading("Lenses")
    yield Text("Focal lengths, the middle and the distortion, each with its standard error where it was estimated.")
    yield _lenses(calibration)
    if len(calibration.rig) > 1:
        yield Heading("Between cameras")
        yield Text(
            "Distances in millimetres, rotations in degrees, and their standard errors after ±. A standard error is "
            "the larger of two estimates: the covariance of the fit with the uncertainty of the lenses, and the change "
            "when each eighth of the recording is omitted. An error in the board's measured size is not included: it "
            "scales all distances. "
            f"The world's origin is fixed at {calibration.rig.names[0]} or the floor, so positions have no standard "
            "error, only distances do."
        )
        yield _camera_distances(calibration)
    if calibration.times:
        yield Heading("When images were taken")
        yield Text(
            "In steps from one frame set to the next, from the mean of all cameras: below 0 are images that show the "
            "board where it was before. Each was given the time at which the board's path fits it best."
        )
        yield _times(calibration)
    frames = sorted({frame for frame, _ in calibration.target_poses})
    yield Heading("Every camera, every frame set")
    yield Text(
        f"A row for each camera, a column for each frame set from {frames[0]} to {frames[-1]}: green where nothing is "
        "left over, red for 1 px and more, empty where the board was not seen. Point at a cell for its numbers."
    )
    yield _heat_map(calibration, frames)
    yield Heading("Where in the image")
    yield Text(
        f"Arrows from where a point was seen to where the rig sees it, {_ARROW_SCALE} times as long. A pattern is a "
        "lens that the model does not fit; single long arrows are wrong corners."
    )
    for name in calibration.rig.names:
        yield from _error_arrows(calibration, name)
    yield Heading("The worst images")
    pairs = zip(calibration.observations, calibration.errors_px, strict=True)
    for observation, errors in sorted(pairs, key=lambda pair: -estimates.rms_of([pair[1]]))[:_WORST_COUNT]:
        yield _worst_image(calibration, observation, errors, image(observation.view, observation.frame))


def _format_sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _cameras(calibration: RigCalibration) -> Table:
    rows: list[tuple[str, ...]] = []
    for view in calibration.rig:
        own_errors = [errors for _, errors in calibration.seen_by(view.name)]
        largest = max((float(np.linalg.norm(errors, axis=1).max()) for errors in own_errors), default=float("nan"))
        place, size = " ".join(f"{value * 1000:.0f}" for value in view.centre_m), f"{view.width} x {view.height}"
        errors = f"{estimates.rms_of(own_errors):.3f}", f"{largest:.2f}"
        rows.append((view.name, size, place, str(len(own_errors)), *errors))
    return Table(("camera", "size", "place mm", "images", "RMS px", "largest error px"), tuple(rows))


def _lenses(calibration: RigCalibration) -> Table:
    lenses = {view.name: view.camera.distortion for view in calibration.rig}
    count = max(5 if lens is None else len(lens) for lens in lenses.values())
    rows: list[tuple[str, ...]] = []
    for view in calibration.rig:
        lens = np.zeros(5) if view.camera.distortion is None else view.camera.distortion
        std = calibration.lens_std.get(view.name, np.zeros(4 + len(lens)))
        digits = [1] * 4 + [4] * len(lens)
        cells = [
            f"{value:.{places}f} ± {error:.{places}f}" if error else f"{value:.{places}f}"
            for value, error, places in zip([*view.camera.intrinsics, *lens], std, digits, strict=True)
        ]
        is_kept = view.name not in calibration.lens_std
        note = "kept" if is_kept else "fisheye" if view.camera.is_fisheye else ""
        rows.append((view.name, *cells, *[""] * (count - len(lens)), note))
    is_wide = any(view.camera.is_fisheye for view in calibration.rig)
    third, fourth = ("p1, fisheye k3", "p2, fisheye k4") if is_wide else ("p1", "p2")
    terms = ("k1", "k2", third, fourth, "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tau x", "tau y")[:count]
    return Table(("camera", "fx px", "fy px", "cx px", "cy px", *terms, "note"), tuple(rows))


def _camera_distances(calibration: RigCalibration) -> Table:
    names, centres_mm = calibration.rig.names, 1000 * calibration.rig.centres_m
    distances = np.linalg.norm(centres_mm[:, None] - centres_mm, axis=2)
    distance_std = 1000 * calibration.distance_std_m
    angles = np.degrees(
        [[estimates.angle_between(row.R, column.R) for column in calibration.rig] for row in calibration.rig]
    )
    angle_std = np.degrees(calibration.rotation_std_rad)
    rows = tuple(
        (
            name,
            *(
                f"{distances[row, column]:.1f} ± {distance_std[row, column]:.1f} mm, "
                f"{angles[row, column]:.2f} ± {angle_std[row, column]:.2f}°"
                for column in range(row)
            ),
            *[""] * (len(names) - 1 - row),
        )
        for row, name in enumerate(names)
        if row
    )
    return Table(("camera", *names[:-1]), rows)


def _times(calibration: RigCalibration) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, times in calibration.times.items():
        extent = (f"{value:+.2f}" for value in (times.mean(), times.min(), times.max()))
        rows.append((name, *extent, f"{times.std():.2f}"))
    return Table(("camera", "mean", "least", "most", "standard deviation"), tuple(rows))


def _heat_map(calibration: RigCalibration, frames: Sequence[int]) -> Plot:
    names = calibration.rig.names
    rows = {name: row for row, name in enumerate(names)}
    columns = {frame: column for column, frame in enumerate(frames)}
    errors_by_cell: dict[tuple[str, int], list[FloatArray]] = {}
    for observation, errors in zip(calibration.observations, calibration.errors_px, strict=True):
        errors_by_cell.setdefault((observation.view, observation.frame), []).append(errors)
    cells: dict[tuple[int, int], tuple[float, str]] = {}
    for (view, frame), cell_errors in errors_by_cell.items():
        rms = estimates.rms_of(cell_errors)
        text = f"{view}, frame {frame}: {rms:.3f} px, {sum(map(len, cell_errors))} points"
        cells[rows[view], columns[frame]] = rms, text
    title = "error of every camera and frame set"
    return Plot("errors", heat_map_svg(names, cells, len(frames), title), title)


def _error_arrows(calibration: RigCalibration, name: str) -> Iterator[Plot]:
    view = calibration.rig[name]
    if both := calibration.seen_by(name):
        pixels, errors = (np.concatenate(arrays) for arrays in zip(*((s.pixels, e) for s, e in both), strict=True))
        step = -(-len(pixels) // _MAX_ARROWS)
        ends = pixels[::step] + _ARROW_SCALE * errors[::step]
        svg = arrows_svg((view.width, view.height), pixels[::step], ends, f"errors of {name}")
        yield Plot(f"arrows-{name}", svg, name, captioned=True)


def _worst_image(
    calibration: RigCalibration, observation: boards.BoardObservation, errors: FloatArray, rgb: Image | None
) -> Plot:
    import cv2

    view, jpeg = calibration.rig[observation.view], None
    if rgb is not None:
        scale = min(1.0, 720 / view.width)
        smaller = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale), np.uint8)
        jpeg = encode_image(smaller, ".jpg")
    caption = f"{observation.view}, frame set {observation.frame}: {estimates.rms_of([errors]):.3f} px"
    ends = observation.pixels + _ARROW_SCALE * errors
    svg = arrows_svg((view.width, view.height), observation.pixels, ends, caption, jpeg)
    return Plot(f"worst-{observation.view}-{observation.frame}", svg, caption, captioned=True)

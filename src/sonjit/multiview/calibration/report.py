"""The page about a calibration: errors of every camera and frame set, where in the image, and the worst images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, Image
from sonjit.documents.document import Block, Heading, Plot, Table, Text, html_from, save_files
from sonjit.documents.plots import arrows_svg, heat_map_svg
from sonjit.media.annotated.writers import encode_image
from sonjit.multiview.calibration.calibrate import RigCalibration, rms_of
from sonjit.multiview.calibration.consistency import may_be_mirrored, planar_ambiguity
from sonjit.multiview.calibration.initial_estimate import angle_between
from sonjit.multiview.calibration.sightings import Sighting
from sonjit.runs.processor import counted

_ARROWS = 300
_WORST = 6
_LENGTHENED = 60


def reprojection_line(calibration: RigCalibration) -> str:
    """One line of the whole, beside what InterHand2.6M's rigs reached."""
    views = calibration.rms_by_view()
    worst = max(views, key=lambda name: np.nan_to_num(views[name], nan=np.inf))
    points = sum(len(errors) for errors in calibration.errors_px)
    frames = len({frame for frame, _ in calibration.target_places})
    named = f"; worst camera {worst} {views[worst]:.3f} px" if len(views) > 1 else ""
    return (
        f"RMS reprojection error {calibration.rms_px:.3f} px over {counted(len(views), 'camera', 'cameras')}, "
        f"{counted(frames, 'frame set', 'frame sets')} and {counted(points, 'point', 'points')}{named} "
        "(InterHand2.6M's rigs: 0.42 to 0.48 px)"
    )


def save_report(
    calibration: RigCalibration,
    path: Path,
    *,
    warnings: Sequence[str] = (),
    image: Callable[[str, int], NDArray[np.uint8] | None] = lambda view, frame: None,
) -> None:
    """Write the page: one HTML file that needs no other.

    Args:
        calibration: what it is about.
        path: file to write.
        warnings: what else was found, one line each.
        image: gives (H, W, 3) of a camera's frame, for the worst ones; None where there is none.
    """
    save_files(path.parent, {path.name: html_from("Calibration", list(_blocks(calibration, warnings, image)))})


def _blocks(
    calibration: RigCalibration, warnings: Sequence[str], image: Callable[[str, int], NDArray[np.uint8] | None]
) -> Iterator[Block]:
    yield Text(
        "How far the board's corners were seen from where the calibrated cameras see them: under half a pixel is good. "
        "Standard errors say how well each number is known."
    )
    yield Text(reprojection_line(calibration))
    if may_be_mirrored(calibration):
        found = planar_ambiguity(calibration)
        yield Text(_sentence(str(found)), strong=found.is_mirrored or found.is_open)
    for line in (*warnings, *calibration.problems):
        yield Text(line if line.partition(":")[0] in calibration.rig.names else _sentence(line), strong=True)
    yield Heading("Cameras")
    yield _cameras(calibration)
    yield Heading("Lenses")
    yield Text("Focal lengths, the middle and the distortion, each with its standard error where it was estimated.")
    yield _lenses(calibration)
    if len(calibration.rig) > 1:
        yield Heading("Between cameras")
        yield Text(
            "Distances in millimetres, turns in degrees and, after ±, their standard errors: the larger of what the "
            "fit says, with what lenses are uncertain by, and of what leaving out each eighth of the recording "
            "changes. An error in the board's measured size comes on top: all distances grow with it. "
            f"The world's origin is a choice, {calibration.rig.names[0]} or the floor, so that no place has an error "
            "of its own; every camera's, the first one's too, are those of its distances."
        )
        yield _distances(calibration)
    if calibration.times:
        yield Heading("When images were taken")
        yield Text(
            "In steps from one frame set to the next, from the mean of all cameras: below 0 are images that show the "
            "board where it was before. Each was given the time at which the board's path fits it best."
        )
        yield _times(calibration)
    frames = sorted({frame for frame, _ in calibration.target_places})
    yield Heading("Every camera, every frame set")
    yield Text(
        f"A row for each camera, a column for each frame set from {frames[0]} to {frames[-1]}: green where nothing is "
        "left over, red for 1 px and more, empty where the board was not seen. Point at a cell for its numbers."
    )
    yield _heat_map(calibration, frames)
    yield Heading("Where in the image")
    yield Text(
        f"Arrows from where a point was seen to where the rig sees it, {_LENGTHENED} times as long. A pattern is a "
        "lens that the model does not fit; single long arrows are wrong corners."
    )
    for name in calibration.rig.names:
        yield from _arrows(calibration, name)
    yield Heading("The worst images")
    pairs = zip(calibration.sightings, calibration.errors_px, strict=True)
    for one, errors in sorted(pairs, key=lambda pair: -rms_of([pair[1]]))[:_WORST]:
        yield _worst(calibration, one, errors, image(one.view, one.frame))


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _cameras(calibration: RigCalibration) -> Table:
    rows: list[tuple[str, ...]] = []
    for view in calibration.rig:
        own = [errors for _, errors in calibration.seen_by(view.name)]
        far = max((float(np.linalg.norm(errors, axis=1).max()) for errors in own), default=float("nan"))
        rows.append(
            (
                view.name,
                f"{view.width} x {view.height}",
                " ".join(f"{value * 1000:.0f}" for value in view.centre_m),
                str(len(own)),
                f"{rms_of(own):.3f}",
                f"{far:.2f}",
            )
        )
    return Table(("camera", "size", "place mm", "images", "RMS px", "largest error px"), tuple(rows))


def _lenses(calibration: RigCalibration) -> Table:
    lenses = {view.name: view.camera.distortion for view in calibration.rig}
    count = max(5 if lens is None else len(lens) for lens in lenses.values())
    rows: list[tuple[str, ...]] = []
    for view in calibration.rig:
        lens = np.zeros(5) if view.camera.distortion is None else view.camera.distortion
        spread = calibration.lens_deviations.get(view.name, np.zeros(4 + len(lens)))
        cells = [
            f"{value:.{digits}f} ± {error:.{digits}f}" if error else f"{value:.{digits}f}"
            for value, error, digits in zip(
                [*view.camera.intrinsics, *lens], spread, [1] * 4 + [4] * len(lens), strict=True
            )
        ]
        is_kept = view.name not in calibration.lens_deviations
        how = "kept" if is_kept else "fisheye" if view.camera.is_fisheye else ""
        rows.append((view.name, *cells, *[""] * (count - len(lens)), how))
    is_wide = any(view.camera.is_fisheye for view in calibration.rig)
    third, fourth = ("p1, fisheye k3", "p2, fisheye k4") if is_wide else ("p1", "p2")
    terms = ("k1", "k2", third, fourth, "k3", "k4", "k5", "k6")[:count]
    return Table(("camera", "fx px", "fy px", "cx px", "cy px", *terms, "note"), tuple(rows))


def _distances(calibration: RigCalibration) -> Table:
    names, centres_mm = calibration.rig.names, 1000 * calibration.rig.centres_m
    apart, spread = np.linalg.norm(centres_mm[:, None] - centres_mm, axis=2), 1000 * calibration.distance_deviations_m
    turned = np.degrees([[angle_between(one.R, other.R) for other in calibration.rig] for one in calibration.rig])
    unsure = np.degrees(calibration.turn_deviations_rad)
    rows = tuple(
        (
            name,
            *(
                f"{apart[one, other]:.1f} ± {spread[one, other]:.1f} mm, "
                f"{turned[one, other]:.2f} ± {unsure[one, other]:.2f}°"
                for other in range(one)
            ),
            *[""] * (len(names) - 1 - one),
        )
        for one, name in enumerate(names)
        if one
    )
    return Table(("camera", *names[:-1]), rows)


def _times(calibration: RigCalibration) -> Table:
    rows = (
        (name, *(f"{value:+.2f}" for value in (times.mean(), times.min(), times.max())), f"{times.std():.2f}")
        for name, times in calibration.times.items()
    )
    return Table(("camera", "mean", "least", "most", "standard deviation"), tuple(rows))


def _heat_map(calibration: RigCalibration, frames: Sequence[int]) -> Plot:
    names = calibration.rig.names
    rows = {name: row for row, name in enumerate(names)}
    columns = {frame: column for column, frame in enumerate(frames)}
    seen: dict[tuple[str, int], list[FloatArray]] = {}
    for one, errors in zip(calibration.sightings, calibration.errors_px, strict=True):
        seen.setdefault((one.view, one.frame), []).append(errors)
    cells: dict[tuple[int, int], tuple[float, str]] = {}
    for (view, frame), parts in seen.items():
        rms = rms_of(parts)
        text = f"{view}, frame {frame}: {rms:.3f} px, {sum(map(len, parts))} points"
        cells[rows[view], columns[frame]] = rms, text
    title = "error of every camera and frame set"
    return Plot("errors", heat_map_svg(names, cells, len(frames), title), title)


def _arrows(calibration: RigCalibration, name: str) -> Iterator[Plot]:
    view = calibration.rig[name]
    if both := calibration.seen_by(name):
        seen, errors = (np.concatenate(parts) for parts in zip(*((s.pixels, e) for s, e in both), strict=True))
        step = -(-len(seen) // _ARROWS)
        ends = seen[::step] + _LENGTHENED * errors[::step]
        svg = arrows_svg((view.width, view.height), seen[::step], ends, f"errors of {name}")
        yield Plot(f"arrows-{name}", svg, name, captioned=True)


def _worst(calibration: RigCalibration, one: Sighting, errors: FloatArray, rgb: Image | None) -> Plot:
    import cv2

    view, jpeg = calibration.rig[one.view], None
    if rgb is not None:
        scale = min(1.0, 720 / view.width)
        smaller = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale), np.uint8)
        jpeg = encode_image(smaller, ".jpg")
    caption = f"{one.view}, frame set {one.frame}: {rms_of([errors]):.3f} px"
    ends = one.pixels + _LENGTHENED * errors
    svg = arrows_svg((view.width, view.height), one.pixels, ends, caption, jpeg)
    return Plot(f"worst-{one.view}-{one.frame}", svg, caption, captioned=True)

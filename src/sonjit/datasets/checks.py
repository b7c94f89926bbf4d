"""Samples checked: labels against themselves, where a wrong convention has to be an error, and drawn to be looked at.

A contact sheet shows samples side by side with all that is known of them: the quickest way to see a wrong convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, Image
from sonjit.datasets.dataset import Dataset, Skipped
from sonjit.datasets.sample import Instance, Sample
from sonjit.errors import InputError, SonjitError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.drawing.instances import FINGERS, PERSON_COLOURS, draw_tint
from sonjit.media.drawing.strokes import INK, LEFT, NEUTRAL, RIGHT, Colour, Strokes, draw_captions, draw_path, draw_ring
from sonjit.results import Box
from sonjit.skeletons import load_skeleton

TOLERANCE_PX = 2.0
"""Between a label in the image and its projected 3D; sets round to whole pixels."""

_MARGIN = 0.25  # of a box's or image's longer side: how far outside labels may lie
_SHARE = 0.5  # of labels that must lie inside
_FEW = 10  # keypoints of a hand that may lie close together
_HAND_M = 0.02, 0.6  # between which more of them span, across the diagonal of their box


def check_sample(sample: Sample) -> None:
    """Refuse a sample whose labels contradict each other.

    Its image has to be there. What has both 3D and 2D labels has to fall onto itself when projected; what has 3D has
    to lie before the camera, and a hand has to be of a hand's size. Of labels that are seen some have to lie in the
    image and half in their own box, with a margin: hands at the edge are labelled past it.

    Raises:
        InputError: names the set, the sample, what is wrong and by how many pixels.
    """
    if isinstance(sample.image, Path) and not sample.image.is_file():
        raise InputError(f"{sample.dataset} {sample.id}: the image {sample.image} is missing")
    for instance in sample.instances:
        if sample.camera is not None and instance.keypoints_m is not None:
            _check_projection(sample, instance, sample.camera)
        if instance.keypoints_px is not None:
            _check_place(sample, instance, instance.keypoints_px)


def check_all(dataset: Dataset, *, skip_bad: bool = False) -> Dataset:
    """Check every sample.

    Args:
        dataset: which.
        skip_bad: leave bad ones out and list them in `skipped`, where else the first of them is an error.

    Raises:
        InputError: the first bad sample.
    """
    good: list[int] = []
    bad: list[Skipped] = []
    for index in range(len(dataset)):
        try:
            check_sample(dataset[index])
        except SonjitError as error:
            if not skip_bad:
                raise
            bad.append(Skipped(f"#{index}", str(error)))
        else:
            good.append(index)
    if not bad:
        return dataset
    kept = dataset.subset(good)
    kept.skipped = (*dataset.skipped, *bad)
    return kept


def _check_projection(sample: Sample, instance: Instance, camera: CalibratedCamera) -> None:
    points = _labelled(instance.keypoints_m, instance.valid_m)
    if not len(points):
        return
    behind = int((points[:, 2] <= 0).sum())
    if behind > _SHARE * len(points):
        raise InputError(
            f"{_named(sample, instance)}: {behind} of {len(points)} keypoints lie behind the camera: "
            "the axes or the extrinsics are not those of this set"
        )
    span_m = float(np.linalg.norm(np.ptp(points, axis=0)))
    if instance.kind == "hand" and len(points) > _FEW and not _HAND_M[0] < span_m < _HAND_M[1]:
        raise InputError(
            f"{_named(sample, instance)}: its keypoints span {span_m:.3g} m: the unit is not that of this set"
        )
    if instance.keypoints_px is None or instance.keypoints_m is None:
        return
    error_px = np.linalg.norm(camera.project(instance.keypoints_m) - instance.keypoints_px, axis=1)
    error_px = error_px[np.isfinite(error_px)]
    if len(error_px) and (middle := float(np.median(error_px))) > TOLERANCE_PX:
        raise InputError(
            f"{_named(sample, instance)}: projected 3D keypoints lie {middle:.1f} px from the 2D ones: "
            "joint order, unit, axes or camera are not those of this set"
        )


def _check_place(sample: Sample, instance: Instance, keypoints_px: FloatArray) -> None:
    valid = instance.valid_px
    if instance.visible is not None:
        valid = instance.visible if valid is None else valid & instance.visible
    points = _labelled(keypoints_px, valid)
    if not len(points):
        return
    frames: list[tuple[str, Box, float]] = [("image", (0, 0, sample.width, sample.height), 1.0)]
    if instance.box is not None:
        frames.append(("own box", instance.box, _SHARE))
    if sample.box is not None:
        frames.append(("box around all", sample.box, _SHARE))
    for what, (x_min, y_min, x_max, y_max), share in frames:
        margin = _MARGIN * max(x_max - x_min, y_max - y_min)
        outside = np.maximum(
            np.array([x_min - margin, y_min - margin]) - points, points - np.array([x_max + margin, y_max + margin])
        ).max(axis=1)
        if (outside > 0).mean() >= share:
            raise InputError(
                f"{_named(sample, instance)}: {(outside > 0).sum()} of {len(points)} keypoints lie outside of the "
                f"{what}, up to {outside.max():.1f} px: joint order, unit, axes or camera are not those of this set"
            )


def _labelled(points: FloatArray | None, valid: BoolArray | None) -> FloatArray:
    if points is None:
        return np.zeros((0, 3))
    known = np.isfinite(points).all(axis=1)
    return points[known if valid is None else known & valid]


def _named(sample: Sample, instance: Instance) -> str:
    side = f", {instance.side.lower()} {instance.kind}" if instance.side else ""
    return f"{sample.dataset} {sample.id}{side}"


CELL_PX = 360
"""Longer side of each image on the sheet."""

_GAP_PX = 6
_PROJECTED: Colour = (255, 255, 255)


def draw_contact_sheet(
    samples: Sequence[Sample], *, columns: int | None = None, cell_px: int = CELL_PX, zoom: bool = False
) -> Image:
    """A sheet of samples with their boxes, masks and keypoints.

    Keypoints are dots, joined where their skeleton is known: a hand's in the colour of their finger, others warm on the
    person's left and blue on their right. Hidden ones are rings. Small white rings are the 3D keypoints, projected:
    they have to lie on the dots. An image that cannot be read is a dark cell with the reason.

    Args:
        samples: which, in reading order.
        columns: how many side by side; by default about as many as rows.
        cell_px: longer side of each.
        zoom: cut each image around what is labelled in it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: no samples.
    """
    if not samples:
        raise InputError("no samples to show")
    columns = columns or min(len(samples), max(1, round(len(samples) ** 0.5 + 0.4)))
    rows = -(-len(samples) // columns)
    step = cell_px + _GAP_PX
    sheet = np.full((rows * step + _GAP_PX, columns * step + _GAP_PX, 3), INK, np.uint8)
    for place, sample in enumerate(samples):
        cell = _cell(sample, cell_px, zoom=zoom)
        height, width = cell.shape[:2]
        top = _GAP_PX + place // columns * step + (cell_px - height) // 2
        left = _GAP_PX + place % columns * step + (cell_px - width) // 2
        sheet[top : top + height, left : left + width] = cell
    return sheet


def chosen_places(count: int, wanted: int, order: Literal["spread", "first", "random"]) -> list[int]:
    """Which of `count` samples to show: spread over all, the first, or at random, the same every time.

    >>> chosen_places(9, 3, "spread"), chosen_places(2, 3, "first")
    ([0, 4, 8], [0, 1])
    """
    wanted = min(wanted, count)
    match order:
        case "spread":
            return np.linspace(0, count - 1, wanted).round().astype(int).tolist()
        case "first":
            return list(range(wanted))
        case "random":
            return np.sort(np.random.default_rng(0).choice(count, wanted, replace=False)).tolist()


def draw_sample(sample: Sample, size_px: int, *, zoom: bool = False) -> Image:
    """One sample's image, its longer side of so many pixels, with all that is known of it drawn in.

    Raises:
        InputError: the image cannot be read.
    """
    import cv2

    left, top, right, bottom = _labelled_part(sample) if zoom else (0, 0, sample.width, sample.height)
    scale = size_px / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.array(cv2.resize(sample.rgb()[top:bottom, left:right], size, interpolation=how), np.uint8)
    origin = np.array([left, top])
    for number, one in enumerate(sample.instances):
        if (mask := one.mask()) is not None:
            part = mask[top:bottom, left:right].astype(np.float32)
            draw_tint(canvas, part, PERSON_COLOURS[number % len(PERSON_COLOURS)])
    for side, box in ((None, sample.box), *((one.side, one.box) for one in sample.instances)):
        if box is not None:
            _draw_box(canvas, side, (np.reshape(box, (2, 2)) - origin) * scale)
    for one in sample.instances:
        if one.keypoints_px is not None:
            _draw_keypoints(canvas, one, (one.keypoints_px - origin) * scale)
        if sample.camera is not None and one.keypoints_m is not None:
            known = slice(None) if one.valid_m is None else one.valid_m
            projected = (sample.camera.project(one.keypoints_m[known]) - origin) * scale
            for point in projected[np.isfinite(projected).all(axis=1)]:
                draw_ring(canvas, point, 3.0, _PROJECTED, 1)
    return canvas


def _labelled_part(sample: Sample) -> tuple[int, int, int, int]:
    """Left, top, right and bottom around all boxes and keypoints, with room, inside the image."""
    boxes = [np.reshape(one.box, (2, 2)) for one in sample.instances if one.box is not None]
    points = [one.keypoints_px for one in sample.instances if one.keypoints_px is not None]
    known = np.concatenate([*boxes, *points, np.zeros((0, 2))])
    known = known[np.isfinite(known).all(axis=1)]
    room = np.array([sample.width, sample.height])
    if len(known):
        margin = 0.15 * np.ptp(known, axis=0).max() + 4
        left, top = np.clip(known.min(axis=0) - margin, 0, room).astype(int).tolist()
        right, bottom = np.clip(np.ceil(known.max(axis=0) + margin), 0, room).astype(int).tolist()
        if right > left and bottom > top:
            return left, top, right, bottom
    return 0, 0, sample.width, sample.height


def _cell(sample: Sample, size_px: int, *, zoom: bool) -> Image:
    try:
        canvas = draw_sample(sample, size_px, zoom=zoom)
        about = ", ".join(dict.fromkeys(filter(None, map(_words, sample.instances)))) or "nothing in it"
    except InputError as error:
        canvas, about = np.full((size_px, size_px, 3), 40, np.uint8), str(error)
    lines = (f"{sample.id[-40:]}  {sample.width}x{sample.height}", about)
    draw_captions(canvas, [line.encode("ascii", "replace").decode() for line in lines])
    return canvas


def _words(one: Instance) -> str:
    words = (one.side, one.category or one.kind, "crowd" if one.crowd else None)
    return " ".join(word for word in words if word)


def _draw_box(canvas: Image, side: str | None, corners: FloatArray) -> None:
    """A box from its first and last corner (2, 2)."""
    (x_min, y_min), (x_max, y_max) = corners
    path = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
    draw_path(canvas, path, INK, 3)
    draw_path(canvas, path, LEFT if side == "Left" else RIGHT if side == "Right" else NEUTRAL, 1)


def _draw_keypoints(canvas: Image, one: Instance, points: FloatArray) -> None:
    """Labelled points and the lines between them."""
    known = points if one.valid_px is None else np.where(one.valid_px[:, None], points, np.nan)
    strokes = Strokes(canvas, np.column_stack([known, np.full(len(known), np.nan)]).astype(np.float32))
    width = strokes.width(0.012)
    colours, lines = _colours_and_lines(one, len(points))
    for a, b in lines:
        strokes.line(a, b, INK, width + 2)
    for a, b in lines:
        strokes.line(a, b, colours[b], width)
    for k, colour in enumerate(colours):
        if one.visible is not None and not one.visible[k]:
            draw_ring(canvas, strokes.points[k], width + 1.5, colour, 1)
        else:
            strokes.dot(k, INK, width + 1)
            strokes.dot(k, colour, width)


def _colours_and_lines(one: Instance, count: int) -> tuple[list[Colour], tuple[tuple[int, int], ...]]:
    """A colour per keypoint, and which of them are joined."""
    try:
        skeleton = load_skeleton(one.skeleton or "")
    except InputError:  # a convention of the set's own: no names, no lines
        return [NEUTRAL] * count, ()
    fingers = {k: FINGERS[name] for name, members in skeleton.groups.items() if name in FINGERS for k in members}
    sides = {"left": LEFT, "right": RIGHT}
    colours = [
        fingers.get(k) or next((colour for side, colour in sides.items() if name.startswith(side)), NEUTRAL)
        for k, name in enumerate(skeleton.keypoints)
    ]
    return colours, skeleton.connections

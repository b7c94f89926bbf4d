"""Draw samples with their labels on contact sheets."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sonjit._util import FloatArray, Image, InputError
from sonjit.media.drawing.instances import FINGERS, PERSON_COLOURS, draw_tint
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.drawing.strokes import INK, LEFT, NEUTRAL, RIGHT, Colour, Strokes, draw_path, draw_ring
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets.sample import Instance, Sample

CELL_PX = 360  # longer side of each image on the sheet
_GAP_PX = 6
_PROJECTED: Colour = (255, 255, 255)


def draw_contact_sheet(
    samples: Sequence[Sample], *, columns: int | None = None, cell_px: int = CELL_PX, zoom: bool = False
) -> Image:
    """Draw a sheet of samples with their boxes, masks and keypoints.

    Keypoints are dots, joined if their skeleton is known: a hand's in the colour of their finger, others warm on the
    person's left and blue on the right. The bones of a hand have an outline in the colour of its side. Hidden keypoints
    are rings. Small white rings are projected 3D keypoints, which should lie on the dots. An image that cannot be read
    is a dark cell with the reason.

    Args:
        samples: Samples in reading order.
        columns: Number of columns; by default about as many as rows.
        cell_px: Longer side of each cell in pixels.
        zoom: Crop each image around its labels.

    Returns:
        Sheet (H, W, 3), uint8 RGB.

    Raises:
        InputError: There are no samples.
    """
    if not samples:
        raise InputError("no samples to show")
    columns = columns or min(len(samples), max(1, round(len(samples) ** 0.5 + 0.4)))
    rows = -(-len(samples) // columns)
    step = cell_px + _GAP_PX
    sheet = np.full((rows * step + _GAP_PX, columns * step + _GAP_PX, 3), INK, np.uint8)
    for index, sample in enumerate(samples):
        try:
            canvas = draw_sample(sample, cell_px, zoom=zoom)
            about = ", ".join(dict.fromkeys(filter(None, map(_draw_text, sample.instances)))) or "nothing in it"
        except InputError as error:
            canvas, about = np.full((cell_px, cell_px, 3), 40, np.uint8), str(error)
        lines = (f"{sample.id[-40:]}  {sample.width}x{sample.height}", about)
        draw_captions(canvas, [line.encode("ascii", "replace").decode() for line in lines])
        height, width = canvas.shape[:2]
        top = _GAP_PX + index // columns * step + (cell_px - height) // 2
        left = _GAP_PX + index % columns * step + (cell_px - width) // 2
        sheet[top : top + height, left : left + width] = canvas
    return sheet


def spread_indices(count: int, maximum: int, order: Literal["spread", "first", "random"]) -> list[int]:
    """Return the indices of samples to show: spread over all, the first ones, or the same random ones each time.

    >>> spread_indices(9, 3, "spread"), spread_indices(2, 3, "first")
    ([0, 4, 8], [0, 1])
    """
    maximum = min(maximum, count)
    match order:
        case "spread":
            return np.linspace(0, count - 1, maximum).round().astype(int).tolist()
        case "first":
            return list(range(maximum))
        case "random":
            return np.sort(np.random.default_rng(0).choice(count, maximum, replace=False)).tolist()


def draw_sample(sample: Sample, size_px: int, *, zoom: bool = False) -> Image:
    """Draw all labels of a sample into its image, scaled so that the longer side has `size_px` pixels."""
    import cv2

    left, top, right, bottom = _label_bounds(sample) if zoom else (0, 0, sample.width, sample.height)
    scale = size_px / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.array(cv2.resize(sample.rgb()[top:bottom, left:right], size, interpolation=how), np.uint8)
    origin = np.array([left, top])
    for number, instance in enumerate(sample.instances):
        if (mask := instance.mask()) is not None:
            part = mask[top:bottom, left:right].astype(np.float32)
            draw_tint(canvas, part, PERSON_COLOURS[number % len(PERSON_COLOURS)])
    for side, box in ((None, sample.box), *((instance.side, instance.box) for instance in sample.instances)):
        if box is not None:
            corners = (np.reshape(box, (2, 2)) - origin) * scale
            (x_min, y_min), (x_max, y_max) = corners
            path = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
            draw_path(canvas, path, INK, 3)
            draw_path(canvas, path, {"Left": LEFT, "Right": RIGHT}.get(side or "", NEUTRAL), 1)
    for instance in sample.instances:
        if (points_px := instance.labelled_px) is not None:
            _draw_keypoints(canvas, instance, (points_px - origin) * scale)
        if sample.camera is not None and (points_m := instance.labelled_m) is not None:
            projected = (sample.camera.project(points_m) - origin) * scale
            for point in projected[np.isfinite(projected).all(axis=1)]:
                draw_ring(canvas, point, 3.0, _PROJECTED, 1)
    return canvas


def _label_bounds(sample: Sample) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom around all boxes and keypoints, with a margin, inside the image."""
    boxes = [np.reshape(instance.box, (2, 2)) for instance in sample.instances if instance.box is not None]
    points = [instance.keypoints_px for instance in sample.instances if instance.keypoints_px is not None]
    labelled_points = np.concatenate([*boxes, *points, np.zeros((0, 2))])
    labelled_points = labelled_points[np.isfinite(labelled_points).all(axis=1)]
    room = np.array([sample.width, sample.height])
    if len(labelled_points):
        margin = 0.15 * np.ptp(labelled_points, axis=0).max() + 4
        left, top = np.clip(labelled_points.min(axis=0) - margin, 0, room).astype(int).tolist()
        right, bottom = np.clip(np.ceil(labelled_points.max(axis=0) + margin), 0, room).astype(int).tolist()
        if right > left and bottom > top:
            return left, top, right, bottom
    return 0, 0, sample.width, sample.height


def _draw_text(instance: Instance) -> str:
    noun = instance.category or instance.kind
    side = None if instance.side and instance.side.lower() in noun.lower() else instance.side
    words = (side, noun, "crowd" if instance.crowd else None)
    return " ".join(word for word in words if word)


def _draw_keypoints(canvas: Image, instance: Instance, points: FloatArray) -> None:
    """Draw labelled points and the lines between them."""
    strokes = Strokes(canvas, np.column_stack([points, np.full(len(points), np.nan)]).astype(np.float32))
    width = strokes.width(0.012)
    colours, lines = _colours_and_lines(instance, len(points))
    outline = {"Left": LEFT, "Right": RIGHT}.get(instance.side or "", INK)
    for a, b in lines:
        strokes.line(a, b, outline, width + 3)
    for a, b in lines:
        strokes.line(a, b, colours[b], width)
    for k, colour in enumerate(colours):
        if instance.visible is not None and not instance.visible[k]:
            draw_ring(canvas, strokes.points[k], width + 1.5, colour, 1)
        else:
            strokes.dot(k, INK, width + 1)
            strokes.dot(k, colour, width)


def _colours_and_lines(instance: Instance, count: int) -> tuple[list[Colour], tuple[tuple[int, int], ...]]:
    """Return a colour per keypoint, and the pairs of keypoints to join."""
    try:
        skeleton = load_skeleton(instance.skeleton or "")
    except InputError:  # a convention of the set's own: no names, no lines
        return [NEUTRAL] * count, ()
    fingers = {k: FINGERS[name] for name, members in skeleton.groups.items() if name in FINGERS for k in members}
    sides = {"left": LEFT, "right": RIGHT}
    colours = [
        fingers.get(k) or next((colour for side, colour in sides.items() if name.startswith(side)), NEUTRAL)
        for k, name in enumerate(skeleton.keypoints)
    ]
    return colours, skeleton.connections

"""Cover heads and people in images: where they are, and how their pixels change.

A head is an ellipse from hair to chin with a soft border, in the box around it.
"""

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util import Float32Array, Image, RealArray
from sonjit._util.lazy_names import LazyModule
from sonjit.results import Body, Box, Face, Result

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

BLUR_MARGIN: Final = 0.35  # margin of the blurred rectangle around a face, relative to its longer side
_PERSON_MARGIN: Final = 0.1  # margin of the box of a person, for clothes, hair and hands
_CELLS: Final = 3  # cells along a covered head or person
_ACROSS, _ALONG, _RISE = 0.72, 0.9, 0.17
"""Half axes of a head, and distance of its centre above that of the face, relative to the longer side of the face."""
_FACE_SHARE, _TORSO_SHARE = 1.2, 0.3
"""Side of the face of a body, relative to the extent of its keypoints, and minimum, relative to torso and shoulders."""
_EYES, _MOUTH = slice(1, 7), slice(9, 11)  # keypoints of a body
_INSIDE, _SAME_SIZE, _COVERED = 0.6, 0.4, 0.9
"""Share of a head inside another one from which both are one head, minimum ratio of the sizes of two heads of one
centre that are one, and share of a head inside a larger one that replaces it."""
_SOFT: Final = 0.15  # part of the half axes in which a cover becomes transparent


def head_around(face: Sequence[float], down: RealArray) -> Box:
    """Return the box of a head from the box of its face and a vector (2,) from its eyes to its mouth, in pixels."""
    x_min, y_min, x_max, y_max = map(float, face)
    side, length = max(x_max - x_min, y_max - y_min), math.hypot(*down)
    dx, dy = (float(down[0]) / length, float(down[1]) / length) if length > 0 else (0.0, 1.0)
    x, y = (x_min + x_max) / 2 - _RISE * side * dx, (y_min + y_max) / 2 - _RISE * side * dy
    wide, high = (side * math.hypot(_ACROSS * a, _ALONG * b) for a, b in ((dy, dx), (dx, dy)))
    return x - wide, y - high, x + wide, y + high


def head_of_face(face: Face) -> Box:
    """Return the box of the head of a face, in pixels."""
    points = np.asarray(face.keypoints, np.float64)[:, :2]
    eyes, mouth = (points[:2].mean(axis=0), points[3]) if len(points) == 6 else (points[10], points[152])
    return head_around(face.box, mouth - eyes)


def head_of_keypoints(keypoints: Float32Array) -> Box:
    """Return the box of a body's head from its keypoints (33, 2 or more) in pixels, also of one that is turned away.

    The face of a head in profile or from behind is narrow, and that of a small one uncertain, so that the size is at
    least a share of the torso.
    """
    points = np.asarray(keypoints, np.float64)[:, :2]
    face, shoulders, hips = points[:11], points[[11, 12]], points[[23, 24]]
    torso = math.dist(shoulders.mean(axis=0), hips.mean(axis=0))
    size = max(torso, math.dist(*shoulders))
    half = max(float(np.ptp(face, axis=0).max()) * _FACE_SHARE, _TORSO_SHARE * size) / 2
    x, y = face.mean(axis=0).tolist()
    return head_around(
        (x - half, y - half, x + half, y + half), points[_MOUTH].mean(axis=0) - points[_EYES].mean(axis=0)
    )


def heads_and_bodies(results: Iterable[Result]) -> tuple[list[Box], list[Box]]:
    """Return the boxes of the heads of results, and those of their bodies, in pixels."""
    parts = [part for result in results for part in result.parts]
    bodies = [part for part in parts if isinstance(part, Body) and np.isfinite(part.keypoints[:, :2]).all()]
    faces = [head_of_face(part) for part in parts if isinstance(part, Face) and np.isfinite(part.box).all()]
    return faces + [head_of_keypoints(body.keypoints) for body in bodies], [body.box for body in bodies]


def distinct(heads: Iterable[Box]) -> list[Box]:
    """Return one box per head, from boxes with the best first. A box that covers more than a better one stays."""
    kept: list[Box] = []
    for box in heads:
        if not any(inside(box, other) > _INSIDE for other in kept):
            kept = [*(other for other in kept if inside(other, box) < _COVERED), box]
    return kept


def add_unseen(heads: list[Box], head: Box) -> None:
    """Add a head whose face was not found, unless it is that of a face."""
    if not any(is_same_head(head, other) for other in heads):
        heads.append(head)


def is_same_head(a: Box, b: Box) -> bool:
    """Check whether two boxes show one head: one is inside the other, or has its centre there and a similar size."""
    if max(inside(a, b), inside(b, a)) > _INSIDE:
        return True
    (small, size), (large, most) = sorted(((box, box[2] - box[0]) for box in (a, b)), key=itemgetter(1))
    x, y = (small[0] + small[2]) / 2, (small[1] + small[3]) / 2
    return size > _SAME_SIZE * most and large[0] < x < large[2] and large[1] < y < large[3]


def inside(box: Box, other: Box) -> float:
    """Return the share of a box that lies in another one, 0 to 1."""
    width, height = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if min(width, height, area) > 0 else 0.0


def cover(rgb: Image, heads: Sequence[Box], people: Sequence[Box], plain: Sequence[Box] = ()) -> Image:
    """Return an image (H, W, 3) in which heads, and people with a margin, are reduced to few cells.

    `plain` heads have one colour each, and cover the others.
    """
    out = rgb.copy()
    for box in people:
        _reduce(out, add_margin(box, rgb, _PERSON_MARGIN))
    for box, cells in [*((box, _CELLS) for box in heads), *((box, 1) for box in plain)]:
        _cover_head(out, box, cells)
    return out


def blur_faces(rgb: Image, boxes: Sequence[Box]) -> Image:
    """Return an image (H, W, 3) in which each face's box and a margin are reduced to three by three cells.

    The cells grow with the face, so that a face of any size becomes a few smooth colours, in which networks find none.
    """
    out = rgb.copy()
    for box in boxes:
        _reduce(out, add_margin(box, rgb))
    return out


def add_margin(box: Box, rgb: Image, share: float = BLUR_MARGIN) -> tuple[int, int, int, int]:
    """Return a box with a margin, by default that of a face: x_min, y_min, x_max, y_max within the image (H, W, 3)."""
    x_min, y_min, x_max, y_max = box
    margin = share * max(x_max - x_min, y_max - y_min)
    height, width = rgb.shape[:2]
    left, top = max(0, math.floor(x_min - margin)), max(0, math.floor(y_min - margin))
    return left, top, min(width, math.ceil(x_max + margin)), min(height, math.ceil(y_max + margin))


def _reduce(out: Image, area: tuple[int, int, int, int]) -> None:
    """Reduce an area of an image (H, W, 3) to few cells, in place."""
    left, top, right, bottom = area
    if right > left and bottom > top:
        out[top:bottom, left:right] = _few_colours(out[top:bottom, left:right], _CELLS)


def _few_colours(part: Image, count: int) -> Image:
    cells = cv2.resize(part, (count, count), interpolation=cv2.INTER_AREA)
    return cv2.resize(cells, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)  # pyright: ignore[reportReturnType]


def _cover_head(out: Image, box: Box, count: int) -> None:
    """Reduce the ellipse in a box to a number of cells along each side, in an image (H, W, 3) in place."""
    (height, width), (x_min, y_min, x_max, y_max) = out.shape[:2], box
    left, top, right, bottom = math.floor(x_min), math.floor(y_min), math.ceil(x_max), math.ceil(y_max)
    inside = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return
    rows, columns = slice(inside[1], inside[3]), slice(inside[0], inside[2])
    x, y = (
        ((np.arange(first, last, dtype=np.float32) + 0.5) * 2 - low - high) / max(high - low, 1e-6)
        for first, last, low, high in ((inside[0], inside[2], x_min, x_max), (inside[1], inside[3], y_min, y_max))
    )
    opacity = np.clip((1 - np.sqrt(x * x + (y * y)[:, None])) / _SOFT, 0, 1).astype(np.float32)
    part = np.ascontiguousarray(out[rows, columns])
    out[rows, columns] = cv2.blendLinear(_few_colours(part, count), part, opacity, 1 - opacity)

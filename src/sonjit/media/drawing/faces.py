"""Faces: quiet contours over a haze of mesh points, irises as rings; a face that is only a box as a rounded box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.drawing.labels import draw_label, label_text
from sonjit.media.drawing.strokes import INK, LEFT, NEUTRAL, RIGHT, Strokes, draw_path, draw_ring, shade, translucent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.media.drawing.strokes import Colour
    from sonjit.results import Box, Face

CONTOURS: dict[str, Colour] = {
    "lips": (255, 150, 165),
    "leftEye": (255, 208, 140),
    "leftEyebrow": (255, 208, 140),
    "leftIris": (255, 232, 190),
    "rightEye": (140, 214, 255),
    "rightEyebrow": (140, 214, 255),
    "rightIris": (196, 236, 255),
    "faceOval": (214, 220, 232),
}
"""RGB of each contour: the person's own left warm, their right blue, all paler than hands."""

_MESH: Colour = (232, 240, 255)
_UP = np.array([0.0, -1.0])
_ASIDE = np.array([1.0, 0.0])


def draw_face(canvas: NDArray[np.uint8], face: Face) -> None:
    """One face, in place."""
    if len(face.keypoints) == 6:
        _draw_box(canvas, face)
    else:
        _draw_mesh(canvas, face)


def draw_face_label(canvas: NDArray[np.uint8], face: Face) -> None:
    """Score and id above the face, in place."""
    x_min, y_min, x_max, _ = face.box
    top = np.array([(x_min + x_max) / 2, y_min])
    draw_label(canvas, label_text("Face", face), top, (_UP, _ASIDE, -_ASIDE), NEUTRAL)


def _draw_mesh(canvas: NDArray[np.uint8], face: Face) -> None:
    strokes = Strokes(canvas, face.keypoints)
    near, width = strokes.near.tolist(), strokes.width(0.005)
    region = strokes.region(4 * width)
    groups = face.skeleton.groups
    on_contour = {k for members in groups.values() for k in members}
    with translucent(canvas, region, 0.62 * min(1.0, strokes.size / 240)):  # on a small face they would be a fog
        for k in range(468):
            if k not in on_contour:
                strokes.dot(k, shade(_MESH, near[k]), max(0.6, width * (0.3 + 0.5 * near[k])))
    contours = {name: set(members) for name, members in groups.items() if not name.endswith("Iris")}
    lines = [
        (a, b, CONTOURS.get(name, NEUTRAL), width * (0.7 if "Eye" in name else 1.0))
        for a, b in face.skeleton.connections
        for name, members in contours.items()
        if a in members and b in members
    ]
    with translucent(canvas, region, 0.4 * min(1.0, strokes.size / 240)):
        for a, b, _, thickness in lines:
            strokes.line(a, b, INK, thickness + 1.6)
    for a, b, colour, thickness in lines:
        strokes.line(a, b, colour, thickness)
    for name, members in groups.items():
        if name.endswith("Iris"):
            _draw_iris(strokes, np.array(members), CONTOURS.get(name, NEUTRAL), width * 0.7)


def _draw_iris(strokes: Strokes, ring: NDArray[np.int64], colour: Colour, width: float) -> None:
    points = strokes.points[ring]  # (4, 2)
    centre = points.mean(axis=0)
    radius = float(np.hypot(*(points - centre).T).mean())
    if radius > 2.5 * width:
        draw_ring(strokes.canvas, centre, radius, INK, width + 1.6)
    draw_ring(strokes.canvas, centre, radius, colour, width)


def _draw_box(canvas: NDArray[np.uint8], face: Face) -> None:
    strokes = Strokes(canvas, face.keypoints)
    outline = _rounded(face.box)
    size = float(np.hypot(*np.ptp(outline, axis=0)))
    longest = max(canvas.shape[:2])
    width = float(np.clip(size * 0.009, 1.0, longest * 0.004 + 1)) if np.isfinite(size) else strokes.width(0.02)
    draw_path(canvas, outline, INK, width + 2)
    draw_path(canvas, outline, NEUTRAL, width)
    for k, name in enumerate(face.skeleton.keypoints):
        colour = LEFT if name.startswith("left") else RIGHT if name.startswith("right") else NEUTRAL
        strokes.dot(k, INK, width * 1.5 + 1)
        strokes.dot(k, colour, width * 1.5)


def _rounded(box: Box) -> NDArray[np.float64]:
    """(36, 2) outline of a box with round corners."""
    low, high = np.array(box[:2], np.float64), np.array(box[2:], np.float64)
    radius = 0.12 * float(np.abs(high - low).min())
    turn = np.linspace(0, np.pi / 2, 9)
    arc = np.column_stack([np.cos(turn), np.sin(turn)]) * radius  # (9, 2), from right to bottom
    inner = high - radius, np.array([low[0] + radius, high[1] - radius]), low + radius
    last = np.array([high[0] - radius, low[1] + radius])
    quarter = np.array([[0, 1], [-1, 0]])  # row vectors a quarter further, clockwise on the screen
    corners = [inner[0] + arc, inner[1] + arc @ quarter, inner[2] - arc, last - arc @ quarter]
    return np.vstack(corners)

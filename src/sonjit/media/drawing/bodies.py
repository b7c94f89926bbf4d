"""Bodies: limbs by side, thick where seen and thin where hidden; hands and face of a person take their own places.

People's masks as translucent tints with a fine outline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.drawing.labels import draw_label, label_text
from sonjit.media.drawing.strokes import INK, LEFT, NEUTRAL, RIGHT, Strokes, draw_ring, shade, translucent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.media.drawing.strokes import Colour
    from sonjit.results import Body, Face, Hand

SEEN = 0.5
"""Visibility from which a keypoint counts as seen; an unknown one does too."""

_HIDDEN_OPACITY = 0.4


def draw_body(
    canvas: NDArray[np.uint8],
    body: Body,
    left_hand: Hand | None = None,
    right_hand: Hand | None = None,
    face: Face | None = None,
) -> None:
    """One body, in place; where the person's hands and face are known, it reaches to them and leaves out its own."""
    body, left_out = _joined(body, left_hand, right_hand, face)
    strokes = Strokes(canvas, body.keypoints)
    seen = ~(body.visibility < SEEN)  # (33,), True for NaN
    width = strokes.width(0.0075)
    edge = strokes.edge(width)
    near = (0.3 + 0.5 * strokes.near).tolist()  # limbs keep their side's colour, near or far
    shown = [k for k in sorted(range(len(near)), key=near.__getitem__) if k not in left_out]
    lines = [(a, b) for a, b in body.skeleton.connections if a not in left_out and b not in left_out]
    lines.sort(key=lambda pair: near[pair[0]] + near[pair[1]])
    head = set(body.skeleton.groups["face"])

    with translucent(canvas, strokes.region(4 * width), _HIDDEN_OPACITY):
        for a, b in lines:
            if not (seen[a] and seen[b]):
                strokes.line(a, b, _line_colour(body, a, b), width * 0.5)
        for k in shown:
            if not seen[k]:
                draw_ring(canvas, strokes.points[k], width, _side_colour(body, k), width * 0.4)
    bold = [(a, b, width * (0.4 if a in head else 1.0)) for a, b in lines if seen[a] and seen[b]]
    for a, b, thickness in bold:
        strokes.line(a, b, INK, thickness + 2 * edge)
    for a, b, thickness in bold:
        strokes.line(a, b, shade(_line_colour(body, a, b), (near[a] + near[b]) / 2), thickness)
    for k in shown:
        if seen[k]:
            radius = width * (0.55 + 1.1 * near[k]) * (0.45 if k in head else 1.0)
            strokes.dot(k, INK, radius + edge)
            strokes.dot(k, shade(_side_colour(body, k), near[k] + 0.2), radius)


def draw_body_label(canvas: NDArray[np.uint8], body: Body) -> None:
    """Score and id above the head, in place."""
    points = np.asarray(body.keypoints, np.float64)[:, :2]
    head = points[list(body.skeleton.groups["face"])]
    shoulders = points[[body.skeleton.index("left_shoulder"), body.skeleton.index("right_shoulder")]]
    crown = head.mean(axis=0) * 2 - (head.mean(axis=0) + shoulders.mean(axis=0)) / 2  # as far above as the neck below
    up = np.array([0.0, -1.0])
    aside = np.array([1.0, 0.0])
    draw_label(canvas, label_text("Person", body), crown, (up, aside, -aside), NEUTRAL)


def _joined(body: Body, left_hand: Hand | None, right_hand: Hand | None, face: Face | None) -> tuple[Body, set[int]]:
    """The body with its wrists at those of its hands, and which of its keypoints the other parts replace."""
    skeleton = body.skeleton
    keypoints, visibility, left_out = body.keypoints.copy(), body.visibility.copy(), set[int]()
    for side, hand in (("left", left_hand), ("right", right_hand)):
        if hand is not None:
            wrist = skeleton.index(f"{side}_wrist")
            keypoints[wrist, :2], visibility[wrist] = hand.keypoints[0, :2], 1
            left_out |= {skeleton.index(f"{side}_{finger}") for finger in ("pinky", "index", "thumb")}
    if face is not None:
        left_out |= set(skeleton.groups["face"])
    return replace(body, keypoints=keypoints, visibility=visibility), left_out


def _line_colour(body: Body, a: int, b: int) -> Colour:
    torso = body.skeleton.groups["torso"]
    colour = _side_colour(body, a)
    return colour if colour == _side_colour(body, b) and not (a in torso and b in torso) else NEUTRAL


def _side_colour(body: Body, k: int) -> Colour:
    name = body.skeleton.keypoints[k].split("_")
    return LEFT if "left" in name else RIGHT if "right" in name else NEUTRAL


PERSON_COLOURS: tuple[Colour, ...] = (
    (96, 132, 255),
    (46, 204, 160),
    (255, 138, 92),
    (214, 112, 240),
    (244, 202, 62),
    (90, 200, 250),
)

_OPACITY = 0.42


def draw_tint(canvas: NDArray[np.uint8], mask: NDArray[np.float32], colour: Colour) -> None:
    """Colour a person, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        mask: (h, w) float32 probability, stretched over the image; unknown (NaN) is none.
        colour: RGB.
    """
    import cv2

    height, width = canvas.shape[:2]
    alpha = np.clip(np.nan_to_num(mask), 0, 1).astype(np.float32)
    if alpha.shape != (height, width):
        alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    left, top, wide, high = cv2.boundingRect((alpha > 0.02).view(np.uint8))
    if not wide:
        return
    part, weight = canvas[top : top + high, left : left + wide], alpha[top : top + high, left : left + wide]
    full = np.full_like(part, colour)
    part[:] = cv2.blendLinear(full, part, weight * _OPACITY, 1 - weight * _OPACITY)
    inside = (weight >= 0.5).view(np.uint8)
    edges, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    cv2.drawContours(canvas, edges, -1, colour, max(1, round(min(height, width) / 480)), cv2.LINE_AA)

"""Draw hands, faces, bodies and people's masks.

A hand has a colour per finger, depth as size and shade, and a small label at the wrist. A face has thin contours over a
faint cloud of mesh points, and irises as rings; a face that is only a box is a rounded box. The limbs of a body have a
colour per side and are thick where seen and thin where hidden; hands and face of a person replace those of the body.
People's masks are translucent tints with a fine outline.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, IntArray
from sonjit._util.data_files import load_spec, rgb_from_hex
from sonjit._util.lazy_names import LazyModule
from sonjit.media.drawing import strokes as pen
from sonjit.media.drawing.labels import Drawing, Label, label_of
from sonjit.media.drawing.strokes import Colour, Strokes, own, shade
from sonjit.media.drawing.style import STYLE
from sonjit.results import Body, Box, Face, Hand, Person, Result

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

FINGERS: dict[str, Colour] = {name: rgb_from_hex(colour) for name, colour in load_spec("drawing")["fingers"].items()}
"""RGB of each finger, far enough apart for colour-blind eyes to follow by lightness."""
CONTOURS: dict[str, Colour] = {
    name: rgb_from_hex(colour) for name, colour in load_spec("drawing")["face_contours"].items()
}
"""RGB of each contour: the person's own left warm, their right blue, all paler than hands."""
_SIDE_COLOURS: Final = {"left": pen.LEFT, "right": pen.RIGHT}  # by the words of keypoint names
_MESH: Colour = (232, 240, 255)  # RGB of the lines of a face mesh
_UP = np.array([0.0, -1.0])
_ASIDE = np.array([1.0, 0.0])
_ERROR_WIDTH = 0.004  # line width of the rings of expected errors, as a fraction of the size of the hand
SEEN: float = load_spec("results")["visible_score"]
"""Visibility from which a keypoint counts as seen; an unknown one does too."""
_HIDDEN_OPACITY = 0.4  # opacity of keypoints that are not visible
PERSON_COLOURS: tuple[Colour, ...] = tuple(map(rgb_from_hex, load_spec("drawing")["instances"]))
_OPACITY = 0.42  # opacity of the mask of a person
_BOARD = (255, 204)  # greys of the checkerboard that shows transparency


def draw_hand(canvas: Image, hand: Hand, _: Person | None = None) -> None:
    """Draw bones and joints on a canvas (H, W, 3) uint8 in place, from far to near."""
    strokes = Strokes(canvas, hand.keypoints)
    near, width = strokes.near.tolist(), strokes.width(pen.HAND_WIDTH)
    edge = strokes.edge(width)
    colours = _keypoint_colours(hand)
    lines = sorted(hand.skeleton.connections, key=lambda pair: near[pair[0]] + near[pair[1]])
    for a, b in lines:
        strokes.line(a, b, pen.INK, width + 2 * edge)
    for a, b in lines:
        colour = colours[a] if colours[a] == colours[b] else own(pen.NEUTRAL)  # from finger to finger or wrist is palm
        strokes.line(a, b, shade(colour, (near[a] + near[b]) / 2), width)
    for k in sorted(range(len(near)), key=near.__getitem__):
        radius = width * (0.7 + 1.2 * near[k])
        strokes.dot(k, pen.INK, radius + edge)
        strokes.dot(k, shade(colours[k], near[k] + 0.15), radius)
        if radius >= 3:
            strokes.dot(k, shade(colours[k], near[k] + 0.6), radius * 0.42)


def draw_errors(canvas: Image, hand: Hand) -> None:
    """Draw the expected errors of refined keypoints as radii of rings on a canvas (H, W, 3) uint8, in place."""
    if hand.error_px is None:
        return
    strokes = Strokes(canvas, hand.keypoints)
    width = strokes.width(_ERROR_WIDTH)
    for point, radius, colour in zip(strokes.points, hand.error_px.tolist(), _keypoint_colours(hand), strict=True):
        pen.draw_ring(canvas, point, radius, pen.INK, width + 2 * strokes.edge(width))
        pen.draw_ring(canvas, point, radius, shade(colour, 1), width)


def hand_label(hand: Hand) -> Label:
    """Return the label with side, score and id, placed next to the wrist."""
    wrist, thumb, knuckle = np.asarray(hand.keypoints, np.float64)[[0, 1, 9], :2]
    away = wrist - knuckle  # from the fingers
    length = float(np.hypot(*away))
    away = away / length if np.isfinite(length) and length > 0 else np.array([0.0, 1.0])
    aside = np.array([-away[1], away[0]])
    if aside @ (thumb - wrist) > 0:
        aside = -aside  # prefer the side of the little finger to that of the thumb
    accent = {"Right": pen.RIGHT, "Left": pen.LEFT, None: pen.NEUTRAL}[hand.side]
    return label_of(hand, hand.side or "Hand", wrist, (away, aside, -aside), accent)


def _keypoint_colours(hand: Hand) -> list[Colour]:
    groups = hand.skeleton.groups
    of_point = {k: FINGERS.get(name, pen.NEUTRAL) for name, members in groups.items() for k in members}
    return [own(of_point.get(k, pen.NEUTRAL)) for k in range(len(hand.keypoints))]


def draw_face(canvas: Image, face: Face, _: Person | None = None) -> None:
    """Draw one face on a canvas (H, W, 3) uint8 in place."""
    if len(face.keypoints) == 6:
        strokes, width = draw_box(canvas, face)
        for k, name in enumerate(face.skeleton.keypoints):
            side = next((side for side in _SIDE_COLOURS if name.startswith(side)), "")
            colour = _SIDE_COLOURS.get(side, pen.NEUTRAL)
            strokes.dot(k, pen.INK, width * 1.5 + 1)
            strokes.dot(k, own(colour), width * 1.5)
    else:
        _draw_mesh(canvas, face)


def face_label(face: Face) -> Label:
    """Score and id above the face."""
    x_min, y_min, x_max, _ = face.box
    top = np.array([(x_min + x_max) / 2, y_min])
    return label_of(face, "Face", top, (_UP, _ASIDE, -_ASIDE))


def _draw_mesh(canvas: Image, face: Face) -> None:
    strokes = Strokes(canvas, face.keypoints)
    near, width = strokes.near.tolist(), strokes.width(0.005)
    region = strokes.region(4 * width)
    groups = face.skeleton.groups
    on_contour = {k for members in groups.values() for k in members}
    with pen.translucent(canvas, region, 0.62 * min(1.0, strokes.size / 240)):  # on a small face they would be a fog
        for k in range(468):
            if k not in on_contour:
                strokes.dot(k, shade(own(_MESH), near[k]), max(0.6, width * (0.3 + 0.5 * near[k])))
    contours = {name: set(members) for name, members in groups.items() if not name.endswith("Iris")}
    lines = [
        (a, b, own(CONTOURS.get(name, pen.NEUTRAL)), width * (0.7 if "Eye" in name else 1.0))
        for a, b in face.skeleton.connections
        for name, members in contours.items()
        if a in members and b in members
    ]
    with pen.translucent(canvas, region, 0.4 * min(1.0, strokes.size / 240)):
        for a, b, _, thickness in lines:
            strokes.line(a, b, pen.INK, thickness + 1.6)
    for a, b, colour, thickness in lines:
        strokes.line(a, b, colour, thickness)
    for name, members in groups.items():
        if name.endswith("Iris"):
            _draw_iris(strokes, np.array(members), own(CONTOURS.get(name, pen.NEUTRAL)), width * 0.7)


def _draw_iris(strokes: Strokes, ring: IntArray, colour: Colour, width: float) -> None:
    points = strokes.points[ring]  # (4, 2)
    centre = points.mean(axis=0)
    radius = float(np.hypot(*(points - centre).T).mean())
    if radius > 2.5 * width:
        pen.draw_ring(strokes.canvas, centre, radius, pen.INK, width + 1.6)
    pen.draw_ring(strokes.canvas, centre, radius, colour, width)


def draw_box(canvas: Image, result: Result) -> tuple[Strokes, float]:
    """Draw the box of an instance on a canvas (H, W, 3) uint8 in place. Return the pen and the width of the line."""
    strokes = Strokes(canvas, result.keypoints)
    outline = _rounded(result.box)
    size = float(np.hypot(*np.ptp(outline, axis=0)))
    longest = max(canvas.shape[:2])
    width = float(np.clip(size * 0.009, 1.0, longest * 0.004 + 1)) if np.isfinite(size) else strokes.width(0.02)
    width *= strokes.style.thickness
    pen.draw_path(canvas, outline, pen.INK, width + 2)
    pen.draw_path(canvas, outline, own(pen.NEUTRAL), width)
    return strokes, width


def _rounded(box: Box) -> FloatArray:
    """Return the outline (36, 2) of a box with round corners."""
    low, high = np.array(box[:2], np.float64), np.array(box[2:], np.float64)
    radius = 0.12 * float(np.abs(high - low).min())
    turn = np.linspace(0, np.pi / 2, 9)
    arc = np.column_stack([np.cos(turn), np.sin(turn)]) * radius  # (9, 2), from right to bottom
    inner = high - radius, np.array([low[0] + radius, high[1] - radius]), low + radius
    last = np.array([high[0] - radius, low[1] + radius])
    quarter = np.array([[0, 1], [-1, 0]])  # row vectors a quarter further, clockwise on the screen
    corners = [inner[0] + arc, inner[1] + arc @ quarter, inner[2] - arc, last - arc @ quarter]
    return np.vstack(corners)


def draw_body(canvas: Image, body: Body, person: Person | None) -> None:
    """Draw one body on a canvas (H, W, 3) uint8 in place.

    Known hands and face of the person replace those of the body.
    """
    body, left_out = _joined(person or Person(body))
    if STYLE.get().anonymise in ("blur", "persons"):  # marks on a hidden head would look like a face
        left_out |= set(body.skeleton.groups["face"])
    strokes = Strokes(canvas, body.keypoints)
    occluded = ~(body.visibility < SEEN)  # (33,), True for NaN
    width = strokes.width(pen.BODY_WIDTH)
    edge = strokes.edge(width)
    near = (0.3 + 0.5 * strokes.near).tolist()  # limbs keep their side's colour, near or far
    shown = [k for k in sorted(range(len(near)), key=near.__getitem__) if k not in left_out]
    lines = [(a, b) for a, b in body.skeleton.connections if a not in left_out and b not in left_out]
    lines.sort(key=lambda pair: near[pair[0]] + near[pair[1]])
    head = set(body.skeleton.groups["face"])

    with pen.translucent(canvas, strokes.region(4 * width), _HIDDEN_OPACITY):
        for a, b in lines:
            if not (occluded[a] and occluded[b]):
                strokes.line(a, b, _line_colour(body, a, b), width * 0.5)
        for k in shown:
            if not occluded[k] and strokes.style.points:
                pen.draw_ring(canvas, strokes.points[k], width, _side_colour(body, k), width * 0.4)
    bold = [(a, b, width * (0.4 if a in head else 1.0)) for a, b in lines if occluded[a] and occluded[b]]
    for a, b, thickness in bold:
        strokes.line(a, b, pen.INK, thickness + 2 * edge)
    for a, b, thickness in bold:
        strokes.line(a, b, shade(_line_colour(body, a, b), (near[a] + near[b]) / 2), thickness)
    for k in shown:
        if occluded[k]:
            radius = width * (0.55 + 1.1 * near[k]) * (0.45 if k in head else 1.0)
            strokes.dot(k, pen.INK, radius + edge)
            strokes.dot(k, shade(_side_colour(body, k), near[k] + 0.2), radius)


def body_label(body: Body) -> Label:
    """Score and id above the head."""
    points = np.asarray(body.keypoints, np.float64)[:, :2]
    head = points[list(body.skeleton.groups["face"])]
    shoulders = points[[body.skeleton.index("left_shoulder"), body.skeleton.index("right_shoulder")]]
    crown = head.mean(axis=0) * 2 - (head.mean(axis=0) + shoulders.mean(axis=0)) / 2  # as far above as the neck below
    return label_of(body, "Person", crown, (_UP, _ASIDE, -_ASIDE))


def _face_of(body: Body) -> Box:
    """Return the box of a body's face, which labels should not cover."""
    face = np.asarray(body.keypoints, np.float64)[list(body.skeleton.groups["face"]), :2]
    (x, y), half = face.mean(axis=0).tolist(), float(np.ptp(face, axis=0).max()) * 0.7
    return x - half, y - half, x + half, y + half


def _joined(person: Person) -> tuple[Body, set[int]]:
    """Return the body with its wrists moved to its hands, and the keypoints that other parts replace."""
    body, skeleton = person.body, person.skeleton
    keypoints, visibility, left_out = body.keypoints.copy(), body.visibility.copy(), set[int]()
    for side, hand in (("left", person.left_hand), ("right", person.right_hand)):
        if hand is not None:
            wrist = skeleton.index(f"{side}_wrist")
            keypoints[wrist, :2], visibility[wrist] = hand.keypoints[0, :2], 1
            left_out |= {skeleton.index(f"{side}_{finger}") for finger in ("pinky", "index", "thumb")}
    if person.face is not None:
        left_out |= set(skeleton.groups["face"])
    return replace(body, keypoints=keypoints, visibility=visibility), left_out


def _line_colour(body: Body, a: int, b: int) -> Colour:
    torso = body.skeleton.groups["torso"]
    colour = _side_colour(body, a)
    return colour if colour == _side_colour(body, b) and not (a in torso and b in torso) else own(pen.NEUTRAL)


def _side_colour(body: Body, k: int) -> Colour:
    words = body.skeleton.keypoints[k].split("_")
    side = next((side for side in _SIDE_COLOURS if side in words), "")
    return own(_SIDE_COLOURS.get(side, pen.NEUTRAL))


def draw_cut_out(canvas: Image, masks: Sequence[Float32Array]) -> None:
    """Draw a checkerboard behind people, and a fine outline around each, in place. Without masks nothing changes.

    Masks are probabilities (h, w), resized to the image (H, W, 3). Unknown ones (NaN) count as 0.
    """
    if not masks:
        return
    height, width = canvas.shape[:2]
    alphas = [_stretched(mask, height, width) for mask in masks]
    alpha = np.maximum.reduce(alphas)
    square = max(4, round(max(height, width) / 64))
    rows, columns = np.arange(height)[:, None] // square, np.arange(width) // square
    board = np.where((rows + columns) % 2, *_BOARD).astype(np.uint8)
    canvas[:] = cv2.blendLinear(canvas, cv2.merge([board, board, board]), alpha, 1 - alpha)
    for number, result in enumerate(alphas):
        _draw_outline(canvas, result, PERSON_COLOURS[number % len(PERSON_COLOURS)])


def _stretched(mask: Float32Array, height: int, width: int) -> Float32Array:
    """Clip a mask to 0..1, with NaN as 0, and resize it to (height, width)."""
    alpha = np.clip(np.nan_to_num(mask), 0, 1).astype(np.float32)
    if alpha.shape != (height, width):
        alpha = np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return alpha


def draw_tint(canvas: Image, mask: Float32Array, colour: Colour) -> None:
    """Colour a person in an image (H, W, 3) in place; see `draw_cut_out` for the mask."""
    alpha = _stretched(mask, *canvas.shape[:2])
    left, top, wide, high = cv2.boundingRect((alpha > 0.02).view(np.uint8))
    if not wide:
        return
    part, weight = canvas[top : top + high, left : left + wide], alpha[top : top + high, left : left + wide]
    full = np.full_like(part, colour)
    part[:] = cv2.blendLinear(full, part, weight * _OPACITY, 1 - weight * _OPACITY)
    _draw_outline(canvas, alpha, colour)


def _draw_outline(canvas: Image, alpha: Float32Array, colour: Colour) -> None:
    inside = (alpha >= 0.5).view(np.uint8)
    edges, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, edges, -1, colour, max(1, round(min(canvas.shape[:2]) / 480)), cv2.LINE_AA)


BODY: Final = Drawing(draw_body, body_label, labels_parts=True, is_near_keypoints=True, head=_face_of)
FACE: Final = Drawing(
    draw_face, face_label, layer=1, head=lambda face: face.box, has_box=lambda face: len(face.keypoints) == 6
)
HAND: Final = Drawing(draw_hand, hand_label, layer=2, is_near_keypoints=True, errors=draw_errors)

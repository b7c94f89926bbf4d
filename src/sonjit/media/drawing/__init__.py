"""What was found, drawn over its image; how a type is drawn is registered with `register_drawing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar

import numpy as np

from sonjit.arrays import Image
from sonjit.extensions import Registry
from sonjit.media.drawing.instances import (
    body_label,
    draw_body,
    draw_cut_out,
    draw_face,
    draw_hand,
    face_label,
    hand_label,
    head_box,
)
from sonjit.media.drawing.strokes import INK, NEUTRAL, Label, Strokes, draw_captions, draw_labels, label_of, shade
from sonjit.media.sources.image_files import ImageLike, rgb_from
from sonjit.results import Body, Face, Frame, Hand, Person, Result

R = TypeVar("R", bound=Result)

__all__ = ["Label", "draw_frame", "register_drawing"]


@dataclass(frozen=True)
class _Drawing:
    """How instances of one type are drawn."""

    draw: Callable[[Image, Result, Person | None], None]
    label: Callable[[Result], Label | None]
    layer: int
    labels_parts: bool


def register_drawing(
    kind: type[R],
    draw: Callable[[Image, R, Person | None], None],
    label: Callable[[R], Label | None],
    *,
    layer: int = 0,
    labels_parts: bool = False,
) -> None:
    """Say how instances of a result type are drawn; without it they are the lines of their skeleton.

    Args:
        kind: the type.
        draw: draws one onto a canvas (H, W, 3), in place; of a person's part it is given the person.
        label: what is written beside it, or None.
        layer: those of a higher one lie in front.
        labels_parts: a person's part of this type has a label too.
    """
    drawing = _Drawing(draw, label, layer, labels_parts)  # pyright: ignore[reportArgumentType]
    _DRAWINGS.add(kind.kind, drawing, replace=True)


def _draw_person(canvas: Image, body: Body, person: Person | None) -> None:
    if person is None:
        draw_body(canvas, body)
    else:
        draw_body(canvas, body, person.left_hand, person.right_hand, person.face)


def _draw_skeleton(canvas: Image, one: Result, _: Person | None) -> None:
    """Lines and dots of any skeleton."""
    strokes = Strokes(canvas, one.keypoints)
    near, width = strokes.near.tolist(), strokes.width(0.017)
    for a, b in one.skeleton.connections:
        strokes.line(a, b, INK, width + 2 * strokes.edge(width))
        strokes.line(a, b, shade(NEUTRAL, (near[a] + near[b]) / 2), width)
    for k, depth in enumerate(near):
        strokes.dot(k, shade(NEUTRAL, depth), width)


def _label_above(one: Result) -> Label:
    points = np.asarray(one.keypoints, np.float64)[:, :2]
    top = points[np.nanargmin(points[:, 1])] if np.isfinite(points).any() else points[0]
    up = np.array([0.0, -1.0])
    return label_of(one, one.kind.capitalize(), top, (up, -up))


_DRAWINGS: Registry[_Drawing] = Registry("drawing")
_PLAIN = _Drawing(_draw_skeleton, _label_above, layer=0, labels_parts=False)
register_drawing(Body, _draw_person, body_label, labels_parts=True)
register_drawing(Face, lambda canvas, face, _: draw_face(canvas, face), face_label, layer=1)
register_drawing(Hand, lambda canvas, hand, _: draw_hand(canvas, hand), hand_label, layer=2)  # in front mostly


def _label(drawing: _Drawing, one: Result, person: Person | None, note: str) -> Label | None:
    """What is written beside an instance; of a person's parts only what is not said of the whole."""
    is_named = person is None or drawing.labels_parts
    label = drawing.label(one) if is_named or note else None
    if label is None or not note:
        return label
    return label._replace(text=f"{label.text}, {note}" if is_named else note)


def draw_frame(
    rgb: ImageLike, frame: Frame, *, labels: bool = True, notes: Sequence[str] = (), captions: Sequence[str] = ()
) -> Image:
    """A new image with everything that was found in it drawn over it.

    The lighter and larger a point, the nearer it is to the camera. The person's own left is warm, their right blue.
    Points of a body that are rather hidden than seen are small and hollow, their limbs thin. Where bodies have masks,
    people are cut out: a checkerboard stands for what is not of them. Widths follow the size of each instance and of
    the image. Points that are unknown (NaN) or far outside are left out.

    Args:
        rgb: the image, anything that `rgb_from` takes; it stays as it is.
        frame: keypoints in its pixels.
        labels: write "Right 0.98 #1" (what or whose hand, score, id) beside each instance.
        notes: of each instance in the order of `frame.instances()`, what its label adds in ASCII, such as a gesture;
            empty for nothing.
        captions: lines of ASCII text for the image's upper left corner.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = rgb_from(rgb).copy()
    shown: list[tuple[_Drawing, Result, Person | None, str]] = []
    noted = chain(notes, repeat(""))
    for one in frame.all_results():
        person = one if isinstance(one, Person) else None
        shown += [(_DRAWINGS.get(part.kind, _PLAIN), part, person, next(noted)) for part in one.parts]
    shown.sort(key=lambda item: item[0].layer)
    with np.errstate(all="ignore"):  # what is computed from unknown points is unknown, and not drawn
        draw_cut_out(canvas, [part.mask for _, part, *_ in shown if isinstance(part, Body) and part.mask is not None])
        for drawing, one, person, _ in shown:
            drawing.draw(canvas, one, person)
        if labels:  # after all else, so that no line crosses a label
            given = [label for item in shown if (label := _label(*item)) is not None]
            draw_labels(canvas, given, [box for _, one, *_ in shown if (box := head_box(one)) is not None])
    draw_captions(canvas, captions)
    return canvas

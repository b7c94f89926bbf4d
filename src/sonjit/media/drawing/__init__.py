"""What was found, drawn over its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.drawing.bodies import PERSON_COLOURS, draw_body, draw_body_label, draw_tint
from sonjit.media.drawing.faces import draw_face, draw_face_label
from sonjit.media.drawing.hands import draw_hand, draw_hand_label
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.sources.images import rgb_from
from sonjit.results import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sonjit.media.sources.images import ImageLike
    from sonjit.results import Hand

__all__ = ["draw_frame", "draw_hands"]


def draw_frame(rgb: ImageLike, frame: Frame, *, labels: bool = True, captions: Sequence[str] = ()) -> NDArray[np.uint8]:
    """A new image with everything that was found in it drawn over it.

    The lighter and larger a point, the nearer it is to the camera. The person's own left is warm, their right blue.
    Points of a body that are rather hidden than seen are small and hollow, their limbs thin. A body's mask, where there
    is one, tints the person. Widths follow the size of each instance and of the image. Points that are unknown (NaN)
    or far outside are left out.

    Args:
        rgb: the image, anything that `rgb_from` takes; it stays as it is.
        frame: keypoints in its pixels.
        labels: write "Right 0.98 #1" (what or whose hand, score, id) beside each instance.
        captions: lines of ASCII text for the image's upper left corner.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = rgb_from(rgb).copy()
    bodies = [*frame.bodies, *(person.body for person in frame.people)]
    hands = [*frame.hands, *(hand for one in frame.people for hand in (one.left_hand, one.right_hand) if hand)]
    faces = [*frame.faces, *(one.face for one in frame.people if one.face)]
    with np.errstate(all="ignore"):  # what is computed from unknown points is unknown, and not drawn
        for number, body in enumerate(bodies):
            if body.mask is not None:
                draw_tint(canvas, body.mask, PERSON_COLOURS[number % len(PERSON_COLOURS)])
        for body in frame.bodies:
            draw_body(canvas, body)
        for one in frame.people:
            draw_body(canvas, one.body, one.left_hand, one.right_hand, one.face)
        for face in faces:
            draw_face(canvas, face)
        for hand in hands:  # in front of the rest, as hands are mostly
            draw_hand(canvas, hand)
        if labels:  # after all else, so that no line crosses a label; a person has but one
            for body in bodies:
                draw_body_label(canvas, body)
            for face in frame.faces:
                draw_face_label(canvas, face)
            for hand in frame.hands:
                draw_hand_label(canvas, hand)
    draw_captions(canvas, captions)
    return canvas


def draw_hands(rgb: ImageLike, hands: Iterable[Hand], *, labels: bool = True) -> NDArray[np.uint8]:
    """A new image with the skeletons of the hands drawn over it: `draw_frame` for a list of hands."""
    return draw_frame(rgb, Frame(0, None, list(hands)), labels=labels)

"""Collect the keypoints of people from frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.media.tables.characters.fit import Track
from sonjit.results import Body, Person
from sonjit.results.skeletons.blendshapes import NO_EXPRESSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit._util.arrays import Float32Array, FloatArray
    from sonjit.results import Frame, Hand


class Appearance(NamedTuple):
    """A person in one frame."""

    row: int
    body: Body
    hands: tuple[Hand | None, Hand | None]
    blendshapes: dict[str, float] | None = None


def people_of_frame(frame: Frame, row: int) -> Iterator[tuple[int, Appearance]]:
    """Yield each person of a frame with the track ID. Still images have no track IDs and get negative numbers.

    Args:
        frame: Frame of the kind `body` or `holistic`.
        row: Position of the frame in the list of all frames.
    """
    for number, result in enumerate(frame.all_results()):
        body = result.body if isinstance(result, Person) else result
        hands = (result.left_hand, result.right_hand) if isinstance(result, Person) else (None, None)
        face = result.face if isinstance(result, Person) else None
        if isinstance(body, Body):
            appearance = Appearance(row, body, hands, None if face is None else face.blendshapes)
            yield -1 - number if body.id is None else body.id, appearance


def track_from_people(people: Sequence[Appearance], times: FloatArray, mirrored_width: int | None) -> Track:
    """Return the keypoints of one person. Unknown presence counts as present.

    Args:
        people: The person in M frames.
        times: Seconds of all frames.
        mirrored_width: Width in pixels of images that are mirrored. The track is as in images that are not.
    """
    frames = np.array([person.row for person in people])
    bodies = [person.body for person in people]
    left, right = (np.array([_hand(person.hands[side]) for person in people], np.float64) for side in (0, 1))
    metric = np.array([body.keypoints_3d for body in bodies], np.float64)
    pixels = np.array([body.keypoints[:, :2] for body in bodies], np.float64)
    if mirrored_width is not None:
        pixels[..., 0] = mirrored_width - pixels[..., 0]
        for points in (metric, left, right):
            points[..., 0] *= -1
    return Track(
        frames,
        times[frames],
        metric,
        pixels,
        np.nan_to_num(np.array([body.presence for body in bodies], np.float64), nan=1.0),
        (left, right),
    )


def expressions_of_people(people: Sequence[Appearance], count: int) -> dict[str, FloatArray]:
    """Return the weight (F,) of each blendshape, by name. Frames without a face repeat the latest weights.

    Args:
        people: The person in M frames.
        count: Number of all frames F.
    """
    known = [(person.row, person.blendshapes) for person in people if person.blendshapes is not None]
    if not known:
        return {}
    rows = np.array([row for row, _ in known])
    latest = np.maximum(np.searchsorted(rows, np.arange(count), side="right") - 1, 0)
    names = [name for name in known[0][1] if name != NO_EXPRESSION]
    return {name: np.array([weights[name] for _, weights in known])[latest] for name in names}


def _hand(hand: Hand | None) -> Float32Array:
    """Return the keypoints (21, 3) of a hand in metres; NaN if it is unknown."""
    return np.full((21, 3), np.nan, np.float32) if hand is None else hand.keypoints_3d

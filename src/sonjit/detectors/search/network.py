"""Propose people and hands in a window with one run of a single-shot network and a hand head on its maps.

Sources: Liu et al. 2016, SSD, section 2.2 (anchors and box code); Zhou et al. 2019, Objects as Points, section 4 (the
hand head finds peaks of a map and reads the box there). The network is MediaPipe's detector for Open Images.
`benchmarks/hand_proposals.py` trains the hand head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from sonjit._util.data_files import read_npz
from sonjit.detectors.search.score import LIMITS
from sonjit.detectors.ssd import AnchorGrid
from sonjit.geometry.boxes import Box, RotatedBox, box_iou, letterbox, letterbox_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.search.geometry import Image, Window
    from sonjit.engines import Engine

    Map = NDArray[np.float32]

INPUT_RANGE: Final = (-1.0, 1.0)
TAPS: Final = (38, 19, 10)
"""Sides of the maps that the hand head reads."""
INPUT_PX: Final = 300
STRIDES: Final = (16, 32, 64, 100, 150, 300)
RATIOS: Final = (1.0, 2.0, 0.5, 3.0, 1 / 3)
MIN_SCALE, MAX_SCALE = 0.2, 0.95
"""Layout of the anchors; see `AnchorGrid`."""
_PERSON: Final = 4
"""Index of the class of people."""
_CENTRE_CODE, _SIZE_CODE = 10.0, 5.0
_SAME_BOX = 0.45
"""Minimum IoU of two boxes of one person."""


_MIN_ASPECT = 0.8
"""Minimum ratio of height and width of a person's box. Wider boxes show parts of people or groups."""
_MOST_SIZE = 5.0
"""Maximum log side of a hand, in cells of the map."""
_KNOWN_BOX = 0.6
"""Minimum IoU of a box and a known box of the same person."""


class PersonBox(NamedTuple):
    """A person in an image: score 0..1, and box x_min, y_min, x_max, y_max in pixels."""

    score: float
    box: Box


class HandBox(NamedTuple):
    """A hand in an image: score 0..1, and crop in pixels."""

    score: float
    box: RotatedBox


class Proposed(NamedTuple):
    """People and hands in a window, in pixels of the image."""

    people: list[PersonBox]
    hands: list[HandBox]


class PeopleNetwork:
    """Propose people and hands with one run of the network.

    Args:
        engine: Network with an image in. Its outputs are box codes (1, 1917, 4), class logits (1, 1917, 24) and, for
            hands, the maps (1, C, side, side) of `TAPS`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, rgb: Image, window: Window, min_person: float, min_hand: float | None = None) -> Proposed:
        """Return the people and hands in a window of an image (H, W, 3), in pixels of the image, best first.

        People at an edge of the window that is not an edge of the image are left out.
        """
        cut = window.cut(rgb)
        letterbox(cut, INPUT_PX, INPUT_PX, out=self._engine.input[0])
        codes, logits, *maps = self._engine.run()[:5]
        area = window.placed(letterbox_box(cut.shape[1], cut.shape[0], INPUT_PX, INPUT_PX))
        people = [
            PersonBox(score, window.clipped(box))
            for score, box in _people(codes.reshape(-1, 4), logits[0, :, _PERSON], area, min_person)
            if not window.cuts(box, rgb) and box[3] - box[1] > _MIN_ASPECT * (box[2] - box[0])
        ]
        hands = [] if min_hand is None else _hands(_hand_map([tap[0] for tap in maps]), area, min_hand)
        return Proposed(people, hands)


def _people(codes: Map, logits: Map, area: RotatedBox, least: float) -> list[PersonBox]:
    """Decode the boxes of people from box codes (N, 4) and logits (N,), and suppress duplicates."""
    chosen = np.flatnonzero(logits > math.log(least / (1 - least)))
    anchors, own = _anchors()[chosen], codes[chosen].astype(np.float64)
    middle = own[:, 1::-1] / _CENTRE_CODE * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(own[:, :1:-1] / _SIZE_CODE) * anchors[:, 2:] / 2
    corners = [(middle + sign * half - 0.5) * area.width + (area.cx, area.cy) for sign in (-1, 1)]
    boxes = np.concatenate(corners, axis=1).tolist()
    found: list[PersonBox] = []
    for index in np.argsort(-logits[chosen], kind="stable"):
        box: Box = tuple(boxes[index])
        if all(box_iou(box, other.box) < _SAME_BOX for other in found):
            found.append(PersonBox(1 / (1 + math.exp(-logits[chosen[index]])), box))
    return found


@cache
def _anchors() -> NDArray[np.float64]:
    grid = AnchorGrid(
        INPUT_PX,
        STRIDES,
        RATIOS,
        min_scale=MIN_SCALE,
        max_scale=MAX_SCALE,
        fixed_size=False,
        reduce_lowest_layer=True,
    )
    return grid.anchors().astype(np.float64)


def _hand_map(maps: list[Map]) -> Map:
    """Return logits, offset of the centre (2), log side, and sine and cosine of the rotation per cell (6, S, S)."""
    weights, side = _head(), TAPS[0]
    mixed = np.zeros((len(weights["bias"]), side, side), np.float32)
    for name, values in zip("abc", maps, strict=True):
        reduced = np.tensordot(weights[name], values, 1)
        nearest = np.arange(side) * values.shape[-1] // side
        mixed += reduced[:, nearest[:, None], nearest]
    hidden = (mixed + weights["bias"][:, None, None]).clip(0, 6)
    for block in ("1", "2"):
        filtered = np.stack([
            cv2.filter2D(channel, -1, kernel, borderType=cv2.BORDER_CONSTANT)
            for channel, kernel in zip(hidden, weights["depth" + block], strict=True)
        ])  # fmt: skip
        mixed = np.tensordot(weights["point" + block], filtered, 1) + weights["offset" + block][:, None, None]
        hidden = (hidden + mixed).clip(0, 6)
    return np.tensordot(weights["out"], hidden, 1) + weights["out_bias"][:, None, None]


def _hands(values: Map, area: RotatedBox, least: float) -> list[HandBox]:
    """Return scores and crops at the peaks of a map (6, S, S), best first."""
    logits, side = values[0], values.shape[-1]
    peaks = (logits >= cv2.dilate(logits, np.ones((3, 3), np.uint8))) & (logits > math.log(least / (1 - least)))
    found: list[HandBox] = []
    for row, column in zip(*np.nonzero(peaks), strict=True):
        logit, dx, dy, size, sine, cosine = values[:, row, column].tolist()
        scale = area.width / side
        cx = area.cx + (column + 0.5 + dx - side / 2) * scale
        cy = area.cy + (row + 0.5 + dy - side / 2) * scale
        width = math.exp(min(size, _MOST_SIZE)) * scale
        box = RotatedBox(cx, cy, width, width, math.atan2(sine, cosine))
        found.append(HandBox(1 / (1 + math.exp(-logit)), box))
    return sorted(found, key=lambda hand: -hand.score)


@cache
def _head() -> dict[str, NDArray[np.float32]]:
    """Return the weights of the hand head."""
    file = resources.files("sonjit") / "_util" / "assets" / "hand_proposals.npz"
    return {name: values.astype(np.float32) for name, values in read_npz(file).items()}


def new_people(people: Iterable[PersonBox], known: Sequence[PersonBox]) -> list[PersonBox]:
    """Return the people whose boxes are not known."""
    return [person for person in people if all(box_iou(person.box, other.box) < _KNOWN_BOX for other in known)]


def has_small(people: Iterable[PersonBox], rgb: Image) -> bool:
    """Check whether an image (H, W, 3) shows small people, whose neighbours and hands only windows show."""
    least = LIMITS["small_person"] * max(rgb.shape)
    return any(person.score > LIMITS["sure_person"] and person.box[3] - person.box[1] < least for person in people)

"""Propose people and hands in a window with a published network and one that continues from its map.

Sources: Liu et al. 2016, SSD, section 2.2 (anchors and box code); Zhou et al. 2019, Objects as Points, section 4 (the
own network finds peaks of a map and reads the box there). The published network is MediaPipe's detector for Open
Images. `research/proposals.py` trains the own network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from sonjit._util import Image
from sonjit._util.data_files import ASSETS
from sonjit.detectors.search.score import LIMITS, logit
from sonjit.detectors.ssd import AnchorGrid
from sonjit.geometry.boxes import Box, RotatedBox, box_iou, letterbox, letterbox_box
from sonjit.geometry.windows import Window, reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.engines import Engine

    Map = NDArray[np.float32]
    Proposed = tuple[list["PersonBox"], list["HandBox"]]

INPUT_RANGE: Final = (-1.0, 1.0)
SIDE, CHANNELS, VALUES = 38, 32, 11
"""Side and channels of the map from which the own network continues, and its values per cell; also for web pages."""
PERSON_AT = 6  # index of the first value of a person
OWN_FILE: Final = ASSETS / "proposals.tflite"  # network of people and hands, trained by `research/proposals.py`
INPUT_PX: Final = 300
STRIDES: Final = (16, 32, 64, 100, 150, 300)
RATIOS: Final = (1.0, 2.0, 0.5, 3.0, 1 / 3)
MIN_SCALE, MAX_SCALE = 0.2, 0.95  # layout of the anchors; see `AnchorGrid`
_PERSON: Final = 4  # index of the class of people
_CENTRE_CODE, _SIZE_CODE = 10.0, 5.0
_MIN_ASPECT = 0.8
"""Minimum ratio of height and width of a person's box. Wider boxes show parts of people or groups."""
_MOST_SIZE = 5.0  # maximum log side of a hand, in cells of the map
_SAME_PERSON = 0.55  # minimum IoU of two boxes of one person


class PersonBox(NamedTuple):
    """A person in an image: score 0..1, and box x_min, y_min, x_max, y_max in pixels."""

    score: float
    box: Box


class HandBox(NamedTuple):
    """A hand in an image: score 0..1, and crop in pixels."""

    score: float
    box: RotatedBox

    @property
    def bounds(self) -> Box:
        """Return the upright square of the crop's size."""
        reach = self.box.width / 2
        return self.box.cx - reach, self.box.cy - reach, self.box.cx + reach, self.box.cy + reach


class PeopleNetwork:
    """Propose people and hands by a published network and a network on its map.

    The first one gives box codes (1, 1917, 4), class logits (1, 1917, 24) and the map (1, C, S, S) with side `SIDE`.
    The second one gives (1, S, S, 11), per cell for hands logit, offset of the centre (2), log side, and sine and
    cosine of the rotation; and for people logit, offset of the centre (2), log width and log height.
    """

    def __init__(self, engine: Engine, trained_engine: Engine) -> None:
        self._engine, self._trained = engine, trained_engine

    def find(self, rgb: Image, window: Window, min_person: float, min_hand: float = 1.0) -> Proposed:
        """Return the people and hands in a window of an image (H, W, 3), in pixels of the image, best first.

        `min_person` applies to people of the published network, or to all people if only its map is computed. People at
        an edge of the window that is not an edge of the image are left out.
        """
        cut = window.cut(rgb)
        letterbox(cut, INPUT_PX, INPUT_PX, out=self._engine.input[0])
        outputs = self._engine.run()
        has_boxes = len(outputs) > 2
        self._trained.input[0] = outputs[2 if has_boxes else 0][0].transpose(1, 2, 0)
        values = self._trained.run()[0][0]
        area = window.placed(letterbox_box(cut.shape[1], cut.shape[0], INPUT_PX, INPUT_PX))
        proposals = _people(values[..., PERSON_AT:], area, LIMITS["own_person"] if has_boxes else min_person)
        if has_boxes:
            codes, logits = outputs[0].reshape(-1, 4), outputs[1][0, :, _PERSON]
            proposals = _joined(_published_people(codes, logits, area, min_person), proposals)
        people = [
            person._replace(box=window.clipped(person.box))
            for person in proposals
            if not window.cuts(person.box, rgb)
            and person.box[3] - person.box[1] > _MIN_ASPECT * (person.box[2] - person.box[0])
        ]
        return people, _hands(values, area, min_hand) if min_hand < 1 else []


def _joined(published: Iterable[PersonBox], trained: list[PersonBox]) -> list[PersonBox]:
    """Return the people of both networks, best first. A person of both has its `trained` box and its higher score."""
    joined = trained.copy()
    for person in published:
        overlap, same = max(((box_iou(other.box, person.box), i) for i, other in enumerate(trained)), default=(0.0, 0))
        if overlap < _SAME_PERSON:
            joined.append(person)
        else:
            joined[same] = joined[same]._replace(score=max(joined[same].score, person.score))
    return sorted(joined, key=lambda person: -person.score)


def _published_people(codes: Map, logits: Map, area: RotatedBox, least: float) -> list[PersonBox]:
    """Decode the boxes of people from box codes (N, 4) and logits (N,), and suppress duplicates."""
    chosen = np.flatnonzero(logits > logit(least))
    anchors, box_codes = _anchors()[chosen], codes[chosen].astype(np.float64)
    middle = box_codes[:, 1::-1] / _CENTRE_CODE * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(box_codes[:, :1:-1] / _SIZE_CODE) * anchors[:, 2:] / 2
    corners = [(middle + sign * half - 0.5) * area.width + (area.cx, area.cy) for sign in (-1, 1)]
    boxes = np.concatenate(corners, axis=1).tolist()
    order = np.argsort(-logits[chosen], kind="stable")
    return new_people(PersonBox(1 / (1 + math.exp(-logits[chosen[i]])), tuple(boxes[i])) for i in order)


@cache
def _anchors() -> NDArray[np.float64]:
    grid = AnchorGrid(
        INPUT_PX, STRIDES, RATIOS, min_scale=MIN_SCALE, max_scale=MAX_SCALE, fixed_size=False, reduce_lowest_layer=True
    )
    return grid.anchors().astype(np.float64)


def _people(values: Map, area: RotatedBox, least: float) -> list[PersonBox]:
    """Return the people at the peaks of a map (S, S, 5), best first."""
    scale = area.width / SIDE
    people: list[PersonBox] = []
    for score, cx, cy, sizes in _peaks(values, area, least):
        x, y = (math.exp(min(size, _MOST_SIZE)) * scale / 2 for size in sizes)
        people.append(PersonBox(score, (cx - x, cy - y, cx + x, cy + y)))
    return new_people(people)


def _hands(values: Map, area: RotatedBox, least: float) -> list[HandBox]:
    """Return the hands at the peaks of a map (S, S, 6 or more), best first."""
    hands: list[HandBox] = []
    for score, cx, cy, (size, sine, cosine) in _peaks(values[..., :PERSON_AT], area, least):
        width = math.exp(min(size, _MOST_SIZE)) * area.width / SIDE
        hands.append(HandBox(score, RotatedBox(cx, cy, width, width, math.atan2(sine, cosine))))
    return hands


def _peaks(values: Map, area: RotatedBox, least: float) -> list[tuple[float, float, float, list[float]]]:
    """Return score, centre and further values at the peaks of a map (S, S, C) of logit, offset and more, best first."""
    logits, scale = values[..., 0], area.width / SIDE
    is_peak = (logits >= cv2.dilate(logits, np.ones((3, 3), np.uint8))) & (logits > logit(least))
    peaks = [(*values[row, column, :3].tolist(), row, column) for row, column in zip(*np.nonzero(is_peak), strict=True)]
    return [
        (
            1 / (1 + math.exp(-value)),
            area.cx + (column + 0.5 + dx - SIDE / 2) * scale,
            area.cy + (row + 0.5 + dy - SIDE / 2) * scale,
            values[row, column, 3:].tolist(),
        )
        for value, dx, dy, row, column in sorted(peaks, key=lambda peak: -peak[0])
    ]


def new_people(people: Iterable[PersonBox], earlier: Sequence[PersonBox] = ()) -> list[PersonBox]:
    """Return the people whose boxes overlap no box of an earlier person."""
    distinct = [*earlier]
    for person in people:
        if all(box_iou(person.box, other.box) < _SAME_PERSON for other in distinct):
            distinct.append(person)
    return distinct[len(earlier) :]


def has_small(people: Iterable[PersonBox], rgb: Image) -> bool:
    """Check whether an image (H, W, 3) shows small people, whose neighbours and hands only windows show."""
    least = LIMITS["small_person"] * reach(*rgb.shape[1::-1])
    return any(person.score > LIMITS["sure_person"] and person.box[3] - person.box[1] < least for person in people)

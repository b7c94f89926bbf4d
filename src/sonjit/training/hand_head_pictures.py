"""Pictures of hands whose hidden keypoints are known, their mirror images, and the same with things pasted over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYPOINTS: Final = 21
CAUSES: Final = ("visible", "self", "other_hand", "object", "outside", "hidden")
"""Why a keypoint is seen or not, as `sonjit synth` writes it; `hidden` where only that is known."""
_SIZE = (0.12, 0.5)
"""Of what is pasted, from its middle to its corners, in the hand's extent."""
_CORNERS = (4, 9)


@dataclass(frozen=True, eq=False)
class LabelledHand:
    """One hand.

    Attributes:
        keypoints: (21, 2) float32 pixels.
        causes: (21,) int8 index into `CAUSES`.
        right: it is the person's own right hand.
    """

    keypoints: NDArray[np.float32]
    causes: NDArray[np.int8]
    right: bool

    @property
    def extent(self) -> float:
        """Diagonal of the box around its keypoints, in pixels."""
        return float(np.hypot(*np.ptp(self.keypoints, axis=0)))


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture (H, W, 3) uint8 RGB and its hands."""

    rgb: NDArray[np.uint8]
    hands: tuple[LabelledHand, ...]


def mirrored(picture: LabelledPicture) -> LabelledPicture:
    """Its mirror image, in which left hands are right ones."""
    flip, move = np.array([-1, 1], np.float32), np.array([picture.rgb.shape[1], 0], np.float32)
    hands = tuple(replace(hand, keypoints=hand.keypoints * flip + move, right=not hand.right) for hand in picture.hands)
    return LabelledPicture(np.ascontiguousarray(picture.rgb[:, ::-1]), hands)


def pasted_over(picture: LabelledPicture, other: NDArray[np.uint8], rng: np.random.Generator) -> LabelledPicture:
    """The same with something before each hand, about one of its keypoints.

    Args:
        picture: is not changed.
        other: picture (H, W, 3) from which every other thing has its surface; the rest are of one colour.
        rng: where, what and how large.
    """
    height, width = picture.rgb.shape[:2]
    rgb, hands = picture.rgb.copy(), list(picture.hands)
    surface = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
    for target in picture.hands:
        mask = np.zeros((height, width), np.uint8)
        middle = target.keypoints[rng.integers(KEYPOINTS)]
        cv2.fillPoly(mask, [_outline(middle, target.extent, rng)], 1, cv2.LINE_8)
        colour = np.asarray(rng.integers(0, 256, 3), np.uint8)
        np.copyto(rgb, surface if rng.random() < 0.5 else colour, where=mask[..., None] > 0)
        hands = [_hidden_by(mask, hand) for hand in hands]
    return LabelledPicture(rgb, tuple(hands))


def _outline(middle: NDArray[np.float32], extent: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """(N, 2) corners of something about a place."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(*_CORNERS)))
    corners = np.stack([np.cos(turns), np.sin(turns) * rng.uniform(0.2, 1)], 1) * rng.uniform(*_SIZE) * extent
    turn = rng.uniform(0, np.pi)
    corners = corners @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(np.round(corners + middle), np.int32)


def _hidden_by(mask: NDArray[np.uint8], hand: LabelledHand) -> LabelledHand:
    """The same hand behind what covers the mask (H, W)."""
    height, width = mask.shape
    x, y = np.floor(hand.keypoints).astype(np.intp).T
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    covered = within & (mask[y.clip(0, height - 1), x.clip(0, width - 1)] > 0)
    return replace(hand, causes=np.where(covered, np.int8(CAUSES.index("object")), hand.causes))

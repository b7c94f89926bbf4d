"""Heads of our own on the published hand networks: which keypoints are seen, handedness, and what gestures read.

They read what the landmark network has worked out anyway: its maps at the places of its own keypoints, and the mean
from which it makes all predictions. They were trained on rendered hands with exact ground truth:
docs/hand-heads.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TAPS: Final = (28, 14, 7)
"""Sides of the maps that the heads read."""
ASSET: Final = "hand_heads.npz"
BEFORE: Final = (0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
"""Of each keypoint the one nearer to the wrist."""
BEHIND: Final = (9, 2, 3, 4, 4, 6, 7, 8, 8, 10, 11, 12, 12, 14, 15, 16, 16, 18, 19, 20, 20)
"""Of each keypoint the one nearer to its finger's tip; of the wrist the middle finger's knuckle."""


@dataclass(frozen=True, eq=False)
class HeadInputs:
    """What the heads read of one hand.

    Attributes:
        local: (21, L) the maps at the places of the keypoints, one map's channels after the other's.
        shape: (63,) keypoints x, y, z in the crop, its side being 2 and its middle 0.
        mean: (C,) of the network's last map.
    """

    local: Floats
    shape: Floats
    mean: Floats


class AppearanceInputs(NamedTuple):
    """What `HandHeads.appearance` reads of one hand, kept until the hand is a result: most crops come to none.

    Attributes:
        keypoints: (21, 2 or more) in parts of the crop.
        maps: (1, C, side, side) the coarser two.
    """

    keypoints: Floats
    maps: Sequence[Floats]


@dataclass(frozen=True, eq=False)
class HandReading:
    """What the heads say of one hand.

    Attributes:
        visibility: (21,) probability that each keypoint is in the image and not hidden.
        left: probability of a left hand in a selfie view, as the network's own label.
        appearance: what gestures are told by is read from it; None where the file has no such head.
    """

    visibility: Floats
    left: float
    appearance: AppearanceInputs | None


class HandHeads:
    """The heads of one network.

    Args:
        weights: arrays by name, as `sonjit train hand-heads` writes them.
    """

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights

    def read(self, keypoints: Floats, taps: Sequence[Floats]) -> HandReading:
        """What the heads say of one hand.

        Args:
            keypoints: (21, 3) as of `head_inputs`.
            taps: what the landmark network gives behind its outputs: maps (1, C, side, side) of `TAPS`, and the mean
                (1, C) of its last map.
        """
        one = head_inputs(keypoints, taps[:-1], taps[-1])
        seen, side = self.probabilities(one.local[None], one.shape[None], one.mean[None])
        appearance = None
        if "appearance" in self._weights:
            appearance = AppearanceInputs(
                keypoints, [each.copy() for each in taps[1:-1]]
            )  # the engine writes over its own
        return HandReading(seen[0], float(side[0]), appearance)

    def appearance(self, given: AppearanceInputs) -> Floats:
        """(21, A) what the coarser two maps show of each keypoint: gestures are told by it.

        First what they show where the network found it, then at the place to which this is corrected, at last x and
        y of that place: the middle of all is 0, and their mean square 1.
        """
        of, (keypoints, maps) = self._weights, given
        found = self._shown("appearance", _at(maps, keypoints))
        places = keypoints[:, :2]
        read = np.concatenate([found.ravel(), (4 * places - 2).ravel()])
        hidden = np.maximum(read @ of["appearance_correction_0"] + of["appearance_correction_bias_0"], 0)
        moved = hidden @ of["appearance_correction_1"] + of["appearance_correction_bias_1"]
        places = np.asarray(places + moved.reshape(places.shape), np.float32)
        again = self._shown("appearance_again", _at(maps, places))
        around = places - places.mean(0)
        return np.concatenate([found, again, around / np.sqrt((around * around).mean())], 1)

    def _shown(self, name: str, local: Floats) -> Floats:
        return np.maximum(local @ self._weights[name] + self._weights[f"{name}_keypoint"], 0)

    def logits(self, local: Floats, shape: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """(N, 21) that a keypoint is seen, and (N,) of a left hand in a selfie view.

        Args:
            local: (N, 21, L), each like `HeadInputs.local`.
            shape: (N, 63).
            mean: (N, C).
        """
        of = self._weights
        near = np.maximum(local @ of["local"] + of["keypoint"], 0)  # (N, 21, H)
        around = (
            near[:, BEFORE] @ of["before"] + near[:, BEHIND] @ of["behind"] + near.mean(1, keepdims=True) @ of["all"]
        )
        wide = np.maximum(near @ of["own"] + around + of["keypoint_wide"], 0)  # (N, 21, H)
        seen = (wide * of["seen"]).sum(-1) + of["seen_bias"]
        whole = mean @ of["side_mean"] + shape @ of["side_shape"] + near.reshape(len(near), -1) @ of["side_near"]
        side = np.maximum(whole + of["side_context"], 0) @ of["side"]
        return seen, side + of["side_bias"]

    def probabilities(self, local: Floats, shape: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """Those of `logits`."""
        seen, side = self.logits(local, shape, mean)
        return _probability(seen), _probability(side)


@lru_cache(maxsize=2)
def load_hand_heads(model: str, kind: type[HandHeads] = HandHeads) -> HandHeads:
    """The shipped heads of a published network."""
    start = f"{model}."
    return kind({name.removeprefix(start): value.astype(np.float32) for name, value in shipped_arrays(start).items()})


def shipped_arrays(start: str = "") -> dict[str, Floats]:
    """Arrays of the shipped file, by their names in it: those that begin so."""
    file = resources.files("sonjit") / "assets" / ASSET
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith(start)}


def _probability(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def head_inputs(keypoints: Floats, maps: Sequence[Floats], mean: Floats) -> HeadInputs:
    """What the heads read of one hand.

    Args:
        keypoints: (21, 3) in parts of the crop: 0 to 1 within it; z in the same scale.
        maps: (1, C, side, side) each, of `TAPS`.
        mean: (1, C) of the last map.
    """
    shape = keypoints * 2 - np.array([1, 1, 0], np.float32)
    return HeadInputs(_at(maps, keypoints), shape.ravel(), mean.ravel())


def _at(maps: Sequence[Floats], places: Floats) -> Floats:
    """(21, L) maps (1, C, side, side) at places (21, 2 or more) in parts of them, between cells; beyond, their edge.

    All maps' places are worked out at once: for so few numbers a call costs more than its work.
    """
    sides = np.array([[each.shape[3]] for each in maps])  # (M, 1)
    x, y = ((places[:, axis] * sides - 0.5).clip(0, sides - 1) for axis in (0, 1))  # (M, 21)
    left, top = np.minimum(x.astype(np.intp), sides - 2), np.minimum(y.astype(np.intp), sides - 2)
    right, low = x - left, y - top
    corner = left + sides * top
    cells = np.concatenate([corner, corner + 1, corner + sides, corner + sides + 1], 1)  # (M, 84)
    parts = [(1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low]
    weights = np.concatenate(parts, 1).astype(np.float32)
    found: list[Floats] = []
    for each, where, weight in zip(maps, cells, weights, strict=True):
        four = (each.reshape(each.shape[1], -1).take(where, 1) * weight).reshape(each.shape[1], 4, -1)  # (C, 4, 21)
        found.append(four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3])
    return np.concatenate(found).T

"""Refine the keypoints of the published hand networks from their feature maps.

The refinement samples the maps at the keypoints, moves the keypoints, and samples the maps again at the new positions.
It was trained on rendered hands with exact ground truth: docs/hands.md.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sonjit._util.data_files import read_npz
from sonjit.detectors.kinds.hand_heads import sampled_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ASSET: Final = "hand_refinement.npz"
WORLD_SCALE: Final = 10.0
"""Factor from metres to the refinement's inputs and outputs, about 1 for a hand."""


class RefinementInputs(NamedTuple):
    """Outputs of the landmark network for one hand. They are kept, because most crops never become results.

    Attributes:
        keypoints: (21, 3) as fractions of the crop, z as in the network's output.
        world: (21, 3) metres in the axes of the crop.
        maps: Three maps (1, C, side, side).
    """

    keypoints: Floats
    world: Floats
    maps: Sequence[Floats]


class RefinedKeypoints(NamedTuple):
    """Refined keypoints of one hand.

    Attributes:
        keypoints: (21, 3) as fractions of the crop. z is relative to the wrist, in the scale of x and y.
        world: (21, 3) metres in the axes of the crop.
        error: (21,) float32 expected distance of x and y from the exact position, as fractions of the crop.
    """

    keypoints: Floats
    world: Floats
    error: Floats


class HandRefinement:
    """Refinement of one network's keypoints.

    Args:
        weights: Arrays by name, as `sonjit train refine` writes them.
    """

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights
        self._rounds = sum(name.startswith("look_") for name in weights)

    def __call__(self, inputs: RefinementInputs) -> RefinedKeypoints:
        """Return the refined keypoints of one hand."""
        weights, keypoints = self._weights, inputs.keypoints
        memory = np.zeros(0, np.float32)
        for number in range(self._rounds):
            local = sampled_maps(inputs.maps, keypoints) @ weights[f"look_{number}"]
            local = np.maximum(local + weights[f"keypoint_{number}"], 0)
            read = np.concatenate([local.ravel(), _centred(keypoints), memory])
            memory = np.maximum(read @ weights[f"hidden_{number}"] + weights[f"hidden_bias_{number}"], 0)
            step = memory @ weights[f"move_{number}"] + weights[f"move_bias_{number}"]
            keypoints = np.asarray(keypoints + step.reshape(keypoints.shape), np.float32)
        world = inputs.world.ravel() * np.float32(WORLD_SCALE)
        read = np.concatenate([memory, _centred(keypoints), world])
        hidden = np.maximum(read @ weights["world_0"] + weights["world_bias_0"], 0)
        world = (world + hidden @ weights["world_1"] + weights["world_bias_1"]) / np.float32(WORLD_SCALE)
        error = np.asarray(np.exp(memory @ weights["error"] + weights["error_bias"]), np.float32)
        refined = keypoints.copy()
        refined[:, :2] = inputs.keypoints[:, :2] + weights["share"][:, None] * (keypoints - inputs.keypoints)[:, :2]
        return RefinedKeypoints(refined, np.asarray(world.reshape(inputs.world.shape), np.float32), error)


def _centred(keypoints: Floats) -> Floats:
    return (4 * keypoints - np.array([2, 2, 0], np.float32)).ravel()


@lru_cache(maxsize=2)
def load_hand_refinement(model: str) -> HandRefinement:
    """Load the shipped refinement of a published network, "full" or "lite"."""
    file = resources.files("sonjit") / "_util" / "assets" / ASSET
    starts = (f"{model}.", "both.")
    arrays = read_npz(file, accepts=lambda name: name.startswith(starts))
    return HandRefinement({name.partition(".")[2]: value.astype(np.float32) for name, value in arrays.items()})

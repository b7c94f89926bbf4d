"""Additional heads of the published hand networks: visibility, handedness, gesture features, refined keypoints.

Their inputs are feature maps that the landmark network computes anyway: maps sampled at its own keypoints, and the
mean of its last map. The refinement moves the keypoints and samples the maps again at the new positions. All were
trained on rendered hands with exact ground truth: docs/hands.md.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import Float32Array
from sonjit._util.data_files import ASSETS, read_npz

Floats = Float32Array

TAPS: Final = (28, 14, 7)  # sides of the maps that the heads read
ASSET: Final = "hand_heads.npz"
BEFORE: Final = (0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
"""Index of the neighbour of each keypoint on the side of the wrist."""
BEHIND: Final = (9, 2, 3, 4, 4, 6, 7, 8, 8, 10, 11, 12, 12, 14, 15, 16, 16, 18, 19, 20, 20)
"""Index of the neighbour of each keypoint on the side of the fingertip. The wrist has the middle finger's knuckle."""
REFINEMENT_ASSET: Final = "hand_refinement.npz"
WORLD_SCALE: Final = 10.0  # factor from metres to the refinement's inputs and outputs, about 1 for a hand


class AppearanceInputs(NamedTuple):
    """Inputs of `HandHeads.appearance` for one hand. They are kept, because most crops never become results.

    `keypoints`: (21, 2 or more) Positions relative to the crop, 0 to 1; `maps`: two coarse maps (1, C, side, side).
    """

    keypoints: Floats
    maps: Sequence[Floats]


class HeadOutputs(NamedTuple):
    """What the heads read from the maps of one crop.

    `visibility`: (21,) 0 to 1; `left`: probability of a left hand in selfie views; `maps`: (21, L) maps at the
    keypoints.
    """

    visibility: Floats
    left: float
    appearance: AppearanceInputs | None
    maps: Floats


class HandHeads:
    """Heads of one network for visibility, handedness and appearance. Weights are as in `hand_heads.npz`."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights

    def read(self, keypoints: Floats, taps: Sequence[Floats]) -> HeadOutputs:
        """Read the maps of one crop.

        `keypoints` (21, 3) are relative to the crop, 0 to 1 within it, with z as in the network's output. `taps` are
        maps (1, C, side, side) of `TAPS`, and the mean (1, C) of the last one. Not all networks have an appearance.
        """
        local, shape, mean = head_inputs(keypoints, taps)
        visible, left = self.logits(local, shape, mean)
        appearance = None
        if "appearance" in self._weights:  # the engine reuses its output buffers
            appearance = AppearanceInputs(keypoints, [tap.copy() for tap in taps[1:-1]])
        return HeadOutputs(_probability(visible)[0], float(_probability(left)[0]), appearance, local[0])

    def appearance(self, inputs: AppearanceInputs) -> Floats:
        """Return the appearance (21, A) of the keypoints in the two coarser maps, an input of the gesture classifier.

        It has features at the keypoints and at corrected positions, and these x and y with mean 0 and mean square 1.
        """
        weights, (keypoints, maps) = self._weights, inputs
        features = self._shown("appearance", sampled_maps(maps, keypoints))
        positions = keypoints[:, :2]
        read = np.concatenate([features.ravel(), (4 * positions - 2).ravel()])
        hidden = np.maximum(read @ weights["appearance_correction_0"] + weights["appearance_correction_bias_0"], 0)
        corrections = hidden @ weights["appearance_correction_1"] + weights["appearance_correction_bias_1"]
        positions = np.asarray(positions + corrections.reshape(positions.shape), np.float32)
        again = self._shown("appearance_again", sampled_maps(maps, positions))
        around = positions - positions.mean(0)
        return np.concatenate([features, again, around / np.sqrt((around * around).mean())], 1)

    def _shown(self, name: str, local: Floats) -> Floats:
        return np.maximum(local @ self._weights[name] + self._weights[f"{name}_keypoint"], 0)

    def logits(self, local: Floats, shape: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """Return the logits (N, 21) of visible keypoints and (N,) of a left hand in a selfie view; see `head_inputs`.

        Without mirroring, a left hand in a selfie view is a right hand.
        """
        weights = self._weights
        near = np.maximum(local @ weights["local"] + weights["keypoint"], 0)  # (N, 21, H)
        around = (
            near[:, BEFORE] @ weights["before"]
            + near[:, BEHIND] @ weights["behind"]
            + near.mean(1, keepdims=True) @ weights["all"]
        )
        wide = np.maximum(near @ weights["own"] + around + weights["keypoint_wide"], 0)  # (N, 21, H)
        visible = (wide * weights["seen"]).sum(-1) + weights["seen_bias"]
        side_input = (
            mean @ weights["side_mean"]
            + shape @ weights["side_shape"]
            + near.reshape(len(near), -1) @ weights["side_near"]
        )
        side = np.maximum(side_input + weights["side_context"], 0) @ weights["side"]
        return visible, side + weights["side_bias"]


@lru_cache(maxsize=2)
def load_hand_heads(model: str, kind: type[HandHeads] = HandHeads) -> HandHeads:
    """Load the shipped heads of a published network."""
    start = f"{model}."
    return kind({name.removeprefix(start): value.astype(np.float32) for name, value in shipped_arrays(start).items()})


def shipped_arrays(start: str = "") -> dict[str, Floats]:
    """Return the arrays of the shipped file whose names begin with `start`."""
    return read_npz(ASSETS / ASSET, accepts=lambda name: name.startswith(start))


def head_inputs(keypoints: Floats, taps: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return the inputs of `HandHeads.logits` for one hand; arguments are as in `HandHeads.read`.

    They are the maps (1, 21, L) sampled at the keypoints, the keypoints (1, 63) from -1 to 1 in the crop, and the mean
    (1, C) of the last map.
    """
    *maps, mean = taps
    shape = keypoints * 2 - np.array([1, 1, 0], np.float32)
    return sampled_maps(maps, keypoints)[None], shape.ravel()[None], mean.ravel()[None]


def _probability(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def sampled_maps(maps: Sequence[Floats], positions: Floats) -> Floats:
    """Interpolate maps (1, C, side, side) at relative positions (21, 2 or more). Return features (21, L).

    Interpolation is bilinear between cell centres and repeats the edge. One call handles all maps, which is faster.
    """
    sides = np.array([[feature_map.shape[3]] for feature_map in maps])  # (M, 1)
    x, y = ((positions[:, axis] * sides - 0.5).clip(0, sides - 1) for axis in (0, 1))  # (M, 21)
    left, top = np.minimum(x.astype(np.intp), sides - 2), np.minimum(y.astype(np.intp), sides - 2)
    right, low = x - left, y - top
    corner = left + sides * top
    cells = np.concatenate([corner, corner + 1, corner + sides, corner + sides + 1], 1)  # (M, 84)
    corner_weights = [(1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low]
    weights = np.concatenate(corner_weights, 1).astype(np.float32)
    features: list[Floats] = []
    for feature_map, where, weight in zip(maps, cells, weights, strict=True):
        near = feature_map.reshape(feature_map.shape[1], -1).take(where, 1) * weight
        four = near.reshape(len(near), 4, len(positions))  # (C, 4, 21)
        features.append(four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3])
    return np.concatenate(features).T


class RefinementInputs(NamedTuple):
    """Outputs of the landmark network for one hand. They are kept, because most crops never become results."""

    keypoints: Floats  # (21, 3) as fractions of the crop, z as in the network's output
    world: Floats  # (21, 3) metres in the axes of the crop
    maps: Sequence[Floats]  # three maps (1, C, side, side)


class HandRefinement:
    """Refinement of one network's keypoints. Weights are as in `hand_refinement.npz`."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights
        self._rounds = sum(name.startswith("look_") for name in weights)

    def __call__(self, inputs: RefinementInputs) -> tuple[Floats, Floats, Floats]:
        """Return the refined keypoints (21, 3) of one hand as fractions of the crop, in metres, and their errors (21,).

        z is relative to the wrist, in the scale of x and y. Errors are expected distances of x and y, as fractions of
        the crop.
        """
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
        return refined, np.asarray(world.reshape(inputs.world.shape), np.float32), error


def _centred(keypoints: Floats) -> Floats:
    return (4 * keypoints - np.array([2, 2, 0], np.float32)).ravel()


@lru_cache(maxsize=2)
def load_hand_refinement(model: str) -> HandRefinement:
    """Load the shipped refinement of a published network, "full" or "lite"."""
    starts = (f"{model}.", "both.")
    arrays = read_npz(ASSETS / REFINEMENT_ASSET, accepts=lambda name: name.startswith(starts))
    return HandRefinement({name.partition(".")[2]: value.astype(np.float32) for name, value in arrays.items()})

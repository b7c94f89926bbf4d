"""Training data of the heads: features of the published networks at hands whose hidden keypoints are known.

Images are used as they are, mirrored, and with objects pasted over them; crops are those of the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, Float32Array, Image, IntArray
from sonjit.datasets import Sample, open_dataset
from sonjit.detectors.kinds.hand_heads import TAPS, head_inputs
from sonjit.detectors.kinds.hands import PalmFinder, box_around_hand
from sonjit.engines import Engine, EngineOptions, load_engine
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, points_from_crop
from sonjit.training.rows import ArrayRows
from sonjit.weights import find_weight

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

    keypoints: Float32Array
    causes: NDArray[np.int8]
    right: bool

    @property
    def extent(self) -> float:
        """Diagonal of the box around its keypoints, in pixels."""
        return float(np.hypot(*np.ptp(self.keypoints, axis=0)))


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image (H, W, 3) uint8 RGB and its hands."""

    rgb: Image
    hands: tuple[LabelledHand, ...]


def mirrored(image: LabelledImage) -> LabelledImage:
    """Its mirror image, in which left hands are right ones."""
    flip, move = np.array([-1, 1], np.float32), np.array([image.rgb.shape[1], 0], np.float32)
    hands = tuple(replace(hand, keypoints=hand.keypoints * flip + move, right=not hand.right) for hand in image.hands)
    return LabelledImage(np.ascontiguousarray(image.rgb[:, ::-1]), hands)


def pasted_over(image: LabelledImage, other: NDArray[np.uint8], rng: np.random.Generator) -> LabelledImage:
    """The same with an object in front of each hand, around one of its keypoints.

    Args:
        image: is not changed.
        other: image (H, W, 3) from which every other object has its texture; the rest are of one colour.
        rng: where, what and how large.
    """
    height, width = image.rgb.shape[:2]
    rgb, hands = image.rgb.copy(), list(image.hands)
    surface = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
    for target in image.hands:
        mask = np.zeros((height, width), np.uint8)
        middle = target.keypoints[rng.integers(KEYPOINTS)]
        cv2.fillPoly(mask, [_outline(middle, target.extent, rng)], 1, cv2.LINE_8)
        colour = np.asarray(rng.integers(0, 256, 3), np.uint8)
        np.copyto(rgb, surface if rng.random() < 0.5 else colour, where=mask[..., None] > 0)
        hands = [_hidden_by(mask, hand) for hand in hands]
    return LabelledImage(rgb, tuple(hands))


def _outline(middle: Float32Array, extent: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """(N, 2) corners of an object around a place."""
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


_NEAR: Final = 0.2
"""Mean distance of the network's keypoints from the truth, in the hand's extent, up to which they are that hand's."""

_SCALE, _SHIFT, _TURN_RAD = (0.9, 1.12), 0.06, 0.25
"""How far the box of tracking is off from that of exact keypoints: the hand has moved since."""

_SEEN_AT: Final = 0.5
_EXACT: Final = EngineOptions(precision="f32", threads=1)


@dataclass(frozen=True, eq=False)
class HandFeatures(ArrayRows):
    """Crops of hands, one row each.

    Attributes:
        local, shape, mean: inputs of the heads, see `detectors.hand_heads.HeadInputs`.
        cause: (N, 21) index into `CAUSES`.
        right: (N,) it is the person's own right hand.
        label: (N,) the published network's probability of that.
        image: (N,) number of the image.
        error: (N,) mean distance of the network's keypoints from the truth, in the hand's extent.
    """

    local: NDArray[np.float16]
    shape: Float32Array
    mean: NDArray[np.float16]
    cause: NDArray[np.int8]
    right: BoolArray
    label: Float32Array
    image: IntArray
    error: Float32Array

    @property
    def seen(self) -> BoolArray:
        """(N, 21) the keypoint is in the image and not hidden."""
        return self.cause == 0

    def inputs(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """`local`, `shape` and `mean` as the heads take them."""
        local, shape, mean = (np.asarray(one, np.float32) for one in (self.local, self.shape, self.mean))
        return local, shape, mean


def hand_features(
    root: Path,
    model: str,
    *,
    more: int = 0,
    models_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HandFeatures:
    """Features of every hand of a data set, in the palm detector's box and in one as tracking gives it.

    Args:
        root: a folder that `sonjit synth` wrote, or another one with a COCO keypoints file that labels what is hidden.
        model: "full" or "lite".
        more: further crops as tracking has them, of the image or its mirror image, every other one with an object
            pasted over: for training, not for evaluation.
        models_dir: folder with the published files, or None for the cache.
        progress: called after each image with how many are done, of how many.

    Raises:
        InputError: no hand in there is found, or none whose hidden keypoints are labelled.
    """
    palms = PalmFinder(load_engine(find_weight(f"palm-{model}", models_dir), _EXACT))
    network = load_engine(find_weight(f"hand-{model}", models_dir), _EXACT, taps=TAPS)
    samples = open_dataset("folder", root)
    before: NDArray[np.uint8] | None = None
    rows: list[tuple[object, ...]] = []
    for number, sample in enumerate(samples):
        hands = tuple(_known_hands(sample))
        if hands:
            rng, rgb = np.random.default_rng(number), sample.rgb()
            scene = LabelledImage(rgb, hands)
            boxes = palms.find(rgb, _SEEN_AT)
            rows += [(*row, number, error) for *row, error in _features_of(scene, boxes, network, rng)]
            for turn in range(more):
                other = mirrored(scene) if rng.random() < 0.5 else scene
                if turn % 2 == 0:
                    other = pasted_over(other, rgb if before is None else before, rng)
                rows += [(*row, number, error) for *row, error in _features_of(other, [], network, rng)]
            before = rgb
        if progress:
            progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand is found in it whose hidden keypoints are labelled")
    kinds = (np.float16, np.float32, np.float16, np.int8, np.bool_, np.float32, np.int64, np.float32)
    columns = [np.array(one, kind) for one, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return HandFeatures(*columns)  # pyright: ignore[reportArgumentType]  # each of its own kind


def _features_of(
    scene: LabelledImage, boxes: Sequence[RotatedBox], network: Engine, rng: np.random.Generator
) -> Iterator[tuple[object, ...]]:
    """A row of `HandFeatures` but for the number of its image, for each crop in which a known hand is found.

    Args:
        scene: the image.
        boxes: to crop beside those that tracking would have.
        network: hand landmarks with taps.
        rng: how far hands have moved.
    """
    tracked = [_as_tracked(box_around_hand(hand.keypoints), rng) for hand in scene.hands]
    for box in (*boxes, *tracked):
        crop_on_grid(scene.rgb, box, network.input[0])
        image, presence, label, _, *maps, mean = network.run()
        if presence.item() <= _SEEN_AT:
            continue
        keypoints = image.reshape(21, 3) / np.float32(network.input.shape[1])
        found = points_from_crop(keypoints, box)[:, :2]
        errors = [np.linalg.norm(found - hand.keypoints, axis=1).mean() / hand.extent for hand in scene.hands]
        best = scene.hands[int(np.argmin(errors))]
        if min(errors) > _NEAR:
            continue
        read = head_inputs(keypoints, maps, mean)
        # Copies: the network's next run writes over what it gave.
        local, mean = read.local.astype(np.float16), read.mean.astype(np.float16)
        yield local, read.shape, mean, best.causes, best.right, label.item(), min(errors)


def _known_hands(sample: Sample) -> Iterator[LabelledHand]:
    for one in sample.instances:
        points, valid, visible = one.keypoints_px, one.valid_px, one.visible
        if one.kind != "hand" or one.side is None or points is None or valid is None or visible is None:
            continue
        if len(points) == KEYPOINTS and valid.all():
            names = one.extra.get("causes") or ["visible" if seen else "hidden" for seen in visible]
            causes = np.array([CAUSES.index(cause) for cause in names], np.int8)
            yield LabelledHand(points.astype(np.float32), causes, one.side == "Right")


def _as_tracked(box: RotatedBox, rng: np.random.Generator) -> RotatedBox:
    """A box about a hand a frame later."""
    side = box.width * rng.uniform(*_SCALE)
    dx, dy = rng.uniform(-_SHIFT, _SHIFT, 2) * box.width
    return RotatedBox(box.cx + dx, box.cy + dy, side, side, box.rotation + rng.uniform(-_TURN_RAD, _TURN_RAD))

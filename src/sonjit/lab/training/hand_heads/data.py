"""Prepare training data of the heads.

The data are features of the published networks for hands with labelled hidden keypoints. Images are used unchanged,
mirrored, and with objects pasted over them. Crops are those of the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, Float32Array, Image, IntArray
from sonjit._util.errors import InputError
from sonjit.detectors.kinds.hand_heads import TAPS, head_inputs
from sonjit.detectors.kinds.hands import PalmFinder, box_around_hand
from sonjit.engines import Engine, EngineOptions, load_engine
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, points_from_crop
from sonjit.lab.datasets import Sample, open_dataset
from sonjit.lab.training.augment import jittered_box
from sonjit.lab.training.rows import ArrayRows
from sonjit.weights import find_weight

KEYPOINTS: Final = 21
CAUSES: Final = ("visible", "self", "other_hand", "object", "outside", "hidden")
"""Reasons why a keypoint is visible or hidden, as in `sonjit synth`; `hidden` if the reason is unknown."""

_OBJECT_SIZE = (0.12, 0.5)
"""Distance from the centre of a pasted object to its corners, as a fraction of the hand's extent."""

_CORNERS = (4, 9)


_MAX_ERROR: Final = 0.2
"""Maximum mean error of the network's keypoints, as a fraction of the hand's extent, for a match."""
_TURN_RAD: Final = 0.25
"""Maximum rotation of the box of tracking against that of exact keypoints: the hand moves between frames."""
_MIN_PRESENCE: Final = 0.5
_EXACT: Final = EngineOptions(precision="f32", threads=1)


@dataclass(frozen=True, eq=False)
class LabelledHand:
    """One hand with labels.

    Attributes:
        keypoints: (21, 2) float32 pixels.
        causes: (21,) int8 index into `CAUSES`.
        right: True for the person's own right hand.
    """

    keypoints: Float32Array
    causes: NDArray[np.int8]
    right: bool

    @property
    def extent(self) -> float:
        """The diagonal of the box around the keypoints in pixels."""
        return float(np.hypot(*np.ptp(self.keypoints, axis=0)))


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image (H, W, 3) uint8 RGB and its hands."""

    rgb: Image
    hands: tuple[LabelledHand, ...]


def mirrored(image: LabelledImage) -> LabelledImage:
    """Return the mirror image, in which left hands are right ones."""
    flip, move = np.array([-1, 1], np.float32), np.array([image.rgb.shape[1], 0], np.float32)
    hands = tuple(replace(hand, keypoints=hand.keypoints * flip + move, right=not hand.right) for hand in image.hands)
    return LabelledImage(np.ascontiguousarray(image.rgb[:, ::-1]), hands)


def pasted_over(image: LabelledImage, other: NDArray[np.uint8], rng: np.random.Generator) -> LabelledImage:
    """Paste an object over each hand, around one of its keypoints.

    Args:
        image: Image, not changed.
        other: Image (H, W, 3) with the texture of about half of the objects; the others have one colour.
        rng: Generator of position, shape and size.
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
    """Return the (N, 2) corners of an object around a point."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(*_CORNERS)))
    corners = np.stack([np.cos(turns), np.sin(turns) * rng.uniform(0.2, 1)], 1) * rng.uniform(*_OBJECT_SIZE) * extent
    turn = rng.uniform(0, np.pi)
    corners = corners @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(np.round(corners + middle), np.int32)


def _hidden_by(mask: NDArray[np.uint8], hand: LabelledHand) -> LabelledHand:
    """Return the same hand behind an object that covers the mask (H, W)."""
    height, width = mask.shape
    x, y = np.floor(hand.keypoints).astype(np.intp).T
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    covered = within & (mask[y.clip(0, height - 1), x.clip(0, width - 1)] > 0)
    return replace(hand, causes=np.where(covered, np.int8(CAUSES.index("object")), hand.causes))


@dataclass(frozen=True, eq=False)
class HandFeatures(ArrayRows):
    """Crops of hands, one row each.

    Attributes:
        local, shape, mean: Inputs of the heads, see `detectors.hand_heads.HeadInputs`.
        cause: (N, 21) index into `CAUSES`.
        right: (N,) True for the person's own right hand.
        label: (N,) the published network's probability of a right hand.
        image: (N,) index of the image.
        error: (N,) mean error of the network's keypoints, as a fraction of the hand's extent.
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
    def visible(self) -> BoolArray:
        """(N, 21) True for keypoints in the image that are not hidden."""
        return self.cause == 0

    def inputs(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return `local`, `shape` and `mean` as float32 inputs of the heads."""
        local, shape, mean = (np.asarray(values, np.float32) for values in (self.local, self.shape, self.mean))
        return local, shape, mean


def hand_features(
    root: Path,
    model: str,
    *,
    more: int = 0,
    models_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HandFeatures:
    """Compute features of every hand of a data set, in the palm detector's box and in a box like that of tracking.

    Args:
        root: Folder that `sonjit synth` wrote, or another one with a COCO keypoints file that labels hidden keypoints.
        model: "full" or "lite".
        more: Number of further crops with boxes like those of tracking, of the image or its mirror image, every other
            one with a pasted object; for training, not for evaluation.
        models_dir: Folder with the published files; None for the cache.
        progress: Callback after each image with the number of finished images and of all images.

    Raises:
        InputError: No hand is detected, or none has labels of hidden keypoints.
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
            boxes = palms.find(rgb, _MIN_PRESENCE)
            rows += [(*row, number, error) for *row, error in _features_of(scene, boxes, network, rng)]
            for index in range(more):
                other = mirrored(scene) if rng.random() < 0.5 else scene
                if index % 2 == 0:
                    other = pasted_over(other, rgb if before is None else before, rng)
                rows += [(*row, number, error) for *row, error in _features_of(other, [], network, rng)]
            before = rgb
        if progress:
            progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand with labels of hidden keypoints was detected")
    types = (np.float16, np.float32, np.float16, np.int8, np.bool_, np.float32, np.int64, np.float32)
    columns = [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True)]
    return HandFeatures(*columns)  # pyright: ignore[reportArgumentType]  # each has its own type


def _features_of(
    scene: LabelledImage, boxes: Sequence[RotatedBox], network: Engine, rng: np.random.Generator
) -> Iterator[tuple[object, ...]]:
    """Yield a row of `HandFeatures`, without the index of its image, for each crop in which a known hand is detected.

    Args:
        scene: Image and its hands.
        boxes: Boxes to crop in addition to those that tracking would have.
        network: Hand landmark engine with taps.
        rng: Generator of the motion of hands between frames.
    """
    tracked = [jittered_box(box_around_hand(hand.keypoints), rng, _TURN_RAD) for hand in scene.hands]
    for box in (*boxes, *tracked):
        crop_on_grid(scene.rgb, box, network.input[0])
        image, presence, label, _, *maps, mean = network.run()
        if presence.item() <= _MIN_PRESENCE:
            continue
        keypoints = image.reshape(21, 3) / np.float32(network.input.shape[1])
        found = points_from_crop(keypoints, box)[:, :2]
        errors = [np.linalg.norm(found - hand.keypoints, axis=1).mean() / hand.extent for hand in scene.hands]
        best = scene.hands[int(np.argmin(errors))]
        if min(errors) > _MAX_ERROR:
            continue
        read = head_inputs(keypoints, maps, mean)
        # Copies, because the network's next run overwrites its outputs.
        local, mean = read.local.astype(np.float16), read.mean.astype(np.float16)
        yield local, read.shape, mean, best.causes, best.right, label.item(), min(errors)


def _known_hands(sample: Sample) -> Iterator[LabelledHand]:
    for instance in sample.instances:
        points, valid, visible = instance.keypoints_px, instance.valid_px, instance.visible
        if instance.kind != "hand" or instance.side is None or points is None or valid is None or visible is None:
            continue
        if len(points) == KEYPOINTS and valid.all():
            names = instance.extra.get("causes") or ["visible" if is_visible else "hidden" for is_visible in visible]
            causes = np.array([CAUSES.index(cause) for cause in names], np.int8)
            yield LabelledHand(points.astype(np.float32), causes, instance.side == "Right")


def check_folders(train: Sequence[str], held_out: Sequence[str]) -> None:
    """Check that there are folders for training and for evaluation, and that they differ.

    Raises:
        InputError: A list is empty, or a folder is in both.
    """
    if not train or not held_out:
        raise InputError("train and held_out require at least one folder each, relative to --data")
    if both := sorted(set(train) & set(held_out)):
        raise InputError(f"{both[0]} is in train and in held_out. Evaluate on other hands than in training.")

"""Training data of the hand heads: features of the published hand networks for rendered hands.

Images are used unchanged, mirrored, and with objects pasted over the hands. Crops are those of the detector and of
tracking.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, Float32Array, Image, InputError, IntArray
from sonjit.detectors.kinds.hand_heads import TAPS, head_inputs
from sonjit.detectors.kinds.hands import box_around_hand, box_from_palm, load_palm_detector
from sonjit.detectors.options import HandOptions
from sonjit.engines import Engine, EngineOptions, load_engine
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, points_from_crop
from sonjit.weights import find_weight
from sonjit_lab.datasets import Sample, open_dataset
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.training.array_rows import ArrayRows
from sonjit_lab.training.augment import jittered_box

KEYPOINTS: Final = 21
CAUSES: Final = ("visible", "self", "other_hand", "object", "outside", "hidden")
"""Reasons why a keypoint is visible or hidden, as in `sonjit synth`; `hidden` if the reason is unknown."""
EXACT: Final = EngineOptions(precision="f32", threads=1)
MIN_PRESENCE: Final = 0.5
_OBJECT: Final = CAUSES.index("object")
_OBJECT_SIZE: Final = (0.12, 0.5)  # from the centre of a pasted object to its corners, relative to the hand's extent
_CORNERS: Final = (4, 9)
_MAX_ERROR: Final = 0.2  # maximum mean error of the network's keypoints, relative to the hand's extent, for a match
_TURN_RAD: Final = 0.25  # maximum rotation of the box of tracking: the hand moves between frames


class LabelledHand(NamedTuple):
    """A hand with labels of hidden keypoints."""

    keypoints: Float32Array  # (21, 2) pixels
    causes: NDArray[np.int8]  # (21,) index into `CAUSES`
    right: bool  # True for the person's own right hand

    @property
    def extent(self) -> float:
        """Diagonal of the box around the keypoints in pixels."""
        return float(np.hypot(*np.ptp(self.keypoints, axis=0)))


class LabelledImage(NamedTuple):
    """An image and its hands."""

    rgb: Image  # (H, W, 3)
    hands: tuple[LabelledHand, ...]


@dataclass(frozen=True, eq=False)
class HandFeatures(ArrayRows):
    """Crops of hands, one row each: inputs of the heads as `head_inputs` returns them, and labels."""

    local: NDArray[np.float16]  # (N, 21, L)
    shape: Float32Array  # (N, 63)
    mean: NDArray[np.float16]  # (N, C)
    cause: NDArray[np.int8]  # (N, 21) index into `CAUSES`
    right: BoolArray  # (N,) True for the person's own right hand
    label: Float32Array  # (N,) the published network's probability of a right hand
    image: IntArray  # (N,) index of the image
    error: Float32Array  # (N,) mean error of the network's keypoints, relative to the hand's extent

    @property
    def visible(self) -> BoolArray:
        """(N, 21) True for keypoints in the image that are not hidden."""
        return self.cause == 0

    def inputs(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return `local`, `shape` and `mean` as float32."""
        return self.local.astype(np.float32), self.shape, self.mean.astype(np.float32)


def check_folders(train: Sequence[str], held_out: Sequence[str]) -> None:
    """Check that folders for training and for evaluation are given, and that they differ."""
    if not train or not held_out:
        raise InputError("train and held_out require at least one folder each, relative to --data")
    if both := sorted(set(train) & set(held_out)):
        raise InputError(f"{both[0]} is in train and in held_out. Evaluate on other hands than in training.")


def mirrored(image: LabelledImage) -> LabelledImage:
    """Return the mirror image, in which left hands are right ones."""
    flip, last = np.array([-1, 1], np.float32), np.array([image.rgb.shape[1] - 1, 0], np.float32)
    hands = [LabelledHand(hand.keypoints * flip + last, hand.causes, not hand.right) for hand in image.hands]
    return LabelledImage(np.ascontiguousarray(image.rgb[:, ::-1]), tuple(hands))


def pasted_over(image: LabelledImage, other: Image, rng: np.random.Generator) -> LabelledImage:
    """Paste an object over each hand, with one colour or the texture of another image (H, W, 3)."""
    height, width = image.rgb.shape[:2]
    rgb, hands = image.rgb.copy(), image.hands
    surface = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
    for target in image.hands:
        mask = np.zeros((height, width), np.uint8)
        middle = target.keypoints[rng.integers(KEYPOINTS)]
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(*_CORNERS)))
        corners = np.stack([np.cos(turns), np.sin(turns) * rng.uniform(0.2, 1)], 1)
        corners = corners * rng.uniform(*_OBJECT_SIZE) * target.extent
        turn = rng.uniform(0, np.pi)
        corners = corners @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        cv2.fillPoly(mask, [np.asarray(np.round(corners + middle), np.int32)], 1, cv2.LINE_8)
        colour = np.asarray(rng.integers(0, 256, 3), np.uint8)
        np.copyto(rgb, surface if rng.random() < 0.5 else colour, where=mask[..., None] > 0)
        hands = tuple(_covered(hand, mask) for hand in hands)
    return LabelledImage(rgb, hands)


def _covered(hand: LabelledHand, mask: NDArray[np.uint8]) -> LabelledHand:
    """Return a hand whose keypoints in a mask (H, W) are hidden by an object."""
    height, width = mask.shape
    x, y = np.rint(hand.keypoints).astype(np.intp).T  # keypoints count from the centre of the first pixel
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    covered = within & (mask[y.clip(0, height - 1), x.clip(0, width - 1)] > 0)
    return hand._replace(causes=np.where(covered, np.int8(_OBJECT), hand.causes))


def hand_features(
    root: Path, model: str, *, more: int, progress: Callable[[int, int], None] = lambda done, images: None
) -> HandFeatures:
    """Compute features of every hand of a data set, in the palm detector's box and in a box like that of tracking.

    Args:
        root: Folder that `sonjit synth` wrote, or another one in COCO's format that labels hidden keypoints.
        model: "full" or "lite".
        more: Further images of each image. Every second one has objects pasted over, and half of them are mirrored.
        progress: Callback with the numbers of finished and of all images.

    Raises:
        InputError: No hand with such labels was detected.
    """
    palms = load_palm_detector(HandOptions(precision="f32", threads=1), f"palm-{model}")
    network = load_engine(find_weight(f"hand-{model}"), EXACT, taps=TAPS)
    samples, rows = open_dataset("folder", root), list[tuple[object, ...]]()
    before: Image | None = None
    for number, sample in enumerate(samples):
        hands = tuple(_complete_hands(sample))
        if hands:
            rng, scene = np.random.default_rng(number), LabelledImage(sample.rgb(), hands)
            boxes = [box_from_palm(palm) for palm in palms.find(scene.rgb, MIN_PRESENCE)]
            scene_rows = list(_features_of(scene, boxes, network, rng))
            for index in range(more):
                other = mirrored(scene) if rng.random() < 0.5 else scene
                if index % 2 == 0:
                    other = pasted_over(other, scene.rgb if before is None else before, rng)
                scene_rows += _features_of(other, [], network, rng)
            rows += [(*row, number, error) for *row, error in scene_rows]
            before = scene.rgb
        progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand with labels of hidden keypoints was detected")
    types = (np.float16, np.float32, np.float16, np.int8, np.bool_, np.float32, np.int64, np.float32)
    columns = [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True)]
    return HandFeatures(*columns)  # pyright: ignore[reportArgumentType]  # each has its own type


def _features_of(
    scene: LabelledImage, boxes: Sequence[RotatedBox], network: Engine, rng: np.random.Generator
) -> Iterator[tuple[object, ...]]:
    """Yield a row of `HandFeatures`, without the index of its image, for each crop with a known hand."""
    tracked = [jittered_box(box_around_hand(hand.keypoints), rng, _TURN_RAD) for hand in scene.hands]
    for box in (*boxes, *tracked):
        crop_on_grid(scene.rgb, box, network.input[0])
        image, presence, label, _, *taps = network.run()
        keypoints = image.reshape(KEYPOINTS, 3) / np.float32(network.input.shape[1])
        detected = points_from_crop(keypoints, box)[:, :2]
        errors = [np.linalg.norm(detected - hand.keypoints, axis=1).mean() / hand.extent for hand in scene.hands]
        if presence.item() <= MIN_PRESENCE or min(errors) > _MAX_ERROR:
            continue
        best = scene.hands[int(np.argmin(errors))]
        local, shape, mean = (values[0] for values in head_inputs(keypoints, taps))
        # Copies, because the network's next run overwrites its outputs.
        read = local.astype(np.float16), shape, mean.astype(np.float16)
        yield *read, best.causes, best.right, label.item(), min(errors)


def _complete_hands(sample: Sample) -> Iterator[LabelledHand]:
    """Yield the hands of an image whose side, keypoints and visibility are labelled."""
    for instance in (ordered_hand(item, name_of(sample)) for item in sample.instances):
        if instance is None:
            continue
        points, valid, visible = instance.keypoints_px, instance.valid_px, instance.visible
        if instance.side is None or points is None or valid is None or visible is None:
            continue
        if valid.all():
            names = instance.extra.get("causes") or ["visible" if is_visible else "hidden" for is_visible in visible]
            causes = np.array([CAUSES.index(cause) for cause in names], np.int8)
            yield LabelledHand(points.astype(np.float32), causes, instance.side == "Right")

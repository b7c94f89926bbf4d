"""Training data of gestures: renders of posed hands, with the keypoints that the real hand network finds in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, Float32Array, FloatArray, Image, IntArray, RealArray
from sonjit.datasets import Instance, Sample, open_dataset
from sonjit.detectors.kinds.hand_heads import AppearanceInputs, HandHeads
from sonjit.detectors.kinds.hands import Hands, box_around_hand, load_hands
from sonjit.detectors.options import DetectorOptions
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox
from sonjit.gestures.features import aligned, gesture_features, palm_pose
from sonjit.results import Hand
from sonjit.training.gestures.alphabets import Alphabet, shipped_gestures
from sonjit.training.rows import ArrayRows

_ALIKE: Final = 0.05
"""Mean distance of the joints of two poses in hand lengths, below which a free pose is nearly a gesture: no example."""

_EXAMPLES, _CANDIDATES = 40, 6  # of each pose of a gesture, and nearest of them, that free poses are compared with

_SIMILAR: Final = 8
"""Hands found, from which an exact one may have its errors."""

_FOUND: Final = 0.2
"""Mean distance of the network's keypoints from the truth in the hand's extent, up to which they are that hand's."""

_BLOCK: Final = 4096

_SCALE, _SHIFT, _TURN_RAD = (0.9, 1.12), 0.06, 0.3
"""How far the box of tracking, or of the palm, is off from that of exact keypoints."""


@dataclass(frozen=True, eq=False)
class PosedHands(ArrayRows):
    """Hands as the network finds them, as they are, and what they make.

    Attributes:
        keypoints: (N, 21, 3) float32 pixels.
        keypoints_3d: (N, 21, 3) float32 metres.
        left: (N,) the network takes it for a left hand.
        pose: (N,) names of `sonjit synth`; "any" for what has none, or holds a thing.
        image: (N,) number of the image.
        true_keypoints: (N, 21, 3) float32 the exact ones in the image, z in the same scale.
        true_keypoints_3d: (N, 21, 3) float32 metres before the camera.
        true_left: (N,) it is a left hand.
    """

    keypoints: Float32Array
    keypoints_3d: Float32Array
    left: BoolArray
    pose: NDArray[np.str_]
    image: IntArray
    true_keypoints: Float32Array
    true_keypoints_3d: Float32Array
    true_left: BoolArray

    def shapes(self, alphabet: Alphabet) -> IntArray:
        """(N,) index of each hand's shape in an alphabet."""
        return alphabet.shapes_of(self.pose.tolist())

    def features(self) -> Float32Array:
        """(N, F) of the keypoints found."""
        return gesture_features(self.keypoints, self.keypoints_3d, self.left)

    def exact(self) -> Self:
        """The same hands, as a network would find them that made no error."""
        return replace(self, keypoints=self.true_keypoints, keypoints_3d=self.true_keypoints_3d, left=self.true_left)

    def errors(self) -> FloatArray:
        """(N,) mean distance of the keypoints found from the exact ones in the image, in the hand's extent."""
        exact = self.true_keypoints[..., :2]
        extent = np.linalg.norm(np.ptp(exact, axis=1), axis=1)
        return np.linalg.norm(self.keypoints[..., :2] - exact, axis=2).mean(1) / extent

    def truth(self) -> Float32Array:
        """(N, 2, 21, 3) the exact keypoints, see `aligned`."""
        return np.stack([self.true_keypoints, self.true_keypoints_3d], 1)

    def palm_poses(self) -> FloatArray:
        """(N, 63) the exact joints in the palm's axes."""
        return palm_pose(self.true_keypoints_3d.astype(np.float64), self.true_left).reshape(-1, 63)

    def unambiguous(self, gestures: PosedHands, alphabet: Alphabet | None = None) -> Self:
        """Without free poses that are nearly those of gestures.

        Args:
            gestures: hands of named poses.
            alphabet: the poses of gestures; those of the shipped ones by default.
        """
        made = gestures.take(gestures.shapes(alphabet or shipped_gestures()) > 0)
        some = [np.flatnonzero(made.pose == pose)[:_EXAMPLES] for pose in np.unique(made.pose)]
        poses = made.take(np.concatenate([np.zeros(0, np.int64), *some])).palm_poses()
        free = np.flatnonzero(self.pose == "any")
        keep = np.ones(len(self), np.bool_)
        if len(poses) and len(free):
            own = self.take(free).palm_poses()
            near = poses[nearest(own, poses, min(_CANDIDATES, len(poses)))]  # (M, C, 63)
            apart = np.linalg.norm((own[:, None] - near).reshape(*near.shape[:2], 21, 3), axis=-1).mean(2)
            keep[free] = apart.min(1) >= _ALIKE
        return self.take(keep)

    def with_errors_of(self, found: PosedHands, rng: np.random.Generator) -> Self:
        """Exact hands as the network might find them: with its errors in one of the most similar hands found.

        Args:
            found: hands that it found in images.
            rng: chooses one of the `_SIMILAR` nearest in pose and view.
        """
        truth, others = aligned(self.truth(), self.true_left), aligned(found.truth(), found.true_left)
        seen = np.stack([found.keypoints, found.keypoints_3d], 1)
        errors = aligned(seen, found.true_left, by=found.truth()) - others
        near = nearest(truth[:, 1].reshape(-1, 63), others[:, 1].reshape(-1, 63), min(_SIMILAR, len(found)))
        one = near[np.arange(len(self)), rng.integers(near.shape[1], size=len(self))]
        points = truth + errors[one]
        mistaken = (found.left != found.true_left)[one]
        return replace(self, keypoints=points[:, 0], keypoints_3d=points[:, 1], left=mistaken)


@dataclass(frozen=True, eq=False)
class SeenHands(PosedHands):
    """Posed hands with what the network's maps show of them.

    Attributes:
        appearance: (N, 21, A) as of `Hand`, or in rows (N, ...) what it is read from, see `maps_and_places`.
    """

    appearance: NDArray[np.floating]


def posed_hands(
    root: Path,
    crops: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> PosedHands:
    """What the published hand network finds of every hand of a folder that `sonjit synth` wrote.

    Args:
        root: the folder.
        crops: of each hand, each placed a little otherwise.
        progress: called after each image with how many are done, of how many.

    Raises:
        InputError: it is no such folder, or no hand in it is found.
    """
    network = _network(HandHeads)
    columns = _columns(root, lambda sample, rng: _found(sample, network, crops, rng), progress)
    return PosedHands(*columns[:-1])


def seen_hands(
    root: Path, more: int = 0, *, maps: bool = False, progress: Callable[[int, int], None] | None = None
) -> SeenHands:
    """The same of one crop of each hand, with its appearance.

    Args:
        root: the folder.
        more: further crops of each hand, each recoloured, blurred, compressed or mirrored: for training.
        maps: what the appearance is read from in place of it: for training.
        progress: called after each image with how many are done, of how many.

    Raises:
        InputError: it is no such folder, or no hand in it is found.
    """
    network = _network(_Maps if maps else HandHeads)

    def find(sample: Sample, rng: np.random.Generator) -> Iterator[_FoundHand]:
        yield from _found(sample, network, 1, rng)
        for _ in range(more):
            other = Shown(recoloured(sample.rgb(), rng), mirrored=bool(rng.random() < 0.5))
            yield from _found(sample, network, 1, rng, other)

    return SeenHands(*_columns(root, find, progress))


MAPS: Final = ((112, 14, 14), (192, 7, 7))
"""Shapes of the published full network's two coarser maps."""


class _Maps(HandHeads):
    """Heads that give what the appearance is read from, in place of it."""

    def appearance(self, given: AppearanceInputs) -> Float32Array:
        return np.concatenate([*(one.ravel() for one in given.maps), given.keypoints[:, :2].ravel()])


def maps_and_places(rows: NDArray[np.floating]) -> tuple[list[Float32Array], Float32Array]:
    """(N, C, side, side) each of `MAPS`, and (N, 21, 2) the keypoints in parts of the crop, of rows (N, ...)."""
    sizes = [math.prod(shape) for shape in MAPS]
    *maps, places = np.split(rows.astype(np.float32), np.cumsum(sizes), axis=1)
    return [one.reshape(-1, *shape) for one, shape in zip(maps, MAPS, strict=True)], places.reshape(len(rows), -1, 2)


def _network(heads: type[HandHeads]) -> Hands:
    return load_hands(DetectorOptions("hands", "full", 2, static_image=True, precision="f32", threads=1), heads)


_FoundHand = tuple[Hand, FloatArray, FloatArray, bool]
"""A hand as found; the exact keypoints in the image and in metres; whether it is a left one."""


def _columns(
    root: Path,
    find: Callable[[Sample, np.random.Generator], Iterator[_FoundHand]],
    progress: Callable[[int, int], None] | None,
) -> list[Any]:
    """Those of `SeenHands` for a folder."""
    samples = open_dataset("folder", root)
    rows: list[tuple[object, ...]] = []
    for number, sample in enumerate(samples):
        pose = sample.tags.get("gesture")
        if not isinstance(pose, str):
            raise InputError(f"{root}: {sample.id} does not say its gesture; give folders that sonjit synth wrote")
        held = sample.tags.get("held", "none") != "none"
        for hand, *exact in find(sample, np.random.default_rng(number)):
            said = hand.handedness == "Left", "any" if held else pose
            rows.append((hand.keypoints, hand.keypoints_3d, *said, number, *exact, hand.appearance))
        if progress:
            progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand is found in it")
    kinds = (np.float32, np.float32, np.bool_, np.str_, np.int64, np.float32, np.float32, np.bool_, np.float16)
    return [np.array(one, kind) for one, kind in zip(zip(*rows, strict=True), kinds, strict=True)]


@dataclass(frozen=True, eq=False)
class Shown:
    """An image (H, W, 3) that is shown in place of a sample's own.

    Attributes:
        rgb: not yet mirrored.
        mirrored: it is to be.
    """

    rgb: Image
    mirrored: bool = False


def _found(
    sample: Sample, network: Hands, crops: int, rng: np.random.Generator, shown: Shown | None = None
) -> Iterator[_FoundHand]:
    """Each hand as found in some crops."""
    shown = shown or Shown(sample.rgb())
    rgb = np.ascontiguousarray(shown.rgb[:, ::-1]) if shown.mirrored else shown.rgb
    for one in sample.instances:
        if one.kind != "hand" or one.side is None or one.keypoints_px is None or one.keypoints_m is None:
            continue
        if np.isnan(one.keypoints_px).any():  # it reaches far out of the image
            continue
        exact, metres = _exact(sample, one)
        left = (one.side == "Left") != shown.mirrored
        if shown.mirrored:
            exact, metres = exact * [-1, 1, 1] + [rgb.shape[1], 0, 0], metres * [-1, 1, 1]
        points = exact[:, :2]
        extent = float(np.hypot(*np.ptp(points, axis=0)))
        for _ in range(crops):
            seen = network.observe(rgb, _moved(box_around_hand(points), rng))
            error = np.linalg.norm(seen.keypoints[:, :2] - points, axis=1).mean()
            if seen.score > 0.5 and error <= _FOUND * extent:
                hand = network.result(rgb, seen, None)
                hand = replace(hand, keypoints=hand.keypoints.copy(), keypoints_3d=hand.keypoints_3d.copy())
                yield hand, exact, metres, left


def recoloured(rgb: Image, rng: np.random.Generator) -> Image:
    """The same image by another camera: other light and colours; some are grey, blurred, coarse, noisy, compressed."""
    image = 255 * (rgb.astype(np.float32) / 255) ** np.float32(np.exp(rng.normal(0, 0.25)))
    tint = rng.uniform(0.85, 1.15, 3).astype(np.float32)
    image = image * np.float32(rng.uniform(0.6, 1.3)) * tint + np.float32(rng.uniform(-25, 25))
    if rng.random() < 0.3:
        grey = image.mean(2, keepdims=True)
        image = grey + (image - grey) * np.float32(rng.uniform(0, 1.3))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2))
    if rng.random() < 0.25:
        height, width = image.shape[:2]
        share = rng.uniform(0.4, 0.9)
        small = cv2.resize(image, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.35:
        image = image + rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
    changed = image.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        changed = cv2.imdecode(cv2.imencode(".jpg", changed, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(changed, np.uint8)


def _exact(sample: Sample, one: Instance) -> tuple[FloatArray, FloatArray]:
    """(21, 3) in the image, z in its scale, and (21, 3) metres, of a labelled hand."""
    assert one.keypoints_m is not None
    assert one.keypoints_px is not None
    assert sample.camera is not None
    depth = one.keypoints_m[:, 2]
    z = (depth / depth[0] - 1) * sample.camera.K[0, 0]
    return np.column_stack([one.keypoints_px, z]), one.keypoints_m


def nearest(points: RealArray, others: RealArray, count: int) -> IntArray:
    """(N, count) which of others (M, D) are nearest to each of points (N, D), in no order."""
    points, others = points.astype(np.float32), others.astype(np.float32)
    squares = (others * others).sum(1)
    rows = [points[first : first + _BLOCK] for first in range(0, len(points), _BLOCK)]
    found = [np.argpartition(squares - 2 * own @ others.T, count - 1, axis=1)[:, :count].copy() for own in rows]
    return np.concatenate(found)  # copies: views would keep every block whole, gigabytes in all


def _moved(box: RotatedBox, rng: np.random.Generator) -> RotatedBox:
    side = box.width * rng.uniform(*_SCALE)
    dx, dy = rng.uniform(-_SHIFT, _SHIFT, 2) * box.width
    return RotatedBox(box.cx + dx, box.cy + dy, side, side, box.rotation + rng.uniform(-_TURN_RAD, _TURN_RAD))

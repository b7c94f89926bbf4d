"""Training data of gestures: renders of posed hands, with the keypoints that the real hand network finds in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, Float32Array, FloatArray, IntArray, RealArray
from sonjit.datasets import Instance, Sample, open_dataset
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
    network = load_hands(DetectorOptions("hands", "full", 2, static_image=True, precision="f32", threads=1))
    samples = open_dataset("folder", root)
    rows: list[tuple[object, ...]] = []
    for number, sample in enumerate(samples):
        pose = sample.tags.get("gesture")
        if not isinstance(pose, str):
            raise InputError(f"{root}: {sample.id} does not say its gesture; give folders that sonjit synth wrote")
        held = sample.tags.get("held", "none") != "none"
        for hand, one in _found(sample, network, crops, np.random.default_rng(number)):
            exact = _exact(sample, one)
            left = hand.handedness == "Left", one.side == "Left"
            rows.append((hand.keypoints, hand.keypoints_3d, left[0], "any" if held else pose, number, *exact, left[1]))
        if progress:
            progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand is found in it")
    kinds = (np.float32, np.float32, np.bool_, np.str_, np.int64, np.float32, np.float32, np.bool_)
    columns = [np.array(one, kind) for one, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return PosedHands(*columns)  # pyright: ignore[reportArgumentType]  # each of its own kind


def _found(sample: Sample, network: Hands, crops: int, rng: np.random.Generator) -> Iterator[tuple[Hand, Instance]]:
    """Each hand as found in some crops, and its label."""
    rgb = sample.rgb()
    for one in sample.instances:
        if one.kind != "hand" or one.side is None or one.keypoints_px is None or one.keypoints_m is None:
            continue
        points = one.keypoints_px
        extent = float(np.hypot(*np.ptp(points, axis=0)))
        for _ in range(crops):
            seen = network.observe(rgb, _moved(box_around_hand(points), rng))
            error = np.linalg.norm(seen.keypoints[:, :2] - points, axis=1).mean()
            if seen.score > 0.5 and error <= _FOUND * extent:
                hand = network.result(rgb, seen, None)
                yield Hand(hand.handedness, hand.score, hand.keypoints.copy(), hand.keypoints_3d.copy()), one


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

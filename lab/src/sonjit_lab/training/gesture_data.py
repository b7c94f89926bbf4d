"""Prepare training data of gestures: renders of posed hands with detected keypoints, and hands without renders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError, IntArray, RealArray
from sonjit.detectors.kinds.hand_heads import AppearanceInputs, HandHeads
from sonjit.detectors.kinds.hands import Hands, box_around_hand, load_hands
from sonjit.detectors.options import HandOptions
from sonjit.gestures.classifier import PALM, aligned, gesture_features
from sonjit.gestures.custom_motions import MotionRecording
from sonjit.results import Frame, Hand, Results
from sonjit.results.measures.hands import palm_frame
from sonjit_lab.datasets import Sample, open_dataset
from sonjit_lab.hand_models.rig import Rig, RigPose, free_joints, joint_limits
from sonjit_lab.synthesis import hand_shapes, motions
from sonjit_lab.synthesis.gestures import add_deviation, free_angles, gestures, resolved_angles
from sonjit_lab.training.alphabets import Alphabet, Stroke, shipped_gestures
from sonjit_lab.training.array_rows import ArrayRows
from sonjit_lab.training.augment import jittered_box, recoloured
from sonjit_lab.training.hands.samples import complete_hands, exact_keypoints

_MIN_POSE_DISTANCE: Final = 0.05
"""Mean distance of the joints of two poses in hand lengths, below which a free pose is too close to a gesture."""
_EXAMPLES, _CANDIDATES = 40, 6  # examples of a gesture's pose, and nearest ones to compare a free pose with
_SIMILAR: Final = 8  # number of similar detected hands, one of which provides the errors of an exact hand
_MAX_ERROR: Final = 0.2  # maximum mean error of detected keypoints, as a fraction of the hand's extent, for a match
_BLOCK: Final = 4096
_LENGTH: Final = [0, 9, 10, 11, 12]  # along the bones: the same however the hand bends
_TURN_RAD: Final = 0.3  # maximum rotation of the box of tracking, or of the palm, against that of exact keypoints
MAPS: Final = ((112, 14, 14), (192, 7, 7))  # shapes of the two coarser maps of the published full network
_DetectedHand = tuple[Hand, FloatArray, FloatArray, bool]
"""A detected hand, its exact keypoints in the image and in metres, and whether it is a left hand."""
_LOOSENESS: Final = (0.3, 1.8)
_LEVEL, _PITCH_DEG = 0.5, 28.0  # share of nearly level hands, and deviation of their pitch
_DISTANCE_M: Final = (0.25, 0.8)
_OFF_AXIS: Final = 0.12  # standard deviation from the image centre, relative to the distance
_TOUCH_DEVIATION: Final = 0.3  # fraction of a deviation that remains for touching fingers
_NO_TURN: Final = np.zeros(3)
_DRAWN: Final = 12
_DRAWN_S, _DRAWN_FPS = (0.6, 1.4), 30
_DRAWN_SIZE: Final = (0.75, 1.35)
_DRAWN_YAW_DEG, _DRAWN_ROLL_DEG, _DRAWN_NOISE = 20.0, 12.0, 0.02
_DRAWN_M: Final = 0.6  # distance from the camera


@dataclass(frozen=True, eq=False)
class PosedHands(ArrayRows):
    """Detected hands with their ground truth and their poses."""

    keypoints: Float32Array  # (N, 21, 3) float32 pixels
    keypoints_3d: Float32Array  # (N, 21, 3) float32 metres
    left: BoolArray  # (N,) True if the network predicts a left hand
    pose: NDArray[np.str_]  # (N,) pose names of `sonjit synth`; "any" for hands without a named pose or with an object
    image: IntArray  # (N,) index of the image
    true_keypoints: Float32Array  # (N, 21, 3) float32 exact keypoints in the image, z in the same scale
    true_keypoints_3d: Float32Array  # (N, 21, 3) float32 metres in the camera frame
    true_left: BoolArray  # (N,) True for a left hand

    def shapes(self, alphabet: Alphabet) -> IntArray:
        """Return the (N,) index of each hand's shape in an alphabet."""
        return alphabet.shapes_of(self.pose.tolist())

    def features(self) -> Float32Array:
        """Return the features (N, F) of the detected keypoints."""
        return gesture_features(self.keypoints, self.keypoints_3d, self.left)

    def exact(self) -> Self:
        """Return the same hands as a network without errors would detect them."""
        return replace(self, keypoints=self.true_keypoints, keypoints_3d=self.true_keypoints_3d, left=self.true_left)

    def errors(self) -> FloatArray:
        """Return the (N,) mean error of the detected keypoints in the image, as a fraction of the hand's extent."""
        exact = self.true_keypoints[..., :2]
        extent = np.linalg.norm(np.ptp(exact, axis=1), axis=1)
        return np.linalg.norm(self.keypoints[..., :2] - exact, axis=2).mean(1) / extent

    def truth(self) -> Float32Array:
        """Return the exact keypoints (N, 2, 21, 3), see `aligned`."""
        return np.stack([self.true_keypoints, self.true_keypoints_3d], 1)

    def palm_poses(self) -> FloatArray:
        """Return the exact joints (N, 63) in the palm's axes, in hand lengths; left hands are mirrored."""
        right = self.true_keypoints_3d.astype(np.float64) * np.where(self.true_left[:, None, None], [-1, 1, 1], 1)
        length = np.linalg.norm(np.diff(right[:, _LENGTH], axis=1), axis=-1).sum(1)
        flat = (right - right[:, PALM].mean(1, keepdims=True)) / length[:, None, None] @ palm_frame(right)
        return flat.reshape(-1, 63)

    def unambiguous(self, gestures: PosedHands, alphabet: Alphabet | None = None) -> Self:
        """Remove free poses that are too similar to gestures."""
        named = gestures.take(gestures.shapes(alphabet or shipped_gestures()) > 0)
        examples = [np.flatnonzero(named.pose == pose)[:_EXAMPLES] for pose in np.unique(named.pose)]
        poses = named.take(np.concatenate([np.zeros(0, np.int64), *examples])).palm_poses()
        free = np.flatnonzero(self.pose == "any")
        keep = np.ones(len(self), np.bool_)
        if len(poses) and len(free):
            palm_poses = self.take(free).palm_poses()
            near = poses[nearest(palm_poses, poses, min(_CANDIDATES, len(poses)))]  # (M, C, 63)
            distances = np.linalg.norm((palm_poses[:, None] - near).reshape(*near.shape[:2], 21, 3), axis=-1).mean(2)
            keep[free] = distances.min(1) >= _MIN_POSE_DISTANCE
        return self.take(keep)

    def with_errors_from(self, detections: PosedHands, rng: np.random.Generator) -> Self:
        """Return exact hands with the network's errors in one of the most similar detected hands."""
        truth, others = aligned(self.truth(), self.true_left), aligned(detections.truth(), detections.true_left)
        detected = np.stack([detections.keypoints, detections.keypoints_3d], 1)
        errors = aligned(detected, detections.true_left, by=detections.truth()) - others
        near = nearest(truth[:, 1].reshape(-1, 63), others[:, 1].reshape(-1, 63), min(_SIMILAR, len(detections)))
        chosen = near[np.arange(len(self)), rng.integers(near.shape[1], size=len(self))]
        points = truth + errors[chosen]
        mistaken = (detections.left != detections.true_left)[chosen]
        return replace(self, keypoints=points[:, 0], keypoints_3d=points[:, 1], left=mistaken)


@dataclass(frozen=True, eq=False)
class DetectedHands(PosedHands):
    """Posed hands with their appearance."""

    # (N, 21, A) as in `Hand`, or the inputs that it is computed from as rows (N, ...), see `split_maps`
    appearance: NDArray[np.floating]


def posed_hands(
    root: Path, progress: Callable[[int, int], None] = lambda done, images: None, *, crops: int
) -> PosedHands:
    """Run the published hand network on every hand of a folder that `sonjit synth` wrote."""
    network = _network(HandHeads)
    columns = _columns(root, lambda sample, rng: _detect(sample, network, crops, rng), progress)
    return PosedHands(*columns[:-1])


def detect_hands(
    root: Path, progress: Callable[[int, int], None] = lambda done, images: None, *, more: int = 0, maps: bool = False
) -> DetectedHands:
    """Run the hand network on one crop of each hand, with its appearance, or with `maps` the inputs of that."""
    network = _network(_Maps if maps else HandHeads)

    def detect(sample: Sample, rng: np.random.Generator) -> Iterator[_DetectedHand]:
        yield from _detect(sample, network, 1, rng)
        for _ in range(more):
            yield from _detect(sample, network, 1, rng, recoloured(sample.rgb(), rng), mirrored=rng.random() < 0.5)

    return DetectedHands(*_columns(root, detect, progress))


class _Maps(HandHeads):
    """Heads that return the inputs of the appearance instead of the appearance."""

    def appearance(self, inputs: AppearanceInputs) -> Float32Array:
        return np.concatenate([*(values.ravel() for values in inputs.maps), inputs.keypoints[:, :2].ravel()])


def split_maps(rows: NDArray[np.floating]) -> tuple[list[Float32Array], Float32Array]:
    """Split rows (N, ...) into (N, C, side, side) for each of `MAPS` and keypoints (N, 21, 2) as crop fractions."""
    sizes = [math.prod(shape) for shape in MAPS]
    *maps, positions = np.split(rows.astype(np.float32), np.cumsum(sizes), axis=1)
    maps = [values.reshape(-1, *shape) for values, shape in zip(maps, MAPS, strict=True)]
    return maps, positions.reshape(len(rows), -1, 2)


def _network(heads: type[HandHeads]) -> Hands:
    return load_hands(HandOptions(static_image=True, precision="f32", threads=1), heads)


def _columns(
    root: Path,
    detect: Callable[[Sample, np.random.Generator], Iterator[_DetectedHand]],
    progress: Callable[[int, int], None],
) -> list[Any]:
    """Return the columns of `DetectedHands` for a folder."""
    samples = open_dataset("folder", root)
    rows: list[tuple[object, ...]] = []
    for number, sample in enumerate(samples):
        pose = sample.tags.get("gesture")
        if not isinstance(pose, str):
            raise InputError(f"{root}: {sample.id} has no gesture tag. Choose folders that sonjit synth wrote.")
        has_object = sample.tags.get("held", "none") != "none"
        for hand, *exact in detect(sample, np.random.default_rng(number)):
            labels = hand.handedness == "Left", "any" if has_object else pose
            rows.append((hand.keypoints, hand.keypoints_3d, *labels, number, *exact, hand.appearance))
        progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand was detected")
    types = (np.float32, np.float32, np.bool_, np.str_, np.int64, np.float32, np.float32, np.bool_, np.float16)
    return [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True)]


def _detect(
    sample: Sample,
    network: Hands,
    crops: int,
    rng: np.random.Generator,
    rgb: Image | None = None,
    *,
    mirrored: bool = False,
) -> Iterator[_DetectedHand]:
    """Yield each hand as the network detects it in some crops of its image or another one, before mirroring."""
    rgb = sample.rgb() if rgb is None else rgb
    rgb = np.ascontiguousarray(rgb[:, ::-1]) if mirrored else rgb
    for instance in complete_hands(sample):  # not those that reach far outside the image
        exact, metres = exact_keypoints(sample, instance)
        left = (instance.side == "Left") != mirrored
        if mirrored:
            exact, metres = exact * [-1, 1, 1] + [rgb.shape[1] - 1, 0, 0], metres * [-1, 1, 1]
        points = exact[:, :2]
        extent = float(np.hypot(*np.ptp(points, axis=0)))
        for _ in range(crops):
            observation = network.observe(rgb, jittered_box(box_around_hand(points), rng, _TURN_RAD))
            error = np.linalg.norm(observation.keypoints[:, :2] - points, axis=1).mean()
            if observation.score > 0.5 and error <= _MAX_ERROR * extent:
                hand = network.result(rgb, observation, None)
                hand = replace(hand, keypoints=hand.keypoints.copy(), keypoints_3d=hand.keypoints_3d.copy())
                yield hand, exact, metres, left


def nearest(points: RealArray, others: RealArray, count: int) -> IntArray:
    """Return the indices (N, count) of the others (M, D) that are nearest to each of points (N, D), unordered."""
    points, others = points.astype(np.float32), others.astype(np.float32)
    squares = (others * others).sum(1)
    rows = [points[first : first + _BLOCK] for first in range(0, len(points), _BLOCK)]
    neighbours = [
        np.argpartition(squares - 2 * block @ others.T, count - 1, axis=1)[:, :count].copy() for block in rows
    ]
    return np.concatenate(neighbours)  # copies: views would keep every block in memory, gigabytes in total


def posed_joints(
    people: int,
    per_gesture: int,
    free: int,
    rng: np.random.Generator,
    *,
    alphabet: Alphabet | None = None,
    yaw_deg: float = 180.0,
) -> PosedHands:
    """Return right hands whose exact joints replace detected keypoints."""
    chosen = (alphabet or shipped_gestures()).posed
    points: list[FloatArray] = []
    names: list[str] = []
    for _ in range(people):
        shape = rng.normal(size=len(hand_shapes.SHAPE_NAMES)).clip(-3, 3) * np.clip(rng.normal(0.9, 0.2), 0, 2)
        rig = hand_shapes.rig_from_shape("Right", shape)
        poses = list(_poses(rig, chosen, per_gesture, free, rng))
        names += [name for name, _ in poses]
        points.append(_points_in_camera(rig, np.stack([angles for _, angles in poses]), rng, yaw_deg))
    metres = np.concatenate(points)
    image = _projected(metres)
    right = np.zeros(len(names), np.bool_)
    joints = metres.astype(np.float32)
    return PosedHands(image, joints, right, np.array(names), np.arange(len(names)), image, joints, right)


def _poses(
    rig: Rig, chosen: Sequence[str], per_gesture: int, free: int, rng: np.random.Generator
) -> Iterator[tuple[str, FloatArray]]:
    """Yield names and (5, 3, 3) radians; only named poses without deviations are free of self-intersections."""
    limits = joint_limits(free_joints(rig))
    named_gestures = {name: gestures()[name] for name in chosen}
    bases = {name: resolved_angles(rig, gesture.angles, gesture.touch) for name, gesture in named_gestures.items()}
    for name, base in bases.items():
        touching = [0, *named_gestures[name].touch] if named_gestures[name].touch else []
        for _ in range(per_gesture):
            angles = add_deviation(base, rng, rng.uniform(*_LOOSENESS))
            angles[touching] = base[touching] + _TOUCH_DEVIATION * (angles[touching] - base[touching])
            yield name, np.clip(angles, *limits)
    names = list(bases)
    for number in range(free):
        first, second = (bases[names[index]] for index in rng.integers(len(names), size=2))
        match number % 3:
            case 0:
                angles = free_angles(rng)
            case 1:  # between two gestures
                angles = first + (rng.uniform(0, 1, (5, 1, 1)) * 0.4 + rng.uniform(0, 0.6)) * (second - first)
            case _:  # some fingers of each
                angles = first + ((rng.random((5, 1, 1)) < 0.5) + rng.normal(0, 0.1, (5, 1, 1))) * (second - first)
        yield "any", np.clip(angles, *limits)


def _points_in_camera(rig: Rig, angles: FloatArray, rng: np.random.Generator, yaw_deg: float) -> FloatArray:
    """Return (N, 21, 3) metres in the camera frame, each hand in its own random view with its fingers up."""
    count = len(angles)
    yaws = rng.uniform(-yaw_deg, yaw_deg, count)
    pitches = np.where(rng.random(count) < _LEVEL, rng.normal(0, _PITCH_DEG, count), rng.uniform(-80, 80, count))
    views = [{"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": 0.0} for yaw, pitch in zip(yaws, pitches, strict=True)]
    turns = [motions.turn_hand(rig, view, _NO_TURN) for view in views]
    points = rig.keypoints(RigPose(np.stack(turns), np.zeros((count, 3)), angles))
    distance = rng.uniform(*_DISTANCE_M, count)
    position = np.stack([*rng.normal(0, _OFF_AXIS, (2, count)) * distance, distance], 1)
    return points - (points.min(1, keepdims=True) + points.max(1, keepdims=True)) / 2 + position[:, None]


def _projected(metres: FloatArray) -> Float32Array:
    """Project to (N, 21, 3) in an image of focal length 1, z in its scale."""
    depth = metres[:, :1, 2:]
    return np.concatenate([metres[..., :2] / metres[..., 2:], metres[..., 2:] / depth - 1], 2).astype(np.float32)


def drawn_letters(alphabet: Alphabet, rng: np.random.Generator) -> list[MotionRecording]:
    """Return examples of the drawn letters, each by several people, at several sizes, speeds and angles."""
    return [
        MotionRecording.of(name, _frames_of([drawn_letter(stroke, rng) for _ in range(_DRAWN)]))
        for name, stroke in alphabet.moving.items()
    ]


def drawn_letter(stroke: Stroke, rng: np.random.Generator) -> FloatArray:
    """Return (T, 21, 3) metres in the camera frame of a right hand that draws a letter, at 30 frames per second."""
    rig = hand_shapes.rig_from_shape("Right", rng.normal(size=len(hand_shapes.SHAPE_NAMES)).clip(-2, 2))
    pose = gestures()[stroke.pose]
    angles = add_deviation(resolved_angles(rig, pose.angles, pose.touch), rng)
    count = round(rng.uniform(*_DRAWN_S) * _DRAWN_FPS)
    steps = np.linalg.norm(np.diff(stroke.place, axis=0), axis=1) + np.deg2rad(np.abs(np.diff(stroke.yaw_deg))) / 2
    knots = np.concatenate([[0], steps.cumsum()]) / steps.sum()
    progress = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, count))  # starts and ends at rest
    columns = (*stroke.place.T, stroke.yaw_deg, stroke.roll_deg)
    x, y, yaw, roll = (np.interp(progress, knots, column) for column in columns)
    size = rng.uniform(*_DRAWN_SIZE) * float(np.linalg.norm(np.diff(rig.joints[[0, 9, 10, 11]], axis=0), axis=1).sum())
    yaw, roll = yaw + rng.normal(0, _DRAWN_YAW_DEG), roll + rng.normal(0, _DRAWN_ROLL_DEG)
    views = [{"yaw_deg": angle, "pitch_deg": 0.0, "roll_deg": turn} for angle, turn in zip(yaw, roll, strict=True)]
    turns = np.stack([motions.turn_hand(rig, view, _NO_TURN) for view in views])
    points = rig.keypoints(RigPose(turns, np.zeros((count, 3)), np.broadcast_to(angles, (count, 5, 3, 3))))
    return points - points[:, :1] + size * np.stack([x, y, 0 * x], 1)[:, None] + [0, 0, _DRAWN_M]


def _frames_of(letters: Sequence[FloatArray]) -> Iterator[Frame]:
    """Yield frames of letters in sequence, each with its own hand and a little noise."""
    rng = np.random.default_rng(len(letters))
    for number, points in enumerate(letters):
        image = _projected(points)
        extent = np.ptp(image[0, :, :2], axis=0).max()
        image += rng.normal(0, _DRAWN_NOISE * extent, image.shape).astype(np.float32)
        for index, (keypoints, joints) in enumerate(zip(image, points.astype(np.float32), strict=True)):
            hand = Hand("Right", 1.0, keypoints, joints, id=number)
            yield Frame(index, index / _DRAWN_FPS, Results([hand], keypoint_count=21))

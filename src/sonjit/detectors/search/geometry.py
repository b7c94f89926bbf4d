"""Define proposals and heads, and compare instances."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sonjit._util import FloatArray, Image, RealArray
from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.observations import Observation
from sonjit.detectors.search.score import LIMITS
from sonjit.detectors.ssd import Detection, SingleShotDetector
from sonjit.geometry.boxes import Box, RotatedBox, box_around, box_iou, overlap_over_smaller, size_of, wrap_angle
from sonjit.geometry.windows import Window

_TOLERANCE = 0.08  # distance of two keypoints, in sizes of the instance, at which they agree by exp(-1/2)
_NEAR_TORSO = 1.5  # tolerance of torsos in boxes that overlap
_SAME_DISTANCE, _SAME_IOU, _SAME_INSIDE = 0.12, 0.3, 0.6
_NEAR_BOX, _NEAR_SCALE, _NEAR_TURN = 0.08, 1.15, 0.15
_MIDDLE, _HEIGHT = 0.39, 2.41
"""Centre of a face mesh below the eyes, and height of the mesh, in distances from eyes to mouth."""
_FACE_CROP = 1.5  # side of the crop of a face mesh, in face heights
PRESENT = 0.5  # minimum presence of an instance in the published search
_SHOULDERS, _EYES, _MOUTH = [11, 12], [2, 5], [9, 10]
TORSO = [*_SHOULDERS, 23, 24]  # shoulders and hips of a body
HEAD = slice(0, 11)  # keypoints of a body that are on its head
_EYES_TO_MOUTH = [0, 2, 5, 9, 10]


@dataclass(frozen=True, eq=False)
class Proposal:
    """A box in which an instance may be."""

    box: RotatedBox  # crop of the landmark network, in pixels of the image
    score: float  # score of the detector, 0..1
    source: str  # name of the source; "published" is the published search
    head: "Head | None" = None  # head below which a body is proposed
    person: Box | None = None  # upright box around a person that the network found
    otherwise: "Proposal | None" = None  # proposal that replaces this one if it is not verified

    @property
    def published(self) -> bool:
        """Whether the published search proposes it."""
        return self.source == "published"


def proposals_in(
    window: Window, detections: Iterable[Detection], box_from: Callable[[Detection], RotatedBox], source: str
) -> list[Proposal]:
    """Return the boxes of detections in a window as proposals."""
    return [Proposal(window.placed(box_from(detection)), detection.score, source) for detection in detections]


def merge_proposals(proposals: Iterable[Proposal], limit_px: float) -> list[Proposal]:
    """Return proposals without weaker duplicates and without boxes wider than `limit_px`, best first."""
    kept: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda p: -p.score):
        if 4 < proposal.box.width < limit_px and not any(is_near(proposal.box, other.box) for other in kept):
            kept.append(proposal)
    return kept


def is_near(a: RotatedBox, b: RotatedBox) -> bool:
    """Check whether two boxes give the landmark network nearly the same crop."""
    return (
        math.dist(a[:2], b[:2]) < _NEAR_BOX * max(a.width, b.width)
        and 1 / _NEAR_SCALE < a.width / b.width < _NEAR_SCALE
        and abs(wrap_angle(a.rotation - b.rotation)) < _NEAR_TURN
    )


def oks(a: RealArray, b: RealArray, tolerance: float = _TOLERANCE, weights: RealArray | None = None) -> float:
    """Return the object keypoint similarity (Ronchi and Perona 2017) of keypoints (K, 2 or more) of two views, 0..1.

    The tolerance is in sizes of the instance.
    """
    size = max(size_of(a[:, :2]), size_of(b[:, :2]))
    near = np.exp(-((a[:, :2] - b[:, :2]) ** 2).sum(axis=1) / (2 * (tolerance * size) ** 2))
    return float(near.mean()) if weights is None else float((near * weights).sum() / max(weights.sum(), 1e-6))


def is_same_instance(a: RealArray, b: RealArray) -> bool:
    """Check whether keypoints (K, 2 or more) in pixels coincide, overlap, or one set lies inside the other."""
    distance = np.linalg.norm(a[:, :2] - b[:, :2], axis=1).mean()
    if distance < _SAME_DISTANCE * max(size_of(a[:, :2]), size_of(b[:, :2])):
        return True
    return box_iou(box_around(a), box_around(b)) > _SAME_IOU or overlap_over_smaller(a, b) > _SAME_INSIDE


def is_same(a: Observation, b: Observation) -> bool:
    """Check whether two observations of one image show the same instance.

    Bodies have the same torso or head. Their boxes count only if the torsos are near each other, because limbs outside
    the image are guessed.
    """
    if isinstance(a, BodyObservation) and isinstance(b, BodyObservation):
        if is_same_torso(a, b) or is_same_head(a, b):
            return True
        return is_same_torso(a, b, _NEAR_TORSO) and is_same_instance(a.keypoints, b.keypoints)
    return is_same_instance(a.keypoints, b.keypoints)


class Head(NamedTuple):
    """Position of a face."""

    score: float  # score of the face detector
    middle: FloatArray  # point (2,) half-way between forehead and chin, in pixels
    down: FloatArray  # vector (2,) from forehead to chin, in pixels

    @property
    def height(self) -> float:
        """Return the distance from forehead to chin in pixels."""
        return max(float(np.linalg.norm(self.down)), 1.0)

    @property
    def crop(self) -> RotatedBox:
        """Return the crop of the face mesh."""
        side = _FACE_CROP * self.height
        cx, cy = self.middle.tolist()
        dx, dy = self.down.tolist()
        return RotatedBox(cx, cy, side, side, math.atan2(-dx, dy))


def head_from_points(score: float, eyes: FloatArray, mouth: FloatArray) -> Head:
    """Return a head from the middle (2,) of its eyes and of its mouth, in pixels."""
    down = mouth - eyes
    return Head(score, eyes + _MIDDLE * down, _HEIGHT * down)


def detected_heads(detector: SingleShotDetector, rgb: Image, window: Window, min_score: float) -> list[Head]:
    """Return the heads, in pixels, of the faces detected in a window of an image (H, W, 3), from a score of 0 to 1."""
    faces, corner = detector.find(window.cut(rgb), min_score), np.array(window[:2])
    points = ((face.score, face.keypoints[:2].mean(axis=0) + corner, face.keypoints[3] + corner) for face in faces)
    return [head_from_points(*head_points) for head_points in points]


def head_offset(body: BodyObservation, head: Head) -> float:
    """Return the distance from the middle of a body's face to that of a head, in face heights."""
    return math.dist(body.keypoints[_EYES_TO_MOUTH, :2].mean(axis=0), head.middle.tolist()) / head.height


def is_head_of(body: BodyObservation, head: Head) -> bool:
    """Check whether a head is that of a body."""
    return head_offset(body, head) < LIMITS["own_face"]


def torso_size(body: BodyObservation) -> float:
    """Return the longer of the distance from shoulders to hips and the width of the shoulders, in pixels."""
    torso = body.keypoints[TORSO, :2]
    down = float(np.linalg.norm(torso[:2].mean(axis=0) - torso[2:].mean(axis=0)))
    return max(down, math.dist(torso[0], torso[1]), 1.0)


def is_same_torso(a: BodyObservation, b: BodyObservation, tolerance: float = 1.0) -> bool:
    """Check whether two bodies have one torso: shoulders and hips are near each other, in sizes of the torso.

    The maximum distance is `tolerance` times that of one person in a still.
    """
    away = np.linalg.norm(a.keypoints[TORSO, :2] - b.keypoints[TORSO, :2], axis=1).mean()
    return float(away) < tolerance * LIMITS["same_torso"] * max(torso_size(a), torso_size(b))


def is_same_head(a: BodyObservation, b: BodyObservation) -> bool:
    """Check whether two bodies have one head."""
    distance = math.dist(a.keypoints[HEAD, :2].mean(axis=0), b.keypoints[HEAD, :2].mean(axis=0))
    return distance < LIMITS["same_head"] * max(math.dist(*body.keypoints[_SHOULDERS, :2]) for body in (a, b))

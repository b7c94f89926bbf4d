"""MediaPipe Pose: person detector and BlazePose's 33 landmarks, of one or several people.

Source: Bazarevsky et al. 2020, BlazePose: On-device Real-time Body Pose Tracking; Grishchenko et al. 2022, BlazePose
GHUM Holistic; the constants are those of mediapipe 0.10.21's CPU graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.anchors import AnchorGrid
from sonjit.detectors.body_mask import mask_from_logits, sigmoid
from sonjit.detectors.pipeline import Kind, crop_for
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.geometry import RotatedBox, points_from_crop, square_box, wrap_angle
from sonjit.results import Body
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.tracking import Track
    from sonjit.engines import Engine

PERSON_GRID = AnchorGrid(input_size=224, strides=(8, 16, 32, 32, 32))
KEYPOINT_OUTPUTS = (0, 1, 3, 4)  # of the landmark network: keypoints, presence, heatmaps, world keypoints
MASK_OUTPUT = 2

_KEYPOINTS = 33
_ALIGNMENT = slice(33, 35)  # the middle of the hips and a point on the circle around the whole body
_USED = 35  # of the network's 39 landmarks
_SAME_HIPS = 0.1
"""Distance of two boxes' centres, in sides, under which they show one person: shoulders are twice as wide."""


@dataclass(frozen=True, eq=False)
class BodyObservation:
    """What the landmark network saw in one box; see `Observation`.

    Attributes:
        visibility, presence: (33,) float32, 0..1.
        alignment: (2, 2) float32 pixels: the middle of the hips and a point on the circle around the whole body.
        mask: (H, W) float32 probability of the person per pixel, or None where not asked for.
    """

    score: float
    keypoints: NDArray[np.float32]
    keypoints_3d: NDArray[np.float32]
    visibility: NDArray[np.float32]
    presence: NDArray[np.float32]
    alignment: NDArray[np.float32]
    mask: NDArray[np.float32] | None = None
    left: None = None


class PersonFinder:
    """Boxes of whole people from a person detector.

    Args:
        engine: network with a picture in and (1, 2254, 12), (1, 2254, 1) out.
    """

    def __init__(self, engine: Engine) -> None:
        self._people = SingleShotDetector(engine, PERSON_GRID)

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes in a picture (H, W, 3), best first."""
        return [box_from_alignment(person.keypoints[:2]) for person in self._people.find(rgb, min_score)]


class Bodies(Kind[BodyObservation, Body]):
    """Person detector and body landmarks.

    Args:
        people: finds new people.
        landmarks: network with a square picture in; out come 39 landmarks (1, 195) of x, y, z in its pixels and the
            logits of visibility and presence; presence of a person (1, 1); heatmap logits (1, H, W, 39); world
            keypoints (1, 117); and, for masks, logits (1, H, W, 1).
        mirrored: the pictures are selfie views: what looks like the left arm is the person's right one.
        heatmap_kernel: side of the window, in heatmap pixels, that refines a keypoint; MediaPipe's graph file says
            7, its Python package runs 9.
    """

    def __init__(
        self, people: PersonFinder, landmarks: Engine, *, mirrored: bool = False, heatmap_kernel: int = 9
    ) -> None:
        self._people = people
        self._landmarks = landmarks
        self._size = landmarks.input.shape[1]
        self._order = _mirrored_order() if mirrored else np.arange(_KEYPOINTS)
        self._kernel = heatmap_kernel

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes of whole people in a picture (H, W, 3), best first."""
        return self._people.find(rgb, min_score)

    def observe(self, rgb: NDArray[np.uint8], box: RotatedBox) -> BodyObservation:
        """33 keypoints, presence and, where the network gives one, the mask from one box."""
        crop_for(self._landmarks, rgb, box)
        image, presence, heatmaps, world, *masks = self._landmarks.run()
        values = image.reshape(-1, 5)[:_USED]
        points = refine_by_heatmaps(values[:, :3] / self._size, heatmaps[0], self._kernel)
        placed = points_from_crop(points, box)  # (35, 3)
        scores = sigmoid(values[:_KEYPOINTS, 3:][self._order])  # (33, 2)
        cos, sin = math.cos(box.rotation), math.sin(box.rotation)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
        return BodyObservation(
            score=float(presence.flat[0]),
            keypoints=placed[:_KEYPOINTS][self._order],
            keypoints_3d=world.reshape(-1, 3)[:_KEYPOINTS][self._order] @ turn,
            visibility=scores[:, 0],
            presence=scores[:, 1],
            alignment=placed[_ALIGNMENT, :2],
            mask=mask_from_logits(masks[0][0, ..., 0], box, rgb.shape[1], rgb.shape[0]) if masks else None,
        )

    def follow(self, track: Track[BodyObservation]) -> RotatedBox:
        """The next frame's box, from the smoothed alignment points."""
        return box_from_alignment(track.smoothed.alignment)

    def is_taken(self, box: RotatedBox, other: RotatedBox) -> bool:
        """Whether both boxes stand on the same hips: those of people side by side overlap by far more than half."""
        return math.dist(box[:2], other[:2]) < _SAME_HIPS * max(box.width, other.width)

    def result(
        self, rgb: NDArray[np.uint8], observation: BodyObservation, track: Track[BodyObservation] | None
    ) -> Body:
        """The public result."""
        return Body(
            score=observation.score,
            keypoints=observation.keypoints,
            keypoints_3d=observation.keypoints_3d,
            visibility=observation.visibility,
            presence=observation.presence,
            id=None if track is None else track.id,
            mask=observation.mask,
        )

    def flip(self, result: Body, width: int) -> Body:
        """The body as it stands on a mirrored canvas; names stay the person's own left and right."""
        result.keypoints = result.keypoints * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
        result.keypoints_3d = result.keypoints_3d * np.array([-1, 1, 1], np.float32)
        if result.mask is not None:
            result.mask = np.ascontiguousarray(result.mask[:, ::-1])
        return result


def box_from_alignment(points: NDArray[np.floating]) -> RotatedBox:
    """The box around a whole person from alignment points (2, 2): centre, and upwards the circle around the body."""
    (cx, cy), (x, y) = points.tolist()
    side = 2 * math.dist((cx, cy), (x, y))
    rotation = wrap_angle(math.pi / 2 - math.atan2(cy - y, x - cx))
    return square_box(RotatedBox(cx, cy, side, side, rotation), scale=1.25)


def refine_by_heatmaps(
    points: NDArray[np.float32], heatmaps: NDArray[np.float32], kernel: int, min_confidence: float = 0.5
) -> NDArray[np.float32]:
    """Points moved to the centre of mass of their heatmaps nearby, where those are sure.

    Args:
        points: (K, 3) as fractions of the crop; z is left alone.
        heatmaps: (H, W, K or more) logits.
        kernel: side of the window around each point, in heatmap pixels; odd.
        min_confidence: what the window's peak must reach.
    """
    height, width = heatmaps.shape[:2]
    reach = np.arange(kernel) - kernel // 2
    column, row = (points[:, :2] * (width, height)).astype(np.int32).T  # (K,), cut off towards zero
    rows, columns = row[:, None] + reach, column[:, None] + reach  # (K, kernel)
    within = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    values = heatmaps[
        rows.clip(0, height - 1)[:, :, None],
        columns.clip(0, width - 1)[:, None, :],
        np.arange(len(points))[:, None, None],
    ]
    weights = sigmoid(values) * within  # (K, kernel, kernel)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    sure = inside & (weights.max(axis=(1, 2)) >= min_confidence)
    weights, rows, columns = weights[sure], rows[sure], columns[sure]
    total = weights.sum(axis=(1, 2))
    refined = points.copy()
    refined[sure, 0] = (weights.sum(axis=1) * columns).sum(axis=1) / total / width
    refined[sure, 1] = (weights.sum(axis=2) * rows).sum(axis=1) / total / height
    return refined


def _mirrored_order() -> NDArray[np.intp]:
    """(33,) for each keypoint the index of its counterpart on the other side."""
    skeleton = load_skeleton("body_blazepose33")
    other = {"left": "right", "right": "left"}
    swapped = ("_".join(other.get(word, word) for word in name.split("_")) for name in skeleton.keypoints)
    return np.array([skeleton.index(name) for name in swapped])

"""MediaPipe Pose: detection, 33 landmarks, masks and smoothing for one or several people.

Source: Bazarevsky et al. 2020, BlazePose: On-device Real-time Body Pose Tracking; Grishchenko et al. 2022, BlazePose
GHUM Holistic; the constants are those of mediapipe 0.10.21's CPU graph.

`precision="auto"` runs bodies in f32, see `engines.precision`. bf16 moves keypoints by up to 2.7 px in stills.

Masks nearly double the time of lite and full. Their branch is therefore cut off where no masks are requested.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, IndexArray, RealArray
from sonjit.detectors import interfaces, ssd, tracking
from sonjit.detectors.crops import check_shapes, crop_for
from sonjit.detectors.kinds import KindEntry, Model, PageSupport
from sonjit.detectors.options import BodyOptions
from sonjit.detectors.smoothing import FilterChoice, KeypointSmoother, OneEuro
from sonjit.engines import Engine, load_engine
from sonjit.engines.precision import Landmarks
from sonjit.geometry.boxes import RotatedBox, crop_matrix, points_from_crop, square_box, turn_matrix, upright_rotation
from sonjit.results import Body
from sonjit.results.skeletons import load_skeleton, mirrored_order

PERSON_GRID = ssd.AnchorGrid(input_size=224, strides=(8, 16, 32, 32, 32))
KEYPOINT_OUTPUTS = (0, 1, 3, 4)  # of the landmark network: keypoints, presence, heatmaps, world keypoints
MASK_OUTPUT = 2
_KEYPOINTS = 33
_ALIGNMENT = slice(33, 35)  # the middle of the hips and a point on the circle around the body
_LANDMARKS, _USED = 39, 35  # of the network
_OTHER_SIDE = np.array(mirrored_order(load_skeleton("body_blazepose33").keypoints))
"""Index of the same keypoint on the other side."""
_LIMBS = np.arange(11, 23), np.arange(23, 33)  # keypoints of arms and legs
_MIRROR, _RIGHT = np.array([-1, 1, 1], np.float32), np.array([1, 0, 0], np.float32)
_CORE = (*range(13), 23, 24)  # head, shoulders and hips
_TORSO = [11, 12, 23, 24]  # shoulders and hips, left first
_TORSO_DOWN, _TORSO_ACROSS = (0.1, 0.9, 9), (0.2, 0.8, 7)  # first, last and number of points, relative to the torso
_DOWN, _ACROSS = (
    grid.ravel() for grid in np.meshgrid(np.linspace(*_TORSO_DOWN), np.linspace(*_TORSO_ACROSS), indexing="ij")
)
_TORSO_WEIGHTS = np.stack(
    [(1 - _DOWN) * (1 - _ACROSS), (1 - _DOWN) * _ACROSS, _DOWN * (1 - _ACROSS), _DOWN * _ACROSS], 1
)
"""(63, 4) Bilinear weights of the torso's corners for points from the shoulders to the hips, row by row."""
_SAME_HIPS = 0.1
"""Maximum distance of the centres of two boxes of the same person, in sides. Shoulders are twice as wide."""

_BOX_SCALE = 1.25  # size of the crop relative to the circle around the body, as in MediaPipe's graph
_KERNEL = 9  # side of the window of a heatmap that refines a keypoint, as in MediaPipe's graph
_LEAST_PEAK = 0.5  # minimum peak of a heatmap that refines a keypoint, as in MediaPipe's graph
_UNCERTAINTY = (-624.717, 291.309, -57.8051, -0.748699, 5.68842, 0.0)
"""Coefficients in (p - 1/2)^2, highest power first: MediaPipe's approximation of 1 - entropy of a probability p.

Its values are less than 1, so that MediaPipe's limit at 1 has no effect."""
_MASK_RATIO = 0.7  # maximum weight of the previous mask where the new one is unsure, as in MediaPipe's graph
_SURE = 1e-3  # pixels of a mask that are this near to 0 or 1 are not blended
_VISIBILITY_ALPHA = 0.1  # weight of a new frame in the low-pass filter of the visibility, as in MediaPipe's graph
_ALIGNMENT_FILTER, _IMAGE_FILTER, _WORLD_FILTER = (0.01, 10, 1, 0), (0.05, 80, 1, 0), (0.1, 40, 1, 0)
"""Arguments of `OneEuro`."""
_DETECTOR_RANGE = (-1.0, 1.0)  # values of black and white in the input of the detector network
_BUNDLE_KERNEL = 7  # `heatmap_kernel` in the graph of a pose landmarker
_BUNDLE_OVERLAP = 0.5  # minimum IoU of boxes that the graph of a pose landmarker blends


@dataclass(frozen=True, eq=False)
class BodyObservation:
    """Observation of a body in one box; see `Observation`."""

    score: float
    keypoints: Float32Array
    keypoints_3d: Float32Array
    # (33,) float32, 0..1
    visibility: Float32Array
    presence: Float32Array
    # (2, 2) float32 pixels: the middle of the hips and a point on the circle around the body
    alignment: Float32Array
    # (H, W) float32 probability of the person per pixel, or None where not asked for
    mask: Float32Array | None = None
    # (9,) float32 mean red, green and blue of three strips across the torso, the shoulders' first
    colours: Float32Array | None = None
    heatmap_peak: float = 0.0  # mean probability of the heatmaps near the 33 keypoints, 0..1
    left: None = None


class _Outputs(NamedTuple):
    """Outputs of the landmark network for one crop."""

    points: Float32Array  # (35, 3), in fractions of the crop: keypoints and alignment points
    world: Float32Array  # (33, 3), in metres
    scores: Float32Array  # (33, 2), visibility and presence
    score: float
    heatmap_peak: float
    mask: Float32Array | None  # (h, w), logits

    def unmirrored(self) -> "_Outputs":
        """Return the outputs for the crop whose mirror image has these."""
        keypoints, alignment = self.points[:_KEYPOINTS][_OTHER_SIDE], self.points[_KEYPOINTS:]
        return self._replace(
            points=np.concatenate([keypoints, alignment]) * _MIRROR + _RIGHT,
            world=self.world[_OTHER_SIDE] * _MIRROR,
            scores=self.scores[_OTHER_SIDE],
            mask=None if self.mask is None else self.mask[:, ::-1],
        )

    def averaged(self, other: "_Outputs") -> "_Outputs":
        """Return the means of two outputs for the same crop.

        Where both disagree about left and right of the arms or legs, the sides of the more visible keypoints count.
        """
        first, second = self, other
        for part in _LIMBS:
            distances = [
                float(np.linalg.norm(self.points[part, :2] - other.points[sides, :2], axis=1).sum())
                for sides in (part, _OTHER_SIDE[part])
            ]
            if distances[0] <= distances[1]:
                continue
            if self.scores[part].sum() >= other.scores[part].sum():
                second = second.exchanged(part)
            else:
                first = first.exchanged(part)
        return _Outputs(
            _mean(first.points, second.points),
            _mean(first.world, second.world),
            _mean(first.scores, second.scores),
            (first.score + second.score) / 2,
            (first.heatmap_peak + second.heatmap_peak) / 2,
            None if first.mask is None or second.mask is None else _mean(first.mask, second.mask),
        )

    def exchanged(self, part: IndexArray) -> "_Outputs":
        """Return outputs in which keypoints (K,) have exchanged sides."""
        order = np.arange(_USED)
        order[part] = _OTHER_SIDE[part]
        keypoints = order[:_KEYPOINTS]
        return self._replace(points=self.points[order], world=self.world[keypoints], scores=self.scores[keypoints])


def _mean(first: Float32Array, second: Float32Array) -> Float32Array:
    """Return the mean of two arrays of one shape."""
    return (0.5 * (first + second)).astype(np.float32)


class Bodies(interfaces.Kind[BodyObservation, Body]):
    """Detect bodies and their landmarks.

    The landmark network has a square input image. Its outputs are 39 landmarks (1, 195) of x, y, z in its pixels and
    the logits of visibility and presence; presence of a person (1, 1); heatmap logits (1, H, W, 39); world keypoints
    (1, 117); and, for masks, logits (1, H, W, 1). `heatmap_kernel` is the side of the window that refines a keypoint: 9
    in MediaPipe's `solutions`, 7 in its graph files. In a mirrored view, the arm that looks like the left one is the
    right one. With `averages_mirrored` the network also runs on the mirrored crop, and observations are the means of
    both. A mirrored image then has mirrored keypoints, at twice the cost.
    """

    overlap_keypoints = _CORE

    def __init__(
        self,
        people: ssd.SingleShotDetector | None,
        landmarks: Engine,
        *,
        mirrored: bool = False,
        heatmap_kernel: int = _KERNEL,
        averages_mirrored: bool = False,
    ) -> None:
        self._people = people
        self._landmarks = landmarks
        self._size = landmarks.input.shape[1]
        self._order = _OTHER_SIDE if mirrored else np.arange(_KEYPOINTS)
        self._kernel = heatmap_kernel
        self._averages_mirrored = averages_mirrored

    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Return boxes of people in an image (H, W, 3), best first."""
        if self._people is None:
            return []
        alignments = [person.keypoints[:2] for person in self._people.find(rgb, min_score)]
        if self._averages_mirrored:
            others = self._people.find(np.ascontiguousarray(rgb[:, ::-1]), min_score)
            mirrored = [person.keypoints[:2] * (-1, 1) + (rgb.shape[1] - 1, 0) for person in others]
            alignments = [self._averaged(points, mirrored) for points in alignments]
        return [box_from_alignment(points) for points in alignments]

    def _averaged(self, points: RealArray, mirrored: Sequence[FloatArray]) -> RealArray:
        """Return the means of alignment points (2, 2) and those of the same person in the mirrored image."""
        boxes = [box_from_alignment(other) for other in mirrored]
        original_box = box_from_alignment(points)
        same = [other for other, box in zip(mirrored, boxes, strict=True) if self.is_same_instance(original_box, box)]
        return (points + same[0]) / 2 if same else points

    def observe(self, rgb: Image, box: RotatedBox) -> BodyObservation:
        """Run the landmark network on a box of an image (H, W, 3).

        The observation has keypoints (33, 3), presence, and a mask if the network has one.
        """
        crop_for(self._landmarks, rgb, box)
        outputs = self._outputs()
        if self._averages_mirrored:
            step = box.width / self._size  # the last pixel of a crop is this far from the end of its box
            cx, cy = box.cx + step * math.cos(box.rotation), box.cy + step * math.sin(box.rotation)
            crop_for(self._landmarks, rgb, box._replace(cx=cx, cy=cy))
            self._landmarks.input[0] = self._landmarks.input[0, :, ::-1].copy()
            outputs = outputs.averaged(self._outputs().unmirrored())
        placed = points_from_crop(outputs.points, box)  # (35, 3)
        scores = outputs.scores[self._order]  # (33, 2)
        keypoints = placed[:_KEYPOINTS][self._order]
        return BodyObservation(
            score=outputs.score,
            keypoints=keypoints,
            keypoints_3d=outputs.world[self._order] @ turn_matrix(box),
            visibility=scores[:, 0],
            presence=scores[:, 1],
            alignment=placed[_ALIGNMENT, :2],
            mask=None if outputs.mask is None else mask_from_logits(outputs.mask, box, rgb.shape[1], rgb.shape[0]),
            colours=_torso_colours(rgb, keypoints),
            heatmap_peak=outputs.heatmap_peak,
        )

    def _outputs(self) -> "_Outputs":
        """Run the network on the crop in its input."""
        image, presence, heatmaps, world, *masks = self._landmarks.run()
        values = image.reshape(-1, 5)[:_USED]
        points, peaks = refine_by_heatmaps(values[:, :3] / self._size, heatmaps[0], self._kernel)
        return _Outputs(
            points,
            world.reshape(-1, 3)[:_KEYPOINTS].copy(),
            sigmoid(values[:_KEYPOINTS, 3:]),
            float(presence.flat[0]),
            float(peaks[:_KEYPOINTS].mean()),
            masks[0][0, ..., 0].copy() if masks else None,
        )

    def follow(self, track: tracking.Track[BodyObservation]) -> RotatedBox:
        """Return the box of the next frame, from the smoothed alignment points."""
        return self.box_after(track.smoothed)

    def box_after(self, observation: BodyObservation) -> RotatedBox:
        return box_from_alignment(observation.alignment)

    def is_same_instance(self, box: RotatedBox, other: RotatedBox) -> bool:
        """Check whether two boxes are on the same hips: boxes of neighbours overlap by more than half."""
        return math.dist(box[:2], other[:2]) < _SAME_HIPS * max(box.width, other.width)

    def propagate(self, observation: BodyObservation, shift: Float32Array, score: float) -> BodyObservation:
        """Return the observation of an occluded body, shifted by (2,) pixels, without visible keypoints and a mask."""
        return replace(
            super().propagate(observation, shift, score),
            alignment=observation.alignment + shift,
            visibility=np.zeros_like(observation.visibility),
            mask=None if observation.mask is None else np.zeros_like(observation.mask),
        )

    def result(self, rgb: Image, observation: BodyObservation, track: tracking.Track[BodyObservation] | None) -> Body:
        """Return the public result for one body of an image (H, W, 3)."""
        return Body(
            score=observation.score,
            keypoints=observation.keypoints,
            keypoints_3d=observation.keypoints_3d,
            visibility=observation.visibility,
            presence=observation.presence,
            id=None if track is None else track.id,
            mask=observation.mask,
        )


def box_from_alignment(points: RealArray) -> RotatedBox:
    """Return the box around a person from alignment points (2, 2) in pixels.

    The points are the centre, and a point of the circle around the person above it.
    """
    centre, above = points.tolist()
    side = 2 * math.dist(centre, above)
    box = RotatedBox(centre[0], centre[1], side, side, upright_rotation(centre, above))
    return square_box(box, scale=_BOX_SCALE)


def _torso_colours(rgb: Image, keypoints: Float32Array) -> Float32Array:
    """Return colours (9,) of a torso in an image (H, W, 3); see `BodyObservation`."""
    points = _TORSO_WEIGHTS @ keypoints[_TORSO, :2]
    x, y = (points[:, i].clip(0, rgb.shape[1 - i] - 1).astype(np.intp) for i in (0, 1))
    return rgb[y, x].reshape(3, -1, 3).mean(axis=1, dtype=np.float32).ravel()


def refine_by_heatmaps(points: Float32Array, heatmaps: Float32Array, kernel: int) -> tuple[Float32Array, Float32Array]:
    """Move points (K, 3), in fractions of the crop, to the centre of mass of heatmaps (H, W, K or more) of logits.

    Only confident heatmaps within a window of `kernel` pixels around each point count. z does not change. Return the
    points (K, 3), and the peak (K,) of each window, 0..1.
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
    peaks = weights.max(axis=(1, 2)) * inside
    sure = peaks >= _LEAST_PEAK
    weights, rows, columns = weights[sure], rows[sure], columns[sure]
    total = weights.sum(axis=(1, 2))
    refined = points.copy()
    refined[sure, 0] = (weights.sum(axis=1) * columns).sum(axis=1) / total / width
    refined[sure, 1] = (weights.sum(axis=2) * rows).sum(axis=1) / total / height
    return refined, peaks


def mask_from_logits(logits: Float32Array, box: RotatedBox, width: int, height: int) -> Float32Array:
    """Return the probability per pixel (H, W) from logits (h, w) over a box; 0 outside the box."""
    import cv2

    matrix = crop_matrix(box, logits.shape[1], logits.shape[0])
    return cv2.warpAffine(sigmoid(logits), matrix, (width, height), flags=cv2.INTER_LINEAR)  # pyright: ignore


def sigmoid(logits: Float32Array) -> Float32Array:
    """Convert logits (...) to probabilities (...), without overflow."""
    result = np.tanh(logits * np.float32(0.5))
    result += 1
    result *= 0.5
    return result


class MaskSmoother:
    """Blend in the previous mask where the new one is uncertain, as MediaPipe's segmentation smoothing does."""

    def __init__(self) -> None:
        self._previous: Float32Array | None = None

    def __call__(self, mask: Float32Array) -> Float32Array:
        """Return the smoothed mask (H, W) of a frame. A mask of another size restarts the filter."""
        previous = self._previous
        if previous is None or previous.shape != mask.shape:
            self._previous = mask
            return mask
        unsure = np.flatnonzero((mask > _SURE) & (mask < 1 - _SURE))
        new = mask.reshape(-1)[unsure]
        weight = _MASK_RATIO * (1 - np.polyval(_UNCERTAINTY, (new - 0.5) ** 2)).astype(np.float32)
        smooth = mask.copy()
        smooth.reshape(-1)[unsure] = new + weight * (previous.reshape(-1)[unsure] - new)
        self._previous = smooth
        return smooth


class BodySmoother:
    """Smooth the observations of one person.

    The alignment points, which define the next box, are smoothed too; a pose landmarker's graph does not. A person who
    was lost and found again gets a new smoother. MediaPipe restarts only the image keypoints and keeps the state of
    world keypoints, visibility and mask.
    """

    def __init__(self, keypoints: FilterChoice = "published", *, mask: bool = True, alignment: bool = True) -> None:
        self._alignment = OneEuro(*_ALIGNMENT_FILTER) if alignment else None
        self._is_published = keypoints == "published"
        self._custom = None if keypoints is None or keypoints == "published" else KeypointSmoother(keypoints)
        self._image, self._world = OneEuro(*_IMAGE_FILTER), OneEuro(*_WORLD_FILTER)
        self._visibility: Float32Array | None = None
        self._mask = MaskSmoother() if mask else None

    def __call__(self, observation: BodyObservation, now_s: float) -> BodyObservation:
        """Return the smoothed observation of a frame."""
        alignment = observation.alignment
        scale = max(2 * float(np.linalg.norm(alignment[1] - alignment[0])), 1e-6)
        smoothed = observation
        if self._alignment is not None:
            smoothed = replace(observation, alignment=self._alignment(alignment, time=now_s, scale=scale))
        else:
            scale *= _BOX_SCALE  # its graph uses the size of the expanded box
        if self._is_published:
            smoothed = self._as_published(smoothed, now_s, scale)
        if self._custom is not None:
            smoothed = self._custom(smoothed, now_s)
        if self._mask is not None and observation.mask is not None:
            smoothed = replace(smoothed, mask=self._mask(observation.mask))
        return smoothed

    def _as_published(self, observation: BodyObservation, now_s: float, scale: float) -> BodyObservation:
        """Smooth keypoints and visibility as MediaPipe does. `scale` is the person's size in pixels."""
        visibility = observation.visibility
        if self._visibility is not None:
            step = _VISIBILITY_ALPHA * (visibility - self._visibility)
            visibility = (self._visibility + step).astype(np.float32)
        self._visibility = visibility
        return replace(
            observation,
            keypoints=self._image(observation.keypoints, time=now_s, scale=scale),
            keypoints_3d=self._world(observation.keypoints_3d, time=now_s, scale=1.0),
            visibility=visibility,
        )


def load_bodies(options: BodyOptions, *, finds: bool = True) -> Bodies:
    """Load the landmark network of one model, on request without masks, and the detector if it finds people."""
    weights = BODY.models[options.model].weights
    body_file = options.landmark_file(weights["landmark"])
    running = options.running  # rounding of the detector moves every keypoint
    exact = replace(running, precision="f32") if running.precision in ("auto", "int8") else running
    people = None
    if finds:
        person_file = options.detector_file(weights["detector"])
        detector = load_engine(person_file, exact, value_range=_DETECTOR_RANGE)
        check_shapes(detector, person_file, "person detector", size=PERSON_GRID.input_size, outputs=(2254 * 12, 2254))
        overlap = options.thresholds.overlap
        if overlap is None:
            overlap = _BUNDLE_OVERLAP if options.follows_bundle else 0.3
        people = ssd.SingleShotDetector(detector, PERSON_GRID, overlap=overlap)
    landmark_engine = options.running if options.precision == "int8" else exact
    outputs = (*KEYPOINT_OUTPUTS, MASK_OUTPUT) if options.segmentation else KEYPOINT_OUTPUTS
    landmarks = load_engine(body_file, landmark_engine, outputs=outputs)
    sizes = (5 * _LANDMARKS, 1, 64 * 64 * _LANDMARKS, 3 * _LANDMARKS, *((256 * 256,) if options.segmentation else ()))
    check_shapes(landmarks, body_file, "body landmark network", size=256, outputs=sizes)
    kernel = _BUNDLE_KERNEL if options.follows_bundle else _KERNEL
    return Bodies(
        people,
        landmarks,
        mirrored=options.mirrored,
        heatmap_kernel=kernel,
        averages_mirrored=options.averages_mirrored,
    )


def body_smoothers(options: BodyOptions) -> Callable[[], BodySmoother]:
    """Return a factory of smoothers for new people."""
    if options.kind == "body" and options.follows_bundle and options.filter == "published":
        # A pose landmarker's graph smooths one person, and none of several; a holistic one smooths as published.
        published = "published" if options.max_instances == 1 else None
        return lambda: BodySmoother(published, mask=False, alignment=False)
    return lambda: BodySmoother(options.filter, mask=options.segmentation and options.smooth_segmentation)


BODY = KindEntry(
    name="body",
    result=Body,
    summary="Find bodies: 33 keypoints each, in pixels and in metres.",
    plural="bodies",
    models={
        name: Model(name, {"detector": "pose-detector", "landmark": f"body-{name}"})
        for name in ("full", "lite", "heavy")
    },
    model_help="lite is the fastest, heavy the most exact.",
    options=BodyOptions,
    load=load_bodies,
    smoothers=body_smoothers,
    instances=("body",),
    search="sonjit.detectors.search.load:search_bodies",
    search_weights=("face-full", "person-detector"),
    examples=(
        ("sonjit body clip.mp4 --save clip.csv --measures --draw drawn.mp4", "also writes joint angles."),
        ("sonjit body clip.mp4 --mask cutout.webm", "writes the people without their background."),
        ("sonjit body squats.mp4 --count left_knee_angle_rad --draw counted.mp4", "counts squats."),
        ("sonjit models pull body-lite body-heavy", "downloads the other two sizes."),
    ),
    weight_groups=("body",),
    int8={f"body-{model}": (model, Landmarks(195, step=5)) for model in ("full", "lite", "heavy")},
    pages=PageSupport(networks={"search": "face-full", "people": "person-detector"}),
)

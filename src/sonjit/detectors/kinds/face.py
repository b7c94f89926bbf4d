"""MediaPipe Face Mesh: short-range face detector and 468 landmarks, or 478 with refined lips, eyes and irises.

Source: Kartynnik et al. 2019, Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs; Grishchenko et
al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time; the constants are those of mediapipe
0.10.21's CPU graph.

MediaPipe Face Detection: a box and six keypoints per face, found afresh in every image.

Source: Bazarevsky et al. 2019, BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs; the constants are
those of mediapipe 0.10.21's CPU graph.

Attention mesh: which landmarks of the mesh its regions' points replace.

Source: Grishchenko et al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time; the indices are those
of mediapipe 0.10.21's refinement.

The face's networks: which published file belongs to which model.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.interfaces import Kind
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.kinds.face_bundle import load_blendshapes, load_canonical_face
from sonjit.detectors.pipeline import expect, keypoint_smoothers
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro, mean_size_of
from sonjit.detectors.ssd import AnchorGrid, SingleShotDetector
from sonjit.engines import load_engine
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, points_from_crop, square_box, wrap_angle
from sonjit.geometry.metric_faces import face_transform
from sonjit.results import Face
from sonjit.skeletons.face_regions import LEFT_EYE, LIPS, RIGHT_EYE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.detectors.kinds.face_bundle import BlendshapeNetwork
    from sonjit.detectors.options import DetectorOptions
    from sonjit.detectors.ssd import Detection
    from sonjit.detectors.tracking import Track
    from sonjit.engines import Engine, EngineOptions, Precision
    from sonjit.geometry.metric_faces import CanonicalFace
    from sonjit.results import Box
    from sonjit.weights import TaskBundle

_RIGHT_CORNER, _LEFT_CORNER = 33, 263  # outer corners of the person's eyes
_BOX_SCALE = 1.5
_AROUND_KEYPOINTS, _SHIFT_Y = 2.0, -0.1  # of the box around the detector's keypoints, in a head


@dataclass(frozen=True, eq=False)
class FaceObservation:
    """What was seen of a face in one image; see `Observation`."""

    score: float
    keypoints: NDArray[np.float32]
    keypoints_3d: None = None
    left: None = None
    colours: None = None

    @cached_property
    def box(self) -> Box:
        """Upright box around the keypoints; asked for twice a frame, and worked out once."""
        return corners_of(self.keypoints[:, :2])


class FaceFinder:
    """Boxes for the landmark network from a face detector.

    Args:
        detector: finds the faces.
        square: give square boxes; otherwise they have the shape of those that were found.
        shift_y: of a box around a face's keypoints, down its own y axis in parts of their height.
    """

    def __init__(self, detector: SingleShotDetector, *, square: bool = True, shift_y: float = _SHIFT_Y) -> None:
        self._faces = detector
        self._square = square
        self._shift_y = shift_y

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes in an image (H, W, 3) with the eyes level in them, best first."""
        return [
            # the person's right eye, then the left
            box_around_face(face.box.tolist(), *face.keypoints[:2].tolist(), square=self._square)
            for face in self._faces.find(rgb, min_score)
        ]

    def find_in(self, rgb: NDArray[np.uint8], head: RotatedBox, min_score: float) -> RotatedBox | None:
        """The box of the best face in a square box around a head, made from its keypoints; None for none."""
        faces = self._faces.find_in(rgb, head, min_score)
        if not faces:
            return None
        points = faces[0].keypoints
        return box_around_face(corners_of(points), *points[:2].tolist(), scale=_AROUND_KEYPOINTS, shift_y=self._shift_y)


class FaceMeshes(Kind[FaceObservation, Face]):
    """Face detector and face mesh.

    Args:
        faces: finds new faces; None where the boxes come from elsewhere.
        landmarks: network with a square image in and, in its pixels, 468 x (x, y, z) out and the logit of a face;
            or, between the two, the points of `refined`'s regions.
        blendshapes: tells them from the landmarks; None where they are not asked for.
        canonical: the face that `Face.transform` starts from; None where it is not asked for.
        stretches_depth: depth is scaled as a face landmarker's graph does it, by the crop's width in parts of the
            image: a turned crop in an image that is not square has another.
        squares_after: the next frame's box is square; otherwise it has the shape of the face.
    """

    def __init__(
        self,
        faces: FaceFinder | None,
        landmarks: Engine,
        *,
        blendshapes: BlendshapeNetwork | None = None,
        canonical: CanonicalFace | None = None,
        stretches_depth: bool = False,
        squares_after: bool = True,
    ) -> None:
        self._faces = faces
        self._landmarks = landmarks
        self._blendshapes = blendshapes
        self._canonical = canonical
        self._stretches_depth = stretches_depth
        self._squares_after = squares_after
        self._size = landmarks.input.shape[1]

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes of faces in an image (H, W, 3), best first."""
        return [] if self._faces is None else self._faces.find(rgb, min_score)

    def find_in(self, rgb: NDArray[np.uint8], head: RotatedBox, min_score: float) -> RotatedBox | None:
        """The box of the best face in a square box around a head, or None."""
        return None if self._faces is None else self._faces.find_in(rgb, head, min_score)

    def observe(self, rgb: NDArray[np.uint8], box: RotatedBox) -> FaceObservation:
        """Landmarks and presence from one box."""
        crop(rgb, box, self._size, self._size, out=self._landmarks.input[0])
        mesh, *regions, logit = self._landmarks.run()
        points = mesh.reshape(-1, 3)
        if regions:
            points = refined(points, regions)
        probability = 0.5 + 0.5 * math.tanh(logit.item() / 2)
        points = points_from_crop(points * np.float32(1 / self._size), box)
        if self._stretches_depth:
            height, width = rgb.shape[:2]
            points[:, 2] *= math.hypot(math.cos(box.rotation), math.sin(box.rotation) * width / height)
        return FaceObservation(probability, points)

    def follow(self, track: Track[FaceObservation]) -> RotatedBox:
        """The next frame's box, from the face as seen."""
        return self.box_after(track.observation)

    def box_after(self, observation: FaceObservation) -> RotatedBox:
        """The box around a face just seen: upright around all landmarks, turned to have the eyes level, and larger."""
        points = observation.keypoints
        right, left = points[_RIGHT_CORNER, :2].tolist(), points[_LEFT_CORNER, :2].tolist()
        return box_around_face(observation.box, right, left, square=self._squares_after)

    def result(
        self, rgb: NDArray[np.uint8], observation: FaceObservation, track: Track[FaceObservation] | None
    ) -> Face:
        """The public result."""
        face = Face(observation.score, observation.keypoints, observation.box, None if track is None else track.id)
        if self._blendshapes is not None:
            face.blendshapes = self._blendshapes.read(face.keypoints)
        if self._canonical is not None:
            height, width = rgb.shape[:2]
            face.transform = face_transform(face.keypoints, self._canonical, width, height).astype(np.float32)
        return face

    def flip(self, result: Face, width: int) -> Face:
        """The face as it appears on a mirrored canvas; names stay the person's own left and right."""
        return flipped(result, width)


_MIRRORED_TRANSFORM = np.array([[1, -1, -1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]], np.float32)
"""Signs of a transform between the mirror images of both its spaces."""


def flipped(face: Face, width: int) -> Face:
    """A face with x mirrored in an image of that width."""
    x_min, y_min, x_max, y_max = face.box
    face.keypoints = face.keypoints * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
    left, right = (float(np.float32(width - x)) for x in (x_max, x_min))
    face.box = (left, y_min, right, y_max)
    if face.transform is not None:
        face.transform = face.transform * _MIRRORED_TRANSFORM
    return face


def corners_of(points: NDArray[np.floating]) -> Box:
    """The upright box x_min, y_min, x_max, y_max around points (K, 2)."""
    rows = points.T.copy()  # in rows: four times as fast
    (x_min, y_min), (x_max, y_max) = rows.min(axis=1).tolist(), rows.max(axis=1).tolist()
    return x_min, y_min, x_max, y_max


def box_around_face(
    corners: Sequence[float],
    right_eye: list[float],
    left_eye: list[float],
    *,
    square: bool = True,
    scale: float = _BOX_SCALE,
    shift_y: float = 0.0,
) -> RotatedBox:
    """The landmark network's box, all in pixels: from a face's x_min, y_min, x_max, y_max and two points (x, y) of its
    eyes' line, the person's right eye first. `shift_y` is that of `square_box`.
    """
    x_min, y_min, x_max, y_max = corners
    dx, dy = left_eye[0] - right_eye[0], left_eye[1] - right_eye[1]
    rotation = wrap_angle(-math.atan2(-dy, dx))
    face = RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min, rotation)
    if square:
        return square_box(face, scale=scale, shift_y=shift_y)
    return face._replace(width=face.width * scale, height=face.height * scale)


def box_observation(face: Detection, corner: tuple[float, float] = (0.0, 0.0)) -> FaceObservation:
    """A box's two corners, then its six keypoints; `corner` of the window in which it was found."""
    points = np.full((2 + len(face.keypoints), 3), np.nan, np.float32)  # no depth
    points[:2, :2], points[2:, :2] = face.box.reshape(2, 2), face.keypoints
    points[:, :2] += corner
    return FaceObservation(face.score, points)


class FaceBoxes(Kind[FaceObservation, Face]):
    """A face detector alone. An observation is the box's two corners, then the six keypoints.

    Args:
        detector: finds the faces.
        blended: as of `GraphThresholds`.
    """

    searches_always = True

    def __init__(self, detector: SingleShotDetector, blended: float | None = None) -> None:
        self._faces = detector
        self._blended = blended
        self._found: dict[RotatedBox, Detection] = {}

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Upright boxes of faces in an image (H, W, 3), best first."""
        self._found = {_upright(face.box): face for face in self._detections(rgb, min_score)}
        return list(self._found)

    def _detections(self, rgb: NDArray[np.uint8], min_score: float) -> list[Detection]:
        blended = self._blended
        if blended is None:
            return self._faces.find(rgb, min_score)
        faces, every = self._faces.find_from(rgb, blended, min_score)
        sure = [face for face in faces if face.score >= min_score]
        return sure + [face for face in every if face.score < blended]

    def observe(self, rgb: NDArray[np.uint8], box: RotatedBox) -> FaceObservation:
        """The detection behind a box of the last search."""
        if box not in self._found:
            raise InputError("model='box' has no network for given boxes; use model='mesh' or 'attention'")
        return box_observation(self._found[box])

    def follow(self, track: Track[FaceObservation]) -> RotatedBox:
        """The face's own box: no network is run on it."""
        return _upright(track.observation.keypoints[:2, :2].ravel())

    def is_present(self, observation: FaceObservation, min_score: float) -> bool:
        """Always: the search has held the score against its threshold."""
        return True

    def is_taken(self, box: RotatedBox, other: RotatedBox) -> bool:
        """Never: the detector has blended what overlaps."""
        return False

    def result(
        self, rgb: NDArray[np.uint8], observation: FaceObservation, track: Track[FaceObservation] | None
    ) -> Face:
        """The public result."""
        x_min, y_min, x_max, y_max = observation.keypoints[:2, :2].ravel().tolist()
        keypoints, number = observation.keypoints[2:], None if track is None else track.id
        return Face(observation.score, keypoints, (x_min, y_min, x_max, y_max), number)

    def flip(self, result: Face, width: int) -> Face:
        """The face as it appears on a mirrored canvas; names stay the person's own left and right."""
        return flipped(result, width)


def _upright(corners: NDArray[np.floating]) -> RotatedBox:
    """The box with corners (4,) x_min, y_min, x_max, y_max."""
    x_min, y_min, x_max, y_max = corners.tolist()
    return RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)


_MESH, _REFINED = 468, 478
_RIM = 16  # landmarks of an eye's own rim, the first of its region
_LEFT_IRIS, _RIGHT_IRIS = range(468, 473), range(473, 478)  # centre, then right, top, left, bottom
_TARGETS = np.array([*range(_MESH), *LIPS, *LEFT_EYE, *RIGHT_EYE, *_LEFT_IRIS, *_RIGHT_IRIS])
_SOURCES = np.zeros(_REFINED, np.intp)

_SOURCES[_TARGETS] = np.arange(len(_TARGETS))  # of two points for one landmark the later counts

_RIMS = np.array([LEFT_EYE[:_RIM], RIGHT_EYE[:_RIM]])


def refined(mesh: NDArray[np.float32], regions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Landmarks (478, 3) from a mesh (468, 3) and the better points of its regions, all in one unit.

    Args:
        mesh: its depth counts everywhere; that of an iris is its eye's.
        regions: x, y of 80 points of the lips, 71 of the left eye, 71 of the right, 5 of the left iris, 5 of the right.
    """
    flat = np.concatenate([mesh[:, :2], *(region.reshape(-1, 2) for region in regions)])  # (700, 2)
    points = np.empty((_REFINED, 3), np.float32)
    points[:, :2] = flat[_SOURCES]
    points[:_MESH, 2] = mesh[:, 2]
    points[_MESH:, 2] = np.repeat(mesh[_RIMS, 2].mean(axis=1), 5)
    return points


SHORT_GRID = AnchorGrid(input_size=128, strides=(8, 16, 16, 16))
"""Of the detector for faces up to about 2 m away."""

FULL_GRID = AnchorGrid(input_size=192, strides=(4,), interpolated_aspect_ratio=0.0)
"""Of the detector for faces up to about 5 m away."""

_DETECTOR_RANGE = (-1.0, 1.0)
_MESH_OUTPUTS = {"mesh": (468 * 3, 1), "attention": (468 * 3, 80 * 2, 71 * 2, 71 * 2, 5 * 2, 5 * 2, 1)}
_GRIDS = {"face-short": SHORT_GRID, "face-full": FULL_GRID}


_BUNDLE_OVERLAP = 0.5
"""Of boxes that are blended into one, in a face landmarker's graph."""
_BUNDLE_SMOOTHING = (0.05, 80.0, 1.0, 0.0)
"""Of the One-Euro filter in that graph."""
_BUNDLE_OUTPUTS = (0, 1)  # the mesh and the logit of a face; the third is not used


def load_faces(options: DetectorOptions) -> FaceMeshes | FaceBoxes:
    """Face detector, and for meshes the landmark network, of one model or of a task bundle."""
    model = KINDS["face"].models[options.model]
    bundle = options.bundle
    if bundle is not None:
        return load_bundle_faces(options, bundle)
    if options.blendshapes or options.transform:
        name = "blendshapes" if options.blendshapes else "transform"
        raise InputError(f"{name}=True: needs a face_landmarker.task for landmark_model, not {options.landmark_model}")
    if not model.is_box:
        return load_meshes(options, options.model)
    if options.landmark_model is not None:
        raise InputError(
            f"landmark_model={options.landmark_model}: face {model.name} has no landmark network; leave it out"
        )
    name = model.weights["detector"]
    return FaceBoxes(load_face_detector(options, name, options.detector_model), options.thresholds.blended)


def load_bundle_faces(options: DetectorOptions, bundle: TaskBundle, *, of_people: bool = False) -> FaceMeshes:
    """Everything of a face landmarker's bundle that is asked for; of a holistic one the same, `of_people`."""
    if options.model != "attention":
        raise InputError(f"model={options.model!r}: {bundle.name} has a landmark network of its own; leave model out")
    file = options.landmark_file("")
    detector = load_face_detector(options, "face-short", options.detector_file(""), overlap=_BUNDLE_OVERLAP)
    landmarks = load_engine(file, _small(options.running, "auto", "bf16", "int8"), outputs=_BUNDLE_OUTPUTS)
    expect(landmarks, file, "face landmarker network", size=None, outputs=(478 * 3, 1))
    return FaceMeshes(
        FaceFinder(detector, square=False, shift_y=0.0),
        landmarks,
        blendshapes=load_blendshapes(bundle, options.running) if options.blendshapes else None,
        canonical=load_canonical_face(bundle) if options.transform else None,
        stretches_depth=True,
        squares_after=not of_people,
    )


def face_smoothers(options: DetectorOptions) -> Callable[[], KeypointSmoother | None]:
    """A function that makes a new track's smoother: a face landmarker's graph smooths one face, and none of several."""
    if options.smoothing == "published" and options.bundle is not None and options.max_instances == 1:
        return lambda: KeypointSmoother(OneEuro(*_BUNDLE_SMOOTHING), size=mean_size_of)
    return keypoint_smoothers(options)


def load_meshes(options: DetectorOptions, model: str) -> FaceMeshes:
    """Face detector and landmark network of one mesh model."""
    name = KINDS["face"].models[model].weights["detector"]
    finder = FaceFinder(load_face_detector(options, name, options.detector_model))
    mesh_file = options.landmark_file(KINDS["face"].models[model].weights["landmark"])
    landmarks = load_engine(mesh_file, _landmark_running(options.running, model))
    expect(landmarks, mesh_file, f"face {model} network", size=None, outputs=_MESH_OUTPUTS[model])
    return FaceMeshes(finder, landmarks)


def load_face_detector(
    options: DetectorOptions, name: str, own: Path | None = None, *, overlap: float = 0.3
) -> SingleShotDetector:
    """A published face detector of that name, or the caller's own in its place; `overlap` as of `blend_overlapping`."""
    file, grid = own or options.file(name), _GRIDS[name]
    asked = options.thresholds.overlap
    engine = load_engine(file, _small(options.running, "auto", "int8"), value_range=_DETECTOR_RANGE)
    count = len(grid.anchors())
    expect(engine, file, "face detector", size=grid.input_size, outputs=(count * 16, count))
    return SingleShotDetector(engine, grid, overlap=overlap if asked is None else asked)


def _landmark_running(running: EngineOptions, model: str) -> EngineOptions:
    """The attention mesh runs in f32 for bf16 and int8: it cuts out regions where it computes, and loses 2 px there."""
    return _small(running, *(("auto", "bf16", "int8") if model == "attention" else ("auto",)))


def _small(options: EngineOptions, *as_f32: Precision) -> EngineOptions:
    """Options for a network of half a millisecond.

    Several threads wait for each other longer than they save; bf16 saves a twentieth of the time of a mesh and moves
    the detector's keypoints by half a pixel.

    Args:
        options: the caller's; what they say counts.
        as_f32: precisions that mean f32 here.
    """
    if options.threads is None and "SONJIT_THREADS" not in os.environ:
        options = replace(options, threads=1)
    if options.precision in as_f32 and options.device == "CPU":
        options = replace(options, precision="f32")
    return options

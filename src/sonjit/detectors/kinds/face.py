"""Face mesh: 468 landmarks of a face, or 478 with refined lips, eyes and irises.

Source: Kartynnik et al. 2019, Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs; Grishchenko et al.
2020, Attention Mesh. The constants are those of the CPU graph of mediapipe 0.10.21.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sonjit._util import Float32Array, Image
from sonjit.detectors import interfaces, ssd, tracking
from sonjit.engines import Engine
from sonjit.geometry.boxes import (
    RotatedBox,
    box_around,
    box_from_corners,
    crop,
    points_from_crop,
    square_box,
    wrap_angle,
)
from sonjit.geometry.rotations import CanonicalFace, face_transform
from sonjit.results import Box, Face
from sonjit.results.skeletons.faces import LEFT_EYE, LIPS, RIGHT_EYE

_MESH, _REFINED = 468, 478
_RIM = 16  # landmarks of an eye's own rim, the first of its region
_LEFT_IRIS, _RIGHT_IRIS = range(468, 473), range(473, 478)  # centre, then right, top, left, bottom
_TARGETS = np.array([*range(_MESH), *LIPS, *LEFT_EYE, *RIGHT_EYE, *_LEFT_IRIS, *_RIGHT_IRIS])
_SOURCES = np.zeros(_REFINED, np.intp)
_SOURCES[_TARGETS] = np.arange(len(_TARGETS))  # of two points for one landmark the later counts
_RIMS = np.array([LEFT_EYE[:_RIM], RIGHT_EYE[:_RIM]])
_RIGHT_CORNER, _LEFT_CORNER = 33, 263  # outer corners of the person's eyes
_BOX_SCALE = 1.5  # size of the crop relative to the box around the face, as in MediaPipe's graph
_CERTAIN = 0.9  # score from which a detected face is upright. Upside-down faces have scores up to 0.88.
_TURNED_SCALE, _TURNED_SHIFT_Y = 1.62, -0.33
"""Scale and shift of the box of an upside-down face that was detected as an upright one, with the chin as forehead."""
_MIN_TURNED, _MIN_AGAIN, _UNSEEN = 0.5, 0.1, 0.01
"""Minimum scores of a face detected again upside down and upright, and the score of one that is not."""
_DETECTION_WEIGHT, _LEAST, _LEAST_DISTANCE = 0.6, 0.0003, 0.001
"""Weight of the detector's score relative to the mesh network's, and minima of probabilities and distances."""
_AROUND_KEYPOINTS, _SHIFT_Y = 2.0, -0.1
"""Scale and shift of the box around the detector's keypoints, in the crop of a head."""
_MIRROR = np.array([-1, 1, 1], np.float32)


def refined(mesh: Float32Array, regions: Sequence[Float32Array]) -> Float32Array:
    """Return landmarks (478, 3) from a mesh (468, 3) and the refined points of its regions, all in one unit.

    The regions are the lips, both eyes and both irises, left first. Irises have the mean depth of the eye's rim.
    """
    flat = np.concatenate([mesh[:, :2], *(region.reshape(-1, 2) for region in regions)])  # (700, 2)
    points = np.empty((_REFINED, 3), np.float32)
    points[:, :2] = flat[_SOURCES]
    points[:_MESH, 2] = mesh[:, 2]
    points[_MESH:, 2] = np.repeat(mesh[_RIMS, 2].mean(axis=1), 5)
    return points


@dataclass(frozen=True, eq=False)
class FaceObservation:
    """Observation of a face in one image; see `Observation`."""

    score: float
    keypoints: Float32Array
    keypoints_3d: None = None
    left: None = None
    colours: None = None

    @cached_property
    def box(self) -> Box:
        """Return the upright box around the keypoints, computed once."""
        return box_around(self.keypoints)


class FaceMeshes(interfaces.Kind[FaceObservation, Face]):
    """Detect faces and their meshes.

    The landmark network has a square image as input. Its outputs are 468 x (x, y, z) in pixels of the input, the points
    of the regions of `refined` if it has them, and the logit of a face. Blendshapes are functions of landmarks (K, 3)
    in pixels.

    `stretches_depth` scales depth as in a face landmarker's graph, by the width of the crop as a fraction of the image.
    A turned crop has another width in an image that is not square. `squares` and `squares_after` make the box of a new
    face, or that of the next frame, square. `shift_y` shifts the box around the keypoints of a face in the crop of a
    head. `turns` detects doubtful faces again upside down. In a mirrored view, blendshapes and transforms are those of
    images that are not.
    """

    def __init__(
        self,
        detector: ssd.SingleShotDetector,
        landmarks: Engine,
        *,
        blendshapes: Callable[[Float32Array], dict[str, float]] | None = None,
        canonical: CanonicalFace | None = None,
        stretches_depth: bool = False,
        squares: bool = True,
        squares_after: bool = True,
        shift_y: float = _SHIFT_Y,
        turns: bool = False,
        mirrored: bool = False,
    ) -> None:
        self.mirrored = mirrored
        self._detector, self._landmarks = detector, landmarks
        self._blendshapes, self._canonical = blendshapes, canonical
        self._stretches_depth = stretches_depth
        self._squares = squares
        self._squares_after = squares_after
        self._shift_y = shift_y
        self._turns = turns
        self._size = landmarks.input.shape[1]
        sizes = landmarks.output_sizes
        self.keypoint_count = _REFINED if len(sizes) > 2 else max(sizes) // 3

    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Return boxes of faces in an image (H, W, 3), best first."""
        faces = self._detector.find(rgb, min_score)
        if self._turns:
            faces = [self.turned_upright(self._detector, rgb, face) for face in faces]
        return [box_around_detection(face, square=self._squares) for face in faces]

    def find_in(self, rgb: Image, head: RotatedBox, min_score: float) -> RotatedBox | None:
        """Return the box of the best face in a square box around a head of an image (H, W, 3), or None."""
        faces = self._detector.find_in(rgb, head, min_score)
        if not faces:
            return None
        points = faces[0].keypoints
        return box_around_face(box_around(points), *points[:2].tolist(), scale=_AROUND_KEYPOINTS, shift_y=self._shift_y)

    def turned_upright(self, detector: ssd.SingleShotDetector, rgb: Image, face: ssd.Detection) -> ssd.Detection:
        """Return a doubtful face of an image (H, W, 3), or the upside-down face there if that is likelier."""
        if face.score >= _CERTAIN:
            return face
        turned = box_around_detection(face, scale=_TURNED_SCALE, shift_y=_TURNED_SHIFT_Y)
        turned = turned._replace(rotation=wrap_angle(turned.rotation + math.pi))
        down = next(iter(detector.find_in(rgb, turned, _MIN_TURNED)), None)
        if down is None:
            return face
        area = box_around_detection(face)
        up = next(iter(detector.find_in(rgb, area, _MIN_AGAIN)), None)
        boxes = [area] if up is None else [area, box_around_detection(up)]
        likelihood = max(self._likelihood(rgb, box, _UNSEEN if up is None else up.score) for box in boxes)
        return down if self._likelihood(rgb, box_around_detection(down), down.score) > likelihood else face

    def _likelihood(self, rgb: Image, box: RotatedBox, detection: float) -> float:
        """Return a measure of a face in a box from its scores and the agreement of the meshes of two inferences."""
        first = self.observe(rgb, box)
        apart = (first.keypoints - self.observe(rgb, self.box_after(first)).keypoints)[:, :2]
        distance = max(float(np.linalg.norm(apart, axis=1).mean()) / box.width, _LEAST_DISTANCE)
        return _DETECTION_WEIGHT * _logit(detection) + _logit(first.score) - math.log(distance)

    def observe(self, rgb: Image, box: RotatedBox) -> FaceObservation:
        """Run the landmark network on one box of an image (H, W, 3), in pixels."""
        image = self._landmarks.input[0]
        crop(rgb, box, self._size, self._size, out=image)
        if self.mirrored:
            image[:] = image[:, ::-1].copy()
        mesh, *regions, logit = self._landmarks.run()
        points = mesh.reshape(-1, 3)
        if regions:
            points = refined(points, regions)
        if self.mirrored:
            points = points * _MIRROR + np.array([self._size, 0, 0], np.float32)
        probability = 0.5 + 0.5 * math.tanh(logit.item() / 2)
        points = points_from_crop(points * np.float32(1 / self._size), box)
        if self._stretches_depth:
            height, width = rgb.shape[:2]
            points[:, 2] *= math.hypot(math.cos(box.rotation), math.sin(box.rotation) * width / height)
        return FaceObservation(probability, points)

    def box_after(self, observation: FaceObservation) -> RotatedBox:
        """Return the enlarged box around all landmarks, turned so that the eyes are level."""
        points = observation.keypoints
        right, left = points[_RIGHT_CORNER, :2].tolist(), points[_LEFT_CORNER, :2].tolist()
        if self.mirrored:
            right, left = left, right
        return box_around_face(observation.box, right, left, square=self._squares_after)

    def result(self, rgb: Image, observation: FaceObservation, track: tracking.Track[FaceObservation] | None) -> Face:
        """Return the public result for one face of an image (H, W, 3)."""
        face = Face(observation.score, observation.keypoints, observation.box, None if track is None else track.id)
        height, width = rgb.shape[:2]
        points = face.keypoints * _MIRROR + np.array([width, 0, 0], np.float32) if self.mirrored else face.keypoints
        if self._blendshapes is not None:
            face.blendshapes = self._blendshapes(points)
        if self._canonical is not None:
            face.transform = face_transform(points, self._canonical, width, height).astype(np.float32)
        return face


def box_around_detection(
    face: ssd.Detection, *, square: bool = True, scale: float = _BOX_SCALE, shift_y: float = 0.0
) -> RotatedBox:
    """Return the box of a detected face for the landmark network; see `box_around_face`."""
    right_eye, left_eye = face.keypoints[:2].tolist()
    return box_around_face(face.box.tolist(), right_eye, left_eye, square=square, scale=scale, shift_y=shift_y)


def _logit(probability: float) -> float:
    """Return log odds of a probability, limited to a range in which networks are reliable."""
    return math.log(max(probability, _LEAST) / max(1 - probability, _LEAST))


def box_around_face(
    corners: Sequence[float],
    right_eye: list[float],
    left_eye: list[float],
    *,
    square: bool = True,
    scale: float = _BOX_SCALE,
    shift_y: float = 0.0,
) -> RotatedBox:
    """Return the box of a face with corners x_min, y_min, x_max, y_max for the landmark network, in pixels.

    The eyes are two points on their line, on the person's right and left. The box is square or has the shape of the
    face, `scale` times as large, and is shifted along its own y axis; see `square_box`.
    """
    dx, dy = left_eye[0] - right_eye[0], left_eye[1] - right_eye[1]
    rotation = wrap_angle(-math.atan2(-dy, dx))
    face = box_from_corners(corners, rotation)
    if square:
        return square_box(face, scale=scale, shift_y=shift_y)
    return face._replace(width=face.width * scale, height=face.height * scale)

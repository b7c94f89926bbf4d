"""Define mesh models, and place meshes in camera space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image, RealArray
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.lab.hand_models.rig import RigMotion
from sonjit.results import Frame, Handedness
from sonjit.results.skeletons import load_skeleton

_MIN_DEPTH_M = 0.01
"""Minimum depth of a projected vertex. Points behind the lens have no pixel."""


class HandRecord(TypedDict):
    """Parameters of one hand in the JSON file, either of MANO or of the rig."""

    name: str
    id: int | None
    handedness: Handedness
    score: float
    mirrored: NotRequired[bool]
    mano_pose: NotRequired[list[float]]
    mano_shape: NotRequired[list[float]]
    frame_weights: NotRequired[list[float]]
    translation_m: NotRequired[list[float]]
    rotation_xyzw: NotRequired[list[float]]
    wrist_m: NotRequired[list[float]]
    angles_rad: NotRequired[dict[str, list[list[float]]]]
    keypoints3D: list[dict[str, float | str]]  # x, y, z in metres, and name as in the tables
    fit_error_mm: NotRequired[float]


class MeshFacts(TypedDict, total=False):
    """Header of the JSON file, with the meaning of the parameters and the rigged hands."""

    parameters: str
    angles: str
    hands: list[dict[str, Any]]  # name, handedness, frames, fit_error_mm and bones_m over all images


def named_points(joints: RealArray) -> list[dict[str, float | str]]:
    """Return joints (21, 3) in metres as records with x, y, z and name."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return [{"x": x, "y": y, "z": z, "name": name} for (x, y, z), name in zip(joints.tolist(), names, strict=True)]


@dataclass(frozen=True)
class HandMesh:
    """One hand's mesh in one image.

    Attributes:
        name: Name in files, such as "right-1".
        handedness: Side of the person's hand.
        vertices: (V, 3) metres in camera space: x right, y down, z forward.
        faces: (F, 3) indices, counterclockwise from outside.
        pixels: (V, 3) pixels of the vertices, and their depth in pixels.
        normals: (V, 3) normals of the vertices, or None to compute them from the faces.
        record: Parameters for the JSON file.
    """

    name: str
    handedness: Handedness
    vertices: RealArray
    faces: NDArray[np.integer]
    pixels: FloatArray
    normals: FloatArray | None
    record: HandRecord


class MeshModel(ABC):
    """Computes the meshes of each image of a source.

    Call `add_frame` for each image, then `finish`, then `meshes`.

    Attributes:
        model: Model name in files.
    """

    model: str

    @abstractmethod
    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Add an image (H, W, 3) and its detected hands. Indices must increase."""

    @abstractmethod
    def finish(self) -> None:
        """Compute the results that need all images."""

    @abstractmethod
    def meshes(self, index: int) -> list[HandMesh]:
        """Return the meshes of the image of an index. Call `finish` first."""

    @property
    def motions(self) -> Sequence[RigMotion] | None:
        """Motions of the rigged hands, or None if the model has no rig. Call `finish` first."""
        return None

    @abstractmethod
    def about(self) -> MeshFacts:
        """Return the header of the JSON file. Call `finish` first."""


class WeakView(NamedTuple):
    """Weak-perspective camera. Pixels are metres times `scale`, plus `offset`."""

    scale: float
    offset: tuple[float, float]

    def pixels(self, points: RealArray) -> FloatArray:
        """Project points (..., 3) in metres to pixels (..., 3), with depth in the same scale."""
        return np.asarray(points, np.float64) * self.scale + (*self.offset, 0.0)


def weak_view(points: RealArray, xy_px: RealArray) -> WeakView:
    """Fit a weak-perspective camera to points (K, 3) in metres and their pixels (K, 2).

    The centre and the spread of the projected points equal those of the pixels.
    """
    flat, xy = np.asarray(points, np.float64)[:, :2], np.asarray(xy_px, np.float64)
    middle, xy_middle = flat.mean(0), xy.mean(0)
    spread = max(float(np.linalg.norm(flat - middle)), 1e-9)
    scale = max(float(np.linalg.norm(xy - xy_middle)) / spread, 1e-6)
    x, y = (xy_middle - scale * middle).tolist()
    return WeakView(scale, (x, y))


class Sight(NamedTuple):
    """Camera of an image, either calibrated or assumed."""

    camera: Intrinsics
    assumed: bool

    @classmethod
    def of(cls, camera: Intrinsics | None) -> Callable[[int, int], Sight]:
        """Return a function from image width and height to a camera. Assume a camera for each size if it is None."""
        if camera is None:
            return lambda width, height: cls(assumed_camera(width, height), assumed=True)
        calibrated = cls(camera, assumed=False)
        return lambda width, height: calibrated

    def translation(self, points: RealArray, xy_px: RealArray) -> FloatArray:
        """Return the translation (3,) in metres that places points (K, 3) at their pixels (K, 2)."""
        found = translation_to_view(points, xy_px, self.camera)
        if found is not None:
            return found
        scale, offset = weak_view(points, xy_px)  # no perspective fits: place the shape at the distance of its size
        x, y = (np.array(offset) - self.camera[2:]) / scale
        return np.array([x, y, (self.camera.fx + self.camera.fy) / 2 / scale])

    def pixels(self, placed: RealArray, joints: RealArray, xy_px: RealArray) -> FloatArray:
        """Return pixels and depth (V, 3) of vertices (V, 3) in camera space.

        A calibrated camera projects them. An assumed camera would shift them, so weak perspective aligns the joints
        (21, 3) with their pixels (21, 2) instead.
        """
        if self.assumed:
            return weak_view(joints, xy_px).pixels(placed)
        placed = np.concatenate([placed[:, :2], np.maximum(placed[:, 2:], _MIN_DEPTH_M)], 1)
        return np.concatenate([self.camera.project(placed), placed[:, 2:] * self.camera.fx / joints[:, 2].mean()], 1)

"""What every mesh model gives, and the place of a mesh in camera space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NotRequired, Protocol, TypedDict

import numpy as np

from sonjit.geometry.cameras import Intrinsics, translation_to_view
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import RigMotion
    from sonjit.results import Frame, Handedness

_NEAREST_M = 0.01
"""A camera sees nothing nearer: what would lie behind the lens has no pixel."""


class NamedPoint(TypedDict):
    """One keypoint in camera space, metres."""

    x: float
    y: float
    z: float
    name: str


class HandRecord(TypedDict):
    """One hand's parameters, as the JSON file has them; MANO's or the rig's."""

    name: str
    id: int | None
    handedness: Handedness
    score: float
    mirrored: NotRequired[bool]
    mano_pose: NotRequired[list[float]]
    mano_shape: NotRequired[list[float]]
    translation_m: NotRequired[list[float]]
    rotation_xyzw: NotRequired[list[float]]
    wrist_m: NotRequired[list[float]]
    angles_rad: NotRequired[dict[str, list[list[float]]]]
    keypoints3D: list[NamedPoint]  # as in the tables
    fit_error_mm: NotRequired[float]


class FittedHand(TypedDict):
    """One rigged hand over all images, as the JSON file has it."""

    name: str
    handedness: Handedness
    frames: int
    fit_error_mm: float
    bones_m: dict[str, float]


class MeshFacts(TypedDict, total=False):
    """The header of the JSON file: what the parameters mean, and the rigged hands."""

    parameters: str
    angles: str
    hands: list[FittedHand]


def named_points(joints: NDArray[np.floating]) -> list[NamedPoint]:
    """Joints (21, 3) in metres as records."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return [{"x": x, "y": y, "z": z, "name": name} for (x, y, z), name in zip(joints.tolist(), names, strict=True)]


@dataclass(frozen=True)
class HandMesh:
    """One hand's mesh in one image.

    Attributes:
        name: in files, such as "right-1".
        handedness: the person's own hand.
        vertices: (V, 3) metres in camera space: x right, y down, z forward.
        faces: (F, 3) indices, counterclockwise from outside.
        pixels: (V, 3) pixels of the vertices, and their depth in pixels.
        normals: (V, 3), or None to take those of the faces.
        record: parameters for the JSON file.
    """

    name: str
    handedness: Handedness
    vertices: NDArray[np.floating]
    faces: NDArray[np.integer]
    pixels: NDArray[np.float64]
    normals: NDArray[np.float64] | None
    record: HandRecord


class MeshModel(Protocol):
    """Takes images one after the other, then gives the meshes of each."""

    @property
    def model(self) -> str:
        """Name for files."""
        ...

    def add_frame(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Take in an image (H, W, 3) and the hands that were found in it; indices rise."""
        ...

    def finish(self) -> None:
        """No more images come."""
        ...

    def meshes(self, index: int) -> list[HandMesh]:
        """The meshes of the image of this index; after `finish`."""
        ...

    @property
    def motions(self) -> Sequence[RigMotion] | None:
        """Rigged hands over time, after `finish`; None from a model that has no rig."""
        ...

    def about(self) -> MeshFacts:
        """Facts for the header of the JSON file; after `finish`."""
        ...


class WeakView(NamedTuple):
    """A camera so far away that depth does not matter: pixels are metres times `scale`, plus `offset`."""

    scale: float
    offset: tuple[float, float]

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 3) pixels, with depth in the same scale, of points (..., 3) in metres."""
        return np.asarray(points, np.float64) * self.scale + (*self.offset, 0.0)


def weak_view(points: NDArray[np.floating], xy_px: NDArray[np.floating]) -> WeakView:
    """The weak perspective that shows points (K, 3) at pixels (K, 2): equal centres and equal spread."""
    flat, xy = np.asarray(points, np.float64)[:, :2], np.asarray(xy_px, np.float64)
    middle, xy_middle = flat.mean(0), xy.mean(0)
    spread = max(float(np.linalg.norm(flat - middle)), 1e-9)
    scale = max(float(np.linalg.norm(xy - xy_middle)) / spread, 1e-6)
    x, y = (xy_middle - scale * middle).tolist()
    return WeakView(scale, (x, y))


class Sight(NamedTuple):
    """The camera of an image, given or assumed."""

    camera: Intrinsics
    assumed: bool

    def translation(self, points: NDArray[np.floating], xy_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """(3,) metres that take points (K, 3) to where the camera sees them at pixels (K, 2)."""
        found = translation_to_view(points, xy_px, self.camera)
        if found is not None:
            return found
        scale, offset = weak_view(points, xy_px)  # shapes that no perspective fits are put at their size's distance
        x, y = (np.array(offset) - self.camera[2:]) / scale
        return np.array([x, y, (self.camera.fx + self.camera.fy) / 2 / scale])

    def pixels(
        self, placed: NDArray[np.floating], joints: NDArray[np.floating], xy_px: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(V, 3) pixels and depth of vertices (V, 3) that stand before the camera.

        A given camera projects them. An assumed one would draw them beside the image's hand: weak perspective lays
        the joints (21, 3), from the same origin, over their pixels (21, 2).
        """
        if self.assumed:
            return weak_view(joints, xy_px).pixels(placed)
        placed = np.concatenate([placed[:, :2], np.maximum(placed[:, 2:], _NEAREST_M)], 1)
        return np.concatenate([self.camera.project(placed), placed[:, 2:] * self.camera.fx / joints[:, 2].mean()], 1)

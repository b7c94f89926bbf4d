"""What every mesh model gives, and the place of a mesh in camera space.

Meshes and their parameters into files: JSON, OBJ, GLB, BVH.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, Image, RealArray
from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.hand_models.mesh_files import Mesh, bvh_from_motion, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit.hand_models.rig import RigMotion
from sonjit.json_text import json_from
from sonjit.media import Source
from sonjit.results import Frame, Handedness
from sonjit.skeletons import load_skeleton

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
    frame_weights: NotRequired[list[float]]
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


def named_points(joints: RealArray) -> list[NamedPoint]:
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
    vertices: RealArray
    faces: NDArray[np.integer]
    pixels: FloatArray
    normals: FloatArray | None
    record: HandRecord


class MeshModel(ABC):
    """Takes images one after the other, then gives the meshes of each.

    Attributes:
        model: name for files.
    """

    model: str

    @abstractmethod
    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Take in an image (H, W, 3) and the hands that were found in it; indices rise."""

    @abstractmethod
    def finish(self) -> None:
        """No more images come."""

    @abstractmethod
    def meshes(self, index: int) -> list[HandMesh]:
        """The meshes of the image of this index; after `finish`."""

    @property
    def motions(self) -> Sequence[RigMotion] | None:
        """Rigged hands over time, after `finish`; None from a model that has no rig."""
        return None

    @abstractmethod
    def about(self) -> MeshFacts:
        """Facts for the header of the JSON file; after `finish`."""


class WeakView(NamedTuple):
    """A camera so far away that depth does not matter: pixels are metres times `scale`, plus `offset`."""

    scale: float
    offset: tuple[float, float]

    def pixels(self, points: RealArray) -> FloatArray:
        """(..., 3) pixels, with depth in the same scale, of points (..., 3) in metres."""
        return np.asarray(points, np.float64) * self.scale + (*self.offset, 0.0)


def weak_view(points: RealArray, xy_px: RealArray) -> WeakView:
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

    @classmethod
    def of(cls, camera: Intrinsics | None) -> Callable[[int, int], Sight]:
        """The camera given for any width and height of an image, or one assumed for each."""
        if camera is None:
            return lambda width, height: cls(assumed_camera(width, height), assumed=True)
        given = cls(camera, assumed=False)
        return lambda width, height: given

    def translation(self, points: RealArray, xy_px: RealArray) -> FloatArray:
        """(3,) metres that take points (K, 3) to where the camera sees them at pixels (K, 2)."""
        found = translation_to_view(points, xy_px, self.camera)
        if found is not None:
            return found
        scale, offset = weak_view(points, xy_px)  # shapes that no perspective fits are put at their size's distance
        x, y = (np.array(offset) - self.camera[2:]) / scale
        return np.array([x, y, (self.camera.fx + self.camera.fy) / 2 / scale])

    def pixels(self, placed: RealArray, joints: RealArray, xy_px: RealArray) -> FloatArray:
        """(V, 3) pixels and depth of vertices (V, 3) in front of the camera.

        A given camera projects them. An assumed one would draw them beside the image's hand: weak perspective lays
        the joints (21, 3), from the same origin, over their pixels (21, 2).
        """
        if self.assumed:
            return weak_view(joints, xy_px).pixels(placed)
        placed = np.concatenate([placed[:, :2], np.maximum(placed[:, 2:], _NEAREST_M)], 1)
        return np.concatenate([self.camera.project(placed), placed[:, 2:] * self.camera.fx / joints[:, 2].mean()], 1)


MESH_ENDINGS: Final = (".json", ".obj", ".glb", ".bvh")

_INDEX: Final = "{index}"


def check_save(path: str, source: Source, *, rigged: bool) -> None:
    """Refuse what could not be written, before any work.

    Raises:
        InputError: an unknown ending, or a file that cannot hold what the source will give.
    """
    ending = Path(path).suffix.lower()
    if ending not in MESH_ENDINGS:
        raise InputError(f"{path}: meshes are saved as {', '.join(MESH_ENDINGS)}")
    moving = source.kind in ("video", "camera")
    if ending == ".bvh" and not (rigged and moving):
        raise InputError(f"{path}: BVH holds the motion of the rigged hand in a video; save .glb or .obj")
    one = ending in (".json", ".bvh") or source.kind == "image" or (ending == ".glb" and rigged and moving)
    if _INDEX in path and ending in (".json", ".bvh"):
        raise InputError(f"{path}: {ending} holds all images in one file; leave {_INDEX} out")
    if not one and _INDEX not in path:
        raise InputError(f"{path}: one file per image: put {_INDEX} into the name, such as meshes/{_INDEX}{ending}")


def save_meshes(path: str, source: Source, model: MeshModel, indices: Iterable[tuple[int, float | None]]) -> list[str]:
    """Write what a model found; returns the files' names.

    Args:
        path: `check_save` let it pass.
        source: of the images.
        model: finished.
        indices: index and time of each image.
    """
    ending, seen = Path(path).suffix.lower(), list(indices)
    if ending == ".json":
        _write(path, _json_lines(source, model, seen))
        return [path]
    if ending == ".bvh":
        return _save_bvh(path, source, model, seen)
    if _INDEX in path:
        written: list[str] = []
        for index, _ in seen:
            if meshes := model.meshes(index):
                written.append(path.replace(_INDEX, f"{index:06d}"))
                _write(written[-1], [_one(ending, meshes)])
        return written
    if ending == ".glb" and model.motions is not None:
        _write(path, [glb_from_motions(model.motions)])
    else:
        _write(path, [_one(ending, [mesh for index, _ in seen for mesh in model.meshes(index)])])
    return [path]


def _one(ending: str, meshes: list[HandMesh]) -> str | bytes:
    """The meshes of one image as a file."""
    plain = [Mesh(mesh.name, mesh.vertices, mesh.faces) for mesh in meshes]
    return obj_from_meshes(plain) if ending == ".obj" else glb_from_meshes(plain)


def _save_bvh(path: str, source: Source, model: MeshModel, seen: list[tuple[int, float | None]]) -> list[str]:
    """A file for each hand: a BVH file holds one figure."""
    motions = model.motions or []
    frames = seen[-1][0] + 1 if seen else 0
    times = np.array([time for _, time in seen if time is not None])
    measured = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    place, written = Path(path), list[str]()
    for motion in motions:
        name = place if len(motions) == 1 else place.with_stem(f"{place.stem}-{motion.name}")
        frame_time = 1 / source.fps if source.fps else measured
        _write(str(name), [bvh_from_motion(motion, frames=frames, frame_time=frame_time)])
        written.append(str(name))
    return written


def _json_lines(source: Source, model: MeshModel, seen: list[tuple[int, float | None]]) -> Iterator[str]:
    header: dict[str, object] = {
        "source": source.name, "width": source.width, "height": source.height, "fps": source.fps, "model": model.model,
    }  # fmt: skip
    yield json_from(header | model.about())[:-1] + ',"frames":[\n'
    for number, (index, time) in enumerate(seen):
        name = source.frame_source(index)
        frame = {"index": index, "time": time} | ({"source": name} if name else {})
        record = json_from(frame | {"hands": [mesh.record for mesh in model.meshes(index)]})
        yield (",\n" if number else "") + record
    yield "\n]}\n"


def _write(path: str, parts: Iterable[str | bytes]) -> None:
    with atomic_file(Path(path)) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape"))

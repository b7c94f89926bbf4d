"""Define mesh models, place meshes in camera space, and save them as JSON, OBJ, GLB or BVH."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image, RealArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit._util.json_text import json_from
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.lab.hand_models.bvh import bvh_from_motion
from sonjit.lab.hand_models.mesh_files import Mesh, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit.lab.hand_models.rig import RigMotion
from sonjit.media import Source
from sonjit.results import Frame, Handedness
from sonjit.results.skeletons import load_skeleton

_MIN_DEPTH_M = 0.01
"""Minimum depth of a projected vertex. Points behind the lens have no pixel."""
MESH_ENDINGS: Final = (".json", ".obj", ".glb", ".bvh")
_INDEX: Final = "{index}"


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


def check_save(path: str, source: Source, *, rigged: bool) -> None:
    """Check before any work whether meshes of a source can be saved to a file.

    Raises:
        InputError: The ending is unknown, or the format cannot store the meshes of the source.
    """
    ending = Path(path).suffix.lower()
    if ending not in MESH_ENDINGS:
        raise InputError(f"{path}: Unknown file ending of a mesh. Choose from {', '.join(MESH_ENDINGS)}")
    moving = source.kind in ("video", "camera")
    if ending == ".bvh" and not (rigged and moving):
        raise InputError(f"{path}: BVH requires a video and the rigged hand. Save .glb or .obj")
    is_single = ending in (".json", ".bvh") or source.kind == "image" or (ending == ".glb" and rigged and moving)
    if _INDEX in path and ending in (".json", ".bvh"):
        raise InputError(f"{path}: {ending} stores all images in one file. Remove {_INDEX} from the name")
    if not is_single and _INDEX not in path:
        raise InputError(f"{path}: several images require {_INDEX} in the name, such as meshes/{_INDEX}{ending}")


def save_meshes(path: str, source: Source, model: MeshModel, indices: Iterable[tuple[int, float | None]]) -> list[str]:
    """Write the meshes of a model.

    Args:
        path: Output path accepted by `check_save`.
        source: Source of the images.
        model: Model after `finish`.
        indices: Index and time of each image.

    Returns:
        Paths of the written files.
    """
    ending, frames = Path(path).suffix.lower(), list(indices)
    if ending == ".json":
        _write(path, _json_lines(source, model, frames))
        return [path]
    if ending == ".bvh":
        return _save_bvh(path, source, model, frames)
    if _INDEX in path:
        written: list[str] = []
        for index, _ in frames:
            if meshes := model.meshes(index):
                written.append(path.replace(_INDEX, f"{index:06d}"))
                _write(written[-1], [_encode_meshes(ending, meshes)])
        return written
    if ending == ".glb" and model.motions is not None:
        _write(path, [glb_from_motions(model.motions)])
    else:
        _write(path, [_encode_meshes(ending, [mesh for index, _ in frames for mesh in model.meshes(index)])])
    return [path]


def _encode_meshes(ending: str, meshes: list[HandMesh]) -> str | bytes:
    """Encode meshes as OBJ or GLB."""
    plain = [Mesh(mesh.name, mesh.vertices, mesh.faces) for mesh in meshes]
    return obj_from_meshes(plain) if ending == ".obj" else glb_from_meshes(plain)


def _save_bvh(path: str, source: Source, model: MeshModel, frames: list[tuple[int, float | None]]) -> list[str]:
    """Write one BVH file per hand, since a BVH file contains one skeleton."""
    motions = model.motions or []
    count = frames[-1][0] + 1 if frames else 0
    times = np.array([time for _, time in frames if time is not None])
    measured = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    base, written = Path(path), list[str]()
    for motion in motions:
        name = base if len(motions) == 1 else base.with_stem(f"{base.stem}-{motion.name}")
        frame_time = 1 / source.fps if source.fps else measured
        _write(str(name), [bvh_from_motion(motion, frames=count, frame_time=frame_time)])
        written.append(str(name))
    return written


def _json_lines(source: Source, model: MeshModel, frames: list[tuple[int, float | None]]) -> Iterator[str]:
    header: dict[str, object] = {
        "source": source.name, "width": source.width, "height": source.height, "fps": source.fps, "model": model.model,
    }  # fmt: skip
    yield json_from(header | model.about())[:-1] + ',"frames":[\n'
    for number, (index, time) in enumerate(frames):
        name = source.frame_source(index)
        frame = {"index": index, "time": time} | ({"source": name} if name else {})
        record = json_from(frame | {"hands": [mesh.record for mesh in model.meshes(index)]})
        yield (",\n" if number else "") + record
    yield "\n]}\n"


def _write(path: str, parts: Iterable[str | bytes]) -> None:
    with atomic_file(Path(path)) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape"))

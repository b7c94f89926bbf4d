"""Meshes and their parameters into files: JSON, OBJ, GLB, BVH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.hand_models.mesh_files import Mesh, glb_from_meshes, obj_from_meshes
from sonjit.hand_models.rig_export import bvh_from_motion, glb_from_motions
from sonjit.json_text import json_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sonjit.media import Source
    from sonjit.meshes.hand_mesh import HandMesh, MeshModel

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
    if not Path(path).parent.is_dir():
        raise InputError(f"{path}: the folder {Path(path).parent} does not exist; make it first")


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

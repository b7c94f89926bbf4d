"""Save meshes of hands as JSON, OBJ, GLB or BVH."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit._util.json_text import json_from
from sonjit.lab.hand_models.bvh import bvh_from_motion
from sonjit.lab.hand_models.mesh_files import Mesh, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit.lab.meshes.hand_mesh import HandMesh, MeshModel
from sonjit.media import Source
from sonjit.media.tables.characters import BoneNames

MESH_ENDINGS: Final = (".json", ".obj", ".glb", ".bvh")
_INDEX: Final = "{index}"


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


def save_meshes(
    path: str,
    source: Source,
    model: MeshModel,
    indices: Iterable[tuple[int, float | None]],
    bones: BoneNames | None = None,
) -> list[str]:
    """Write the meshes of a model.

    Args:
        path: Output path accepted by `check_save`.
        source: Source of the images.
        model: Model after `finish`.
        indices: Index and time of each image.
        bones: Convention of the bone names of the rig. Default: WebXR Hand Input.

    Returns:
        Paths of the written files.
    """
    ending, frames = Path(path).suffix.lower(), list(indices)
    if ending == ".json":
        _write(path, _json_lines(source, model, frames))
        return [path]
    if ending == ".bvh":
        return _save_bvh(path, source, model, frames, bones)
    if _INDEX in path:
        written: list[str] = []
        for index, _ in frames:
            if meshes := model.meshes(index):
                written.append(path.replace(_INDEX, f"{index:06d}"))
                _write(written[-1], [_encode_meshes(ending, meshes)])
        return written
    if ending == ".glb" and model.motions is not None:
        _write(path, [glb_from_motions(model.motions, bones)])
    else:
        _write(path, [_encode_meshes(ending, [mesh for index, _ in frames for mesh in model.meshes(index)])])
    return [path]


def _encode_meshes(ending: str, meshes: list[HandMesh]) -> str | bytes:
    """Encode meshes as OBJ or GLB."""
    plain = [Mesh(mesh.name, mesh.vertices, mesh.faces) for mesh in meshes]
    return obj_from_meshes(plain) if ending == ".obj" else glb_from_meshes(plain)


def _save_bvh(
    path: str, source: Source, model: MeshModel, frames: list[tuple[int, float | None]], bones: BoneNames | None
) -> list[str]:
    """Write one BVH file per hand, since a BVH file contains one skeleton."""
    motions = model.motions or []
    count = frames[-1][0] + 1 if frames else 0
    times = np.array([time for _, time in frames if time is not None])
    measured = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    base, written = Path(path), list[str]()
    for motion in motions:
        name = base if len(motions) == 1 else base.with_stem(f"{base.stem}-{motion.name}")
        frame_time = 1 / source.fps if source.fps else measured
        _write(str(name), [bvh_from_motion(motion, frames=count, frame_time=frame_time, bones=bones)])
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

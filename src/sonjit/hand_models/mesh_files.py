"""Plain meshes as files: Wavefront OBJ and GLB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.glb import CAMERA_AXES, SKIN, GlbBuilder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Mesh(NamedTuple):
    """Triangles in space.

    Attributes:
        name: of the object in files.
        vertices: (V, 3) metres in the camera's axes (x right, y down, z forward).
        faces: (F, 3) indices, counterclockwise from outside.
    """

    name: str
    vertices: NDArray[np.floating]
    faces: NDArray[np.integer]


def obj_from_meshes(meshes: Iterable[Mesh]) -> str:
    """An OBJ file: metres, y up, z towards the viewer, as most programs expect."""
    lines: list[str] = []
    first = 1  # OBJ counts from one, over all objects
    for name, vertices, faces in meshes:
        lines.append(f"o {name}")
        lines += [f"v {x:.6f} {-y:.6f} {-z:.6f}" for x, y, z in vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (faces + first).tolist()]
        first += len(vertices)
    return "\n".join(lines) + "\n"


def glb_from_meshes(meshes: Iterable[Mesh]) -> bytes:
    """A GLB file: the vertices in the camera's axes, under nodes that turn them into glTF's."""
    builder = GlbBuilder()
    nodes: list[dict[str, Any]] = []
    for name, vertices, faces in meshes:
        points, normals = vertices.astype(np.float32), vertex_normals(vertices, faces).astype(np.float32)
        mesh = builder.add_mesh(name, faces, SKIN, POSITION=points, NORMAL=normals)
        nodes.append({"name": name, "mesh": mesh, "rotation": CAMERA_AXES})
    scene = {"nodes": list(range(len(nodes)))} if nodes else {}
    builder.document |= {"scene": 0, "scenes": [scene], "nodes": nodes}
    return builder.to_bytes()

"""Wavefront OBJ: meshes as text, one object each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
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

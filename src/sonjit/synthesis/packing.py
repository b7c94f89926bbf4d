"""Drawables as the graphics card takes them: one table of vertices, one of indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.synthesis.drawable import NO_PART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.synthesis.drawable import Drawable

ATTRIBUTES: Final = {"in_position": 3, "in_normal": 3, "in_place": 3, "in_marks": 4, "in_code": 1}
"""What stands in a row of `Packed.vertices`, and how many numbers each takes."""
_COLUMNS: Final = sum(ATTRIBUTES.values())


@dataclass(frozen=True, eq=False)
class Packed:
    """All meshes of a picture.

    Attributes:
        vertices: (V, 14) as `ATTRIBUTES` says. The place is that at rest, or on the picture for an `image`; the code is
            256 times the drawable's number plus the part.
        indices: (3F,) rows of `vertices`.
        rows: per drawable its first vertex.
        spans: per drawable its first index and how many.
    """

    vertices: NDArray[np.float32]
    indices: NDArray[np.int32]
    rows: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


def pack(drawables: Sequence[Drawable]) -> Packed:
    """All drawables in one table each.

    Raises:
        InputError: a drawable's arrays do not fit each other.
    """
    rows = np.zeros((sum(len(each.vertices) for each in drawables), _COLUMNS), np.float32)
    indices = np.empty(sum(each.faces.size for each in drawables), np.int32)
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    row = first = 0
    for number, each in enumerate(drawables):
        _check(each)
        part = rows[row : row + len(each.vertices)]
        part[:, 0:3] = each.vertices
        part[:, 3:6] = each.normals
        if each.uv is not None and each.material.surface == "image":
            part[:, 6:8] = each.uv
        else:
            part[:, 6:9] = each.vertices if each.rest is None else each.rest
        if each.marks is not None:
            part[:, 9:13] = each.marks
        part[:, 13] = NO_PART if each.parts is None else each.parts
        part[:, 13] += 256 * number
        count = each.faces.size
        indices[first : first + count] = each.faces.reshape(-1)
        indices[first : first + count] += row
        starts.append(row)
        spans.append((first, count))
        row, first = row + len(part), first + count
    return Packed(rows, indices, tuple(starts), tuple(spans))


def _check(drawable: Drawable) -> None:
    count, faces = len(drawable.vertices), drawable.faces
    if faces.size and (faces.min() < 0 or faces.max() >= count):
        raise InputError(f"instance {drawable.instance}: faces name vertex {faces.max()} of {count}; count from 0")
    if drawable.material.surface == "image" and (drawable.material.image is None or drawable.uv is None):
        raise InputError(f"instance {drawable.instance}: an image surface needs Material.image and Drawable.uv")
    if not 1 <= drawable.instance <= 250:
        raise InputError(f"instance {drawable.instance}: instances are 1 to 250")

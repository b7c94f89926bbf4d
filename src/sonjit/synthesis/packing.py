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

LAYOUT: Final = "3f 3f 3f 2f 4f 2f"
"""A row of `Packed.vertices` in moderngl's words."""
ATTRIBUTES: Final = ("in_position", "in_normal", "in_rest", "in_uv", "in_marks", "in_ids")
_COLUMNS: Final = 17


@dataclass(frozen=True, eq=False)
class Packed:
    """All meshes of a picture.

    Attributes:
        vertices: (V, 17) as `LAYOUT` and `ATTRIBUTES` say.
        indices: (3F,) rows of `vertices`.
        spans: per drawable its first index and how many.
    """

    vertices: NDArray[np.float32]
    indices: NDArray[np.int32]
    spans: tuple[tuple[int, int], ...]


def pack(drawables: Sequence[Drawable]) -> Packed:
    """All drawables in one table each.

    Raises:
        InputError: a drawable's arrays do not fit each other.
    """
    rows = np.zeros((sum(len(each.vertices) for each in drawables), _COLUMNS), np.float32)
    indices = np.empty(sum(each.faces.size for each in drawables), np.int32)
    spans: list[tuple[int, int]] = []
    row = first = 0
    for each in drawables:
        _check(each)
        part = rows[row : row + len(each.vertices)]
        part[:, 0:3] = each.vertices
        part[:, 3:6] = each.normals
        part[:, 6:9] = each.vertices if each.rest is None else each.rest
        if each.uv is not None:
            part[:, 9:11] = each.uv
        if each.marks is not None:
            part[:, 11:15] = each.marks
        part[:, 15] = each.instance
        part[:, 16] = NO_PART if each.parts is None else each.parts
        count = each.faces.size
        indices[first : first + count] = each.faces.reshape(-1)
        indices[first : first + count] += row
        spans.append((first, count))
        row, first = row + len(part), first + count
    return Packed(rows, indices, tuple(spans))


def _check(drawable: Drawable) -> None:
    count, faces = len(drawable.vertices), drawable.faces
    if faces.size and (faces.min() < 0 or faces.max() >= count):
        raise InputError(f"instance {drawable.instance}: faces name vertex {faces.max()} of {count}; count from 0")
    if drawable.material.surface == "image" and (drawable.material.image is None or drawable.uv is None):
        raise InputError(f"instance {drawable.instance}: an image surface needs Material.image and Drawable.uv")
    if not 1 <= drawable.instance <= 250:
        raise InputError(f"instance {drawable.instance}: instances are 1 to 250")

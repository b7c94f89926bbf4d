"""Rays through meshes: what one meets first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.synthesis.drawable import NO_PART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera
    from sonjit.synthesis.drawable import Drawable


class Ray(NamedTuple):
    """From a point (3,) to another (3,), metres in the world."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]

    @classmethod
    def between(cls, camera: SampleCamera, end: NDArray[np.float64]) -> Ray:
        """From a camera's centre."""
        assert camera.R is not None
        assert camera.t is not None
        return cls(-camera.R.T @ camera.t, end)


class Hit(NamedTuple):
    """What a ray met first.

    Attributes:
        instance: of the drawable; 0 for nothing.
        part: of the face's last corner, as the renderer takes it.
        place: along the ray, 0 at its start, 1 at its end.
    """

    instance: int
    part: int
    place: float


def first_hit(ray: Ray, drawables: Sequence[Drawable]) -> Hit:
    """The first surface between a ray's ends; source: Möller and Trumbore 1997."""
    best = Hit(0, NO_PART, 1.0)
    way = ray.end - ray.start
    for one in drawables:
        corners = one.vertices[one.faces]  # (F, 3, 3)
        first = corners[:, 0]
        edge_1, edge_2 = corners[:, 1] - first, corners[:, 2] - first
        across = np.cross(way, edge_2)
        volume = np.einsum("fc,fc->f", edge_1, across)
        with np.errstate(divide="ignore", invalid="ignore"):
            away = ray.start - first
            u = np.einsum("fc,fc->f", away, across) / volume
            turned = np.cross(away, edge_1)
            v = turned @ way / volume
            place = np.einsum("fc,fc->f", edge_2, turned) / volume
            inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (place > 0) & (place < best.place)
        if not inside.any():
            continue
        face = int(np.flatnonzero(inside)[place[inside].argmin()])
        part = NO_PART if one.parts is None else int(one.parts[one.faces[face, 2]])
        best = Hit(one.instance, part, float(place[face]))
    return best

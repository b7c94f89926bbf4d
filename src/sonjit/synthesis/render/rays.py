"""Rays from a camera through meshes: what each meets first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.synthesis.render.drawable import NO_PART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.synthesis.render.drawable import Drawable

_LEAST_DEPTH_M = 1e-4


class Hit(NamedTuple):
    """What a ray met first.

    Attributes:
        instance: of the drawable; 0 for nothing.
        part: of the face's last corner, as the renderer takes it.
        place: along the ray, 0 at the camera's centre, 1 at its end.
    """

    instance: int
    part: int
    place: float


def first_hits(camera: CalibratedCamera, ends: NDArray[np.float64], drawables: Sequence[Drawable]) -> list[Hit]:
    """The first surface between a camera's centre and each of some points; source: Möller and Trumbore 1997.

    Args:
        camera: with a place in the world; its lens bends no ray, for all rays go through its centre.
        ends: (K, 3) metres in the camera's frame, before it.
        drawables: in the world.
    """
    hits = [Hit(0, NO_PART, 1.0)] * len(ends)
    rays = ends[:, :2] / ends[:, 2:]  # (K, 2) at depth 1
    for one in drawables:
        vertices = camera.from_world(one.vertices)
        nearest = np.maximum(vertices[:, 2:], _LEAST_DEPTH_M)
        seen = np.where(vertices[:, 2:] > _LEAST_DEPTH_M, vertices[:, :2] / nearest, np.nan)
        low, high = np.nanmin(seen, axis=0, initial=np.inf), np.nanmax(seen, axis=0, initial=-np.inf)
        behind = bool((vertices[:, 2] <= _LEAST_DEPTH_M).any())
        wanted = np.flatnonzero(behind | ((rays >= low) & (rays <= high)).all(axis=1))
        if not len(wanted):
            continue
        corners = np.ascontiguousarray(one.faces.T)
        across, down = (np.ascontiguousarray(each)[corners] for each in seen.T)  # (3, F); NaN behind the camera
        left, right, top, bottom = across.min(0), across.max(0), down.min(0), down.max(0)
        x, y = rays[wanted].T[..., None]
        rows, faces = np.nonzero(~((left > x) | (right < x) | (top > y) | (bottom < y)))
        numbers = wanted[rows]
        places = _places(vertices[one.faces[faces]], ends[numbers])
        for index in np.flatnonzero(places < 1).tolist():
            if places[index] < hits[numbers[index]].place:
                part = NO_PART if one.parts is None else int(one.parts[one.faces[faces[index], 2]])
                hits[numbers[index]] = Hit(one.instance, part, float(places[index]))
    return hits


def _places(corners: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) where each of P rays to ends (P, 3) meets its triangle (P, 3, 3), as `Hit.place`; infinite where not."""
    first = corners[:, 0]
    edge_1, edge_2 = corners[:, 1] - first, corners[:, 2] - first
    across, turned = np.cross(ends, edge_2), np.cross(-first, edge_1)
    volume = (edge_1 * across).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = -(first * across).sum(1) / volume, (turned * ends).sum(1) / volume
        place = (edge_2 * turned).sum(1) / volume
        return np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (place > 0), place, np.inf)

"""Where a camera and a light look: what the renderer's projections are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera

_NEAREST_M: Final = 0.01
_WIDEST: Final = 9.0  # the squared tangent of 71.6 degrees: no lens here bends more


def near_far(depths: NDArray[np.floating]) -> tuple[float, float]:
    """Depths in metres between which all (V,) vertices before the camera lie."""
    before = depths[depths > 0]
    if not len(before):
        return _NEAREST_M, 1.0
    near = max(float(before.min()) * 0.99, _NEAREST_M)
    return near, max(float(before.max()) * 1.01, 2 * near)


def lens_edge(distortion: NDArray[np.floating]) -> float:
    """The squared radius, at depth 1, up to which a lens's picture does not fold back on itself.

    Args:
        distortion: (5,) k1, k2, p1, p2, k3.
    """
    k1, k2, _, _, k3 = distortion
    r2 = np.linspace(0, _WIDEST, 400)
    growth = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3))  # of the bent radius with the radius
    folds = np.flatnonzero(growth <= 0)
    return float(r2[folds[0] - 1]) if len(folds) else _WIDEST


def light_view(direction: tuple[float, float, float], points_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """(4, 4) from the world into the light's own picture, -1 to 1, which holds all points (V, 3)."""
    z = -np.asarray(direction, np.float64)  # away from the light
    z /= np.linalg.norm(z)
    x = np.cross(z, [1.0, 0, 0] if abs(z[0]) < 0.7 else [0, 1.0, 0])
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(z, x), z])
    seen = points_m @ axes.T
    low, high = seen.min(0), seen.max(0)
    middle, half = (low + high) / 2, (high - low) / 2 * 1.1 + 0.02
    view = np.eye(4)
    view[:3, :3] = axes / half[:, None]
    view[:3, 3] = -middle / half
    return view


def boxes_px(
    points_m: NDArray[np.floating], starts: tuple[int, ...], camera: SampleCamera, size: tuple[int, int]
) -> NDArray[np.int64]:
    """(D, 4) left, top, right, bottom in whole pixels around each of D meshes, cut at the picture's edges.

    Args:
        points_m: (V, 3) vertices of all meshes in the camera's frame.
        starts: first vertex of each mesh.
        camera: its lens, if it has one, makes every box the whole picture, as does a vertex that is not before it.
        size: (width, height) pixels.
    """
    whole = np.array([0, 0, *size])
    if camera.distortion is not None or not starts:
        return np.tile(whole, (len(starts), 1))
    depth = points_m[:, 2:]
    pixels = (points_m @ camera.K[:2].T.astype(np.float32)) / np.maximum(depth, _NEAREST_M)
    first = np.array(starts)
    low, high = np.minimum.reduceat(pixels, first), np.maximum.reduceat(pixels, first)
    boxes = np.concatenate([np.floor(low) - 1, np.ceil(high) + 1], 1)
    boxes = np.clip(boxes, 0, np.tile(size, 2)).astype(np.int64)
    boxes[np.minimum.reduceat(depth[:, 0], first) < _NEAREST_M] = whole
    return boxes


def box_around(boxes: NDArray[np.int64]) -> tuple[int, int, int, int]:
    """One box around all of (D, 4); an empty one around none."""
    if not len(boxes):
        return 0, 0, 0, 0
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, right, bottom

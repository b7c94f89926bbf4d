"""What the renderer takes and what it gives: meshes with their surfaces in, buffers out.

World and camera frames: x right, y down, z forward, metres. Colours are linear RGB, 0 to 1.

Also the projections of cameras and lights onto images and shadow maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Float32Array, FloatArray, Image, IntArray, RealArray
from sonjit.geometry.cameras import CalibratedCamera

Surface = Literal["skin", "cloth", "rubber", "metal", "plastic", "wood", "image"]
"""What a mesh is made of; `image` takes its colours from an image by `Drawable.uv`."""

NO_PART = 255
"""In `Buffers.parts` and `Drawable.parts`: nothing that has parts."""


@dataclass(frozen=True)
class Material:
    """A surface.

    Attributes:
        surface: what it is made of.
        albedo: linear RGB of its plain colour.
        roughness: 0 a mirror, 1 chalk.
        variant: which pattern of its kind, from 0.
        seed: shifts every pattern.
        amounts: strength by name, 0 to 1; for skin `pores`, `creases`, `nails`, `veins`, `freckles`, `tattoo`. A name
            that is not there is 0.
        image: (H, W, 3) uint8 RGB for `image`.
    """

    surface: Surface
    albedo: tuple[float, float, float]
    roughness: float = 0.6
    variant: int = 0
    seed: float = 0.0
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    image: Image | None = None


@dataclass(frozen=True, eq=False)
class Drawable:
    """A mesh and its place.

    Attributes:
        vertices: (V, 3) metres in the world.
        normals: (V, 3) unit.
        faces: (F, 3) indices, counterclockwise from outside.
        material: its surface.
        instance: 1 to 250, what it belongs to: each hand has its own, as has each object. Sleeves, gloves and rings
            have their own too, see `Scene`.
        rest: (V, 3) metres where each vertex lies on the body at rest: patterns hang on it and move with the skin.
            None: the vertices themselves.
        parts: (V,) which joint (0 to 24, `hand_models.rig.JOINTS`) moves each vertex most; None where it has none.
        marks: (V, 4) 0 to 1: how much of a vertex is nail, crease, palm side, back of the hand; None where it has none.
        uv: (V, 2) place in `Material.image`, from its upper left corner; None without.
    """

    vertices: FloatArray
    normals: FloatArray
    faces: IntArray
    material: Material
    instance: int
    rest: FloatArray | None = None
    parts: NDArray[np.uint8] | None = None
    marks: Float32Array | None = None
    uv: FloatArray | None = None


@dataclass(frozen=True)
class Light:
    """A light far away, or a lamp.

    Attributes:
        direction: unit vector in the world from the surface towards the light.
        colour: linear RGB times its strength.
        shadows: it casts them.
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    shadows: bool = False


@dataclass(frozen=True)
class Lighting:
    """All light in a scene.

    Attributes:
        lights: at most 4, of which the first may cast shadows.
        ambient: linear RGB from everywhere.
    """

    lights: tuple[Light, ...]
    ambient: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Buffers:
    """What one camera sees.

    Attributes:
        rgb: (H, W, 3) uint8 RGB in sRGB, smooth at edges, the background behind.
        cover: (H, W) float32, how much of each pixel is foreground, 0 to 1.
        depth: (H, W) float32 metres along the camera's z; 0 where there is nothing.
        normals: (H, W, 3) float32 in the camera's frame; 0 where there is nothing.
        instances: (H, W) uint8 `Drawable.instance` at the pixel's centre; 0 background.
        parts: (H, W) uint8 joint whose skin is there; `NO_PART` elsewhere.
    """

    rgb: Image
    cover: Float32Array
    depth: Float32Array
    normals: Float32Array
    instances: NDArray[np.uint8]
    parts: NDArray[np.uint8]


_NEAREST_M: Final = 0.01
_WIDEST: Final = 9.0  # the squared tangent of 71.6 degrees: no lens here bends more


def near_far(depths: RealArray) -> tuple[float, float]:
    """Depths in metres between which all (V,) vertices before the camera lie."""
    before = depths[depths > 0]
    if not len(before):
        return _NEAREST_M, 1.0
    near = max(float(before.min()) * 0.99, _NEAREST_M)
    return near, max(float(before.max()) * 1.01, 2 * near)


def lens_edge(distortion: RealArray) -> float:
    """The squared radius, at depth 1, up to which a lens's image does not fold back on itself.

    Args:
        distortion: (5,) k1, k2, p1, p2, k3.
    """
    k1, k2, _, _, k3 = distortion
    r2 = np.linspace(0, _WIDEST, 400)
    growth = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3))  # of the bent radius with the radius
    folds = np.flatnonzero(growth <= 0)
    return float(r2[folds[0] - 1]) if len(folds) else _WIDEST


def light_view(direction: tuple[float, float, float], points_m: RealArray) -> FloatArray:
    """(4, 4) from the world into the light's own image, -1 to 1, which holds all points (V, 3)."""
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


def boxes_px(points_m: RealArray, starts: tuple[int, ...], camera: CalibratedCamera, size: tuple[int, int]) -> IntArray:
    """(D, 4) left, top, right, bottom in whole pixels around each of D meshes, cut at the image's edges.

    Args:
        points_m: (V, 3) vertices of all meshes in the camera's frame.
        starts: first vertex of each mesh.
        camera: its lens, if it has one, makes every box the whole image, as does a vertex that is not before it.
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


def box_around(boxes: IntArray) -> tuple[int, int, int, int]:
    """One box around all of (D, 4); an empty one around none."""
    if not len(boxes):
        return 0, 0, 0, 0
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, right, bottom

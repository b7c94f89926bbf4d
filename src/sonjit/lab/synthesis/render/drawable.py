"""Input and output of the renderer: meshes with their surfaces, light, and buffers of an image.

World and camera frames: x right, y down, z forward, metres. Colours are linear RGB, 0 to 1. The functions project
cameras and lights onto images and shadow maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array, FloatArray, Image, IntArray, RealArray
from sonjit.geometry.cameras import CalibratedCamera

Surface = Literal["skin", "cloth", "rubber", "metal", "plastic", "wood", "image"]
"""Surface of a mesh; `image` takes its colours from an image by `Drawable.uv`."""

NO_PART = 255
"""Value of `Buffers.parts` and `Drawable.parts` for surfaces without parts."""


_MIN_DEPTH_M: Final = 0.01
_WIDEST: Final = 9.0  # the squared tangent of 71.6 degrees: no lens here bends more


@dataclass(frozen=True)
class Material:
    """Material of a surface.

    Attributes:
        surface: Kind of surface.
        albedo: Linear RGB of its plain colour.
        roughness: Roughness from 0 (mirror) to 1 (chalk).
        variant: Index of the pattern of its kind, from 0.
        seed: Seed that shifts every pattern.
        amounts: Strength by name, 0 to 1; for skin `pores`, `creases`, `nails`, `veins`, `freckles`, `tattoo`. Missing
            names are 0.
        image: Image (H, W, 3), uint8 RGB, for `image`.
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
    """Mesh in the world.

    Attributes:
        vertices: Vertices (V, 3) in metres in the world.
        normals: Unit normals (V, 3).
        faces: Vertex indices (F, 3), counterclockwise seen from outside.
        material: Material of its surface.
        instance: Instance, 1 to 250: each hand and each object has its own. Sleeves, gloves and rings also have their
            own, see `Scene`.
        rest: Positions (V, 3) in metres of the vertices on the body at rest: patterns follow them and move with the
            skin. None uses the vertices themselves.
        parts: Joint (V,) that moves each vertex most (0 to 24, `hand_models.rig.JOINTS`); None without joints.
        marks: Amounts (V, 4), 0 to 1, of nail, crease, palm side and back of the hand; None without.
        uv: Position (V, 2) in `Material.image`, from its upper left corner; None without.
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
    """Distant light or lamp.

    Attributes:
        direction: Unit vector in the world from the surface towards the light.
        colour: Linear RGB times its strength.
        shadows: True if it casts shadows.
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    shadows: bool = False


@dataclass(frozen=True)
class Lighting:
    """All light in a scene.

    Attributes:
        lights: Light sources, at most 4. The first may cast shadows.
        ambient: Linear RGB of ambient light.
    """

    lights: tuple[Light, ...]
    ambient: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Buffers:
    """Buffers of one camera.

    Attributes:
        rgb: Image (H, W, 3), uint8 sRGB, smooth at edges, with the background.
        cover: Share (H, W) of foreground in each pixel, float32, 0 to 1.
        depth: Depth (H, W) in metres along the camera's z, float32; 0 for background.
        normals: Normals (H, W, 3) in the camera's frame, float32; 0 for background.
        instances: `Drawable.instance` (H, W) at the pixel's centre, uint8; 0 for background.
        parts: Joint (H, W) of the visible skin, uint8; `NO_PART` elsewhere.
    """

    rgb: Image
    cover: Float32Array
    depth: Float32Array
    normals: Float32Array
    instances: NDArray[np.uint8]
    parts: NDArray[np.uint8]


def near_far(depths: RealArray) -> tuple[float, float]:
    """Return the near and far depth in metres of all vertices (V,) in front of the camera."""
    before = depths[depths > 0]
    if not len(before):
        return _MIN_DEPTH_M, 1.0
    near = max(float(before.min()) * 0.99, _MIN_DEPTH_M)
    return near, max(float(before.max()) * 1.01, 2 * near)


def lens_edge(distortion: RealArray) -> float:
    """Return the squared radius, at depth 1, up to which a lens's image does not fold back on itself.

    Args:
        distortion: Coefficients (5,): k1, k2, p1, p2, k3.
    """
    k1, k2, _, _, k3 = distortion
    r2 = np.linspace(0, _WIDEST, 400)
    growth = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3))  # of the bent radius with the radius
    folds = np.flatnonzero(growth <= 0)
    return float(r2[folds[0] - 1]) if len(folds) else _WIDEST


def light_view(direction: tuple[float, float, float], points_m: RealArray) -> FloatArray:
    """Return the matrix (4, 4) from the world to the light's own image, -1 to 1, which contains all points (V, 3)."""
    z = -np.asarray(direction, np.float64)  # away from the light
    z /= np.linalg.norm(z)
    x = np.cross(z, [1.0, 0, 0] if abs(z[0]) < 0.7 else [0, 1.0, 0])
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(z, x), z])
    rotated = points_m @ axes.T
    low, high = rotated.min(0), rotated.max(0)
    middle, half = (low + high) / 2, (high - low) / 2 * 1.1 + 0.02
    view = np.eye(4)
    view[:3, :3] = axes / half[:, None]
    view[:3, 3] = -middle / half
    return view


def boxes_px(points_m: RealArray, starts: tuple[int, ...], camera: CalibratedCamera, size: tuple[int, int]) -> IntArray:
    """Return boxes (D, 4) as left, top, right, bottom in full pixels around each of D meshes, clipped to the image.

    Args:
        points_m: Vertices (V, 3) of all meshes in the camera's frame.
        starts: Index of the first vertex of each mesh.
        camera: Camera. With a lens, or with a vertex behind it, every box is the full image.
        size: Width and height in pixels.
    """
    full_image = np.array([0, 0, *size])
    if camera.distortion is not None or not starts:
        return np.tile(full_image, (len(starts), 1))
    depth = points_m[:, 2:]
    pixels = (points_m @ camera.K[:2].T.astype(np.float32)) / np.maximum(depth, _MIN_DEPTH_M)
    first = np.array(starts)
    low, high = np.minimum.reduceat(pixels, first), np.maximum.reduceat(pixels, first)
    boxes = np.concatenate([np.floor(low) - 1, np.ceil(high) + 1], 1)
    boxes = np.clip(boxes, 0, np.tile(size, 2)).astype(np.int64)
    boxes[np.minimum.reduceat(depth[:, 0], first) < _MIN_DEPTH_M] = full_image
    return boxes


def box_around(boxes: IntArray) -> tuple[int, int, int, int]:
    """Return one box around all boxes (D, 4); an empty box for none."""
    if not len(boxes):
        return 0, 0, 0, 0
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, right, bottom

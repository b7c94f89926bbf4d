"""Input and output of the renderer: meshes with their surfaces, light, and buffers of an image.

World and camera frames: x right, y down, z forward, metres. Colours are linear RGB, 0 to 1. The functions project
cameras and lights onto images and shadow maps, and convert cameras, lights and materials into uniforms of the shaders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
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
    """Material of a surface."""

    surface: Surface  # kind of surface
    albedo: tuple[float, float, float]  # linear RGB of its plain colour
    roughness: float = 0.6  # roughness from 0 (mirror) to 1 (chalk)
    variant: int = 0  # index of the pattern of its kind, from 0
    seed: float = 0.0  # seed that shifts every pattern
    # Strength by name, 0 to 1; for skin `pores`, `creases`, `nails`, `veins`, `freckles`, `tattoo`. Missing names are 0
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    image: Image | None = None  # image (H, W, 3), uint8 RGB, for `image`


@dataclass(frozen=True, eq=False)
class Drawable:
    """Mesh in the world."""

    vertices: FloatArray  # vertices (V, 3) in metres in the world
    normals: FloatArray  # unit normals (V, 3)
    faces: IntArray  # vertex indices (F, 3), counterclockwise seen from outside
    material: Material  # material of its surface
    # Instance, 1 to 250: each hand and each object has its own. Sleeves, gloves and rings also have their own, see
    # `Scene`
    instance: int
    # Positions (V, 3) in metres of the vertices on the body at rest: patterns follow them and move with the skin. None
    # uses the vertices themselves
    rest: FloatArray | None = None
    # Joint (V,) that moves each vertex most (0 to 24, `hand_models.rig.JOINTS`); None without joints
    parts: NDArray[np.uint8] | None = None
    # amounts (V, 4), 0 to 1, of nail, crease, palm side and back of the hand; None without
    marks: Float32Array | None = None
    uv: FloatArray | None = None  # Position (V, 2) in `Material.image`, from its upper left corner; None without


@dataclass(frozen=True)
class Light:
    """Distant light or lamp."""

    direction: tuple[float, float, float]  # unit vector in the world from the surface towards the light
    colour: tuple[float, float, float]  # linear RGB times its strength
    shadows: bool = False  # True if it casts shadows


@dataclass(frozen=True)
class Lighting:
    """All light in a scene."""

    lights: tuple[Light, ...]  # Light sources, at most 4. The first may cast shadows
    ambient: tuple[float, float, float]  # linear RGB of ambient light


@dataclass(frozen=True, eq=False)
class Buffers:
    """Buffers of one camera."""

    rgb: Image  # image (H, W, 3), uint8 sRGB, smooth at edges, with the background
    cover: Float32Array  # share (H, W) of foreground in each pixel, float32, 0 to 1
    depth: Float32Array  # depth (H, W) in metres along the camera's z, float32; 0 for background
    normals: Float32Array  # normals (H, W, 3) in the camera's frame, float32; 0 for background
    instances: NDArray[np.uint8]  # `Drawable.instance` (H, W) at the pixel's centre, uint8; 0 for background
    parts: NDArray[np.uint8]  # joint (H, W) of the visible skin, uint8; `NO_PART` elsewhere


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

    `points_m`: vertices (V, 3) of all meshes in the camera's frame; `size`: width and height in pixels.
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


_AMOUNTS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")


def camera_pose(camera: CalibratedCamera) -> tuple[FloatArray, FloatArray]:
    """Return R (3, 3) and t (3,) of a camera; a camera without a pose is at the world's origin."""
    R = np.eye(3) if camera.R is None else camera.R
    t = np.zeros(3) if camera.t is None else camera.t
    return R, t


def camera_uniforms(
    camera: CalibratedCamera, samples: tuple[int, int], depths: tuple[float, float]
) -> Mapping[str, object]:
    """Return the uniforms of the projection.

    `camera`: camera with intrinsics in pixels; `samples`: columns and rows of samples: one in the middle of each pixel,
    one between, one at each edge; `depths`: depths of the near and the far plane, metres.
    """
    R, t = camera_pose(camera)
    K = camera.K * np.array([[2], [2], [1]]) + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return {
        "R": columns(R),
        "t": tuple(t),
        "K": columns(K),
        "samples": samples,
        "near_far": depths,
        "lens": tuple(np.zeros(5) if camera.distortion is None else camera.distortion),
        "lens_edge": 0.0 if camera.distortion is None else lens_edge(camera.distortion),
    }


def light_uniforms(lighting: Lighting, camera: CalibratedCamera, light_view: FloatArray | None) -> Mapping[str, object]:
    """Return the uniforms of the light in the camera's frame.

    `light_view`: matrix (4, 4) from the world to the shadow map; None without shadows.
    """
    R, t = camera_pose(camera)
    directions, colours = np.zeros((4, 3)), np.zeros((4, 3))
    for index, light in enumerate(lighting.lights):
        directions[index], colours[index] = R @ np.array(light.direction), light.colour
    back = np.eye(4)
    back[:3, :3], back[:3, 3] = R.T, -R.T @ t
    return {
        "light_count": len(lighting.lights),
        "light_directions": [tuple(each) for each in directions],
        "light_colours": [tuple(each) for each in colours],
        "ambient": lighting.ambient,
        "up": tuple(-R[:, 1]),
        "shadows": light_view is not None,
        "light_view": columns(back if light_view is None else light_view @ back),
    }


def material_uniforms(material: Material) -> Mapping[str, object]:
    """Return the uniforms of a material."""
    return {
        **{name: material.amounts.get(name, 0.0) for name in _AMOUNTS},
        "albedo": material.albedo,
        "roughness": material.roughness,
        "variant": material.variant,
        "seed": material.seed,
    }


def columns(matrix: RealArray) -> tuple[float, ...]:
    """Return a matrix column by column, as OpenGL stores it."""
    return tuple(matrix.T.reshape(-1).tolist())


PATTERN_SIZE: Final = 48
"""Texels along each edge."""
_CELLS: Final = 12


@lru_cache(maxsize=1)
def solid_pattern() -> Image:
    """Return a texture (48, 48, 48, 4): fine and soft noise, distance to a cell's middle and to its border."""
    rng = np.random.default_rng(20240229)
    fine, soft = rng.random((2, PATTERN_SIZE, PATTERN_SIZE, PATTERN_SIZE), np.float32)
    for axis in range(3):
        for _ in range(2):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    nearest, border = _cells(rng)
    return np.stack([_stretch_contrast(fine), _stretch_contrast(soft), nearest, border], -1)


def _cells(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return distances within cells around scattered points, one point in each box of a grid."""
    per = PATTERN_SIZE // _CELLS
    points = rng.random((_CELLS, _CELLS, _CELLS, 3), np.float32) * per
    inside = np.stack(
        np.meshgrid(*[np.arange(per, dtype=np.float32) + 0.5] * 3, indexing="ij"), -1
    )  # (per, per, per, 3)
    first = np.full((_CELLS,) * 3 + (per,) * 3, np.inf, np.float32)
    second = first.copy()
    for step in product((-1, 0, 1), repeat=3):
        neighbours = np.roll(points, step, (0, 1, 2)) - np.array(step, np.float32) * per
        distance = np.linalg.norm(inside - neighbours[:, :, :, None, None, None], axis=-1)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    cubes = [cube.transpose(0, 3, 1, 4, 2, 5).reshape((PATTERN_SIZE,) * 3) / per for cube in (first, second - first)]
    return _stretch_contrast(cubes[0]), _stretch_contrast(cubes[1])


def _stretch_contrast(values: RealArray) -> Image:
    """Scale values from the 1st to the 99th percentile to 0 to 255."""
    low, high = np.percentile(values, (1, 99))
    return np.asarray(np.clip((values - low) / (high - low) * 255, 0, 255), np.uint8)

"""Input of the renderer: meshes with materials, lights, and the numbers that shaders take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, InputError, IntArray, RealArray
from sonjit.geometry.cameras import CalibratedCamera

Surface = Literal["skin", "cloth", "rubber", "metal", "plastic", "wood", "image"]
"""Surface of a mesh; `image` takes its colours from an image by `Drawable.uv`."""
NO_PART = 255  # value of `Buffers.parts` and `Drawable.parts` for surfaces without parts
PATTERN_SIZE: Final = 48  # texels along each edge
ATTRIBUTES: Final = {"in_position": 3, "in_normal": 3, "in_place": 3, "in_marks": 4, "in_code": 1}
"""Fields of a row of `Packed.vertices` and their sizes."""

if TYPE_CHECKING:
    pass


_MIN_DEPTH_M: Final = 0.01
_WIDEST: Final = 9.0  # the squared tangent of 71.6 degrees: no lens here bends more
_AMOUNTS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
_CELLS: Final = 12
_LENS_SIZE: Final = 5
_COLUMNS: Final = sum(ATTRIBUTES.values())


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


def near_far(depths: RealArray) -> tuple[float, float]:
    """Return the near and far depth in metres of all vertices (V,) in front of the camera."""
    before = depths[depths > 0]
    if not len(before):
        return _MIN_DEPTH_M, 1.0
    near = max(float(before.min()) * 0.99, _MIN_DEPTH_M)
    return near, max(float(before.max()) * 1.01, 2 * near)


def lens_edge(distortion: RealArray) -> float:
    """Return the squared radius at unit depth where a lens (5,) of k1, k2, p1, p2, k3 starts to fold back on itself."""
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
    """Return boxes (D, 4) as left, top, right, bottom in full pixels around meshes of vertices (V, 3)."""
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
    """Return one box in pixels around all boxes (D, 4); an empty box for none."""
    if not len(boxes):
        return 0, 0, 0, 0
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, right, bottom


def camera_pose(camera: CalibratedCamera) -> tuple[FloatArray, FloatArray]:
    """Return R (3, 3) and t (3,) of a camera; a camera without a pose is at the world's origin."""
    R = np.eye(3) if camera.R is None else camera.R
    t = np.zeros(3) if camera.t is None else camera.t
    return R, t


def camera_uniforms(
    camera: CalibratedCamera, samples: tuple[int, int], depths: tuple[float, float]
) -> Mapping[str, object]:
    """Return the uniforms of the projection of a camera with intrinsics in pixels.

    `samples`: columns and rows of samples: one in the middle of each pixel, one between, one at each edge; `depths`:
    depths of the near and the far plane, metres.
    """
    if camera.distortion is not None and np.shape(camera.distortion) != (_LENS_SIZE,):
        raise InputError("images are rendered with lenses of k1, k2, p1, p2 and k3; the camera has another one")
    R, t = camera_pose(camera)
    K = camera.K * np.array([[2], [2], [1]]) + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return {
        "R": columns(R),
        "t": tuple(t),
        "K": columns(K),
        "samples": samples,
        "near_far": depths,
        "lens": tuple(np.zeros(_LENS_SIZE) if camera.distortion is None else camera.distortion),
        "lens_edge": 0.0 if camera.distortion is None else lens_edge(camera.distortion),
    }


def light_uniforms(lighting: Lighting, camera: CalibratedCamera, light_view: FloatArray | None) -> Mapping[str, object]:
    """Return the light's uniforms in the camera's frame. Directions are of unit length.

    The view (4, 4) leads from the world, in metres, to the shadow map.
    """
    if camera.distortion is not None and np.shape(camera.distortion) != (_LENS_SIZE,):
        raise InputError("images are rendered with lenses of k1, k2, p1, p2 and k3; the camera has another one")
    R, t = camera_pose(camera)
    directions, colours = np.zeros((4, 3)), np.zeros((4, 3))
    for index, light in enumerate(lighting.lights):
        directions[index], colours[index] = R @ np.array(light.direction), light.colour
    back = np.eye(4)
    back[:3, :3], back[:3, 3] = R.T, -R.T @ t
    return {
        "light_count": len(lighting.lights),
        "light_directions": [tuple(row) for row in directions],
        "light_colours": [tuple(row) for row in colours],
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
    """Return the numbers of a matrix (R, C) column by column, as OpenGL stores it."""
    return tuple(matrix.T.reshape(-1).tolist())


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


@dataclass(frozen=True, eq=False)
class Packed:
    """All meshes of an image."""

    # Rows (V, 14) of `ATTRIBUTES`. The place is the rest position, or the position on the image for an `image`; the
    # code is 256 times the drawable's index plus the part
    vertices: Float32Array
    indices: NDArray[np.int32]  # indices (3F,) into `vertices`
    rows: tuple[int, ...]  # index of the first vertex of each drawable
    spans: tuple[tuple[int, int], ...]  # first index and number of indices of each drawable


def pack(drawables: Sequence[Drawable]) -> Packed:
    """Pack all drawables into one table of vertices and one of indices."""
    rows = np.zeros((sum(len(drawable.vertices) for drawable in drawables), _COLUMNS), np.float32)
    indices = np.empty(sum(drawable.faces.size for drawable in drawables), np.int32)
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    row = first = 0
    for number, drawable in enumerate(drawables):
        instance, count = drawable.instance, len(drawable.vertices)
        if drawable.faces.size and (drawable.faces.min() < 0 or drawable.faces.max() >= count):
            raise InputError(f"instance {instance}: faces name vertex {drawable.faces.max()} of {count}; count from 0")
        if drawable.material.surface == "image" and (drawable.material.image is None or drawable.uv is None):
            raise InputError(f"instance {instance}: an image surface requires Material.image and Drawable.uv")
        if not 1 <= instance <= 250:
            raise InputError(f"instance {instance}: instances are 1 to 250")
        part = rows[row : row + len(drawable.vertices)]
        part[:, 0:3] = drawable.vertices
        part[:, 3:6] = drawable.normals
        if drawable.uv is not None and drawable.material.surface == "image":
            part[:, 6:8] = drawable.uv
        else:
            part[:, 6:9] = drawable.vertices if drawable.rest is None else drawable.rest
        if drawable.marks is not None:
            part[:, 9:13] = drawable.marks
        part[:, 13] = NO_PART if drawable.parts is None else drawable.parts
        part[:, 13] += 256 * number
        count = drawable.faces.size
        indices[first : first + count] = drawable.faces.reshape(-1)
        indices[first : first + count] += row
        starts.append(row)
        spans.append((first, count))
        row, first = row + len(part), first + count
    return Packed(rows, indices, tuple(starts), tuple(spans))

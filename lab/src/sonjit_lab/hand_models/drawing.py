"""Draw meshes over images with a depth buffer and smooth shading."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, RealArray
from sonjit.geometry.rotations import vertex_normals
from sonjit.media.drawing.strokes import Colour

_LONGEST: Final = 640  # side in pixels that a mesh is rendered at, at most: its cost has a bound
_FINEST: Final = 2.0  # small meshes are rendered larger and shrunk, for smooth edges
_LIGHT: Final = np.array([-0.45, -0.65, -0.61])  # where it comes from: over the viewer's left shoulder
_MARGIN: Final = 2


def linear_light(colour: Colour) -> tuple[float, float, float]:
    """Convert an sRGB colour to linear red, green and blue, 0 to 1 each, as glTF and renderers use it.

    Source: IEC 61966-2-1.

    >>> [round(light, 4) for light in linear_light((255, 128, 0))]
    [1.0, 0.2159, 0.0]
    """
    srgb = np.array(colour) / 255
    red, green, blue = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).tolist()
    return red, green, blue


def draw_mesh(
    canvas: Image,
    vertices: RealArray,
    faces: NDArray[np.integer],
    colour: Colour,
    *,
    normals: RealArray | None = None,
    opacity: float = 0.6,
) -> None:
    """Draw a shaded mesh over an RGB image (H, W, 3), uint8, in place.

    Vertices (V, 3) are x, y in pixels and z in any unit, smaller is nearer; faces (F, 3) are counterclockwise from
    outside, and back faces are not drawn. Normals (V, 3) are by default the means of each vertex's faces. `opacity`:
    0..1.
    """
    import cv2

    vertices = np.asarray(vertices, np.float64)
    height, width = canvas.shape[:2]
    left, top = np.maximum(np.floor(vertices[:, :2].min(0)).astype(int) - _MARGIN, 0)
    right, bottom = np.minimum(np.ceil(vertices[:, :2].max(0)).astype(int) + _MARGIN, (width, height))
    if right <= left or bottom <= top:
        return  # out of the image
    scale = min(_FINEST, _LONGEST / max(right - left, bottom - top))
    size = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    factor = np.array([size[1] / (right - left), size[0] / (bottom - top), 1.0])
    normals = vertex_normals(vertices, faces) if normals is None else np.asarray(normals, np.float64)
    light, mask = _render((vertices - (left, top, 0)) * factor, normals, faces, size)
    shape = (int(right - left), int(bottom - top))
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    light, mask = (cv2.resize(part, shape, interpolation=interpolation) for part in (light, mask))
    shaded = light[..., :1] / np.maximum(mask, 1e-6)[..., None] * np.array(colour, np.float32)
    shaded += 255 * light[..., 1:] / np.maximum(mask, 1e-6)[..., None]
    part = canvas[top:bottom, left:right]
    cover = (opacity * mask)[..., None]
    part[:] = np.clip(part * (1 - cover) + shaded * cover, 0, 255).astype(np.uint8)


def _render(
    vertices: FloatArray, normals: FloatArray, faces: NDArray[np.integer], size: tuple[int, int]
) -> tuple[Float32Array, Float32Array]:
    """Return diffuse and specular light (h, w, 2), and the coverage (h, w) of the mesh, 0 or 1."""
    height, width = size
    light, mask = np.zeros((height * width, 2), np.float32), np.zeros(height * width, np.float32)
    corners = vertices[faces]  # (F, 3, 3)
    ab, ac = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    low = np.clip(np.ceil(corners[..., :2].min(1) - 0.5).astype(int), 0, (width, height))
    spans = np.clip(np.floor(corners[..., :2].max(1) - 0.5).astype(int) + 1, 0, (width, height)) - low
    counts = np.where(
        area < 0, spans.prod(1), 0
    )  # y points down, so triangles that face the viewer have the opposite order
    face = np.repeat(np.arange(len(faces)), counts)
    within = np.arange(len(face)) - np.repeat(counts.cumsum() - counts, counts)
    x = low[face, 0] + within % spans[face, 0]
    y = low[face, 1] + within // spans[face, 0]
    dx, dy = x + 0.5 - corners[face, 0, 0], y + 0.5 - corners[face, 0, 1]
    second = (dx * ac[face, 1] - dy * ac[face, 0]) / area[face]
    third = (dy * ab[face, 0] - dx * ab[face, 1]) / area[face]
    inside = np.flatnonzero((second >= 0) & (third >= 0) & (second + third <= 1))
    face, pixel, second, third = face[inside], (y * width + x)[inside], second[inside], third[inside]
    shares = np.stack([1 - second - third, second, third], -1)
    depth = (corners[face, :, 2] * shares).sum(1)
    order = np.argsort(-depth, kind="stable")
    nearest = np.full(height * width, -1)
    nearest[pixel[order]] = order  # of several at one pixel the last one stays: the nearest
    covering = nearest[nearest >= 0]
    normal = (normals[faces[face[covering]]] * shares[covering][..., None]).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light[pixel[covering]] = _shade(normal)
    mask[pixel[covering]] = 1
    return light.reshape(height, width, 2), mask.reshape(height, width)


def _shade(normal: FloatArray) -> FloatArray:
    """Return diffuse (wrapped) and specular light (K, 2) of normals (K, 3)."""
    half = _LIGHT + np.array([0.0, 0.0, -1.0])
    half /= np.linalg.norm(half)
    diffuse = 0.3 + 0.75 * np.maximum(0, (normal @ _LIGHT + 0.35) / 1.35)
    gloss = 0.14 * np.maximum(0, normal @ half) ** 16
    return np.stack([diffuse, gloss], -1)

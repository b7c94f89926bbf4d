"""OpenGL without a screen: EGL, on a GPU where there is one, else Mesa's software renderer.

Shaders, compiled on first use; the buffers, uniforms and textures that they take; what an image is drawn into.

Between two samples along each axis that meet in a pixel's centre lies one more: the image's colours are the mean of
the nine around a centre, the nearer the heavier; labels are the centre's own. So edges are smooth and labels exact.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from sonjit.arrays import Float32Array, FloatArray, Image, RealArray
from sonjit.errors import InputError, JobError
from sonjit.extras import needed_for
from sonjit.synthesis.render.drawable import NO_PART, Buffers, lens_edge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import moderngl
    from numpy.typing import NDArray

    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.synthesis.render.drawable import Drawable, Lighting, Material

APT_LINE: Final = "apt-get install libegl1 libgl1-mesa-dri"

"""What Debian and its kin need besides the extra."""

_SHADERS: Final = Path(__file__).with_name("shaders")

_EGL: Final = "libEGL.so.1"


def open_context() -> moderngl.Context:
    """A context of your own; use it within `with context:`, in one thread at a time.

    Mesa's software renderer takes as many threads as `LP_NUM_THREADS` says, else one for each core.

    Raises:
        MissingExtraError: moderngl is not installed.
        JobError: there is no EGL; the line says what to install.
    """
    with needed_for("rendering hands"):
        import moderngl
    with suppress(ImportError):  # PyTorch's first optimizer loads Triton, whose LLVM bears no coming after Mesa's
        importlib.import_module("triton._C.libtriton")
    try:
        # EGL hands out OpenGL's functions too: named as libgl it spares libGL and the developers' links to both.
        return moderngl.create_context(require=330, standalone=True, backend="egl", libgl=_EGL, libegl=_EGL)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # moderngl raises Exception itself, for a missing library and a failed call alike
        raise JobError(f"no OpenGL without a screen ({error}); on Debian type: {APT_LINE}") from None


def renderer_name() -> str:
    """Which renderer a context gets, such as a GPU's name or llvmpipe.

    Raises:
        MissingExtraError: moderngl is not installed.
        JobError: there is no EGL.
    """
    context = open_context()
    try:
        return str(context.info["GL_RENDERER"])
    finally:
        context.release()


@lru_cache
def shader(name: str, *defines: str) -> str:
    """The text of `shaders/<name>.glsl` after its version and `#define`s."""
    head = "".join(f"#define {define}\n" for define in defines)
    return f"#version 330\n{head}{(_SHADERS / f'{name}.glsl').read_text('utf-8')}"


_Number = TypeVar("_Number", np.uint8, np.float32)

PixelBox = tuple[int, int, int, int]

"""left, top, right, bottom in pixels, the last two just outside."""


def samples_of(box: PixelBox) -> PixelBox:
    """The box of samples that a box of pixels takes."""
    left, top, right, bottom = box
    return 2 * left, 2 * top, 2 * right + 1, 2 * bottom + 1


class Targets:
    """Samples of one size of image: what is at each, and its colour."""

    def __init__(self, context: moderngl.Context, size: tuple[int, int]) -> None:
        self.size = size
        self.samples = samples = (2 * size[0] + 1, 2 * size[1] + 1)
        depth = context.depth_renderbuffer(samples)
        self.surfaces = [
            context.texture(samples, 4, dtype="f4"),
            context.texture(samples, 4, dtype="f4"),
            context.texture(samples, 2, dtype="f4"),
            context.texture(samples, 4),
        ]
        for each in self.surfaces:
            each.filter = (context.NEAREST, context.NEAREST)
        self.skies = context.texture(size, 1)
        self.skies.repeat_x = self.skies.repeat_y = False
        self.sky = context.framebuffer([self.skies])
        self.lights = context.texture(samples, 4)
        self.lights.repeat_x = self.lights.repeat_y = False
        self.geometry = context.framebuffer(self.surfaces, depth)
        self.colours = context.framebuffer([self.lights], depth)
        self.colours.depth_mask = False
        kinds = ((4, "f1"), (4, "f4"), (1, "f4"))
        self.image = context.framebuffer([context.renderbuffer(size, n, dtype=kind) for n, kind in kinds])
        attached = (*self.surfaces, self.lights, self.skies, depth, *self.image.color_attachments)
        self._all = (self.geometry, self.colours, self.sky, self.image, *attached)

    def release(self) -> None:
        """Give the memory back."""
        for each in self._all:
            each.release()

    def read(self, box: PixelBox, instances: NDArray[np.uint8], background: Image) -> Buffers:
        """The image and its labels.

        Args:
            box: outside of which nothing was drawn.
            instances: by number of drawable.
            background: (H, W, 3) of the image's own size.
        """
        width, height = self.size
        left, top, right, bottom = box
        rgb, cover = background.copy(), np.zeros((height, width), np.float32)
        depth, normals = np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32)
        names, parts = np.zeros((height, width), np.uint8), np.full((height, width), NO_PART, np.uint8)
        if right > left and bottom > top:
            where = np.s_[top:bottom, left:right]
            rgba = self._pixels(0, box, np.uint8, 4)
            cover[where] = rgba[..., 3] * np.float32(1 / 255)
            rgb[where] = _over(rgba, background[where])
            surface = self._pixels(1, box, np.float32, 4)
            depth[where] = surface[..., 3]
            normals[where] = surface[..., :3]
            code = self._pixels(2, box, np.float32, 1)[..., 0].astype(np.int32)
            there = surface[..., 3] > 0
            names[where] = np.where(there, instances[code >> 8], 0)
            parts[where] = np.where(there, code & 255, NO_PART)
        return Buffers(rgb, cover, depth, normals, names, parts)

    def _pixels(self, number: int, box: PixelBox, kind: type[_Number], channels: int) -> NDArray[_Number]:
        left, top, right, bottom = box
        part = (left, top, right - left, bottom - top)
        dtype = "f4" if kind is np.float32 else "f1"
        data = self.image.read(part, channels, attachment=number, alignment=1, dtype=dtype)
        return np.frombuffer(data, kind).reshape(bottom - top, right - left, channels)


def _over(rgba: NDArray[np.uint8], background: Image) -> Image:
    """An image whose colours are already times its cover, over another."""
    clear = np.uint8(255) - rgba[..., 3:]
    behind = (background * clear.astype(np.uint16) + np.uint16(127)) // np.uint16(255)
    return rgba[..., :3] + behind.astype(np.uint8)


SHADOW_SIZE: Final = 512
"""Width and height of the shadow map."""

REACH_M: Final = 0.022
"""How far what is near a point takes light from it."""

UNITS: Final = ("points", "facings", "mores", "kinds", "patterns", "shadow_map", "skies", "lights", "image")
"""Samplers of all shaders in the order of their texture units."""

_SOURCES: Final = {
    "mesh": ("mesh.vert", "mesh.frag"),
    "shadow": ("shadow.vert", "shadow.frag"),
    "owner": ("rectangle.vert", "owner.frag"),
    "openness": ("rectangle.vert", "openness.frag"),
    "resolve": ("rectangle.vert", "resolve.frag"),
}

_IMAGES_KEPT: Final = 8


class Programs:
    """What one context can draw: the meshes of a scene, and rectangles. Every name but a few is a surface's."""

    def __init__(self, context: moderngl.Context) -> None:
        self.context = context
        self.packed: Packed = pack(())
        self._vertices = context.buffer(reserve=1 << 20, dynamic=True)
        self._indices = context.buffer(reserve=1 << 18, dynamic=True)
        self._programs: dict[str, moderngl.Program] = {}
        self._members: dict[str, frozenset[str]] = {}
        self._arrays: dict[str, moderngl.VertexArray] = {}
        self._images: dict[int, tuple[NDArray[np.uint8], moderngl.Texture]] = {}

    def send(self, packed: Packed) -> None:
        """From now on these are the meshes."""
        self.packed = packed
        for buffer, array in ((self._vertices, packed.vertices), (self._indices, packed.indices)):
            if buffer.size < array.nbytes:
                buffer.orphan(2 * array.nbytes)
            buffer.write(array)

    def meshes(self, name: str, uniforms: Mapping[str, object], closed: Iterable[bool]) -> None:
        """All meshes; of closed ones only what faces the camera or the light: half the work."""
        array = self._array(name, uniforms)
        for whole, (first, count) in zip(closed, self.packed.spans, strict=True):
            (self.context.enable if whole else self.context.disable)(self.context.CULL_FACE)
            array.render(vertices=count, first=first)

    def rectangle(self, name: str, box: PixelBox, size: tuple[int, int], uniforms: Mapping[str, object]) -> None:
        """A box of a target of `size`."""
        corners = tuple((np.array(box) * 2 / np.tile(size, 2) - 1).tolist())
        self._array(name, {**uniforms, "box": corners}).render(self.context.TRIANGLE_STRIP, vertices=4)

    def image(self, image: Image) -> moderngl.Texture:
        """A texture of an image; the last few are kept."""
        if id(image) not in self._images:
            if len(self._images) == _IMAGES_KEPT:
                self._images.pop(next(iter(self._images)))[1].release()
            height, width = image.shape[:2]
            texture = self.context.texture((width, height), 3, np.ascontiguousarray(image), alignment=1)
            texture.build_mipmaps()
            texture.filter = (self.context.LINEAR_MIPMAP_LINEAR, self.context.LINEAR)
            texture.repeat_x = texture.repeat_y = False
            self._images[id(image)] = (image, texture)
        return self._images[id(image)][1]

    def _array(self, name: str, uniforms: Mapping[str, object]) -> moderngl.VertexArray:
        """What a program draws, its uniforms set; those that it does not use are left out."""
        program = self._program(name)
        if name not in self._arrays:
            layout = " ".join(f"{n}f" if each in program else f"{4 * n}x" for each, n in ATTRIBUTES.items())
            used = [each for each in ATTRIBUTES if each in program]
            content = [(self._vertices, layout, *used)] if used else []
            indices = self._indices if used else None
            self._arrays[name] = self.context.vertex_array(program, content, indices, index_element_size=4)
        self._set(name, uniforms)
        return self._arrays[name]

    def _program(self, name: str) -> moderngl.Program:
        if name not in self._programs:
            defines = (name.upper(), f"SHADOW_SIZE {SHADOW_SIZE}.0", f"REACH {REACH_M}")
            vertex, fragment = _SOURCES.get(name, ("rectangle.vert", "surface.frag"))
            program = self.context.program(shader(vertex, *defines), shader(fragment, *defines))
            self._programs[name], self._members[name] = program, frozenset(program)
            self._set(name, {sampler: unit for unit, sampler in enumerate(UNITS)})
        return self._programs[name]

    def _set(self, name: str, uniforms: Mapping[str, object]) -> None:
        program, members = self._programs[name], self._members[name]
        for each, value in uniforms.items():
            if each in members:
                program[each] = value


ATTRIBUTES: Final = {"in_position": 3, "in_normal": 3, "in_place": 3, "in_marks": 4, "in_code": 1}
"""What is in a row of `Packed.vertices`, and how many numbers each takes."""

_COLUMNS: Final = sum(ATTRIBUTES.values())


@dataclass(frozen=True, eq=False)
class Packed:
    """All meshes of an image.

    Attributes:
        vertices: (V, 14) as `ATTRIBUTES` says. The place is that at rest, or on the image for an `image`; the code is
            256 times the drawable's number plus the part.
        indices: (3F,) rows of `vertices`.
        rows: per drawable its first vertex.
        spans: per drawable its first index and how many.
    """

    vertices: Float32Array
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


_AMOUNTS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")


def placed(camera: CalibratedCamera) -> tuple[FloatArray, FloatArray]:
    """R (3, 3) and t (3,) of a camera; one without a place is in the world's origin."""
    R = np.eye(3) if camera.R is None else camera.R
    t = np.zeros(3) if camera.t is None else camera.t
    return R, t


def camera_uniforms(
    camera: CalibratedCamera, samples: tuple[int, int], depths: tuple[float, float]
) -> Mapping[str, object]:
    """Where meshes fall.

    Args:
        camera: onto pixels.
        samples: columns and rows of samples: one in the middle of each pixel, one between, one at each edge.
        depths: near and far, metres.
    """
    R, t = placed(camera)
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
    """Light in the camera's frame.

    Args:
        lighting: in the world.
        camera: that sees it.
        light_view: (4, 4) from the world into the shadow map; None without shadows.
    """
    R, t = placed(camera)
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
    """A surface."""
    return {
        **{name: material.amounts.get(name, 0.0) for name in _AMOUNTS},
        "albedo": material.albedo,
        "roughness": material.roughness,
        "variant": material.variant,
        "seed": material.seed,
    }


def columns(matrix: RealArray) -> tuple[float, ...]:
    """As OpenGL stores it."""
    return tuple(matrix.T.reshape(-1).tolist())


PATTERN_SIZE: Final = 48
"""Texels along each edge."""

_CELLS: Final = 12


@lru_cache(maxsize=1)
def solid_pattern() -> Image:
    """(S, S, S, 4), S = `PATTERN_SIZE`: fine noise, softer noise, distance to a cell's middle, and from its border."""
    rng = np.random.default_rng(20240229)
    fine, soft = rng.random((2, PATTERN_SIZE, PATTERN_SIZE, PATTERN_SIZE), np.float32)
    for axis in range(3):
        for _ in range(2):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    nearest, border = _cells(rng)
    return np.stack([_spread(fine), _spread(soft), nearest, border], -1)


def _cells(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Distances within cells around scattered points, one point in each box of a grid."""
    per = PATTERN_SIZE // _CELLS
    points = rng.random((_CELLS, _CELLS, _CELLS, 3), np.float32) * per
    inside = np.stack(
        np.meshgrid(*[np.arange(per, dtype=np.float32) + 0.5] * 3, indexing="ij"), -1
    )  # (per, per, per, 3)
    first = np.full((_CELLS,) * 3 + (per,) * 3, np.inf, np.float32)
    second = first.copy()
    for step in product((-1, 0, 1), repeat=3):
        there = np.roll(points, step, (0, 1, 2)) - np.array(step, np.float32) * per
        distance = np.linalg.norm(inside - there[:, :, :, None, None, None], axis=-1)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    cubes = [cube.transpose(0, 3, 1, 4, 2, 5).reshape((PATTERN_SIZE,) * 3) / per for cube in (first, second - first)]
    return _spread(cubes[0]), _spread(cubes[1])


def _spread(values: RealArray) -> Image:
    """0 to 255 from the 1st to the 99th hundredth."""
    low, high = np.percentile(values, (1, 99))
    return np.asarray(np.clip((values - low) / (high - low) * 255, 0, 255), np.uint8)

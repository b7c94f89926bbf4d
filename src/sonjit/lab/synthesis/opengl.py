"""Open OpenGL without a screen: EGL on a GPU if there is one, else Mesa's software renderer.

The module compiles shaders on first use. It fills their buffers and creates the targets that images are drawn
into.

There is one more sample along each axis between the centres of neighbouring pixels. A pixel's colour is the
weighted mean of the nine samples around its centre, nearer ones weighted more; its labels are those of the centre.
Edges are therefore smooth and labels exact.
"""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from sonjit._util.arrays import Float32Array, Image
from sonjit._util.errors import InputError, JobError
from sonjit._util.extras import optional_import
from sonjit.lab.synthesis.drawable import NO_PART, Buffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import moderngl
    from numpy.typing import NDArray

    from sonjit.lab.synthesis.drawable import Drawable

APT_LINE: Final = "apt-get install libegl1 libgl1-mesa-dri"
"""Debian packages required in addition to the extra."""

_SHADERS: Final = Path(__file__).with_name("shaders")

_EGL: Final = "libEGL.so.1"

_Number = TypeVar("_Number", np.uint8, np.float32)
PixelBox = tuple[int, int, int, int]
"""left, top, right, bottom in pixels, the last two exclusive."""
SHADOW_SIZE: Final = 512
"""Width and height of the shadow map."""
OCCLUSION_REACH_M: Final = 0.022
"""Distance within which surfaces darken a point."""
UNITS: Final = ("points", "facings", "mores", "kinds", "patterns", "shadow_map", "skies", "lights", "image")
"""Samplers of all shaders in the order of their texture units."""
_SOURCES: Final = {
    "mesh": ("mesh.vert", "mesh.frag"),
    "shadow": ("shadow.vert", "shadow.frag"),
    "owner": ("rectangle.vert", "owner.frag"),
    "openness": ("rectangle.vert", "openness.frag"),
    "resolve": ("rectangle.vert", "resolve.frag"),
}
_MAX_IMAGES: Final = 8
ATTRIBUTES: Final = {"in_position": 3, "in_normal": 3, "in_place": 3, "in_marks": 4, "in_code": 1}
"""Fields of a row of `Packed.vertices` and their sizes."""
_COLUMNS: Final = sum(ATTRIBUTES.values())


def open_context() -> moderngl.Context:
    """Create a context of your own. Use it within `with context:`, in one thread at a time.

    Mesa's software renderer draws in the calling thread unless `LP_NUM_THREADS` is set. Its own threads may write to a
    fence that the calling thread has already freed (seen in Mesa 22.3.6), which ends the process.

    Raises:
        MissingExtraError: moderngl is not installed.
        JobError: EGL is missing. The message names the packages to install.
    """
    with optional_import("rendering hands"):
        import moderngl
    with suppress(ImportError):  # PyTorch's first optimizer loads Triton, whose LLVM bears no coming after Mesa's
        importlib.import_module("triton._C.libtriton")
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa reads it once in a process, with the first context
    try:
        # EGL hands out OpenGL's functions too: named as libgl it spares libGL and the developers' links to both.
        return moderngl.create_context(require=330, standalone=True, backend="egl", libgl=_EGL, libegl=_EGL)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # moderngl raises Exception itself, for a missing library and a failed call alike
        raise JobError(f"no OpenGL without a screen ({error}); on Debian type: {APT_LINE}") from None


def renderer_name() -> str:
    """Return the name of the renderer of a context, such as a GPU's name or llvmpipe.

    Raises:
        MissingExtraError: moderngl is not installed.
        JobError: EGL is missing.
    """
    context = open_context()
    try:
        return str(context.info["GL_RENDERER"])
    finally:
        context.release()


@lru_cache
def shader(name: str, *defines: str) -> str:
    """Return the text of `shaders/<name>.glsl` after its version and `#define`s."""
    head = "".join(f"#define {define}\n" for define in defines)
    return f"#version 330\n{head}{(_SHADERS / f'{name}.glsl').read_text('utf-8')}"


def samples_of(box: PixelBox) -> PixelBox:
    """Return the box of samples for a box of pixels."""
    left, top, right, bottom = box
    return 2 * left, 2 * top, 2 * right + 1, 2 * bottom + 1


class Targets:
    """Surfaces and colours of the samples of one image size."""

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
        """Free the memory."""
        for each in self._all:
            each.release()

    def read(self, box: PixelBox, instances: NDArray[np.uint8], background: Image) -> Buffers:
        """Return the image and its labels.

        Args:
            box: Box that contains everything that was drawn.
            instances: Instance by index of the drawable.
            background: Image (H, W, 3) of the same size.
        """
        width, height = self.size
        left, top, right, bottom = box
        rgb, cover = background.copy(), np.zeros((height, width), np.float32)
        depth, normals = np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32)
        names, parts = np.zeros((height, width), np.uint8), np.full((height, width), NO_PART, np.uint8)
        if right > left and bottom > top:
            area = np.s_[top:bottom, left:right]
            rgba = self._pixels(0, box, np.uint8, 4)
            cover[area] = rgba[..., 3] * np.float32(1 / 255)
            rgb[area] = _composite(rgba, background[area])
            surface = self._pixels(1, box, np.float32, 4)
            depth[area] = surface[..., 3]
            normals[area] = surface[..., :3]
            code = self._pixels(2, box, np.float32, 1)[..., 0].astype(np.int32)
            is_foreground = surface[..., 3] > 0
            names[area] = np.where(is_foreground, instances[code >> 8], 0)
            parts[area] = np.where(is_foreground, code & 255, NO_PART)
        return Buffers(rgb=rgb, cover=cover, depth=depth, normals=normals, instances=names, parts=parts)

    def _pixels(self, number: int, box: PixelBox, kind: type[_Number], channels: int) -> NDArray[_Number]:
        left, top, right, bottom = box
        part = (left, top, right - left, bottom - top)
        dtype = "f4" if kind is np.float32 else "f1"
        data = self.image.read(part, channels, attachment=number, alignment=1, dtype=dtype)
        return np.frombuffer(data, kind).reshape(bottom - top, right - left, channels)


def _composite(rgba: NDArray[np.uint8], background: Image) -> Image:
    """Return an image with premultiplied colours over another."""
    clear = np.uint8(255) - rgba[..., 3:]
    behind = (background * clear.astype(np.uint16) + np.uint16(127)) // np.uint16(255)
    return rgba[..., :3] + behind.astype(np.uint8)


class Programs:
    """Shader programs of one context: meshes of a scene, and rectangles. Most names are those of surfaces."""

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
        """Replace the meshes."""
        self.packed = packed
        for buffer, array in ((self._vertices, packed.vertices), (self._indices, packed.indices)):
            if buffer.size < array.nbytes:
                buffer.orphan(2 * array.nbytes)
            buffer.write(array)

    def meshes(self, name: str, uniforms: Mapping[str, object], closed: Iterable[bool]) -> None:
        """Draw all meshes. Closed ones only where they face the camera or the light, which halves the work."""
        array = self._array(name, uniforms)
        for is_closed, (first, count) in zip(closed, self.packed.spans, strict=True):
            (self.context.enable if is_closed else self.context.disable)(self.context.CULL_FACE)
            array.render(vertices=count, first=first)

    def rectangle(self, name: str, box: PixelBox, size: tuple[int, int], uniforms: Mapping[str, object]) -> None:
        """Draw a box of a target of `size`."""
        corners = tuple((np.array(box) * 2 / np.tile(size, 2) - 1).tolist())
        self._array(name, {**uniforms, "box": corners}).render(self.context.TRIANGLE_STRIP, vertices=4)

    def image(self, image: Image) -> moderngl.Texture:
        """Return a texture of an image; the last few are cached."""
        if id(image) not in self._images:
            if len(self._images) == _MAX_IMAGES:
                self._images.pop(next(iter(self._images)))[1].release()
            height, width = image.shape[:2]
            texture = self.context.texture((width, height), 3, np.ascontiguousarray(image), alignment=1)
            texture.build_mipmaps()
            texture.filter = (self.context.LINEAR_MIPMAP_LINEAR, self.context.LINEAR)
            texture.repeat_x = texture.repeat_y = False
            self._images[id(image)] = (image, texture)
        return self._images[id(image)][1]

    def _array(self, name: str, uniforms: Mapping[str, object]) -> moderngl.VertexArray:
        """Return the vertex array of a program with its uniforms set. Uniforms that it does not use are ignored."""
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
            defines = (name.upper(), f"SHADOW_SIZE {SHADOW_SIZE}.0", f"REACH {OCCLUSION_REACH_M}")
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


@dataclass(frozen=True, eq=False)
class Packed:
    """All meshes of an image.

    Attributes:
        vertices: Rows (V, 14) of `ATTRIBUTES`. The place is the rest position, or the position on the image for an
            `image`; the code is 256 times the drawable's index plus the part.
        indices: Indices (3F,) into `vertices`.
        rows: Index of the first vertex of each drawable.
        spans: First index and number of indices of each drawable.
    """

    vertices: Float32Array
    indices: NDArray[np.int32]
    rows: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


def pack(drawables: Sequence[Drawable]) -> Packed:
    """Pack all drawables into one table of vertices and one of indices.

    Raises:
        InputError: A drawable's arrays do not fit each other.
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
        raise InputError(f"instance {drawable.instance}: an image surface requires Material.image and Drawable.uv")
    if not 1 <= drawable.instance <= 250:
        raise InputError(f"instance {drawable.instance}: instances are 1 to 250")

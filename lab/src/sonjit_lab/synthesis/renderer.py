"""Renderer: meshes, light and a camera in, an image with labels of each pixel out, with OpenGL without a screen.

OpenGL is opened through EGL on a GPU if there is one, else in Mesa's software renderer. All meshes are drawn once into
samples of position, normal and owner, then each sample is lit once, which makes thousands of small triangles cheap. One
more sample is between neighbouring pixels. A pixel's colour is the weighted mean of the nine samples around its centre,
its labels are those of the centre: edges are smooth and labels exact. World and camera frames: x right, y down, z
forward, metres. Colours are linear RGB, 0 to 1.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, InputError, IntArray, JobError, optional_import
from sonjit.geometry.cameras import CalibratedCamera

if TYPE_CHECKING:
    import moderngl
from sonjit_lab.synthesis.drawables import (
    ATTRIBUTES,
    NO_PART,
    PATTERN_SIZE,
    Drawable,
    Light,
    Lighting,
    Packed,
    box_around,
    boxes_px,
    camera_pose,
    camera_uniforms,
    columns,
    light_uniforms,
    light_view,
    material_uniforms,
    near_far,
    pack,
    solid_pattern,
)

APT_LINE: Final = "apt-get install libegl1 libgl1-mesa-dri"  # Debian packages required in addition to the extra
_SHADERS: Final = Path(__file__).with_name("shaders")
_EGL: Final = "libEGL.so.1"
_Number = TypeVar("_Number", np.uint8, np.float32)
PixelBox = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two exclusive
SHADOW_SIZE: Final = 512  # width and height of the shadow map
OCCLUSION_REACH_M: Final = 0.022  # distance within which surfaces darken a point
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
_CLIP_DISTANCE: Final = 0x3000  # GL_CLIP_DISTANCE0
_MAX_PIXELS: Final = 1 << 21  # at once; larger images are drawn in strips
_MAX_TARGETS: Final = 3


@dataclass(frozen=True, eq=False)
class Buffers:
    """Buffers of one camera."""

    rgb: Image  # image (H, W, 3), uint8 sRGB, smooth at edges, with the background
    cover: Float32Array  # share (H, W) of foreground in each pixel, float32, 0 to 1
    depth: Float32Array  # depth (H, W) in metres along the camera's z, float32; 0 for background
    normals: Float32Array  # normals (H, W, 3) in the camera's frame, float32; 0 for background
    instances: NDArray[np.uint8]  # `Drawable.instance` (H, W) at the pixel's centre, uint8; 0 for background
    parts: NDArray[np.uint8]  # joint (H, W) of the visible skin, uint8; `NO_PART` elsewhere


def open_context() -> moderngl.Context:
    """Create a context of your own. Use it within `with context:`, in one thread at a time.

    Mesa's software renderer draws in the calling thread unless `LP_NUM_THREADS` is set. Its own threads may write to a
    fence that the calling thread has already freed (seen in Mesa 22.3.6), which ends the process.
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
    """Return the name of the renderer of a context, such as a GPU's name or llvmpipe."""
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
        for texture in self.surfaces:
            texture.filter = (context.NEAREST, context.NEAREST)
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
        for resource in self._all:
            resource.release()

    def read(self, box: PixelBox, instances: NDArray[np.uint8], background: Image) -> Buffers:
        """Return the image over a background (H, W, 3), and its labels."""
        width, height = self.size
        left, top, right, bottom = box
        rgb, cover = background.copy(), np.zeros((height, width), np.float32)
        depth, normals = np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32)
        names, parts = np.zeros((height, width), np.uint8), np.full((height, width), NO_PART, np.uint8)
        if right > left and bottom > top:
            area = np.s_[top:bottom, left:right]
            rgba = self._pixels(0, box, np.uint8, 4)
            cover[area] = rgba[..., 3] * np.float32(1 / 255)
            clear = (np.uint8(255) - rgba[..., 3:]).astype(np.uint16)
            behind = (background[area] * clear + np.uint16(127)) // np.uint16(255)
            rgb[area] = rgba[..., :3] + behind.astype(np.uint8)  # premultiplied colours over the background
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
        """Return a texture of an RGB image (H, W, 3); the last few are cached."""
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
            layout = " ".join(f"{n}f" if attribute in program else f"{4 * n}x" for attribute, n in ATTRIBUTES.items())
            used = [attribute for attribute in ATTRIBUTES if attribute in program]
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
        for uniform, value in uniforms.items():
            if uniform in self._members[name]:
                self._programs[name][uniform] = value


def _samples_of(box: PixelBox) -> PixelBox:
    """Return the box of samples for a box of pixels."""
    left, top, right, bottom = box
    return 2 * left, 2 * top, 2 * right + 1, 2 * bottom + 1


class Renderer:
    """Renderer of images, with or without shadows. Use it as a context manager, in one thread at a time.

    It compiles its shaders once and caches the last meshes, so that more views of them cost less.
    """

    def __init__(self, *, shadows: bool = True) -> None:
        self._context = context = open_context()
        self._shadows = shadows
        self._targets: dict[tuple[int, int], Targets] = {}
        self._drawables: tuple[Drawable, ...] = ()
        self._light: FloatArray | None = None
        with context:
            context.front_face = "cw"  # the image's rows run downwards
            self._programs = Programs(context)
            self._patterns = context.texture3d((PATTERN_SIZE, PATTERN_SIZE, PATTERN_SIZE), 4, solid_pattern().tobytes())
            self._patterns.build_mipmaps()
            self._patterns.filter = (context.LINEAR_MIPMAP_NEAREST, context.LINEAR)
            self._shadow_map = context.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
            self._shadow_map.compare_func = "<="
            self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
            self._shadow = context.framebuffer(depth_attachment=self._shadow_map)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all memory."""
        self._context.release()

    def render(
        self,
        drawables: Sequence[Drawable],
        camera: CalibratedCamera,
        size: tuple[int, int],
        lighting: Lighting,
        background: Image,
    ) -> Buffers:
        """Render an image, a width and height, with its labels; the background (H, W, 3) uint8 is stretched over it."""
        width, height = size
        if min(size) < 1 or max(size) > 8000:
            raise InputError(f"an image of {width} x {height} pixels: 1 to 8000 each way can be drawn")
        if len(lighting.lights) > 4:
            raise InputError(f"{len(lighting.lights)} lights: at most 4 can be drawn")
        if background.shape[:2] != (height, width):
            shrinks = background.shape[0] > height
            background = np.asarray(
                cv2.resize(background, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
            )
        rows = max(_MAX_PIXELS // width, 1)
        with self._context:
            self._load(drawables)
            self._draw_shadows(lighting)
            strips = [
                self._strip(camera, (width, min(rows, height - top)), lighting, background[top : top + rows], top)
                for top in range(0, height, rows)
            ]
        if len(strips) == 1:
            return strips[0]
        joined = [np.concatenate([getattr(buffers, field.name) for buffers in strips]) for field in fields(Buffers)]
        return Buffers(*joined)

    def _strip(
        self, camera: CalibratedCamera, size: tuple[int, int], lighting: Lighting, background: Image, top: int
    ) -> Buffers:
        """Render the rows of an image that start at `top`."""
        if top:
            K = camera.K.copy()
            K[1, 2] -= top
            camera = replace(camera, K=K)
        targets = self._target(size)
        R, t = camera_pose(camera)
        packed = self._programs.packed
        points = packed.vertices[:, :3] @ R.T.astype(np.float32) + t.astype(np.float32)
        boxes = boxes_px(points, packed.rows, camera, size)
        around = box_around(boxes)
        self._draw_geometry(targets, around, camera_uniforms(camera, targets.samples, near_far(points[:, 2])))
        textures = (*targets.surfaces, self._patterns, self._shadow_map, targets.skies, targets.lights)
        for unit, texture in enumerate(textures):
            texture.use(unit)
        self._draw_openness(targets, around, 2 * OCCLUSION_REACH_M * float(camera.K[0, 0]))
        self._draw_light(targets, boxes, light_uniforms(lighting, camera, self._light))
        targets.image.use()
        self._context.enable_only(self._context.NOTHING)
        step = tuple(1 / np.array(targets.samples))
        self._programs.rectangle("resolve", around, targets.size, {"step": step})
        instances = np.array([drawable.instance for drawable in self._drawables], np.uint8)
        return targets.read(around, instances, background)

    def _load(self, drawables: Sequence[Drawable]) -> None:
        """Send the meshes, unless they are the ones that were sent last."""
        if len(drawables) == len(self._drawables) and all(
            a is b for a, b in zip(drawables, self._drawables, strict=True)
        ):
            return
        self._programs.send(pack(drawables))
        self._drawables, self._light = tuple(drawables), None

    def _target(self, size: tuple[int, int]) -> Targets:
        if size not in self._targets:
            if len(self._targets) == _MAX_TARGETS:
                self._targets.pop(next(iter(self._targets))).release()
            self._targets[size] = Targets(self._context, size)
        return self._targets[size]

    def _draw_shadows(self, lighting: Lighting) -> None:
        first: Light | None = lighting.lights[0] if lighting.lights else None
        if first is None or not first.shadows or not self._shadows or not self._drawables:
            self._light = None
            return
        bodies = [drawable.vertices for drawable in self._drawables if drawable.parts is not None]
        view = light_view(
            first.direction, np.concatenate(bodies or [drawable.vertices for drawable in self._drawables])
        )
        if self._light is not None and np.array_equal(view, self._light):
            return
        self._light = view
        self._shadow.use()
        self._shadow.clear()
        self._draw_meshes("shadow", {"light_view": columns(view)})

    def _draw_geometry(self, targets: Targets, around: PixelBox, uniforms: Mapping[str, object]) -> None:
        left, top, right, bottom = _samples_of(around)
        targets.geometry.use()
        targets.geometry.clear(viewport=(left, top, right - left, bottom - top))
        bent = bool(uniforms["lens_edge"])
        if bent:
            self._context.enable_direct(_CLIP_DISTANCE)
        self._draw_meshes("mesh", uniforms)
        if bent:
            self._context.disable_direct(_CLIP_DISTANCE)

    def _draw_meshes(self, name: str, uniforms: Mapping[str, object]) -> None:
        self._context.enable_only(self._context.DEPTH_TEST)
        self._context.depth_func = "<"
        self._programs.meshes(name, uniforms, [drawable.material.surface == "skin" for drawable in self._drawables])

    def _draw_openness(self, targets: Targets, around: PixelBox, reach: float) -> None:
        targets.sky.use()
        self._context.enable_only(self._context.NOTHING)
        left, top, right, bottom = _samples_of(around)
        within = (left, top, right - 1, bottom - 1)  # outside are pixels of another image
        self._programs.rectangle("openness", around, targets.size, {"reach": reach, "within": within})

    def _draw_light(self, targets: Targets, boxes: IntArray, uniforms: Mapping[str, object]) -> None:
        """Light each drawable's samples in its own box."""
        targets.colours.use()
        self._context.enable_only(self._context.DEPTH_TEST)
        self._context.depth_func = "1"
        targets.colours.depth_mask = True
        self._programs.rectangle("owner", _samples_of(box_around(boxes)), targets.samples, {})
        targets.colours.depth_mask = False
        self._context.depth_func = "=="  # a drawable's rectangle passes where a sample is its own
        for number, (drawable, (left, top, right, bottom)) in enumerate(
            zip(self._drawables, boxes.tolist(), strict=True)
        ):
            if right <= left or bottom <= top:
                continue
            material = drawable.material
            if material.surface == "image" and material.image is not None:
                self._programs.image(material.image).use(UNITS.index("image"))
            drawable_uniforms = {**uniforms, **material_uniforms(material), "whose": float(number)}
            box = _samples_of((left, top, right, bottom))
            self._programs.rectangle(material.surface, box, targets.samples, drawable_uniforms)

"""Meshes, light and a camera in; a picture and what stands at each of its pixels out.

All meshes are drawn once, without light, into samples of place, normal and owner; then each sample is lit once. A hand
of thousands of small triangles costs a software renderer little that way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import cv2
import numpy as np

from sonjit.errors import InputError
from sonjit.synthesis.drawable import Buffers
from sonjit.synthesis.gl_context import open_context, shader
from sonjit.synthesis.packing import ATTRIBUTES, Packed, pack
from sonjit.synthesis.patterns import SIZE, solid_pattern
from sonjit.synthesis.targets import Box, Targets
from sonjit.synthesis.views import boxes_px, lens_edge, light_view, near_far

if TYPE_CHECKING:
    from collections.abc import Sequence

    import moderngl
    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera
    from sonjit.synthesis.drawable import Drawable, Light, Lighting

_SHADOW_SIZE: Final = 512
_CLIP_DISTANCE: Final = 0x3000  # GL_CLIP_DISTANCE0
_MOST_PIXELS: Final = 1 << 21  # at once; larger pictures are drawn in strips
_REACH_M: Final = 0.022  # how far what stands near a point takes light from it
_AMOUNTS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
_UNITS: Final = ("points", "facings", "mores", "kinds", "patterns", "shadow_map", "skies", "image")
_SOURCES: Final = {
    "mesh": ("mesh.vert", "mesh.frag"),
    "shadow": ("shadow.vert", "shadow.frag"),
    "openness": ("rectangle.vert", "openness.frag"),
    "picture": ("rectangle.vert", "picture.frag"),
}


class Renderer:
    """Draws pictures; compiles its shaders once and keeps what it drew last, so that more views of it cost less.

    Use it as a context manager, in one thread at a time; several may live side by side.

    Args:
        shadows: lights that ask for shadows cast them.

    Raises:
        MissingExtraError: moderngl is not installed.
        JobError: there is no OpenGL on this machine; the line says what to install.
    """

    def __init__(self, *, shadows: bool = True) -> None:
        self._context = context = open_context()
        self._shadows = shadows
        self._programs: dict[str, moderngl.Program] = {}
        self._meshes: dict[str, moderngl.VertexArray] = {}
        self._targets: dict[tuple[int, int], Targets] = {}
        self._images: dict[int, tuple[NDArray[np.uint8], moderngl.Texture]] = {}
        self._held: tuple[Drawable, ...] = ()
        self._packed: Packed = pack(())
        self._light: NDArray[np.float64] | None = None
        with context:
            context.enable_direct(_CLIP_DISTANCE)
            context.front_face = "cw"  # the picture's rows run downwards
            self._vertices = context.buffer(reserve=1 << 20, dynamic=True)
            self._indices = context.buffer(reserve=1 << 18, dynamic=True)
            self._patterns = context.texture3d((SIZE, SIZE, SIZE), 4, solid_pattern().tobytes())
            self._patterns.build_mipmaps()
            self._patterns.filter = (context.LINEAR_MIPMAP_NEAREST, context.LINEAR)
            self._shadow_map = context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
            self._shadow_map.compare_func = "<="
            self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
            self._shadow = context.framebuffer(depth_attachment=self._shadow_map)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all memory back."""
        self._context.release()

    def render(
        self,
        drawables: Sequence[Drawable],
        camera: SampleCamera,
        size: tuple[int, int],
        lighting: Lighting,
        background: NDArray[np.uint8],
    ) -> Buffers:
        """One picture with its labels.

        Args:
            drawables: in the world; where the camera has no place, in its frame.
            camera: any principal point, any focal lengths, a lens or none.
            size: (width, height) pixels.
            lighting: in the world.
            background: (H, W, 3) uint8 RGB, stretched over the picture.

        Raises:
            InputError: the size, the lighting or a drawable cannot be drawn.
        """
        width, height = size
        if min(size) < 1 or max(size) > 8000:
            raise InputError(f"a picture of {width} x {height} pixels: 1 to 8000 each way can be drawn")
        if len(lighting.lights) > 4:
            raise InputError(f"{len(lighting.lights)} lights: at most 4 can be drawn")
        if background.shape[:2] != (height, width):
            shrinks = background.shape[0] > height
            background = np.asarray(
                cv2.resize(background, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
            )
        rows = max(_MOST_PIXELS // width, 1)
        with self._context:
            self._load(drawables)
            self._draw_shadows(lighting)
            strips = [
                self._strip(camera, (width, min(rows, height - top)), lighting, background[top : top + rows], top)
                for top in range(0, height, rows)
            ]
        if len(strips) == 1:
            return strips[0]
        return Buffers(*(np.concatenate([getattr(each, name) for each in strips]) for name in _BUFFERS))

    def _strip(
        self,
        camera: SampleCamera,
        size: tuple[int, int],
        lighting: Lighting,
        background: NDArray[np.uint8],
        top: int,
    ) -> Buffers:
        """Rows of a picture from `top` on."""
        if top:
            K = camera.K.copy()
            K[1, 2] -= top
            camera = replace(camera, K=K)
        targets = self._target(size)
        R = np.eye(3) if camera.R is None else camera.R
        t = np.zeros(3) if camera.t is None else camera.t
        points = self._packed.vertices[:, :3] @ R.T.astype(np.float32) + t.astype(np.float32)
        boxes = boxes_px(points, self._packed.rows, camera, size)
        self._draw_geometry(targets, _camera_uniforms(R, t, camera, targets.samples, near_far(points[:, 2])))
        self._draw_openness(targets, boxes, 2 * _REACH_M * float(camera.K[0, 0]))
        self._draw_light(targets, boxes, self._light_uniforms(lighting, R, t))
        self._draw_pixels(targets, boxes)
        instances = np.array([each.instance for each in self._held], np.uint8)
        return targets.read(_around(boxes), instances, background)

    def _load(self, drawables: Sequence[Drawable]) -> None:
        """Send the meshes, unless they are the very ones that were sent last."""
        if len(drawables) == len(self._held) and all(a is b for a, b in zip(drawables, self._held, strict=True)):
            return
        self._packed = packed = pack(drawables)
        for buffer, array in ((self._vertices, packed.vertices), (self._indices, packed.indices)):
            if buffer.size < array.nbytes:
                buffer.orphan(2 * array.nbytes)
            buffer.write(array)
        self._held, self._light = tuple(drawables), None

    def _target(self, size: tuple[int, int]) -> Targets:
        if size not in self._targets:
            if len(self._targets) == 3:
                self._targets.pop(next(iter(self._targets))).release()
            self._targets[size] = Targets(self._context, size)
        return self._targets[size]

    def _draw_shadows(self, lighting: Lighting) -> None:
        first: Light | None = lighting.lights[0] if lighting.lights else None
        if first is None or not first.shadows or not self._shadows or not self._held:
            self._light = None
            return
        bodies = [each.vertices for each in self._held if each.parts is not None]
        view = light_view(first.direction, np.concatenate(bodies or [each.vertices for each in self._held]))
        if self._light is not None and np.array_equal(view, self._light):
            return
        self._light = view
        self._shadow.use()
        self._shadow.clear()
        self._context.enable_only(self._context.DEPTH_TEST)
        self._context.depth_func = "<"
        self._render("shadow", {"light_view": _columns(view)})

    def _draw_geometry(self, targets: Targets, uniforms: dict[str, object]) -> None:
        targets.geometry.use()
        targets.geometry.clear()
        self._context.enable_only(self._context.DEPTH_TEST)
        self._context.depth_func = "<"
        self._render("mesh", uniforms)

    def _render(self, program: str, uniforms: dict[str, object]) -> None:
        """All meshes by one program; of closed ones only what faces the camera or the light: half the work."""
        mesh = self._mesh(program, uniforms)
        for drawable, (first, count) in zip(self._held, self._packed.spans, strict=True):
            closed = drawable.material.surface == "skin"
            (self._context.enable if closed else self._context.disable)(self._context.CULL_FACE)
            mesh.render(vertices=count, first=first)

    def _draw_openness(self, targets: Targets, boxes: NDArray[np.int64], reach: float) -> None:
        targets.sky.use()
        self._context.enable_only(self._context.NOTHING)
        for unit, texture in enumerate(targets.surfaces[:2]):
            texture.use(unit)
        self._rectangle("openness", {"box": _corners(_around(boxes), targets.size), "reach": reach})

    def _draw_light(self, targets: Targets, boxes: NDArray[np.int64], uniforms: dict[str, object]) -> None:
        """Each drawable's samples in its own box; what is nearer or farther there is left out."""
        context = self._context
        targets.colours.use()
        targets.colours.clear()
        context.enable_only(context.DEPTH_TEST)
        context.depth_func = ">"  # rectangles lie at the far end: they pass where anything was drawn
        for unit, texture in enumerate((*targets.surfaces, self._patterns, self._shadow_map, targets.skies)):
            texture.use(unit)
        for number, drawable in enumerate(self._held):
            left, top, right, bottom = boxes[number]
            if right <= left or bottom <= top:
                continue
            material = drawable.material
            own: dict[str, object] = {
                **{name: material.amounts.get(name, 0.0) for name in _AMOUNTS},
                "box": _corners((2 * left, 2 * top, 2 * right + 1, 2 * bottom + 1), targets.samples),
                "whose": float(number),
                "albedo": material.albedo,
                "roughness": material.roughness,
                "variant": material.variant,
                "seed": material.seed,
            }
            if material.surface == "image" and material.image is not None:
                self._image(material.image).use(_UNITS.index("image"))
            self._rectangle(material.surface, uniforms | own)

    def _draw_pixels(self, targets: Targets, boxes: NDArray[np.int64]) -> None:
        targets.picture.use()
        self._context.enable_only(self._context.NOTHING)
        for unit, texture in enumerate((*targets.surfaces[:2], targets.lights)):
            texture.use(unit)
        step = tuple(1 / np.array(targets.samples))
        self._rectangle("picture", {"box": _corners(_around(boxes), targets.size), "step": step, "lights": 2})

    def _light_uniforms(self, lighting: Lighting, R: NDArray[np.float64], t: NDArray[np.float64]) -> dict[str, object]:
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
            "shadows": self._light is not None,
            "light_view": _columns(back if self._light is None else self._light @ back),
        }

    def _image(self, image: NDArray[np.uint8]) -> moderngl.Texture:
        """A texture of a picture; the last few are kept."""
        if id(image) not in self._images:
            if len(self._images) == 8:
                self._images.pop(next(iter(self._images)))[1].release()
            height, width = image.shape[:2]
            texture = self._context.texture((width, height), 3, np.ascontiguousarray(image), alignment=1)
            texture.build_mipmaps()
            texture.filter = (self._context.LINEAR_MIPMAP_LINEAR, self._context.LINEAR)
            texture.repeat_x = texture.repeat_y = False
            self._images[id(image)] = (image, texture)
        return self._images[id(image)][1]

    def _mesh(self, name: str, uniforms: dict[str, object]) -> moderngl.VertexArray:
        """All meshes, ready to be drawn by one program."""
        if name not in self._meshes:
            program = self._program(name)
            layout = " ".join(f"{n}f" if each in program else f"{4 * n}x" for each, n in ATTRIBUTES.items())
            used = [each for each in ATTRIBUTES if each in program]
            content = [(self._vertices, layout, *used)]
            self._meshes[name] = self._context.vertex_array(program, content, self._indices, index_element_size=4)
        _set(self._program(name), uniforms)
        return self._meshes[name]

    def _rectangle(self, name: str, uniforms: dict[str, object]) -> None:
        """A rectangle by one program."""
        if name not in self._meshes:
            self._meshes[name] = self._context.vertex_array(self._program(name), [])
        _set(self._program(name), uniforms)
        self._meshes[name].render(self._context.TRIANGLE_STRIP, vertices=4)

    def _program(self, name: str) -> moderngl.Program:
        if name not in self._programs:
            vertex, fragment = _SOURCES.get(name, ("rectangle.vert", "surface.frag"))
            defines = (name.upper(), f"SHADOW_SIZE {_SHADOW_SIZE}.0", f"REACH {_REACH_M}")
            program = self._context.program(shader(vertex, *defines), shader(fragment, *defines))
            _set(program, {sampler: unit for unit, sampler in enumerate(_UNITS)})
            self._programs[name] = program
        return self._programs[name]


_BUFFERS: Final = ("rgb", "cover", "depth", "normals", "instances", "parts")


def _around(boxes: NDArray[np.int64]) -> Box:
    """One box around all."""
    if not len(boxes):
        return 0, 0, 0, 0
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, max(left, right), max(top, bottom)


def _corners(box: Box, size: tuple[int, int]) -> tuple[float, ...]:
    """A box of a target of that size, -1 to 1."""
    return tuple((np.array(box) * 2 / np.tile(size, 2) - 1).tolist())


def _camera_uniforms(
    R: NDArray[np.float64],
    t: NDArray[np.float64],
    camera: SampleCamera,
    samples: tuple[int, int],
    depths: tuple[float, float],
) -> dict[str, object]:
    K = camera.K * np.array([[2], [2], [1]]) + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return {
        "R": _columns(R),
        "t": tuple(t),
        "K": _columns(K),
        "samples": samples,
        "near_far": depths,
        "lens": tuple(np.zeros(5) if camera.distortion is None else camera.distortion),
        "lens_edge": 0.0 if camera.distortion is None else lens_edge(camera.distortion),
    }


def _set(program: moderngl.Program, uniforms: dict[str, object]) -> None:
    """Those that the program uses."""
    for name, value in uniforms.items():
        if name in program:
            program[name] = value


def _columns(matrix: NDArray[np.floating]) -> tuple[float, ...]:
    """As OpenGL stores it."""
    return tuple(matrix.T.reshape(-1).tolist())

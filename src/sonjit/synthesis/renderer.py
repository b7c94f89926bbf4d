"""Meshes, light and a camera in; a picture and what stands at each of its pixels out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np

from sonjit.errors import InputError
from sonjit.synthesis.drawable import Buffers
from sonjit.synthesis.gl_context import open_context, shader
from sonjit.synthesis.packing import ATTRIBUTES, LAYOUT, Packed, pack
from sonjit.synthesis.patterns import SIZE, solid_pattern
from sonjit.synthesis.views import lens_edge, light_view, near_far

if TYPE_CHECKING:
    from collections.abc import Sequence

    import moderngl
    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera
    from sonjit.synthesis.drawable import Drawable, Lighting, Material, Surface

_SHADOW_SIZE: Final = 512
_SAMPLES: Final = 4  # the most that Mesa's software renderer takes
_CLIP_DISTANCE: Final = 0x3000  # GL_CLIP_DISTANCE0
_PATTERNS, _SHADOWS, _IMAGE, _BACKGROUND = range(4)  # texture units


class _Targets:
    """What one size of picture is drawn into."""

    def __init__(self, context: moderngl.Context, size: tuple[int, int]) -> None:
        samples = min(_SAMPLES, context.max_samples)
        self.smooth = context.framebuffer(
            [context.renderbuffer(size, 4, samples=samples)], context.depth_renderbuffer(size, samples=samples)
        )
        self.plain = context.framebuffer([context.renderbuffer(size, 4)])
        self.labels = context.framebuffer(
            [context.renderbuffer(size, 4, dtype="f4"), context.renderbuffer(size, 2)], context.depth_renderbuffer(size)
        )

    def release(self) -> None:
        for target in (self.smooth, self.plain, self.labels):
            for each in (*target.color_attachments, target.depth_attachment, target):
                if each:
                    each.release()


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
        self._targets: dict[tuple[int, int], _Targets] = {}
        self._images: dict[int, tuple[NDArray[np.uint8], moderngl.Texture]] = {}
        self._held: tuple[Drawable, ...] = ()
        self._packed = Packed(np.zeros((0, 17), np.float32), np.zeros(0, np.int32), ())
        self._light: tuple[float, ...] = ()
        with context:
            context.enable_direct(_CLIP_DISTANCE)
            self._vertices = context.buffer(reserve=1 << 20, dynamic=True)
            self._indices = context.buffer(reserve=1 << 18, dynamic=True)
            self._meshes: dict[str, moderngl.VertexArray] = {}
            cube = context.texture3d((SIZE, SIZE, SIZE), 4, solid_pattern().tobytes())
            cube.build_mipmaps()
            cube.filter = (context.LINEAR_MIPMAP_NEAREST, context.LINEAR)
            depth = context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
            depth.compare_func = "<="
            depth.filter = (context.LINEAR, context.LINEAR)
            depth.repeat_x = depth.repeat_y = False
            self._cube, self._shadow_map = cube, depth
            self._shadow = context.framebuffer(depth_attachment=depth)
            self._background: moderngl.Texture | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all memory back."""
        self._targets.clear()
        self._images.clear()
        self._meshes.clear()
        self._programs.clear()
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
        if min(size) < 1 or max(size) > 8192:
            raise InputError(f"a picture of {size[0]} x {size[1]} pixels: 1 to 8192 each way can be drawn")
        if len(lighting.lights) > 4:
            raise InputError(f"{len(lighting.lights)} lights: at most 4 can be drawn")
        with self._context:
            self._load(drawables)
            targets = self._target(size)
            self._draw_shadows(lighting)
            uniforms = self._view(camera, size) | self._lit(lighting, camera)
            self._draw_labels(targets, uniforms)
            self._draw_picture(targets, uniforms, background)
            return _read(targets, size)

    def _load(self, drawables: Sequence[Drawable]) -> None:
        """Send the meshes, unless they are the very ones that were sent last."""
        if len(drawables) == len(self._held) and all(a is b for a, b in zip(drawables, self._held, strict=True)):
            return
        self._packed = packed = pack(drawables)
        for buffer, array in ((self._vertices, packed.vertices), (self._indices, packed.indices)):
            if buffer.size < array.nbytes:
                buffer.orphan(2 * array.nbytes)
            buffer.write(array)
        self._held, self._light = tuple(drawables), ()

    def _target(self, size: tuple[int, int]) -> _Targets:
        if size not in self._targets:
            if len(self._targets) == 4:
                self._targets.pop(next(iter(self._targets))).release()
            self._targets[size] = _Targets(self._context, size)
        return self._targets[size]

    def _view(self, camera: SampleCamera, size: tuple[int, int]) -> dict[str, object]:
        R = np.eye(3) if camera.R is None else camera.R
        t = np.zeros(3) if camera.t is None else camera.t
        return {
            "R": _columns(R),
            "t": tuple(t),
            "K": _columns(camera.K),
            "size": size,
            "near_far": near_far(self._packed.vertices[:, :3] @ R[2].astype(np.float32) + np.float32(t[2])),
            "lens": tuple(np.zeros(5) if camera.distortion is None else camera.distortion),
            "lens_edge": 0.0 if camera.distortion is None else lens_edge(camera.distortion),
        }

    def _lit(self, lighting: Lighting, camera: SampleCamera) -> dict[str, object]:
        R = np.eye(3) if camera.R is None else camera.R
        directions, colours = np.zeros((4, 3)), np.zeros((4, 3))
        for index, light in enumerate(lighting.lights):
            directions[index], colours[index] = R @ np.array(light.direction), light.colour
        return {
            "light_count": len(lighting.lights),
            "light_directions": [tuple(each) for each in directions],
            "light_colours": [tuple(each) for each in colours],
            "ambient": lighting.ambient,
            "up": tuple(-R[:, 1]),
            "shadows": bool(self._light),
            "light_view": self._light or (0.0,) * 16,
        }

    def _draw_shadows(self, lighting: Lighting) -> None:
        first = lighting.lights[0] if lighting.lights else None
        if first is None or not first.shadows or not self._shadows or not self._held:
            self._light = ()
            return
        solid = [each.vertices for each in self._held if each.parts is not None] or [
            each.vertices for each in self._held
        ]
        view = tuple(light_view(first.direction, np.concatenate(solid)).T.reshape(-1).tolist())
        if view == self._light:
            return
        self._light = view
        self._shadow.use()
        self._shadow.clear()
        self._context.enable_only(self._context.DEPTH_TEST)
        self._mesh("shadow", {"light_view": view}).render()

    def _draw_labels(self, targets: _Targets, uniforms: dict[str, object]) -> None:
        targets.labels.use()
        targets.labels.clear()
        self._context.enable_only(self._context.DEPTH_TEST)
        if self._held:
            self._mesh("labels", uniforms).render(vertices=len(self._packed.indices))

    def _draw_picture(self, targets: _Targets, uniforms: dict[str, object], background: NDArray[np.uint8]) -> None:
        context = self._context
        targets.smooth.use()
        targets.smooth.clear()
        context.enable_only(context.NOTHING)
        self._draw_background(background)
        context.enable_only(context.DEPTH_TEST)
        self._cube.use(_PATTERNS)
        self._shadow_map.use(_SHADOWS)
        sent: set[Surface] = set()
        for drawable, (first, count) in zip(self._held, self._packed.spans, strict=True):
            material = drawable.material
            own = self._surface(material)
            if material.surface not in sent:
                own |= uniforms
            sent.add(material.surface)
            self._mesh(material.surface, own).render(vertices=count, first=first)
        context.copy_framebuffer(targets.plain, targets.smooth)

    def _surface(self, material: Material) -> dict[str, object]:
        if material.image is not None and material.surface == "image":
            self._image(material.image).use(_IMAGE)
        return {
            "albedo": material.albedo,
            "roughness": material.roughness,
            "variant": material.variant,
            "seed": material.seed,
            **material.amounts,
        }

    def _image(self, image: NDArray[np.uint8]) -> moderngl.Texture:
        """A texture of a picture, kept while the picture is in use."""
        if id(image) not in self._images:
            if len(self._images) == 8:
                self._images.pop(next(iter(self._images)))[1].release()
            height, width = image.shape[:2]
            texture = self._context.texture((width, height), 3, np.ascontiguousarray(image).tobytes())
            texture.build_mipmaps()
            texture.filter = (self._context.LINEAR_MIPMAP_LINEAR, self._context.LINEAR)
            texture.anisotropy = 8.0
            texture.repeat_x = texture.repeat_y = False
            self._images[id(image)] = (image, texture)
        return self._images[id(image)][1]

    def _draw_background(self, background: NDArray[np.uint8]) -> None:
        height, width = background.shape[:2]
        if self._background is None or self._background.size != (width, height):
            if self._background is not None:
                self._background.release()
            self._background = self._context.texture((width, height), 3)
            self._background.repeat_x = self._background.repeat_y = False
        self._background.write(np.ascontiguousarray(background))
        self._background.use(_BACKGROUND)
        if "background" not in self._meshes:
            program = self._program("background")
            self._meshes["background"] = self._context.vertex_array(program, [])
        self._meshes["background"].render(self._context.TRIANGLES, vertices=3)

    def _mesh(self, name: str, uniforms: dict[str, object]) -> moderngl.VertexArray:
        """The meshes as one program draws them, its uniforms set; what it does not use is left out."""
        program = self._program(name)
        if name not in self._meshes:
            layout = " ".join(
                size if each in program else f"{4 * int(size[0])}x"
                for each, size in zip(ATTRIBUTES, LAYOUT.split(), strict=True)
            )
            names = [each for each in ATTRIBUTES if each in program]
            self._meshes[name] = self._context.vertex_array(
                program, [(self._vertices, layout, *names)], self._indices, index_element_size=4
            )
        for key, value in uniforms.items():
            if key in program:
                program[key] = value
        return self._meshes[name]

    def _program(self, name: str) -> moderngl.Program:
        if name not in self._programs:
            vertex, fragment, defines = _SOURCES.get(name, ("mesh", "surface", (name.upper(),)))
            defines = (*defines, f"SHADOW_SIZE {_SHADOW_SIZE}.0")
            program = self._context.program(
                shader(f"{vertex}.vert.glsl", *defines), shader(f"{fragment}.frag.glsl", *defines)
            )
            units = {"patterns": _PATTERNS, "shadow_map": _SHADOWS, "image": _IMAGE, "picture": _BACKGROUND}
            for sampler, unit in units.items():
                if sampler in program:
                    program[sampler] = unit
            self._programs[name] = program
        return self._programs[name]


_SOURCES: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "labels": ("mesh", "labels", ()),
    "shadow": ("shadow", "shadow", ()),
    "background": ("background", "background", ()),
}


def _read(targets: _Targets, size: tuple[int, int]) -> Buffers:
    width, height = size
    rgba = np.frombuffer(targets.plain.read(components=4), np.uint8).reshape(height, width, 4)
    surface = np.frombuffer(targets.labels.read(components=4, dtype="f4"), np.float32).reshape(height, width, 4)
    names = np.frombuffer(targets.labels.read(components=2, attachment=1, alignment=1), np.uint8).reshape(
        height, width, 2
    )
    there = names[..., 0] > 0
    return Buffers(
        rgb=np.ascontiguousarray(rgba[..., :3]),
        cover=rgba[..., 3] * np.float32(1 / 255),
        depth=np.ascontiguousarray(surface[..., 3]),
        normals=np.ascontiguousarray(surface[..., :3]),
        instances=np.ascontiguousarray(names[..., 0]),
        parts=np.where(there, names[..., 1], np.uint8(255)),
    )


def _columns(matrix: NDArray[np.floating]) -> tuple[float, ...]:
    """As OpenGL stores it."""
    return tuple(matrix.T.reshape(-1).tolist())

"""Renderer: meshes, light and a camera in, an image with labels of each pixel out.

All meshes are drawn once, without light, into samples of position, normal and owner; then each sample is lit once. This
makes hands of thousands of small triangles cheap for a software renderer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Final, Self

import cv2
import numpy as np

from sonjit._util.arrays import FloatArray, Image, IntArray
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.synthesis.drawable import (
    PATTERN_SIZE,
    Buffers,
    Drawable,
    Light,
    Lighting,
    box_around,
    boxes_px,
    camera_pose,
    camera_uniforms,
    columns,
    light_uniforms,
    light_view,
    material_uniforms,
    near_far,
    solid_pattern,
)
from sonjit.lab.synthesis.opengl import (
    OCCLUSION_REACH_M,
    SHADOW_SIZE,
    UNITS,
    PixelBox,
    Programs,
    Targets,
    open_context,
    pack,
    samples_of,
)

_CLIP_DISTANCE: Final = 0x3000  # GL_CLIP_DISTANCE0
_MAX_PIXELS: Final = 1 << 21  # at once; larger images are drawn in strips
_MAX_TARGETS: Final = 3


class Renderer:
    """Renderer of images. It compiles its shaders once and caches the last meshes, so that more views of them cost
    less.

    Use it as a context manager, in one thread at a time. Several renderers may exist at once.

    Args:
        shadows: Draw the shadows of lights that cast them.

    Raises:
        MissingExtraError: moderngl is not installed.
        JobError: There is no OpenGL on this machine. The message names the packages to install.
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
        """Render one image with its labels.

        Args:
            drawables: Meshes in the world, or in the camera's frame if the camera has no pose.
            camera: Camera with any principal point, any focal lengths, with or without a lens.
            size: Width and height in pixels.
            lighting: Light in the world.
            background: Background (H, W, 3), uint8 RGB, stretched over the image.

        Raises:
            InputError: The size, the lighting or a drawable cannot be drawn.
        """
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
        joined = [np.concatenate([getattr(each, field.name) for each in strips]) for field in fields(Buffers)]
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
        self._draw_pixels(targets, around)
        instances = np.array([each.instance for each in self._drawables], np.uint8)
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
        bodies = [each.vertices for each in self._drawables if each.parts is not None]
        view = light_view(first.direction, np.concatenate(bodies or [each.vertices for each in self._drawables]))
        if self._light is not None and np.array_equal(view, self._light):
            return
        self._light = view
        self._shadow.use()
        self._shadow.clear()
        self._draw_meshes("shadow", {"light_view": columns(view)})

    def _draw_geometry(self, targets: Targets, around: PixelBox, uniforms: Mapping[str, object]) -> None:
        left, top, right, bottom = samples_of(around)
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
        self._programs.meshes(name, uniforms, [each.material.surface == "skin" for each in self._drawables])

    def _draw_openness(self, targets: Targets, around: PixelBox, reach: float) -> None:
        targets.sky.use()
        self._context.enable_only(self._context.NOTHING)
        left, top, right, bottom = samples_of(around)
        within = (left, top, right - 1, bottom - 1)  # outside are pixels of another image
        self._programs.rectangle("openness", around, targets.size, {"reach": reach, "within": within})

    def _draw_light(self, targets: Targets, boxes: IntArray, uniforms: Mapping[str, object]) -> None:
        """Light each drawable's samples in its own box."""
        targets.colours.use()
        self._context.enable_only(self._context.DEPTH_TEST)
        self._context.depth_func = "1"
        targets.colours.depth_mask = True
        self._programs.rectangle("owner", samples_of(box_around(boxes)), targets.samples, {})
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
            own = {**uniforms, **material_uniforms(material), "whose": float(number)}
            box = samples_of((left, top, right, bottom))
            self._programs.rectangle(material.surface, box, targets.samples, own)

    def _draw_pixels(self, targets: Targets, around: PixelBox) -> None:
        targets.image.use()
        self._context.enable_only(self._context.NOTHING)
        step = tuple(1 / np.array(targets.samples))
        self._programs.rectangle("resolve", around, targets.size, {"step": step})

"""Shaders, compiled when they are first wanted, and the meshes that they draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.synthesis.gl_context import shader
from sonjit.synthesis.packing import ATTRIBUTES, Packed, pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import moderngl
    from numpy.typing import NDArray

    from sonjit.synthesis.targets import Box

SHADOW_SIZE: Final = 512
"""Width and height of the shadow map."""
REACH_M: Final = 0.022
"""How far what stands near a point takes light from it."""
UNITS: Final = ("points", "facings", "mores", "kinds", "patterns", "shadow_map", "skies", "lights", "image")
"""Samplers of all shaders in the order of their texture units."""
_SOURCES: Final = {
    "mesh": ("mesh.vert", "mesh.frag"),
    "shadow": ("shadow.vert", "shadow.frag"),
    "owner": ("rectangle.vert", "owner.frag"),
    "openness": ("rectangle.vert", "openness.frag"),
    "picture": ("rectangle.vert", "picture.frag"),
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

    def rectangle(self, name: str, box: Box, size: tuple[int, int], uniforms: Mapping[str, object]) -> None:
        """A box of a target of `size`."""
        corners = tuple((np.array(box) * 2 / np.tile(size, 2) - 1).tolist())
        self._array(name, {**uniforms, "box": corners}).render(self.context.TRIANGLE_STRIP, vertices=4)

    def image(self, image: NDArray[np.uint8]) -> moderngl.Texture:
        """A texture of a picture; the last few are kept."""
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

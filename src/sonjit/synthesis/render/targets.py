"""OpenGL without a screen: EGL, on a GPU where there is one, else Mesa's software renderer.

What an image is drawn into, and how it is read back.

Between two samples along each axis that meet in a pixel's centre lies one more: the image's colours are the mean of
the nine around a centre, the nearer the heavier; labels are the centre's own. So edges are smooth and labels exact.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from sonjit.errors import JobError
from sonjit.extras import needed_for
from sonjit.synthesis.render.drawable import NO_PART, Buffers

if TYPE_CHECKING:
    import moderngl
    from numpy.typing import NDArray

APT_LINE: Final = "apt-get install libegl1 libgl1-mesa-dri"

"""What Debian and its kin need besides the extra."""

_SHADERS: Final = Path(__file__).with_name("shaders")

_EGL: Final = "libEGL.so.1"


def open_context() -> moderngl.Context:
    """A context of one's own; use it within `with context:`, in one thread at a time.

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
    """Samples of one size of image: what stands at each, and its colour."""

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

    def read(self, box: PixelBox, instances: NDArray[np.uint8], background: NDArray[np.uint8]) -> Buffers:
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


def _over(rgba: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image whose colours are already times its cover, over another."""
    clear = np.uint8(255) - rgba[..., 3:]
    behind = (background * clear.astype(np.uint16) + np.uint16(127)) // np.uint16(255)
    return rgba[..., :3] + behind.astype(np.uint8)

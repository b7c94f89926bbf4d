"""OpenGL without a screen: EGL, on a GPU where there is one, else Mesa's software renderer."""

from __future__ import annotations

import importlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sonjit.errors import JobError
from sonjit.extras import needed_for

if TYPE_CHECKING:
    import moderngl

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

"""The optional dependencies: which extra brings a module, and what to type where it is missing."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from sonjit.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Generator

EXTRAS: Final = {
    "serve": ("fastapi", "starlette", "uvicorn", "python_multipart", "cryptography", "segno"),
    "tables": ("pyarrow",),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "train": ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript"),
    "tensorboard": ("tensorboard",),
    "onnx": ("onnxruntime", "onnx"),
    "heic": ("pillow_heif",),
    "eval": ("faster_coco_eval", "yaml", "scipy"),
    "synth": ("moderngl",),
    "studio": ("fastapi", "pyarrow", "scipy", "yaml"),
    "ray": ("ray",),
    "remote": ("fsspec",),
    "control": ("pynput", "mido", "rtmidi", "paho", "websockets"),
    "docs": ("mkdocs", "mkdocstrings"),
    "learn": ("matplotlib", "sklearn"),
}
"""The modules that each extra brings; a module of several is asked for with the first."""


def is_installed(extra: str) -> bool:
    """Whether every module of an extra is there; none is imported."""
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module, or the package that it is in; None for a module of no extra."""
    package = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if package in modules), None)


@contextmanager
def needed_for(what: str, extra: str | None = None) -> Generator[None]:
    """Say what to type where an import inside the block fails for want of an extra.

    Args:
        what: needs it, as the message begins.
        extra: where not the first that brings the module.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        yield
    except ImportError as error:
        extra = extra or extra_of(error.name)
        if extra is None:
            raise
        raise MissingExtraError(what, extra) from None


def require(module: str, what: str) -> None:
    """Refuse at once what needs a module that is not installed; it is not imported.

    Raises:
        MissingExtraError: the module is not installed.
    """
    if find_spec(module) is None:
        raise MissingExtraError(what, extra_of(module) or module)

"""Extras, which install optional dependencies, and imports of such dependencies."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from sonjit._util.errors import MissingExtraError

EXTRAS: Final = {
    "serve": ("fastapi", "starlette", "uvicorn", "pydantic", "python_multipart", "trustme", "cryptography", "segno"),
    "tables": ("pyarrow", "xlsxwriter"),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "supervision": ("supervision",),
    "page": ("ai_edge_litert",),
    "onnx": ("onnxruntime", "onnx"),
    "heic": ("pillow_heif",),
    "report": ("matplotlib", "markdown_it", "fpdf"),
    "eval": ("faster_coco_eval", "yaml", "matplotlib", "markdown_it"),
    "rerun": ("rerun",),
    "ray": ("ray",),
    "remote": ("fsspec",),
    "compat": ("google",),
    "control": ("pynput", "mido", "rtmidi", "paho", "websockets"),
    "docs": ("mkdocs", "mkdocstrings"),
    "learn": ("matplotlib", "sklearn"),
}
"""Modules of each extra. A module in several extras is attributed to the first."""


def is_installed(extra: str) -> bool:
    """Check whether all modules of an extra are installed, without importing them."""
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def extra_of(module: str | None) -> str | None:
    """Return the extra that installs a module or its package, or None."""
    package = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if package in modules), None)


@contextmanager
def optional_import(purpose: str, extra: str | None = None) -> Generator[None]:
    """Convert an ImportError inside the block into the command that installs the extra for a purpose."""
    try:
        yield
    except ImportError as error:
        extra = extra or extra_of(error.name)
        if extra is None:
            raise
        raise MissingExtraError(purpose, extra) from None


def require(module: str, purpose: str, extra: str | None = None) -> None:
    """Check that a module is installed, without importing it. `extra` is the extra that installs it."""
    if find_spec(module) is None:
        raise MissingExtraError(purpose, extra or extra_of(module) or module)

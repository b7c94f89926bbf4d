"""Optional parts: the extras that install dependencies, and the functions of the lab that the tracker reaches.

The tracker never imports `sonjit.lab` and `sonjit.studio`. A command of the tracker may offer one function of the lab,
such as lifting hands into the camera's space. It names the function here and loads it when a user asks for it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

from sonjit._util.errors import MissingExtraError

EXTRAS: Final = {
    "serve": ("fastapi", "starlette", "uvicorn", "pydantic", "python_multipart", "trustme", "cryptography", "segno"),
    "tables": ("pyarrow", "xlsxwriter"),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "supervision": ("supervision",),
    "train": ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "matplotlib"),
    "tflite": ("litert_torch",),
    "page": ("ai_edge_litert",),
    "tensorboard": ("tensorboard",),
    "onnx": ("onnxruntime", "onnx"),
    "grad-cam": ("pytorch_grad_cam",),
    "heic": ("pillow_heif",),
    "eval": ("faster_coco_eval", "yaml", "scipy", "matplotlib"),
    "synth": ("moderngl",),
    "studio": ("fastapi", "pyarrow", "scipy", "yaml"),
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


def require(module: str, purpose: str) -> None:
    """Check that a module is installed, without importing it."""
    if find_spec(module) is None:
        raise MissingExtraError(purpose, extra_of(module) or module)


FunctionName = Literal[
    "LabelWriter", "classifier_file", "create_lifter", "explain", "network_entry", "project_router", "renderer_name",
    "write_report"
]  # fmt: skip

FUNCTIONS: Final[dict[FunctionName, str]] = {
    "LabelWriter": "sonjit.lab.datasets.labels",
    "classifier_file": "sonjit.lab.explain.tflite",
    "create_lifter": "sonjit.lab.lifting",
    "explain": "sonjit.lab.explain.imagenet",
    "network_entry": "sonjit.lab.networks",
    "project_router": "sonjit.studio.page",
    "renderer_name": "sonjit.lab.synthesis.renderer",
    "write_report": "sonjit.lab.cli.report",
}
"""The module of each function."""


def load_function(name: FunctionName) -> Any:  # noqa: ANN401  # each function has a type of its own
    """Return a function of the lab or the studio."""
    return getattr(import_module(FUNCTIONS[name]), name)

"""Extras, which install optional dependencies, and imports of such dependencies."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final, NamedTuple

from sonjit._util.errors import MissingExtraError


class Extra(NamedTuple):
    """An extra of a distribution."""

    purpose: str  # what it adds
    modules: tuple[str, ...]  # modules that it installs


EXTRAS: Final = {
    "serve": Extra(
        "live app and server",
        ("fastapi", "starlette", "uvicorn", "pydantic", "python_multipart", "trustme", "cryptography", "segno"),
    ),
    "tables": Extra(".parquet and .xlsx tables", ("pyarrow", "xlsxwriter")),
    "pandas": Extra("to_dataframe with pandas", ("pandas",)),
    "polars": Extra("to_dataframe with Polars", ("polars",)),
    "supervision": Extra("results for Supervision", ("supervision",)),
    "page": Extra("photographs in web pages", ("ai_edge_litert",)),
    "onnx": Extra("ONNX Runtime, for GPUs and other devices", ("onnxruntime", "onnx")),
    "heic": Extra("HEIC photographs", ("pillow_heif",)),
    "report": Extra("reports as HTML and PDF", ("matplotlib", "markdown_it", "fpdf")),
    "eval": Extra("evaluations", ("faster_coco_eval", "yaml", "matplotlib", "markdown_it")),
    "rerun": Extra("recordings for the viewer Rerun", ("rerun",)),
    "ray": Extra("runs on a cluster", ("ray",)),
    "remote": Extra("inputs on remote storage", ("fsspec",)),
    "compat": Extra("programs for MediaPipe", ("google",)),
    "control": Extra("keys, pointer, MIDI, MQTT and WebSockets", ("pynput", "mido", "rtmidi", "paho", "websockets")),
    "docs": Extra("building this documentation", ("mkdocs", "mkdocstrings")),
    "learn": Extra("figures of the course", ("matplotlib", "sklearn")),
}
"""Extras by name. A module in several extras is attributed to the first."""


def is_installed(extra: str) -> bool:
    """Check whether all modules of an extra are installed, without importing them."""
    return all(find_spec(module) is not None for module in EXTRAS[extra].modules)


def extra_of(module: str | None) -> str | None:
    """Return the extra that installs a module or its package, or None."""
    package = (module or "").partition(".")[0]
    return next((name for name, extra in EXTRAS.items() if package in extra.modules), None)


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

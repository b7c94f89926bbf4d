"""Extras, which install optional dependencies, imports of such dependencies, and the commands that install them."""

import json
import re
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sonjit._util.errors import SonjitError

_FOLDERS: Final = {"sonjit": "", "sonjit-lab": "/lab", "sonjit-studio": "/studio"}
"""Folders of the distributions in a clone."""


class Extra(NamedTuple):
    """An extra of a distribution."""

    purpose: str  # what it adds
    modules: tuple[str, ...]  # modules that it installs


EXTRAS: Final = {
    "serve": Extra(
        "live app and server",
        (
            "fastapi",
            "starlette",
            "uvicorn",
            "pydantic",
            "python_multipart",
            "trustme",
            "cryptography",
            "segno",
            "platformdirs",
        ),
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


class MissingExtraError(SonjitError, ImportError):
    """Report an optional dependency that is not installed, with the command that installs it. Exit status 2."""

    exit_status = 2

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency: {install_command(extra)}")


class MissingPackageError(SonjitError, ImportError):
    """Report a distribution of Sonjit that is not installed, with the command that installs it. Exit status 2."""

    exit_status = 2

    def __init__(self, purpose: str, package: str) -> None:
        super().__init__(f"{purpose} needs {package}: {install_command(package)}")


def install_command(name: str) -> str:
    """Return the command that adds an extra or a distribution to this Sonjit, from where Sonjit was installed.

    `direct_url.json` (PEP 610) records a clone, a file or a repository. Packages of an index have no such record.

    Args:
        name: An extra, such as `report`, or a distribution, such as `sonjit-lab` or `sonjit-lab[synth]`.
    """
    names = [name] if name.partition("[")[0] in _FOLDERS else [f"sonjit[{name}]"]
    if name == "sonjit-studio":
        names = ["sonjit-lab", name]
    record = _read_record()
    url = record.get("url", "")
    place = url2pathname(urlsplit(url).path) if url.startswith("file:") else url
    if "dir_info" in record:
        editable = ["--editable"] if record["dir_info"].get("editable") else []
        parts = [part for each in names for part in (*editable, place + _in_folder(each))]
    elif "vcs_info" in record:
        source = f"{record['vcs_info']['vcs']}+{url}@{record['vcs_info']['commit_id']}"
        folders = [_FOLDERS[each.partition("[")[0]].replace("/", "#subdirectory=") for each in names]
        parts = [f"{each} @ {source}{folder}" for each, folder in zip(names, folders, strict=True)]
    elif place:  # a wheel, next to those of the lab and the studio
        parts = ["--find-links", place.replace("\\", "/").rpartition("/")[0], *names]
    else:
        parts = names
    return shlex.join(["pip", "install", *parts])


def without_command(line: str) -> str:
    """Return a message without the command of a MissingExtraError, which may name a folder of this machine."""
    return re.sub(r"( needs an optional dependency): pip install .*", r"\1", line)


def _read_record() -> dict[str, Any]:
    """Return how Sonjit was installed; {} if from an index, or not at all."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import

    try:
        return json.loads(distribution("sonjit").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return {}


def _in_folder(name: str) -> str:
    """Return the folder of a distribution in a clone, with its extra."""
    distribution, bracket, extra = name.partition("[")
    return _FOLDERS[distribution] + bracket + extra


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

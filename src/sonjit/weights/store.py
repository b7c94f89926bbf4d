"""Cache folder: paths of the weight files on this machine, and whether they are intact."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonjit._util.errors import InputError, JobError
from sonjit.weights.catalog import Weight, find_record, select_weights


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem of one file that `verify_weights` found."""

    name: str
    path: Path
    kind: Literal["missing", "damaged"]
    reason: str


def cache_folder() -> Path:
    """Return the cache folder: SONJIT_HOME, or `sonjit` in the platform's cache. It may not exist yet."""
    if home := os.environ.get("SONJIT_HOME"):
        return Path(home).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "sonjit"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "sonjit"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification ignores relative paths.
    return (Path(xdg) if os.path.isabs(xdg) else _home() / ".cache") / "sonjit"  # noqa: PTH117


def models_folder() -> Path:
    """Return the folder of the weight files in the cache."""
    return cache_folder() / "models"


def find_weight(name: str, models_dir: str | Path | None = None) -> Path:
    """Return the path of one weight file, checked by its size only, which is cheap for every detector.

    Args:
        name: A record's name (`hand-full`) or its file's name (`hand_landmark_full.tflite`).
        models_dir: The folder to look in instead of the cache; the file may be there under either name.

    Raises:
        InputError: The name is unknown, the file is not there, or it has not the published size.
    """
    weight = find_record(name)
    folder = models_folder() if models_dir is None else Path(models_dir)
    for path in (folder / weight.file, folder / f"{weight.name}{Path(weight.file).suffix}"):
        try:
            size = path.stat().st_size
        except OSError:
            continue
        if size != weight.bytes:
            raise InputError(f"{path} is damaged: {_wrong_size(size, weight)}; {_remedy(weight, models_dir)}")
        return path
    raise InputError(f"{weight.file} is not in {folder}; {_remedy(weight, models_dir)}")


def verify_weights(names: Iterable[str] = ()) -> list[Problem]:
    """Compare cached files with the catalogue's sha256. Return an empty list if all are intact.

    With names or groups, a missing file is also a problem. Without them, all files of the cache are checked.

    Raises:
        InputError: A name is unknown.
        JobError: A file cannot be read.
    """
    requested = list(names)
    problems = (find_problem(weight) for weight in select_weights(requested or ["all"]))
    return [problem for problem in problems if problem and (requested or problem.kind != "missing")]


def find_problem(weight: Weight) -> Problem | None:
    """Return the problem of one record's cached file, by size and sha256; None if it is intact."""
    import hashlib

    path = models_folder() / weight.file
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != weight.bytes:
                return Problem(weight.name, path, "damaged", _wrong_size(size, weight))
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return Problem(weight.name, path, "missing", "not in the cache")
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    if digest != weight.sha256:
        return Problem(weight.name, path, "damaged", f"its sha256 is {digest}, not {weight.sha256}")
    return None


def _wrong_size(size: int, weight: Weight) -> str:
    return f"it has {size} bytes, not {weight.bytes}"


def _remedy(weight: Weight, models_dir: str | Path | None) -> str:
    command = f"sonjit models pull {weight.name}"
    return f"run: {command}" if models_dir is None else f"run: {command} (it fills {models_folder()}) and copy it"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise InputError("no home folder is known: set SONJIT_HOME to a folder for the weights") from error

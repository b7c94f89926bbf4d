"""Read the catalogue `catalog.toml` as typed records, on first use."""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sonjit._util import InputError, JobError, unknown_name

CATALOG = Path(__file__).with_name("catalog.toml")
Shapes = dict[str, tuple[int, ...]]
NOT_FETCHED = (
    "cam-*",
    "deformer",
    "fc-*",
    "hand-heavy",
    "hand-masks",
    "handoccnet",
    "internet",
    "keypoint-detector",
    "mask-rcnn*",
    "motion-discriminator",
    "rootnet",
    "timm-landmarks",
)
"""Patterns of networks whose weights no package registry has. `sonjit networks` lists their sources."""


@dataclass(frozen=True, slots=True)
class Package:
    """One download from a registry."""

    name: str  # the package's name in its registry
    registry: str  # `pypi` or `npm`
    version: str  # the exact version
    bytes: int  # size of the download
    platform: str | None = None  # the wheel's platform tag; None for npm
    python: str | None = None  # the wheel's Python version, e.g. `3.11`; None for npm.
    implementation: str | None = None  # the wheel's interpreter tag, e.g. `cp`; None for npm.

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Source:
    """Location of a file: a package, and the path of a member in it (`archive!inner` inside packed assets)."""

    package: Package
    member: str


@dataclass(frozen=True, slots=True)
class Weight:
    """One published file."""

    name: str  # the record's name, e.g. `hand-full`.
    file: str  # the file's name in the cache
    bytes: int  # the file's size
    sha256: str  # the file's hash, hexadecimal
    licence: str  # SPDX identifier
    group: str  # the group that it belongs to, e.g. `hands`.
    sources: tuple[Source, ...]  # packages that contain exactly these bytes, the preferred one first
    inputs: Shapes  # shape of each input tensor by name (float32); empty when the file is not a network
    outputs: Shapes  # shape of each output tensor by name (float32)
    about: str = ""  # what the file is when it is not a network
    also: tuple[str, ...] = ()  # further groups that pull it. The search for hands also uses faces and arms.


def load_catalog() -> dict[str, Weight]:
    """Return every catalogued file by its record name.

    >>> load_catalog()["hand-full"].inputs
    {'input_1': (1, 224, 224, 3)}
    """
    return dict(_read_catalog())


@cache
def load_groups() -> dict[str, tuple[str, ...]]:
    """Return the names to pull by group; `all` is every record.

    >>> load_groups()["segmentation"]
    ('selfie', 'selfie-landscape')
    """
    groups: dict[str, tuple[str, ...]] = {}
    for weight in _read_catalog().values():
        for group in (weight.group, *weight.also):
            groups[group] = (*groups.get(group, ()), weight.name)
    return {**groups, "all": tuple(_read_catalog())}


def find_record(name: str) -> Weight:
    """Return the record with this name or file name, or raise an InputError that lists the known names."""
    try:
        return _read_index()[name]
    except KeyError:
        raise InputError(unknown_name("weight", name, _read_catalog())) from None


def select_weights(names: Iterable[str]) -> list[Weight]:
    """Return the records of names and groups, each once, in catalogue order. Raise InputError for others."""
    groups = load_groups()
    chosen: dict[str, Weight] = {}
    for name in names:
        if any(fnmatch(name, pattern) for pattern in NOT_FETCHED):
            raise InputError(f"the weights of {name} cannot be fetched: sonjit networks lists their source")
        if name not in groups and name not in _read_index():
            choices = f"{', '.join(_read_catalog())}, or from the groups {', '.join(groups)}"
            raise InputError(f"Unknown weight {name!r}. Choose from {choices}.")
        for weight in map(find_record, groups.get(name, (name,))):
            chosen[weight.name] = weight
    return list(chosen.values())


@cache
def _read_catalog() -> dict[str, Weight]:
    from sonjit._util.data_files import read_toml_table  # loads zipfile and tomllib, which most calls do not need

    data = read_toml_table(CATALOG)
    packages = {name: Package(name=name, **fields) for name, fields in data["package"].items()}
    return {name: _read_weight(name, fields, packages) for name, fields in data["weight"].items()}


@cache
def _read_index() -> dict[str, Weight]:
    records = _read_catalog()
    return {weight.file: weight for weight in records.values()} | records


def _read_weight(name: str, fields: Mapping[str, Any], packages: Mapping[str, Package]) -> Weight:
    sources = tuple(Source(packages[package], member) for package, member in fields["sources"])
    inputs, outputs = (
        {tensor: tuple(shape) for tensor, shape in fields.get(side, {}).items()} for side in ("inputs", "outputs")
    )
    details = {key: value for key, value in fields.items() if key not in ("sources", "inputs", "outputs", "also")}
    return Weight(
        name=name, sources=sources, inputs=inputs, outputs=outputs, also=tuple(fields.get("also", ())), **details
    )


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
    """Return the path of a file by the name of its record or its own, checked only by its size, which is cheap."""
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


def has_weight(name: str) -> bool:
    """Check whether `find_weight` finds a file in the cache."""
    try:
        return bool(find_weight(name))
    except InputError:
        return False


def verify_weights(names: Iterable[str] = ()) -> list[Problem]:
    """Compare cached files with the catalogue's sha256. Return an empty list if all are intact.

    With names or groups, a missing file is also a problem. Raise InputError for an unknown name, and JobError for a
    failed read.
    """
    requested = list(names)
    problems = (find_problem(weight) for weight in select_weights(requested or ["all"]))
    return [problem for problem in problems if problem and (requested or problem.kind != "missing")]


def find_problem(weight: Weight) -> Problem | None:
    """Return the problem of one record's cached file, by size and sha256; None if it is intact."""
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

"""Protocols, each a file of data: a named recipe per published table: which samples, alignment and figures."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

Task = Literal["landmarks_2d", "joints_3d", "two_hands", "localization", "instances"]
Alignment = Literal["absolute", "root", "bone", "procrustes"]


@dataclass(frozen=True)
class DataChoice:
    """One data set of a protocol.

    Attributes:
        set: its name.
        splits: which part: the first of these that is there; without any, the set's first.
        folder: below the root; "" where the root is the set's own.
        options: of the set.
    """

    set: str
    splits: tuple[str, ...] = ()
    folder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Protocol:
    """How a table is made.

    Attributes:
        name: as `--protocol` takes it.
        title: for people.
        source: who defined it.
        task: what is judged.
        main: the figure that stands for it.
        unit: of its figures.
        data: which data sets; of several, those that are there.
        average: of 3D joints: by joint first, or over all.
        alignments: of 3D joints, each with figures of its own.
        names: figures of an alignment that have a name of their own.
        mirror: Procrustes may reflect, as the released code does.
        auc: least and greatest threshold of PCK in the unit, and how many.
        f_thresholds: of F-scores of meshes, in the unit.
        curve: the same three numbers for 2D.
        tables: published ones to stand beside it.
        notes: what one has to know to read it.
    """

    name: str
    title: str
    source: str
    task: Task
    main: str
    unit: str
    data: tuple[DataChoice, ...]
    average: Literal["joint", "all"] = "joint"
    alignments: tuple[Alignment, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    mirror: bool = False
    auc: tuple[float, float, int] = (0, 50, 100)
    f_thresholds: tuple[float, ...] = ()
    curve: tuple[float, float, int] = (0, 50, 101)
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def list_protocols() -> list[str]:
    """Names of all protocols, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_protocol(name: str) -> Protocol:
    """One protocol.

    Raises:
        InputError: an unknown name; lists the known ones.
    """
    if name not in (known := list_protocols()):
        raise InputError(f"unknown protocol {name!r}; known: {', '.join(known)}")
    data: dict[str, Any] = tomllib.loads(_folder().joinpath(f"{name}.toml").read_text("utf-8"))
    if unknown := set(data) - {one.name for one in fields(Protocol)}:
        raise ValueError(f"protocol {name}: unknown field {', '.join(sorted(unknown))}")
    data["data"] = tuple(DataChoice(**one | {"splits": tuple(one.get("splits", ()))}) for one in data["data"])
    data["names"] = tuple(data.get("names", {}).items())
    for key in ("alignments", "auc", "f_thresholds", "curve", "tables", "notes"):
        if key in data:
            data[key] = tuple(data[key])
    return Protocol(name=name, **data)


def _folder() -> Traversable:
    return resources.files("sonjit.evaluation") / "protocols"

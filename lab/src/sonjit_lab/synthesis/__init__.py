"""Rendered hands with exact labels (extra `synth`).

Data flows from factors to a scene, drawables, buffers, an image with labels, and files: `factors` draws the
values of a `Scene` from a seed, `hands` and `objects` make `Drawable`s of it, `renderer` fills `Buffers` for each
camera, effects make an image of them, `samples` computes labels from the scene, and `layouts` writes both.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from sonjit._util import InputError, unknown_name
from sonjit._util.data_files import read_toml_table

T = TypeVar("T")


def look_up(kind: str, table: Mapping[str, T], name: str) -> T:
    """Return the value of a name, or raise InputError with the known names."""
    if name not in table:
        raise InputError(unknown_name(kind, name, table))
    return table[name]


@cache
def read_table(name: str) -> Mapping[str, Any]:
    """Return a TOML file of this package: `scenes`, `gestures` or `sequences`."""
    return read_toml_table(files("sonjit_lab.synthesis") / f"{name}.toml")

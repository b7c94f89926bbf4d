"""Rendered hands with exact labels (extra `[synth]`).

Data flows from factors to a scene, drawables, buffers, an image with labels, and files: `factors` draws the
values of a `Scene` from a seed, `hands` and `objects` make `Drawable`s of it, `renderer` fills `Buffers` for each
camera, effects make an image of them, `samples` computes labels from the scene, and `layouts` writes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from sonjit._util.errors import InputError, unknown_name

T = TypeVar("T")


def look_up(kind: str, table: Mapping[str, T], name: str) -> T:
    """Return the value of a name, or raise InputError with the known names."""
    if name not in table:
        raise InputError(unknown_name(kind, name, table))
    return table[name]

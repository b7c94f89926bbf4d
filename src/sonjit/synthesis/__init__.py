"""Rendered hands with exact labels (extra `[synth]`).

factors → scene → drawables → buffers → image and labels → files: `factors` draws a `Scene` from a seed, `bodies` of
hands and objects make `Drawable`s of it, the renderer fills `Buffers` for each camera, effects make an image and
`labels` exact truth of them, writers put both on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from sonjit.errors import InputError

T = TypeVar("T")


def look_up(what: str, table: Mapping[str, T], name: str) -> T:
    """What has a name; InputError with the known names where there is none."""
    if name not in table:
        raise InputError(f"no such {what} {name!r}: known are {', '.join(table)}")
    return table[name]

"""JSON: its types, and the one way in which values become strict text."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""Any JSON value."""

JsonObject: TypeAlias = dict[str, Json]
"""A JSON object of no fixed shape."""


def json_from(value: object, indent: int | None = None) -> str:
    """Strict JSON, of one line or with an indent; NaN and infinity become null.

    >>> json_from({"x": float("nan"), "y": 0.1})
    '{"x":null,"y":0.1}'
    """
    write = partial(json.dumps, allow_nan=False, ensure_ascii=False, indent=indent)
    separators = (",", ":" if indent is None else ": ")
    try:
        return write(value, separators=separators)
    except ValueError:
        return write(_finite(value), separators=separators)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return None if isinstance(value, float) and not math.isfinite(value) else value

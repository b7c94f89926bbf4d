"""Types of JSON values, and the one function that writes them as text."""

import json
import math
import re
from collections.abc import Callable
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"  # any JSON value

JsonObject: TypeAlias = dict[str, Json]  # a JSON object without fixed keys

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def json_from(
    value: object,
    indent: int | None = None,
    *,
    spaced: bool = False,
    sort_keys: bool = False,
    default: Callable[[object], object] | None = None,
) -> str:
    """Return strict JSON; NaN and infinity become null, and characters outside ASCII stay as they are.

    Bytes of file names that are not UTF-8 (lone surrogates) are escaped, so that the text can be written as UTF-8.
    Without `indent` the text is one line, with `spaced` after each comma and colon. `default` converts values of other
    types.

    >>> json_from({"x": float("nan"), "y": 0.1})
    '{"x":null,"y":0.1}'
    """
    item_separator = ", " if spaced and indent is None else ","
    encoder = json.JSONEncoder(
        ensure_ascii=False,
        allow_nan=False,
        indent=indent,
        sort_keys=sort_keys,
        default=default,
        separators=(item_separator, ": " if spaced or indent is not None else ":"),
    )
    try:
        text = encoder.encode(value)
    except ValueError:
        text = encoder.encode(_finite(value))
    return text if text.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return None if isinstance(value, float) and not math.isfinite(value) else value

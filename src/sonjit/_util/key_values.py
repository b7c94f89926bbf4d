"""Parse settings of the form `--set key=value`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sonjit._util.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def key_values(texts: Iterable[str], *, option: str = "--set", form: str = "key=value") -> list[tuple[str, str]]:
    """Return the two sides of each `key=value`, without blanks around them.

    >>> key_values(["steps=200", "mix = a=1"])
    [('steps', '200'), ('mix', 'a=1')]

    Args:
        texts: Settings as typed, `key=value`.
        option: Option name shown in error messages.
        form: Required form shown in error messages.

    Raises:
        InputError: A setting lacks `=` or its key.
    """
    pairs: list[tuple[str, str]] = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals):
            raise InputError(f"{option} {text}: give {form}")
        pairs.append((key, value))
    return pairs


def json_values(texts: Iterable[str], *, option: str = "--set") -> dict[str, Any]:
    """Parse each `key=value`: numbers, true, false and lists as JSON, any other value as text.

    >>> json_values(["joints=21", "root=true", "split=val"])
    {'joints': 21, 'root': True, 'split': 'val'}
    """
    return {key: _value(text) for key, text in key_values(texts, option=option)}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

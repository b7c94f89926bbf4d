"""Settings as they are typed: `--set key=value`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def key_values(texts: Iterable[str], *, option: str = "--set", form: str = "key=value") -> list[tuple[str, str]]:
    """Each `key=value` as its two sides, without blanks around them.

    >>> key_values(["steps=200", "mix = a=1"])
    [('steps', '200'), ('mix', 'a=1')]

    Args:
        texts: as typed.
        option: that they were given to, for messages.
        form: that they must have, for messages.

    Raises:
        InputError: one without `=` or without a key.
    """
    pairs: list[tuple[str, str]] = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals):
            raise InputError(f"{option} {text}: give {form}")
        pairs.append((key, value))
    return pairs


def json_values(texts: Iterable[str], *, option: str = "--set") -> dict[str, Any]:
    """Each `key=value` with numbers, true, false and lists as such, and any other value as its text.

    >>> json_values(["joints=21", "root=true", "split=val"])
    {'joints': 21, 'root': True, 'split': 'val'}
    """
    return {key: _value(text) for key, text in key_values(texts, option=option)}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text

"""The little of YAML that DexYCB's files use: mappings by indentation, lists of plain values, quoted texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sonjit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Line = tuple[int, str, int]
"""Indentation, content and number of a line."""


def load_plain_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a file.

    Raises:
        InputError: missing, or more than this reader knows; names the line.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text") from None
    lines = [
        (len(line) - len(line.lstrip(" ")), line.strip(), number)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith(("#", "---"))
    ]
    try:
        found, rest = _block(lines)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from None
    if rest or not isinstance(found, dict):
        raise InputError(f"{path}: line {rest[0][2] if rest else 1} does not belong to a mapping")
    return found


def _block(lines: list[Line]) -> tuple[Any, list[Line]]:
    """The value that begins at the first line, and the lines behind it."""
    if not lines:
        return None, lines
    indent = lines[0][0]
    if lines[0][1].startswith("- "):
        items: list[Any] = []
        while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
            items.append(_value(lines[0][1][2:]))
            lines = lines[1:]
        return items, lines
    mapping: dict[str, Any] = {}
    while lines and lines[0][0] == indent and not lines[0][1].startswith("- "):
        key, colon, rest = lines[0][1].partition(":")
        if not colon:
            raise ValueError(f"line {lines[0][2]} has no ':'")
        is_list = len(lines) > 1 and lines[1][1].startswith("- ") and lines[1][0] >= indent
        is_deeper = len(lines) > 1 and lines[1][0] > indent
        lines = lines[1:]
        if rest.strip():
            mapping[_text(key)] = _value(rest)
        elif is_list or is_deeper:
            mapping[_text(key)], lines = _block(lines)
        else:
            mapping[_text(key)] = None
    return mapping, lines


def _text(value: str) -> str:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _value(value: str) -> Any:  # noqa: ANN401  # a plain value
    value = value.strip()
    if value[:1] in ("'", '"'):
        return _text(value)
    try:
        return json.loads(value)  # numbers, and lists of them
    except ValueError:
        return value

"""Bounds on JSON and TOML of clients, checked before parsing, because parsers need much more memory than the text."""

from __future__ import annotations

import json
from typing import Any

from sonjit.server.errors import RefusedError

MAX_MAP_CHARACTERS = 64_000
_MAX_MAP_DEPTH = 32
"""Maximum numbers of characters and of nested brackets of a control map."""
_MAX_JSON_CONTAINERS = 500_000
"""Lists and objects of a JSON text; 20 MB of recordings have fewer, and each takes some 200 bytes."""


def load_json(text: str | bytes, name: str) -> Any:  # noqa: ANN401  # JSON
    """Return the content of a client's JSON.

    Args:
        text: JSON text.
        name: Name of the text in error messages.

    Raises:
        RefusedError: The text has too many lists and objects.
        ValueError: The text is not JSON, or a number has more than 4,300 digits.
        RecursionError: The text is nested too deeply.
    """
    opening = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    count = sum(text.count(bracket) for bracket in opening)  # pyright: ignore[reportArgumentType]
    if count > _MAX_JSON_CONTAINERS:
        raise RefusedError("too_large", f"{name}: {count} lists and objects are more than {_MAX_JSON_CONTAINERS}")
    return json.loads(text)


def require_short_map(text: str) -> None:
    """Check the size of a control map in TOML.

    Raises:
        RefusedError: The text is too long, or brackets are nested too deeply.
    """
    if len(text) > MAX_MAP_CHARACTERS:
        raise RefusedError("too_large", f"the map has more than {MAX_MAP_CHARACTERS} characters")
    depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if depth > _MAX_MAP_DEPTH:
            raise RefusedError("bad_option", f"the map: brackets are nested more than {_MAX_MAP_DEPTH} deep")

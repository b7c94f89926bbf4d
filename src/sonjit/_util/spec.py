"""Values that Python and the web page share; see `spec/README.md`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from sonjit._util.data_files import read_json


@cache
def load_spec(name: str) -> dict[str, Any]:
    """Return the content of a file of `spec/` by its name without ending."""
    return read_json(files("sonjit") / "spec" / f"{name}.json")


def rgb_from_hex(text: str) -> tuple[int, int, int]:
    """Return the red, green and blue of a colour, 0 to 255.

    >>> rgb_from_hex("#ffaa33")
    (255, 170, 51)
    """
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue

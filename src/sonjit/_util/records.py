"""Read records of annotation files, such as objects of JSON, with errors that name file and field."""

from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.data_files import content_of
from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import


def numbers(value: object, shape: tuple[int, ...], named: str) -> FloatArray:
    """Return numbers of a known shape, where -1 allows any length; `named` are file and field for messages."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{named} must have {_shape_text(shape)} numbers, not {str(value)[:60]}") from None
    fits = array.ndim == len(shape) and all(
        length in (-1, actual) for length, actual in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{named} has {_shape_text(array.shape)} numbers; expected {_shape_text(shape)}")
    if np.isinf(array).any():
        raise InputError(f"{named} has infinite numbers")
    return array


def numbers_of(record: Any, name: str, shape: tuple[int, ...], named: str) -> FloatArray:  # noqa: ANN401  # JSON
    """Return the numbers in one field of a record, see `field` and `numbers`."""
    return numbers(field(record, name, named), shape, f"{named}{'.' if ': ' in named else ': '}{name}")


def field(record: Any, name: str, named: str) -> Any:  # noqa: ANN401  # JSON
    """Return one field of a record."""
    try:
        return record[name]
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{named} has no {name!r}") from None


def one_line(error: Exception) -> str:
    """Return the message of an error, or its class name if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def load_yaml(path: Path, text: str | None = None) -> dict[Any, Any]:
    """Return a YAML file that contains a mapping of plain values, or the `text` of one."""
    with optional_import("YAML files"):
        import yaml
    encoded = content_of(path) if text is None else text
    try:
        content = yaml.safe_load(encoded)
    except Exception as error:  # in addition to its own errors, those of its constructors
        raise InputError(f"{path} is damaged: {one_line(error)}; get it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} contains no mapping; download it again")
    return content


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join("any" if size < 0 else str(size) for size in shape) or "1"

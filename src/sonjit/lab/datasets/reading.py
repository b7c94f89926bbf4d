"""Read annotation files and depth images, with errors that name file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array, FloatArray
from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit._util.pickles import plain_array
from sonjit.lab.datasets.json_stream import stream_json
from sonjit.media.sources.decode import load_image


def numbers(value: object, shape: tuple[int, ...], named: str) -> FloatArray:
    """Return numbers of a known shape, where -1 allows any length.

    Args:
        value: Value read from a file.
        shape: Required shape.
        named: File and field, shown in error messages.

    Raises:
        InputError: The shape differs, or the values are no numbers or infinite.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{named} must have {_shape_text(shape)} numbers, not {str(value)[:60]}") from None
    fits = array.ndim == len(shape) and all(
        length in (-1, actual) for length, actual in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{named} has {_shape_text(array.shape)} numbers; expected {_shape_text(shape)}")
    if np.isinf(array).any():
        raise InputError(f"{named} has infinite numbers")
    return array


def pickled_numbers(value: Any, shape: tuple[int, ...], named: str) -> FloatArray:  # noqa: ANN401  # a stand-in
    """Return numbers of a known shape from a pickle.

    Raises:
        InputError: The shape differs, or the values are no numbers or damaged.
    """
    try:
        return numbers(plain_array(value), shape, named)
    except InputError:
        raise
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        raise InputError(f"{named} is damaged: {error}") from None


def field(record: Any, name: str, named: str) -> Any:  # noqa: ANN401  # JSON
    """Return one field of a record.

    Raises:
        InputError: The record has no such field.
    """
    try:
        return record[name]
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{named} has no {name!r}") from None


def file_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def one_line(error: Exception) -> str:
    """Return the message of an error, or its class name if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def load_yaml(path: Path, text: str | None = None) -> dict[Any, Any]:
    """Return a YAML file that contains a mapping of plain values.

    Args:
        path: File, also shown in error messages.
        text: Content to use in place of the file's.

    Raises:
        InputError: The file is missing, damaged, no mapping, or has tags that would create objects.
        MissingExtraError: PyYAML is not installed.
    """
    with optional_import("YAML files"):
        import yaml
    content_text = file_bytes(path) if text is None else text
    try:
        content = yaml.safe_load(content_text)
    except Exception as error:  # in addition to its own errors, those of its constructors
        raise InputError(f"{path} is damaged: {one_line(error)}; get it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} contains no mapping; download it again")
    return content


def number_table(
    path: Path, shape: tuple[int, ...], wrong: dict[int, str] | None = None, *, half: bool = False
) -> NDArray[Any]:
    """Return the rows of a JSON list of numbers as (N, *shape), float64.

    Args:
        path: JSON file.
        shape: Shape of each row.
        wrong: Dictionary that receives the problem of each wrong row by index; such rows are NaN. None raises an error
            instead.
        half: Return float32.

    Raises:
        InputError: The file is missing or damaged, or a row is wrong. The message names the row.
    """
    dtype = np.float32 if half else np.float64
    rows: list[NDArray[Any]] = []
    for (index, *_), value in stream_json(path, 1):
        try:
            row = numbers(value, shape, f"{path}: [{index}]")
        except InputError as error:
            if wrong is None:
                raise
            wrong.setdefault(len(rows), str(error))
            row = np.full(shape, np.nan)
        rows.append(row.astype(dtype))
    return np.array(rows, dtype).reshape(-1, *shape)


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join("any" if size < 0 else str(size) for size in shape) or "1"


def depth_from_png(path: Path, metres_per_step: float, *, red_is_high: bool = False) -> Float32Array:
    """Return the depth (H, W) in metres of a colour PNG, whose low byte is in red and high byte in green.

    Args:
        path: PNG file.
        metres_per_step: Metres per step of the 16-bit value of two channels.
        red_is_high: The high byte is in red and the low byte in green, as in RHD.

    Raises:
        InputError: The file is missing or damaged.
    """
    red, green = np.moveaxis(load_image(path, upright=False)[..., :2].astype(np.float32), -1, 0)
    steps = red * 256 + green if red_is_high else red + green * 256
    return steps * np.float32(metres_per_step)

"""Read and write data files.

The formats are JSON, TOML and NumPy archives. Every reader raises `InputError` with the file's name where a file is
missing, damaged or of another type.
"""

import json
import re
import tokenize
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit._util.files import write_text
from sonjit._util.json_text import json_from
from sonjit._util.settings import read_settings

T = TypeVar("T")
ASSETS: Final = Path(__file__).parent / "assets"  # folder of the bundled clip and of bundled networks
_NUMPY_COMPRESSION: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError),
    AttributeError,  # np.load of a single array returns no archive
    *(SyntaxError, tokenize.TokenError),  # of the header of an array
)
"""Errors of NumPy and zip for damaged files."""
_MAX_KEY_PARTS: Final = 32
_LONG_KEY: Final = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""  # one part and its dot
    rf"{{{_MAX_KEY_PARTS}}}"
)
"""TOML key of more than the maximum of parts, such as `a.b.c` of three."""


def content_of(path: Path | Traversable) -> bytes:
    """Return the content of a file, or raise an InputError that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def read_json(path: Path | Traversable) -> Any:  # noqa: ANN401  # JSON
    """Return the content of a JSON file."""
    return parse_json(content_of(path), str(path))


def parse_json(content: str | bytes, name: str) -> Any:  # noqa: ANN401  # JSON
    """Return the value of JSON text."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is damaged or not JSON: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the message of an error without Python's advice on settings of the interpreter."""
    return str(error).partition("; use sys.")[0]


def write_json(path: Path, value: object, *, indent: int | None = None) -> None:
    """Write strict JSON with a final newline, in one line or indented; NaN and infinity become null."""
    write_text(path, json_from(value, indent, spaced=True) + "\n")


def read_toml_table(path: Path | Traversable) -> dict[str, Any]:
    """Return the content of a TOML file."""
    return parse_toml(content_of(path), str(path))


def parse_toml(content: str | bytes, name: str) -> dict[str, Any]:
    """Return the table of TOML text. Keys of many parts, which take quadratic time and memory, are refused."""
    try:
        text = content if isinstance(content, str) else content.decode()
        if long := _LONG_KEY.search(text):
            line = text.count("\n", 0, long.start()) + 1
            raise ValueError(f"a key has more than {_MAX_KEY_PARTS} parts (at line {line})")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib raises a plain ValueError for numbers of 5,000 digits
        raise InputError(f"{name} is damaged or not TOML: {_reason(error)}") from None


def read_toml(path: Path | Traversable, cls: type[T], **defaults: object) -> T:
    """Return the content of a TOML file with default values as a dataclass, see `read_settings`."""
    table = read_toml_table(path)
    try:
        return read_settings(cls, defaults | table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_npz(
    path: Path | Traversable, *, accepts: Callable[[str], bool] = lambda name: True
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by name, see `npz_arrays`."""
    try:
        with path.open("rb") as file:
            return npz_arrays(file, str(path), accepts=accepts)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def npz_arrays(
    file: IO[bytes], name: str, max_bytes: int | None = None, *, accepts: Callable[[str], bool] = lambda name: True
) -> dict[str, NDArray[Any]]:
    """Return the accepted arrays of an open `.npz` file, up to a size of all; refuse pickled objects."""
    try:
        if max_bytes is not None or zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
            size = sum(member.file_size for member in members)
            if any(member.compress_type not in _NUMPY_COMPRESSION for member in members):
                raise ValueError("compression that NumPy does not use")
            if max_bytes is not None and size > max_bytes:
                raise InputError(f"{name} has {size} bytes, more than {max_bytes}")
        file.seek(0)
        with np.load(file, allow_pickle=False) as opened:
            arrays = {key: opened[key] for key in opened.files if accepts(key)}
        if empty := [key for key, values in arrays.items() if values.size and not values.nbytes]:
            raise ValueError(f"{empty[0]!r} has {arrays[empty[0]].size} values of no bytes")
        return arrays
    except InputError:
        raise
    except _DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        if "pickle" in reason:  # NumPy takes every other file for a pickle, and advises to load it
            reason = "it has another format or contains Python objects"
        raise InputError(f"{name} is damaged or no .npz file of plain arrays ({reason})") from None


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


def key_values(texts: Iterable[str], *, option: str = "--set", form: str = "key=value") -> list[tuple[str, str]]:
    """Return the two sides of each `key=value`, without blanks around them.

    >>> key_values(["steps=200", "mix = a=1"])
    [('steps', '200'), ('mix', 'a=1')]
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

"""Declare settings, read them from Python code, TOML, JSON, query strings and `--set`, and check their limits.

The fields of a dataclass declare settings. The annotation has the type, and limits as a `Range`, or as an `Option` with
the help text of a detector's option or of a drawing's setting. `read_settings` reads a table of fields, `Option.read`
one option, and both read plain values by `plain_value`. `check_settings` checks the limits.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from sonjit._util.errors import InputError, unknown_name

T = TypeVar("T")
_EXPECTED: Final = {bool: "true or false", int: "an integer", float: "a number", str: "text", Path: "a path"}
_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
OptionType: TypeAlias = Literal["boolean", "integer", "number", "string", "path"]
OptionValue: TypeAlias = bool | int | float | str | Path | None
Group: TypeAlias = Literal["Finding", "Output", "Running"]
_TYPE_NAMES: Final[dict[type, OptionType]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "path",
}
_PYTHON_TYPES: Final = {name: kind for kind, name in _TYPE_NAMES.items()}


class Range(NamedTuple):
    """Limits of a number, in the annotation of a field."""

    minimum: float
    maximum: float
    is_open: bool = False  # True to exclude the maximum
    step: int = 1  # divisor of the number

    def check(self, name: str, value: float) -> None:
        """Raise an InputError if a value is out of range."""
        if self.step > 1 and (not self.minimum <= value <= self.maximum or value % self.step):
            start = "" if self.minimum == self.step else f"from {self.minimum} "
            raise InputError(f"{name}={value}: must be a multiple of {self.step} {start}up to {self.maximum}")
        if self.is_open and not self.minimum <= value < self.maximum:
            raise InputError(f"{name}={value}: must be at least {self.minimum} and below {self.maximum}")
        if not value >= self.minimum:  # also not a number
            raise InputError(f"{name}={value}: must be at least {self.minimum}")
        if value > self.maximum:
            raise InputError(f"{name}={value}: must be at most {self.maximum}")


@dataclass(frozen=True)
class Option:
    """Describe one option. An annotation gives the first part; `declared_options` fills in the rest.

    Attributes:
        help: Sentences for the command line and the documentation.
        minimum, maximum: Bounds of a number.
        group: Group in the help of the command line: "Finding", "Output" or "Running".
        remote: True if clients of the server may set the option.
        remote_maximum: Maximum for clients of the server.
        remote_choices: Choices for clients where Python accepts any text. Empty: the same as in Python.
        command_line: True if the command line has the option.
        requires_server: True if pages cannot use the option without a server.
        in_jobs: True if jobs of the server have the option.
        of_streams: True if the option has no effect on stills.
        needs_full: True if only full answers of the server contain what the option adds.
        requires: Name of the option without which this one has no effect. Empty: none.
        useless_with: Name of the option that decides this one, so that its default has no effect. Empty: none.
        for_stills: Values besides the default that describe stills, for an option of streams.
        of_keypoints: True if the option has no effect on models that find boxes.
        whole_image: True if the option cannot be combined with a region of the image.
        from_bundle: True if the option uses MediaPipe's task bundle of the kind where it is registered.
        default_by: What the default depends on ("model", "input"). Empty: the default is fixed.
        pattern: Regular expression of a text, for Python and JavaScript. Empty: any text.
        form: What the pattern means, for messages.
        name: Name of the field.
        type: Type of the value.
        default: Default value; None if it depends on something.
        choices: Allowed texts; empty for any text.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    group: Group = "Finding"
    remote: bool = True
    remote_maximum: float | None = None
    remote_choices: tuple[str, ...] = ()
    command_line: bool = True
    requires_server: bool = False
    in_jobs: bool = True
    of_streams: bool = False
    needs_full: bool = False
    requires: str = ""
    useless_with: str = ""
    for_stills: tuple[object, ...] = ()
    of_keypoints: bool = False
    whole_image: bool = False
    from_bundle: bool = False
    default_by: str = ""
    pattern: str = ""
    form: str = ""
    name: str = ""
    type: OptionType = "string"
    default: OptionValue = None
    choices: tuple[str, ...] = ()

    def read(self, value: object, *, parses: bool = False) -> OptionValue:
        """Return a value as the option's type, or None if it is not allowed. With `parses`, text is parsed."""
        if isinstance(value, PathLike) and self.type == "string" and not self.choices and not self.pattern:
            value = str(cast("PathLike[str]", value))
        read = plain_value(value, _PYTHON_TYPES[self.type], parses=parses)
        return read if read is not None and self._allows(read) else None

    def check(self, value: object) -> OptionValue:
        """Return a value as the option's type, or raise an InputError that names the allowed values."""
        read = self.read(value)
        if read is not None:
            return read
        if self.choices:
            raise InputError(unknown_name(self.name, value, self.choices))
        raise InputError(f"{self.name}={value!r:.60}: give {self.wanted}")

    @property
    def wanted(self) -> str:
        """Describe the allowed values."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        match self.type:
            case "boolean":
                return "true or false"
            case "integer" | "number":
                noun = "a whole number" if self.type == "integer" else "a number"
                minimum = f" from {self.minimum:.15g}" if self.minimum is not None else ""
                maximum = f" to {self.maximum:.15g}" if self.maximum is not None else minimum and " upwards"
                return noun + minimum + maximum
            case "path":
                return "a path"
            case _:
                return self.form or "text"

    def _allows(self, value: bool | float | str | Path) -> bool:
        if isinstance(value, bool | Path):
            return True
        if isinstance(value, str):
            if self.choices:
                return value in self.choices
            return not self.pattern or re.fullmatch(self.pattern, value) is not None
        is_above = self.minimum is None or value >= self.minimum
        is_below = self.maximum is None or value <= self.maximum
        return is_above and is_below and abs(value) <= sys.float_info.max  # not NaN or infinite


@cache
def declared_options(cls: type[object]) -> dict[str, Option]:
    """Return the options of a dataclass by name: what to find first, then how to run it."""
    hints = get_type_hints(cls, include_extras=True)
    declared: list[Option] = []
    for item in fields(cls):  # pyright: ignore[reportArgumentType]
        metadata = getattr(hints[item.name], "__metadata__", ())
        for option in metadata:
            if isinstance(option, Option):
                value_type, choices = _value_type(hints[item.name].__origin__)
                default = None if option.default_by else item.default
                declared.append(replace(option, name=item.name, type=value_type, default=default, choices=choices))
    return {option.name: option for option in sorted(declared, key=lambda option: option.group)}


def _value_type(annotation: Any) -> tuple[OptionType, tuple[str, ...]]:  # noqa: ANN401  # a type expression
    """Return the type and the choices of an annotation such as `Literal["lite", "full"] | None`."""
    first = annotation
    while get_args(first) and get_origin(first) is not Literal:
        first = get_args(first)[0]
    return ("string", get_args(first)) if get_origin(first) is Literal else (_TYPE_NAMES[first], ())


def read_settings(cls: type[T], table: Mapping[str, object], noun: str = "key") -> T:
    """Return a dataclass filled from a table, and check the type of each value.

    Fields are bool, int, float, str, object, Any, Literal, `tuple[T, ...]`, `tuple[T, U]`, `Mapping[str, T]`, `T |
    None` or other such dataclasses. Values are of the type of the field or text (`"200"`, `"a,b"`,
    `"real=0.5,synthetic=0.5"`). The text "none" stands for the defaults of a dataclass. `noun` is the word for a field
    in error messages.
    """
    hints = get_type_hints(cls)
    items = fields(cls)  # pyright: ignore[reportArgumentType]
    names = [item.name for item in items]
    unknown = sorted(set(table) - set(names))
    if unknown:
        raise InputError(f"Unknown {noun} {', '.join(map(repr, unknown))}. Choose from {', '.join(names)}")
    for item in items:
        if item.name not in table and item.default is MISSING and item.default_factory is MISSING:
            raise InputError(f"{item.name} is missing")
    return cls(**{name: _read_field(name, value, hints[name], noun) for name, value in table.items()})


def check_settings(settings: object) -> None:
    """Check that the fields of a dataclass, also those of its bases, are among the choices and limits of their types.

    Call it in `__post_init__`, so that it also checks what Python code makes.
    """
    for name, hint in _limited_fields(type(settings)):
        value = getattr(settings, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise InputError(unknown_name(name, value, get_args(hint)))
        for limits in getattr(hint, "__metadata__", ()):
            if isinstance(limits, Range):
                limits.check(name, value)
            elif isinstance(limits, Option):
                declared_options(type(settings))[name].check(value)


@cache
def _limited_fields(cls: type) -> list[tuple[str, Any]]:
    return [item for base in cls.__mro__ for item in get_type_hints(base, include_extras=True).items()]


def plain_value(value: object, kind: type, *, parses: bool = False) -> bool | int | float | str | Path | None:
    """Return a value as a bool, int, float, str or path, or None if it is of another kind.

    Args:
        value: Value. An int is also a float, and text is also a path.
        kind: `bool`, `int`, `float`, `str` or `Path`.
        parses: True to parse text, of a query or of `--set`.

    Example:
        >>> plain_value("yes", bool, parses=True), plain_value("yes", bool), plain_value(3, float)
        (True, None, 3.0)
    """
    text = value.strip() if parses and isinstance(value, str) else None
    if kind is Path:
        return Path(cast("str | PathLike[str]", value)) if isinstance(value, str | PathLike) else None
    if kind is str:
        return value if isinstance(value, str) else None
    if kind is bool:
        return _BOOLEANS.get(text.lower()) if text is not None else value if isinstance(value, bool) else None
    if text is None and (isinstance(value, bool) or not isinstance(value, (int, kind))):
        return None
    try:
        return kind(value)
    except (ValueError, OverflowError):
        return None


def _read_field(name: str, value: object, kind: Any, noun: str) -> object:  # noqa: ANN401  # a type
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (object, Any):
        return value
    if is_dataclass(kind):
        return _read_nested(name, value, kind, noun)
    if origin in (Union, UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _read_field(name, value, next(option for option in inner if option is not NoneType), noun)
    if origin is Literal:
        for choice in inner:
            if str(choice) == str(value):
                return choice
        raise InputError(unknown_name(name, value, inner))
    if origin is tuple:
        items = _items(value)
        kinds = inner[:1] * len(items) if inner[-1] is Ellipsis else inner
        if len(items) != len(kinds):
            raise InputError(f"{name}={value}: must have {len(kinds)} values")
        return tuple(_read_field(f"{name}[{i}]", items[i], kinds[i], noun) for i in range(len(items)))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _read_field(f"{name}.{key}", item, inner[1], noun) for key, item in _pairs(name, value)}
    read = plain_value(value, kind, parses=True)
    if read is None:
        raise InputError(f"{name}={value!s:.60}: must be {_EXPECTED[kind]}")
    return read


def _read_nested(name: str, value: object, kind: Any, noun: str) -> object:  # noqa: ANN401  # a type
    if isinstance(value, str) and value.lower() == "none":
        return kind()
    if not isinstance(value, Mapping):
        raise InputError(f"{name}={value}: must be a table, {name}.KEY=VALUE, or none")
    try:
        return read_settings(kind, cast("Mapping[str, object]", value), noun)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _items(value: object) -> Sequence[object]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(cast("Sequence[object]", value)) if isinstance(value, list | tuple) else [value]


def _pairs(name: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return list(cast("Mapping[str, object]", value).items())
    pairs = [str(item).partition("=") for item in _items(value)]
    if any(not equals for _, equals, _ in pairs):
        raise InputError(f"{name}={value}: must be pairs name=value, separated by commas")
    return [(key.strip(), item.strip()) for key, _, item in pairs]

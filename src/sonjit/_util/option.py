"""Describe one option of a detector or setting of a drawing: help text, bounds, choices and who may set it."""

import re
import sys
from dataclasses import dataclass, fields, replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from sonjit._util.errors import InputError

OptionType: TypeAlias = Literal["boolean", "integer", "number", "string", "path"]
OptionValue: TypeAlias = bool | int | float | str | Path | None
Group: TypeAlias = Literal["Finding", "Output", "Running"]

_TYPE_NAMES: dict[object, OptionType] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "path",
}
_PYTHON_TYPES: dict[str, type] = {"boolean": bool, "integer": int, "number": float, "string": str}


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
    default_by: str = ""
    pattern: str = ""
    form: str = ""
    name: str = ""
    type: OptionType = "string"
    default: OptionValue = None
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> OptionValue:
        """Return a value as the option's type."""
        if isinstance(value, (str, PathLike)) and not self.choices and not self.pattern:
            if self.type == "path":
                return Path(cast("str | PathLike[str]", value))
            if self.type == "string":
                return str(cast("str | PathLike[str]", value))
        if self.type == "number" and type(value) is int and abs(value) <= sys.float_info.max:
            value = float(value)
        if not isinstance(value, (bool, int, float, str)) or not self._allows(value):
            if self.choices:
                raise InputError(f"Unknown {self.name} {value!r}. Choose from {', '.join(self.choices)}.")
            raise InputError(f"{self.name}={value!r:.60}: give {self.wanted}")
        return value

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

    def _allows(self, value: bool | float | str) -> bool:
        if type(value) is not _PYTHON_TYPES.get(self.type):
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, str):
            return re.fullmatch(self.pattern, value) is not None if self.pattern else True
        if isinstance(value, bool):
            return True
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)


@cache
def declared_options(cls: type[object]) -> dict[str, Option]:
    """Return the options of a dataclass by name: what to find first, then how to run it."""
    hints = get_type_hints(cls, include_extras=True)
    declared: list[Option] = []
    for item in fields(cls):  # pyright: ignore[reportArgumentType]
        metadata = getattr(hints[item.name], "__metadata__", ())
        if not metadata:
            continue
        value_type, choices = _value_type(hints[item.name].__origin__)
        default = None if metadata[0].default_by else item.default
        declared.append(replace(metadata[0], name=item.name, type=value_type, default=default, choices=choices))
    return {option.name: option for option in sorted(declared, key=lambda option: option.group)}


def _value_type(annotation: Any) -> tuple[OptionType, tuple[str, ...]]:  # noqa: ANN401  # a type expression
    """Return the type and the choices of an annotation such as `Literal["lite", "full"] | None`."""
    first = annotation
    while get_args(first) and get_origin(first) is not Literal:
        first = get_args(first)[0]
    return ("string", get_args(first)) if get_origin(first) is Literal else (_TYPE_NAMES[first], ())

"""Describe one option of a detector: help text, bounds, choices and who may set it."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias, cast

from sonjit._util import InputError
from sonjit.detectors.smoothing import Filter

OptionValue: TypeAlias = "bool | int | float | str | Path | Filter | None"
OptionType: TypeAlias = Literal["boolean", "integer", "number", "string", "path"]
Group: TypeAlias = Literal["Finding", "Running"]

_PYTHON_TYPES: dict[str, type] = {"boolean": bool, "integer": int, "number": float, "string": str}


@dataclass(frozen=True)
class Option:
    """Describe one detector option. An annotation gives the first part; `options_of` fills in the rest.

    Attributes:
        help: Sentences for the command line and the documentation.
        minimum, maximum: Bounds of a number.
        group: Group in the help of the command line: "Finding" or "Running".
        remote: True if clients of the server may set the option.
        remote_maximum: Maximum for clients of the server.
        remote_choices: Choices for clients where Python accepts any text. Empty: the same as in Python.
        command_line: True if the command line has the option.
        default_by: What the default depends on ("model", "input"). Empty: the default is fixed.
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
    name: str = ""
    type: OptionType = "string"
    default: OptionValue = None
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> OptionValue:
        """Return a value as the option's type."""
        if isinstance(value, (str, PathLike)) and not self.choices:
            if self.type == "path":
                return Path(cast("str | PathLike[str]", value))
            if self.type == "string":
                return str(cast("str | PathLike[str]", value))
        if self.type == "number" and type(value) is int:
            value = float(value)
        if not isinstance(value, (bool, int, float, str)) or not self._allows(value):
            if self.choices:
                raise InputError(f"Unknown {self.name} {value!r}. Choose from {', '.join(self.choices)}.")
            raise InputError(f"{self.name}={value!r}: give {self.wanted}")
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
                return "text"

    def _allows(self, value: bool | float | str) -> bool:
        if type(value) is not _PYTHON_TYPES.get(self.type):
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, (bool, str)):
            return True
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

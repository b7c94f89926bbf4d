"""Check that settings of a training are within the ranges of their types."""

from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from sonjit._util import InputError


class Range(NamedTuple):
    """Limits of a setting in the annotation of its type, which are checked when the settings are made."""

    minimum: float
    maximum: float
    is_open: bool = False  # True to exclude the maximum
    step: int = 1  # divisor of the setting

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


@cache
def _hints(settings_class: type) -> list[tuple[str, Any]]:
    """Return the names and types of the settings of a class and its bases."""
    return [item for base in settings_class.__mro__ for item in get_type_hints(base, include_extras=True).items()]


def check_ranges(settings: object) -> None:
    """Check that settings are within the `Range` of their types, also in base classes, or one of their choices."""
    for name, hint in _hints(type(settings)):
        if get_origin(hint) is Literal and getattr(settings, name) not in get_args(hint):
            known = ", ".join(map(str, get_args(hint)))
            raise InputError(f"Unknown {name} {getattr(settings, name)!r}. Choose from {known}")
        for limits in getattr(hint, "__metadata__", ()):
            if isinstance(limits, Range):
                limits.check(name, getattr(settings, name))

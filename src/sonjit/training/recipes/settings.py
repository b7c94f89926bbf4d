"""A recipe's settings: a dataclass, filled from a TOML file and from what was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sonjit.errors import InputError

S = TypeVar("S")


def settings_from(kind: type[S], given: Mapping[str, object]) -> S:
    """A recipe's settings.

    Args:
        kind: a dataclass of int, float, bool, str, Literal, `tuple[T, ...]`, `Mapping[str, T]`, `T | None`, and of such
            dataclasses.
        given: by name, as typed (`"200"`, `"a,b"`, `"real=0.5,synthetic=0.5"`, `"none"`) or as TOML has it.

    Raises:
        InputError: an unknown or missing key, or a value of another type.
    """
    hints: dict[str, Any] = get_type_hints(kind)
    items = fields(kind)  # pyright: ignore[reportArgumentType]
    known = [item.name for item in items]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"unknown setting {', '.join(map(repr, unknown))}; known: {', '.join(known)}")
    for item in items:
        if item.name not in given and item.default is MISSING and item.default_factory is MISSING:
            raise InputError(f"{item.name} is missing")
    return kind(**{name: _value(name, value, hints[name]) for name, value in given.items()})


def _value(name: str, given: object, kind: Any) -> object:  # noqa: ANN401  # a type
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return given
    if is_dataclass(kind):
        return _inner(name, given, kind)
    if origin in (Union, UnionType):
        if given is None or (isinstance(given, str) and given.lower() == "none"):
            return None
        return _value(name, given, next(one for one in inner if one is not NoneType))
    if origin is Literal:
        return _choice(name, given, inner)
    if origin is tuple:
        return tuple(_value(f"{name}[{at}]", one, inner[0]) for at, one in enumerate(_items(given)))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _value(f"{name}.{key}", one, inner[1]) for key, one in _pairs(name, given)}
    return _plain(name, given, kind)


def _inner(name: str, given: object, kind: Any) -> object:  # noqa: ANN401  # a type
    if not isinstance(given, Mapping):
        raise InputError(f"{name}={given}: give a table")
    try:
        return settings_from(kind, given)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _choice(name: str, given: object, choices: Sequence[object]) -> object:
    for one in choices:
        if str(one) == str(given):
            return one
    raise InputError(f"{name}={given}: give {', '.join(map(str, choices[:-1]))} or {choices[-1]}")


def _items(given: object) -> Sequence[object]:
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    return list(given) if isinstance(given, list | tuple) else [given]


def _pairs(name: str, given: object) -> list[tuple[str, object]]:
    if isinstance(given, Mapping):
        return list(given.items())
    pairs = [str(one).partition("=") for one in _items(given)]
    if any(not equals for _, equals, _ in pairs):
        raise InputError(f"{name}={given}: give name=value, with commas between")
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _plain(name: str, given: object, kind: Any) -> object:  # noqa: ANN401  # a type
    """One bool, int, float or str; text is read, and of TOML's own types none but the right one is taken."""
    asked = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    wrong = InputError(f"{name}={given}: give {asked}")
    if kind is bool:
        said = str(given).lower()
        if said not in ("true", "false"):
            raise wrong
        return said == "true"
    if kind is str:
        if not isinstance(given, str):
            raise wrong
        return given
    if (
        isinstance(given, bool)
        or not isinstance(given, str | int | float)
        or (kind is int and isinstance(given, float))
    ):
        raise wrong
    try:
        return kind(given)
    except ValueError:
        raise wrong from None

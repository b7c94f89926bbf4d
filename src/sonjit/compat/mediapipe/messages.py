"""What scripts ask of a protobuf message, as plain Python objects.

Fields are attributes, a field that was never set reads as its default, and `HasField` tells the two apart. Method
names are protobuf's.
"""
# ruff: noqa: N802 - protobuf's method names

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class Message:
    """Base of all messages. A subclass declares its fields as annotated defaults; a list field's is a `Repeated`."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _repeated: ClassVar[dict[str, type[Message]]] = {}

    def __init_subclass__(cls) -> None:
        """Read the fields from the annotations."""
        cls._fields = tuple(inspect.get_annotations(cls))
        defaults = {name: vars(cls)[name] for name in cls._fields}
        cls._repeated = {name: value.kind for name, value in defaults.items() if isinstance(value, Repeated)}

    def __init__(self, **fields: object) -> None:
        for name in fields.keys() - set(self._fields):
            raise ValueError(f"{type(self).__name__} has no field {name!r}; its fields: {', '.join(self._fields)}")
        state = self.__dict__
        for name, kind in self._repeated.items():
            items: Any = fields.pop(name, ())
            state[name] = Repeated(kind, items)
        state.update((name, value) for name, value in fields.items() if value is not None)

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field; a misspelt name is an error, as is replacing a list."""
        if name not in self._fields:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; its fields: {', '.join(self._fields)}")
        if name in self._repeated:
            raise AttributeError(
                f"the list {name!r} cannot be replaced: use .extend(...), or del .{name}[:] to empty it"
            )
        self.__dict__[name] = value

    def HasField(self, name: str) -> bool:
        """Whether a field was set."""
        if name not in self._fields or name in self._repeated:
            raise ValueError(f"{type(self).__name__} has no field {name!r} that can be unset")
        return name in self.__dict__

    def ListFields(self) -> list[tuple[str, Any]]:
        """The fields that are set, as pairs of name (protobuf: a descriptor) and value; empty lists are left out."""
        state = self.__dict__
        return [(name, state[name]) for name in self._fields if name in state and state[name] != []]

    def ClearField(self, name: str) -> None:
        """Unset a field."""
        if name in self._repeated:
            self.__dict__[name].clear()
        else:
            self.__dict__.pop(name, None)

    def CopyFrom(self, other: Self) -> None:
        """Take over every field of another message of the same type."""
        state = copy.deepcopy(other.__dict__)
        self.__dict__.clear()
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        """Same type and same fields set to the same values."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # messages change

    def __repr__(self) -> str:
        """One field a line, as protobuf prints messages."""
        lines: list[str] = []
        for name, value in self.ListFields():
            if isinstance(value, Repeated):
                for item in value:
                    inner = "".join(f"  {line}\n" for line in repr(item).splitlines())
                    lines.append(f"{name} {{\n{inner}}}\n")
            else:
                text = f"{value:.9g}" if isinstance(value, float) else f'"{value}"' if isinstance(value, str) else value
                lines.append(f"{name}: {text}\n")
        return "".join(lines)


M = TypeVar("M", bound=Message)


class Repeated(list[M]):
    """A list field. What is put in is copied, as in protobuf."""

    def __init__(self, kind: type[M], items: Iterable[M] = ()) -> None:
        super().__init__(map(copy.copy, items))
        self.kind = kind

    def add(self, **fields: object) -> M:
        """Append a new item and return it."""
        super().append(self.kind(**fields))
        return self[-1]

    def append(self, item: M, /) -> None:
        """Append a copy."""
        super().append(copy.copy(item))

    def extend(self, items: Iterable[M], /) -> None:
        """Append copies."""
        super().extend(map(copy.copy, items))

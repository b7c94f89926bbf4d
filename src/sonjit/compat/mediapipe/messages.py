"""Implement the interface of protobuf messages with plain Python objects.

Fields are attributes. An unset field returns its default, and `HasField` returns False for it. The names of the
methods are those of protobuf.
"""
# ruff: noqa: N802 - protobuf's method names

from __future__ import annotations

import copy
import inspect
import struct
from collections.abc import Iterable
from ctypes import c_float
from dataclasses import dataclass
from enum import IntEnum
from operator import index
from typing import Any, ClassVar, Self, SupportsIndex, TypeVar

import numpy as np

from sonjit._util.arrays import Float32Array
from sonjit._util.wire_format import (
    FIXED32,
    LENGTH,
    VARINT,
    int_from_varint,
    varint_from_int,
    varints,
    wire_field,
    wire_fields,
)

T = TypeVar("T")
_TYPES = {float: 2, int: 5, str: 9}  # protobuf's numbers
_INT64, _MESSAGE, _ENUM = 3, 11, 14
_OPTIONAL, _REPEATED = 1, 3


class FieldDescriptor(str):
    """The name of a field, with what protobuf's descriptors report about it.

    Attributes:
        number: Number of the field in the wire format.
        label: 1 for an optional field, 3 for a list.
        type: Protobuf's number of the type of the values.
        full_name: Name with the message's.
    """

    __slots__ = ("full_name", "label", "number", "type")

    full_name: str
    label: int
    number: int
    type: int

    @property
    def name(self) -> str:
        """Name of the field."""
        return str(self)

    @property
    def is_repeated(self) -> bool:
        """Whether the field is a list."""
        return self.label == _REPEATED

    @property
    def is_message(self) -> bool:
        """Whether the values are messages."""
        return self.type == _MESSAGE

    @property
    def is_int64(self) -> bool:
        """Whether the values are integers of 64 bits, which JSON represents as text."""
        return self.type == _INT64


@dataclass(frozen=True)
class Descriptor:
    """The fields of a message.

    Attributes:
        name: Name of the message.
        fields: Fields in their order.
    """

    name: str
    fields: tuple[FieldDescriptor, ...]

    @property
    def full_name(self) -> str:
        """Name with MediaPipe's package."""
        return f"mediapipe.{self.name}"

    @property
    def fields_by_name(self) -> dict[str, FieldDescriptor]:
        """Fields by name."""
        return {field.name: field for field in self.fields}


class Message:
    """Base of all messages. A subclass declares its fields as annotated defaults.

    The default of a list field is a `Repeated`, that of a message field is an empty message. Values are converted to
    the type of the default. Floats and integers have 32 bits, integers of `_wide` have 64. Fields are numbered from 1
    in their order, except those in `_numbers`.

    Raises:
        TypeError: A value has another type.
        ValueError: A field or enumerator is unknown, or an integer is out of range.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _repeated: ClassVar[dict[str, type[Any]]] = {}
    _nested: ClassVar[dict[str, type[Message]]] = {}
    _kinds: ClassVar[dict[str, type[Any]]] = {}
    _numbers: ClassVar[dict[str, int]] = {}
    _wide: ClassVar[tuple[str, ...]] = ()
    DESCRIPTOR: ClassVar[Descriptor]

    def __init_subclass__(cls) -> None:
        """Read the fields from the annotations."""
        cls._fields = tuple(name for name in inspect.get_annotations(cls) if not name.startswith("_"))
        defaults = {name: vars(cls)[name] for name in cls._fields}
        cls._repeated = {name: value.kind for name, value in defaults.items() if isinstance(value, Repeated)}
        cls._nested = {name: type(value) for name, value in defaults.items() if isinstance(value, Message)}
        cls._kinds = {name: type(value) for name, value in defaults.items()} | cls._repeated
        cls._numbers = {name: cls._numbers.get(name, number) for number, name in enumerate(cls._fields, 1)}
        name, fields = cls.__name__.lstrip("_"), tuple(map(cls._field, cls._fields))
        cls.DESCRIPTOR = Descriptor(name, fields)  # pyright: ignore[reportConstantRedefinition]  # set once per class

    @classmethod
    def _field(cls, name: str) -> FieldDescriptor:
        field, kind = FieldDescriptor(name), cls._kinds[name]
        field.number = cls._numbers[name]
        field.label = _REPEATED if name in cls._repeated else _OPTIONAL
        field.full_name = f"mediapipe.{cls.__name__.lstrip('_')}.{name}"
        if issubclass(kind, Message):
            field.type = _MESSAGE
        elif issubclass(kind, IntEnum):
            field.type = _ENUM
        else:
            field.type = _INT64 if name in cls._wide else _TYPES[kind]
        return field

    def __init__(self, **fields: object) -> None:
        for name in fields.keys() - set(self._fields):
            raise ValueError(f"{type(self).__name__} has no field {name!r}; its fields: {', '.join(self._fields)}")
        state = self.__dict__
        for name, kind in self._repeated.items():
            items: Any = fields.pop(name, ())
            state[name] = Repeated(kind, items)
        for name, kind in self._nested.items():
            value = fields.pop(name, None)
            state[name] = kind() if value is None else _taken(kind, value)
        for name, value in fields.items():
            if value is not None:
                state[name] = _taken(self._kinds[name], value, wide=name in self._wide)

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field; a misspelt name is an error, as is replacing a list."""
        if name not in self._fields:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; its fields: {', '.join(self._fields)}")
        if name in self._repeated:
            raise AttributeError(
                f"the list {name!r} cannot be replaced: use .extend(...), or del .{name}[:] to empty it"
            )
        if name in self._nested:
            raise AttributeError(f"the message {name!r} cannot be replaced: use .{name}.CopyFrom(...)")
        self.__dict__[name] = _taken(self._kinds[name], value, wide=name in self._wide)

    def HasField(self, name: str) -> bool:
        """Check whether a field was set. A message is set if any of its fields is."""
        if name not in self._fields or name in self._repeated:
            raise ValueError(f"{type(self).__name__} has no field {name!r} that can be unset")
        return bool(self.__dict__[name].ListFields()) if name in self._nested else name in self.__dict__

    def ListFields(self) -> list[tuple[FieldDescriptor, Any]]:
        """Return the fields that are set with their values, without empty lists."""
        return [
            (field, self.__dict__[field])
            for field in self.DESCRIPTOR.fields
            if (self.__dict__[field] if field in self._repeated else self.HasField(field))
        ]

    def WhichOneof(self, oneof_group: str) -> str | None:
        """Raise a ValueError, because no message has a group of alternative fields."""
        raise ValueError(f"{type(self).__name__} has no oneof {oneof_group!r}")

    def ClearField(self, name: str) -> None:
        """Unset a field."""
        if name in self._repeated:
            self.__dict__[name].clear()
        elif name in self._nested:
            self.__dict__[name] = self._nested[name]()
        else:
            self.__dict__.pop(name, None)

    def CopyFrom(self, other: Self) -> None:
        """Take over every field of another message of the same type."""
        state = _taken(type(self), other).__dict__
        self.__dict__.clear()
        self.__dict__.update(state)

    def Clear(self) -> None:
        """Unset every field."""
        for name in self._fields:
            self.ClearField(name)

    def MergeFrom(self, other: Self) -> None:
        """Take over the fields that another message of the same type has set; lists are joined, messages merged."""
        if type(other) is not type(self):
            raise TypeError(f"MergeFrom() takes a {type(self).__name__}, not a {type(other).__name__}")
        for name, value in other.ListFields():
            if name in self._repeated:
                self.__dict__[name].extend(value)
            elif name in self._nested:
                self.__dict__[name].MergeFrom(value)
            else:
                self.__dict__[name] = value

    def SerializeToString(self) -> bytes:
        """Encode the message in protobuf's wire format, as MediaPipe does."""
        parts: list[tuple[int, bytes]] = []
        for name, value in self.ListFields():
            number, kind = self._numbers[name], self._kinds[name]
            if name in self._repeated and not issubclass(kind, (Message, str)):
                packed = b"".join(_scalar(kind, item)[1] for item in value)
                parts.append((number, wire_field(number, LENGTH, packed)))
            else:
                items = value if name in self._repeated else [value]
                parts += [(number, wire_field(number, *_scalar(kind, item))) for item in items]
        return b"".join(part for _, part in sorted(parts, key=lambda pair: pair[0]))

    SerializePartialToString = SerializeToString

    def ByteSize(self) -> int:
        """Return the number of bytes of `SerializeToString`."""
        return len(self.SerializeToString())

    def ParseFromString(self, data: bytes) -> int:
        """Replace all fields by those of a message in the wire format. Unknown fields are skipped.

        Returns:
            Number of bytes that were read.

        Raises:
            ValueError: The bytes are damaged.
        """
        self.Clear()
        return self.MergeFromString(data)

    def MergeFromString(self, data: bytes) -> int:
        """Merge a message in the wire format. Return and raise as `ParseFromString`."""
        self._merge_from(bytes(data))
        return len(data)

    def IsInitialized(self) -> bool:
        """Check whether all required fields are set. No field is required."""
        return True

    @classmethod
    def FromString(cls, data: bytes) -> Self:
        """Decode a message from the wire format. Raise the same errors as `ParseFromString`."""
        message = cls()
        message.ParseFromString(data)
        return message

    def _merge_from(self, data: bytes) -> None:
        names = {number: name for name, number in self._numbers.items()}
        for number, wire, content in wire_fields(data):
            name = names.get(number)
            if name is None:
                continue
            kind = self._kinds[name]
            if name in self._nested:
                self.__dict__[name]._merge_from(content)
            elif name not in self._repeated:
                self.__dict__[name] = _value(kind, content)
            elif issubclass(kind, Message):
                self.__dict__[name].add()._merge_from(content)
            elif wire == LENGTH and kind is float:
                self.__dict__[name].extend(np.frombuffer(content, "<f4").tolist())
            elif wire == LENGTH and kind is not str:
                self.__dict__[name].extend(_value(kind, varint) for varint in varints(content))
            else:
                self.__dict__[name].append(_value(kind, content))

    def __copy__(self) -> Self:
        """Return a deep copy."""
        duplicate = object.__new__(type(self))
        duplicate.__dict__.update(self.__dict__)
        for name in (*self._repeated, *self._nested):
            duplicate.__dict__[name] = copy.copy(self.__dict__[name])
        return duplicate

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a deep copy."""
        return copy.copy(self)

    def __eq__(self, other: object) -> bool:
        """Same type and same fields set to the same values."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # messages change

    def __repr__(self) -> str:
        """Return the fields, one per line, as protobuf prints messages."""
        return "".join(
            _text(name, item)
            for name, value in self.ListFields()
            for item in (value if isinstance(value, Repeated) else [value])
        )


def _taken(kind: type[Any], value: Any, *, wide: bool = False) -> Any:  # noqa: ANN401  # what a caller gives
    """Convert a value for a field of a type. Raise the same errors as `Message`."""
    if issubclass(kind, Message):
        if isinstance(value, dict):
            return kind(**value)
        # By name: a module that was imported as mediapipe's, too, has types of its own.
        if not isinstance(value, Message) or type(value).__name__ != kind.__name__:
            raise TypeError(f"{kind.__name__} is asked for, not {type(value).__name__}")
        return copy.copy(value)
    if issubclass(kind, float):
        return c_float(value).value
    if issubclass(kind, str):
        if isinstance(value, bytes):
            return value.decode()
        if not isinstance(value, str):
            raise TypeError(f"text is asked for, not {type(value).__name__}")
        return str(value)
    if issubclass(kind, IntEnum) and isinstance(value, str):
        if value not in kind.__members__:
            raise ValueError(f"unknown enum label {value!r}. Choose from {', '.join(kind.__members__)}")
        return kind[value]
    number = int(index(value))
    if issubclass(kind, IntEnum):
        if number not in kind.__members__.values():
            raise ValueError(
                f"invalid enumerator {number}. Choose from {', '.join(str(int(member)) for member in kind)}"
            )
        return kind(number)
    if not -(most := 1 << (63 if wide else 31)) <= number < most:
        raise ValueError(f"Value out of range: {number}")
    return number


def _scalar(kind: type[Any], value: Any) -> tuple[int, bytes]:  # noqa: ANN401  # a field's value
    """Wire type and content of one value of a field."""
    if issubclass(kind, Message):
        return LENGTH, value.SerializeToString()
    if issubclass(kind, str):
        return LENGTH, value.encode()
    if issubclass(kind, float):
        return FIXED32, struct.pack("<f", value)
    return VARINT, varint_from_int(int(value))


def _value(kind: type[Any], content: bytes) -> Any:  # noqa: ANN401  # a field's value
    """Parse one value of a field from its content."""
    if issubclass(kind, str):
        return content.decode()
    if issubclass(kind, float):
        return float(np.frombuffer(content, "<f4")[0])
    number = int_from_varint(content)
    return kind(number - 2**64 if number >= 2**63 else number)


def _text(name: str, value: object) -> str:
    if isinstance(value, Message):
        inner = "".join(f"  {line}\n" for line in repr(value).splitlines())
        return f"{name} {{\n{inner}}}\n"
    if isinstance(value, IntEnum):
        value = value.name
    elif isinstance(value, float):
        short = f"{value:.6g}"
        value = short if c_float(float(short)).value == value else f"{value:.9g}"
    elif isinstance(value, str):
        value = f'"{value}"'
    return f"{name}: {value}\n"


class Repeated(list[T]):
    """A list field, of messages or of numbers. What is put in is copied, as in protobuf."""

    def __init__(self, kind: type[T], items: Iterable[T] = ()) -> None:
        self.kind = kind
        super().__init__(map(self._own, items))

    def add(self, **fields: object) -> T:
        """Append a new message and return it."""
        super().append(self.kind(**fields))
        return self[-1]

    def add_rows(self, names: tuple[str, ...], rows: Float32Array) -> None:
        """Append a message for each row of numbers (N, F), of a kind that has no other fields than numbers."""
        for row in rows.tolist():
            message = object.__new__(self.kind)
            message.__dict__.update(zip(names, row, strict=True))
            super().append(message)

    def append(self, item: T, /) -> None:
        """Append a copy."""
        super().append(self._own(item))

    def insert(self, index: SupportsIndex, item: T, /) -> None:
        """Insert a copy."""
        super().insert(index, self._own(item))

    def extend(self, items: Iterable[T], /) -> None:
        """Append copies."""
        super().extend(map(self._own, items))

    def MergeFrom(self, items: Iterable[T], /) -> None:
        """Append copies of items."""
        self.extend(items)

    def __setitem__(self, place: Any, value: Any, /) -> None:  # noqa: ANN401  # an item, or several for a slice
        """Set copies."""
        super().__setitem__(place, map(self._own, value) if isinstance(place, slice) else self._own(value))

    def _own(self, item: T) -> T:
        """Return the stored form of an item."""
        return _taken(self.kind, item)

    def __copy__(self) -> Repeated[T]:
        """Return a list of copies."""
        return Repeated(self.kind, self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the state for pickling. The type precedes the items."""
        return Repeated, (self.kind, list(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Repeated[T]:
        """Return a deep copy."""
        return copy.copy(self)

"""`Container`: what a dataclass of results shares with the message of the same fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar

from sonjit.compat.mediapipe.messages import Message

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Container(Generic[AnyMessage]):
    """Base of the dataclasses whose fields are those of one message.

    Attributes:
        _message: its type.
        _names: the message's names of the fields that are called otherwise there.
    """

    __slots__ = ()
    _message: ClassVar[type[Any]]
    _names: ClassVar[Mapping[str, str]] = {}

    def to_pb2(self) -> AnyMessage:
        """The same as a message; fields that are None are unset there."""
        return self._message(**{there: getattr(self, here) for here, there in self._pairs()})

    @classmethod
    def create_from_pb2(cls, pb2_obj: AnyMessage) -> Self:
        """What a message holds; fields that are unset there read as 0 or an empty string."""
        return cls(**{here: getattr(pb2_obj, there) for here, there in cls._pairs()})

    @classmethod
    def _pairs(cls) -> list[tuple[str, str]]:
        declared: Any = cls  # a subclass is a dataclass
        return [(field.name, cls._names.get(field.name, field.name)) for field in fields(declared)]

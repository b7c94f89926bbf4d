"""`Classifications` and `ClassificationResult`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sonjit.compat.mediapipe.framework.formats.classification_pb2 import ClassificationList
from sonjit.compat.mediapipe.messages import Message, Repeated
from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category


class _Classifications(Message):
    classification_list: ClassificationList = ClassificationList()
    head_index: int = 0
    head_name: str = ""
    _numbers: ClassVar[dict[str, int]] = {"classification_list": 4, "head_index": 2, "head_name": 3}


class _ClassificationResult(Message):
    classifications: Repeated[_Classifications] = Repeated(_Classifications)
    timestamp_ms: int = 0
    _wide: ClassVar[tuple[str, ...]] = ("timestamp_ms",)


@dataclass
class Classifications:
    """The labels that one head of a classifier gives, the best first, and which head it is."""

    categories: list[Category]
    head_index: int
    head_name: str | None = None

    def to_pb2(self) -> _Classifications:
        """The same as a message; a name that is None is unset there."""
        labels = ClassificationList(classification=[one.to_pb2() for one in self.categories])
        return _Classifications(classification_list=labels, head_index=self.head_index, head_name=self.head_name)

    @classmethod
    def create_from_pb2(cls, pb2_obj: _Classifications) -> Self:
        """What a message holds; what is unset there reads as 0 or an empty string."""
        categories = [Category.create_from_pb2(one) for one in pb2_obj.classification_list.classification]
        return cls(categories, pb2_obj.head_index, pb2_obj.head_name)


@dataclass
class ClassificationResult:
    """What all heads of a classifier give; of a series in time also when its piece began, in milliseconds."""

    classifications: list[Classifications]
    timestamp_ms: int | None = None

    def to_pb2(self) -> _ClassificationResult:
        """The same as a message."""
        heads = [one.to_pb2() for one in self.classifications]
        return _ClassificationResult(classifications=heads, timestamp_ms=self.timestamp_ms)

    @classmethod
    def create_from_pb2(cls, pb2_obj: _ClassificationResult) -> Self:
        """What a message holds."""
        return cls([Classifications.create_from_pb2(one) for one in pb2_obj.classifications], pb2_obj.timestamp_ms)

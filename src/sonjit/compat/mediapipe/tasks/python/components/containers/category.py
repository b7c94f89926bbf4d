"""`Category`."""

from dataclasses import dataclass

from sonjit.compat.mediapipe.framework.formats.classification_pb2 import Classification
from sonjit.compat.mediapipe.tasks.python.components.containers.container import Container


@dataclass
class Category(Container[Classification]):
    """One label: its index among the labels, its probability and its names; None where it has none."""

    _message = Classification
    _names = {"category_name": "label"}  # noqa: RUF012

    index: int | None = None
    score: float | None = None
    display_name: str | None = None
    category_name: str | None = None

"""What every table writer looks like, and what a table says once about its source."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from sonjit.media.outputs import Output

if TYPE_CHECKING:
    from sonjit.media.source import Source
    from sonjit.results import Frame


@dataclass(frozen=True)
class Header:
    """What a table says once about its source; what is unknown is `None`.

    Attributes:
        source: what was read: a path, a glob, `camera:0`.
        width, height: size of the first picture in pixels.
        fps: frames per second; `None` for stills.
        model: which model found the hands.
    """

    source: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    model: str | None = None

    @classmethod
    def from_source(cls, source: Source, model: str | None = None) -> Self:
        """The header of an open source."""
        return cls(source.name, source.width, source.height, source.fps, model)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The header in what `to_dict` gave; other keys are ignored."""
        return cls(**{name: data.get(name) for name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, Any]:
        """The header as plain JSON types."""
        return asdict(self)


class FrameWriter(Output):
    """A table being written, frame by frame."""

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Append one frame."""

"""The interface of every table writer, and what a table holds once about its source."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

from sonjit.errors import InputError
from sonjit.files import Draft, Output, failing_as_job
from sonjit.json_text import JsonObject
from sonjit.media.sources.base import Source
from sonjit.results import RESULT_TYPES, Frame

Extras: TypeAlias = Sequence[Mapping[str, float | str | None]]
"""Further values of a frame's instances, one mapping for each in the order of `Frame.instances()`."""

ExtraTypes: TypeAlias = Mapping[str, type[int] | type[float] | type[str]]
"""Names of further columns, and whether they hold whole numbers, numbers or text."""

Value: TypeAlias = bool | int | float | str | None
"""What stands in one place of a row."""

ColumnType: TypeAlias = type[bool] | type[int] | type[float] | type[str]
"""What a column of rows holds."""

ColumnTypes: TypeAlias = Mapping[str, ColumnType]
"""Columns of rows by name."""


@dataclass(frozen=True)
class Header:
    """What a table holds once about its source; what is unknown is `None`.

    Attributes:
        source: what was read: a path, a glob, `camera:0`.
        width, height: size of the first image in pixels.
        fps: frames per second; `None` for stills.
        model: which model found the instances.
        kind: which list every frame has, even empty: "hands", "faces", "bodies" or "people".
    """

    source: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    model: str | None = None
    kind: str = "hands"

    def __post_init__(self) -> None:
        RESULT_TYPES.find(self.kind)

    @classmethod
    def from_source(cls, source: Source, model: str | None = None, kind: str = "hands") -> Self:
        """The header of an open source."""
        return cls(source.name, source.width, source.height, source.fps, model, kind)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The header in what `to_dict` gave; other keys are ignored."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__.keys() & data.keys()})

    def to_dict(self) -> JsonObject:
        """The header as plain JSON types; "kind" is there for other things than hands."""
        data = asdict(self)
        if self.kind == "hands":
            del data["kind"]
        return data


class TextOutput(Output):
    """A text file being written; its name it takes at the end."""

    def __init__(self, path: Path, *, newline: str) -> None:
        super().__init__()
        self._draft = Draft(path)
        self._file = self._draft.path.open("w", encoding="utf-8", newline=newline, errors="surrogateescape")

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._file.close()
        self._draft.keep()

    def _abort(self) -> None:
        try:
            self._file.close()
        except OSError:  # a full disk refuses the rest of the buffer once more
            pass
        finally:
            self._draft.drop()


class FrameWriter(Output):
    """A table being written, frame by frame."""

    @abstractmethod
    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame.

        Args:
            frame: what was found.
            extras: values of the further columns that `open_writer` was given, one mapping per instance in the order
                of `frame.instances()`; what a mapping lacks is unknown.
        """


class RowWriter(Output):
    """A table of what is no frame being written, row by row."""

    @abstractmethod
    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Append rows: values by column; what is missing is unknown."""


def extra_types(extra: Iterable[str] | ExtraTypes, taken: Iterable[str]) -> ExtraTypes:
    """Types of further columns by name, numbers where none is given; InputError where a name is taken already."""
    types = extra if isinstance(extra, Mapping) else dict.fromkeys(extra, float)
    if clash := set(types) & set(taken):
        raise InputError(f"a further column cannot be called {', '.join(sorted(clash))}: tables have that one already")
    return types


def known_extras(frame: Frame, extras: Extras | None, types: ExtraTypes) -> list[tuple[float | str | None, ...]]:
    """One tuple per instance of a frame: its value for each further column, `None` where it is unknown or NaN.

    Raises:
        InputError: not one mapping per instance, or a value that no column or a column of the other type waits for.
    """
    count = sum(1 for _ in frame.instances())
    if extras is None:
        return [(None,) * len(types)] * count
    if len(extras) != count:
        raise InputError(f"frame {frame.index}: {len(extras)} extras for {count} instances; give one mapping for each")
    for values in extras:
        if unknown := set(values) - set(types):
            raise InputError(f"no column for {', '.join(sorted(unknown))}: name it in open_writer(…, extra=…)")
    return [tuple(_checked(name, values.get(name), kind) for name, kind in types.items()) for values in extras]


def _checked(name: str, value: float | str | None, kind: ColumnType) -> float | str | None:
    if value is None or (isinstance(value, str) and kind is str):
        return value
    if isinstance(value, str) or kind is str:
        raise InputError(f"{name} is {value!r}, but its column holds {'text' if kind is str else 'numbers'}: "
                         f"give extra={{{name!r}: {'float' if kind is str else 'str'}}}")  # fmt: skip
    return kind(value) if math.isfinite(value) else None

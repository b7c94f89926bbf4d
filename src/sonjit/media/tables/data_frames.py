"""Convert frames to data frames of pandas or Polars, with the columns of the row tables."""

from __future__ import annotations

import importlib
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.media.tables.rows import COLUMNS, Layout, has_errors, wide_points
from sonjit.results import Frame, Result
from sonjit.results.measures import instance_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas
    import polars

    from sonjit.media.tables.base import ColumnType, Extras, TableRows
    from sonjit.media.tables.rows import Row

Found: TypeAlias = "Frame | Iterable[Frame] | Iterable[Result]"

_INTEGERS: Final = ("instance", "key", "id", "keypoint")
_CATEGORIES: Final = ("kind", "handedness", "name", "gesture")


@overload
def to_dataframe(
    found: Found, library: Literal["pandas"] = "pandas", *, rows: TableRows = "keypoint", measures: bool = False
) -> pandas.DataFrame: ...
@overload
def to_dataframe(
    found: Found, library: Literal["polars"], *, rows: TableRows = "keypoint", measures: bool = False
) -> polars.DataFrame: ...


def to_dataframe(
    found: Found,
    library: Literal["pandas", "polars"] = "pandas",
    *,
    rows: TableRows = "keypoint",
    measures: bool = False,
) -> pandas.DataFrame | polars.DataFrame:
    """Return results as a data frame, with the columns of `--save table.csv`.

    x, y, z are pixels; x_m, y_m, z_m are metres. Counts and IDs are nullable integers, names are categories. A frame
    without results has one row of unknown values. With a row per keypoint it has the name of the first keypoint, so
    that a pivot by name keeps the frame and adds no column.

    Args:
        found: Frames, such as those of `sonjit.track`, or results of a detector for one image.
        library: Library of the data frame, `"pandas"` or `"polars"`.
        rows: What a row describes: a `"keypoint"`, an `"instance"`, or an instance with a column per keypoint and axis
            (`"wide"`). Rows of instances have a column `key`, the track ID or in photographs the index in the image.
        measures: Add the measures, gestures and blendshapes of each instance. Frames of `sonjit.track(...,
            measures=True)` always have them.

    Raises:
        InputError: An argument has an unknown value.
        MissingExtraError: The library is not installed.

    Example:
        >>> table = sonjit.to_dataframe(sonjit.track("clip.mp4", "hands"))
        >>> tips = table[table.name == "index_finger_tip"]
        >>> int(tips.frame.max()), tips.handedness.unique().tolist()
        (11, ['Left', 'Right'])
    """
    if library not in ("pandas", "polars"):
        raise InputError(f"Unknown library {library!r}. Choose from pandas, polars.")
    if rows not in ("keypoint", "instance", "wide"):
        raise InputError(f"Unknown rows {rows!r}. Choose from keypoint, instance, wide.")
    with optional_import("a data frame"):
        module: Any = importlib.import_module(library)
    frames: list[Frame] = []
    results: list[Result] = []
    for item in [found] if isinstance(found, Frame) else found:
        frames.append(item) if isinstance(item, Frame) else results.append(item)
    if results:
        frames.append(Frame.from_results(0, None, results))
    extras = [_values(frame, measures=measures) for frame in frames]
    layout = Layout(
        with_source=any(frame.source is not None for frame in frames),
        extra=_types(chain.from_iterable(extras)),
        rows=rows,
        points=wide_points(frames) if rows == "wide" else {},
        with_error=has_errors(frames),
    )
    made = [layout.make_rows(frame, values or None) for frame, values in zip(frames, extras, strict=True)]
    table = list(chain.from_iterable(_named(made) if rows == "keypoint" else made))
    columns = dict(zip(layout.columns, map(list, zip(*table, strict=True)), strict=True)) if table else {}
    columns = columns or {name: [] for name in layout.columns}
    if library == "pandas":
        integers = (*_INTEGERS, *(name for name, kind in layout.extra.items() if kind is int))
        columns = {name: _pandas_column(module, name, values, integers) for name, values in columns.items()}
    return module.DataFrame(columns)


def _pandas_column(pandas: Any, name: str, values: list[Any], integers: Sequence[str]) -> Any:  # noqa: ANN401
    """Return a column as a categorical, or as an array of nullable integers, if the column has such values."""
    if name in _CATEGORIES:
        return pandas.Categorical(values, categories=list(dict.fromkeys(text for text in values if text is not None)))
    return pandas.array(values, "Int64") if name in integers else values


def _values(frame: Frame, *, measures: bool) -> Extras:
    """Return the additional values of each instance of a frame."""
    if frame.measures:
        return frame.measures
    return [instance_values(instance) for _, instance in frame.instances()] if measures else []


def _types(values: Iterable[Mapping[str, float | str | None]]) -> dict[str, ColumnType]:
    """Return the additional columns and their types."""
    types: dict[str, ColumnType] = {}
    for mapping in values:
        for name, value in mapping.items():
            kind = str if isinstance(value, str) else int if isinstance(value, int) else float
            if value is not None or name not in types:
                types[name] = kind
    return types


def _named(made: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """Name the row of each frame without results after the first keypoint."""
    at = COLUMNS.index("name")
    first = next((row[at] for rows in made for row in rows if row[at] is not None), None)
    return [[(*row[:at], row[at] or first, *row[at + 1 :]) if row[2] is None else row for row in rows] for rows in made]

"""Frames as a data frame of pandas or Polars, with the columns of the row tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal, overload

from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.media.tables.rows import Layout
from sonjit.results import Frame, Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas
    import polars


@overload
def to_dataframe(
    found: Frame | Iterable[Frame] | Iterable[Result], library: Literal["pandas"] = "pandas"
) -> pandas.DataFrame: ...
@overload
def to_dataframe(found: Frame | Iterable[Frame] | Iterable[Result], library: Literal["polars"]) -> polars.DataFrame: ...


def to_dataframe(
    found: Frame | Iterable[Frame] | Iterable[Result], library: Literal["pandas", "polars"] = "pandas"
) -> pandas.DataFrame | polars.DataFrame:
    """One row per frame, instance and keypoint, with the columns of `--save table.csv`.

    x, y, z are pixels, x_m, y_m, z_m metres; a frame with nothing found keeps one row with only its number and time.

    Args:
        found: frames, such as those of `sonjit.track`, or what a detector found in one image.
        library: `"pandas"` or `"polars"`.

    Raises:
        InputError: an unknown library.
        MissingExtraError: the library is not installed.

    Example:
        >>> table = sonjit.to_dataframe(sonjit.track("clip.mp4", "hands"))
        >>> tips = table[table.name == "index_finger_tip"]
        >>> int(tips.frame.max()), tips.handedness.unique().tolist()
        (11, ['Left', 'Right'])
    """
    if library not in ("pandas", "polars"):
        raise InputError(f"library={library!r}: give 'pandas' or 'polars'")
    with needed_for("a data frame"):
        module: Any = importlib.import_module(library)
    frames: list[Frame] = []
    alone: list[Result] = []
    for one in [found] if isinstance(found, Frame) else found:
        frames.append(one) if isinstance(one, Frame) else alone.append(one)
    if alone:
        frames.append(Frame.holding(0, None, alone))
    layout = Layout(with_source=any(frame.source is not None for frame in frames))
    rows = [row for frame in frames for row in layout.rows(frame)]
    columns = dict(zip(layout.columns, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    columns = columns or {name: [] for name in layout.columns}
    return module.DataFrame(columns)

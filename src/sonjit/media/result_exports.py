"""Draw, show and export results together with their image, and convert frames to data frames.

Every detector imports this module. Modules that only some results need are therefore imported inside functions.
"""

from __future__ import annotations

import base64
import importlib
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload

import numpy as np

from sonjit._util import Image, InputError, InputWarning, optional_import, unknown_name
from sonjit.media.sources.images import ImageLike, encode_image
from sonjit.results import NO_ID, Frame, Result, Results
from sonjit.results.measures import in_degrees, instance_values, with_owners
from sonjit.results.schema import VIEW_KEYS

if TYPE_CHECKING:
    import pandas
    import polars

    from sonjit.media.drawing import DrawingStyle
    from sonjit.media.tables.base import Extras, TableRows
    from sonjit.media.tables.layout import Layout, Row

R = TypeVar("R", bound=Result)
_VIEWER_S = 3.0  # time for the viewer of the system to read a picture
_PREVIEW_PX = 480  # maximum side of the preview in a notebook, in pixels
Exportable: TypeAlias = "Frame | Iterable[Frame] | Iterable[Result]"
_INTEGERS: Final = ("instance", "key", "id", "keypoint", *VIEW_KEYS)
_CATEGORIES: Final = ("kind", "handedness", "name", "gesture")


def draw(
    image: ImageLike,
    found: Frame | Result | Iterable[Result],
    style: DrawingStyle | None = None,
    *,
    labels: bool = True,
) -> Image:
    """Return a copy of the image with the results drawn over it, in the style of the command line and the app.

    Args:
        image: Image of the results: an RGB array (H, W, 3), a path, encoded bytes or a PIL image.
        found: Results of a detector, one result, or a frame, with keypoints in pixels of the image.
        style: Colours, line widths, background and other settings; None for the usual ones.
        labels: If False, write no labels, whatever the style.

    Returns:
        RGB image (H, W, 3), uint8.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     drawn = sonjit.draw("photo.jpg", detector.detect("photo.jpg"))
        >>> drawn.shape, str(drawn.dtype)
        ((480, 640, 3), 'uint8')
    """
    from sonjit.media.drawing import DrawingStyle, draw_frame

    if style is not None and not isinstance(style, DrawingStyle):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"{style!r} is no DrawingStyle. Write a drawing with PIL.Image.fromarray(drawn).save(FILE)")
    if not isinstance(found, Frame):
        found = Frame.from_results(0, None, [found] if isinstance(found, Result) else list(found))
    return draw_frame(image, found, style or DrawingStyle(), labels=labels)


@cache
def _picture_folder() -> tuple[Path, subprocess.Popen[bytes]]:
    """Return the folder for pictures of `show`, and the process that removes it.

    The process waits for the end of its input, which is the end of this program, and then until a viewer of the system
    has read the last picture. The program itself does not wait.
    """
    folder = Path(tempfile.mkdtemp(prefix="sonjit-"))
    remove = f"import shutil, sys, time; sys.stdin.read(); time.sleep({_VIEWER_S}); shutil.rmtree(sys.argv[1], True)"
    command = [sys.executable, "-I", "-S", "-c", remove, str(folder)]
    nowhere = subprocess.DEVNULL
    remover = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True)
    return folder, remover


def show(results: Frame | Results[Any]) -> None:
    """Show the drawn image of results below the cell of a notebook, or in the image viewer of the system."""
    notebook: Any = sys.modules.get("IPython")
    if notebook is not None and notebook.get_ipython() is not None:
        notebook.display.display(results)
        return
    import webbrowser

    folder, _ = _picture_folder()
    path = folder / f"{len(list(folder.iterdir())) + 1}.png"
    path.write_bytes(encode_image(results.draw(), ".png"))
    webbrowser.open(path.as_uri())


def html_from(results: Frame | Results[Any], frame: Frame) -> str:
    """Return a small picture of results and a line per instance of their frame, for notebooks."""
    import html

    rows = ""
    for result in frame.all_results():
        box = ", ".join(f"{value:.0f}" for value in result.box)
        cells = result.title, f"{result.score:.2f}", "" if result.id is None else str(result.id), box
        rows += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
    head = "".join(f"<th>{name}</th>" for name in ("found", "score", "id", "box (px)"))
    table = f"<table><tr>{head}</tr>{rows}</table>" if rows else "<p>nothing found</p>"
    try:
        drawn = results.draw()
    except InputError:
        return table
    import cv2

    scale = min(1.0, _PREVIEW_PX / max(drawn.shape[:2]))
    small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = base64.b64encode(encode_image(small, ".jpg")).decode("ascii")
    return f'<img alt="what was found" src="data:image/jpeg;base64,{data}">{table}'


class TableOptions(TypedDict, total=False):
    """Options of `to_dataframe`."""

    rows: TableRows
    measures: bool
    degrees: bool


@overload
def to_dataframe(
    found: Exportable, library: Literal["pandas"] = "pandas", **options: Unpack[TableOptions]
) -> pandas.DataFrame: ...
@overload
def to_dataframe(
    found: Exportable, library: Literal["polars"], **options: Unpack[TableOptions]
) -> polars.DataFrame: ...
def to_dataframe(
    found: Exportable,
    library: Literal["pandas", "polars"] = "pandas",
    *,
    rows: TableRows = "keypoint",
    measures: bool = False,
    degrees: bool = False,
) -> pandas.DataFrame | polars.DataFrame:
    """Return results as a data frame, with the columns of `--save table.csv`.

    x, y, z are pixels; x_m, y_m, z_m are metres. Counts and IDs are nullable integers, names are categories. A frame
    without results has one row of unknown values. With a row per keypoint it has the name of the first keypoint, so
    that a pivot by name keeps the frame and adds no column. Frames that name their source have a column of it.

    Args:
        found: Frames, such as those of `sonjit.track`, or results of a detector for one image.
        library: Library of the data frame, `"pandas"` or `"polars"`.
        rows: What a row describes: a `"keypoint"`, an `"instance"`, or an instance with a column per keypoint and axis
            (`"wide"`). Rows of instances have a column `key`, the track ID or in photographs the index in the image.
        measures: Add the measures, gestures and blendshapes of each instance. Frames of `sonjit.track(...,
            measures=True)` always have them.
        degrees: Give angles in degrees, in columns that end in `_deg` instead of `_rad`.

    Raises:
        InputError: An argument has an unknown value.
        MissingExtraError: The library is not installed.

    Example:
        >>> table = sonjit.to_dataframe(sonjit.track("clip.mp4", "hands"))
        >>> tips = table[table.name == "index_finger_tip"]
        >>> int(tips.frame.max()), tips.handedness.unique().tolist()
        (11, ['Left', 'Right'])
    """
    from sonjit.media.tables.layout import Layout, has_errors, has_view, types_of, wide_points

    if library not in ("pandas", "polars"):
        raise InputError(unknown_name("library", library, ("pandas", "polars")))
    if rows not in ("keypoint", "instance", "wide"):
        raise InputError(unknown_name("rows", rows, ("keypoint", "instance", "wide")))
    with optional_import("a data frame"):
        module: Any = importlib.import_module(library)
    frames: list[Frame] = []
    results: list[Result] = []
    for item in [found] if isinstance(found, Frame) else found:
        frames.append(item) if isinstance(item, Frame) else results.append(item)
    if results:
        frames.append(Frame.from_results(0, None, results))
    if any(after.index < before.index and after.source == before.source for before, after in pairwise(frames)):
        text = "frames of several recordings have no source by which their rows differ. Set frame.source of each"
        warnings.warn(text, InputWarning, stacklevel=2)
    extras = [_values(frame, measures=measures) for frame in frames]
    types = types_of(chain.from_iterable(extras))
    layout = Layout(
        with_source=any(frame.source is not None for frame in frames),
        extra=in_degrees(types) if degrees else types,
        rows=rows,
        points=wide_points(frames) if rows == "wide" else {},
        with_error=has_errors(frames),
        with_view=has_view(frames),
    )
    columns = _columns(layout, frames, extras)
    if library == "pandas":
        integers = (*_INTEGERS, *(name for name, kind in layout.extra.items() if kind is int))
        columns = {name: _pandas_column(module, name, values, integers) for name, values in columns.items()}
    return module.DataFrame(columns)


def _columns(layout: Layout, frames: Sequence[Frame], extras: Sequence[Extras]) -> dict[str, list[Any]]:
    """Return the values of each column by its name."""
    made = [layout.make_rows(frame, values or None) for frame, values in zip(frames, extras, strict=True)]
    table = list(chain.from_iterable(_named(made) if layout.rows == "keypoint" else made))
    if not table:
        return {name: [] for name in layout.columns}
    return dict(zip(layout.columns, map(list, zip(*table, strict=True)), strict=True))


def _pandas_column(pandas: Any, name: str, values: list[Any], integers: Sequence[str]) -> Any:  # noqa: ANN401
    """Return a column as a categorical, or as an array of nullable integers, if the column has such values."""
    if name in _CATEGORIES:
        return pandas.Categorical(values, categories=list(dict.fromkeys(text for text in values if text is not None)))
    return pandas.array(values, "Int64") if name in integers else values


def _values(frame: Frame, *, measures: bool) -> Extras:
    """Return the additional values of each instance of a frame."""
    if frame.measures:
        return frame.measures
    return [instance_values(*pair) for pair in with_owners(frame)] if measures else []


def _named(made: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """Name the row of each frame without results after the first keypoint."""
    from sonjit.media.tables.layout import COLUMNS

    at = COLUMNS.index("name")
    first = next((row[at] for rows in made for row in rows if row[at] is not None), None)
    return [[(*row[:at], row[at] or first, *row[at + 1 :]) if row[2] is None else row for row in rows] for rows in made]


def to_supervision(frame: Frame, form: Literal["keypoints", "detections"]) -> Any:  # noqa: ANN401  # supervision's types
    """Return the results of a frame as types of Supervision; see `Results.to_supervision`."""
    if form not in ("keypoints", "detections"):
        raise InputError(unknown_name("form", form, ("keypoints", "detections")))
    with optional_import("to_supervision", "supervision"):
        sv: Any = importlib.import_module("supervision")
    is_points = form == "keypoints"
    results = Results[Result](frame.all_results() if is_points else (part for _, part in frame.instances()))
    kind = sv.KeyPoints if is_points else sv.Detections
    if not results:
        return kind.empty()
    titles = np.array([result.title for result in results])
    classes = np.unique(titles, return_inverse=True)[1]
    tracks = None if NO_ID in results.ids else results.ids
    data = {"class_name": titles}
    if not is_points:
        return kind(results.boxes, confidence=results.scores, class_id=classes, tracker_id=tracks, data=data)
    visible = [getattr(getattr(result, "body", result), "visibility", None) for result in results]
    certain = None if any(values is None for values in visible) else np.array(visible, np.float32)
    if tracks is not None:
        data["tracker_id"] = tracks
    return kind(results.xy, classes, certain, results.scores, data=data)

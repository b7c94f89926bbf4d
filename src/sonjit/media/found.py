"""Draw, show and export results together with their image, and convert frames to data frames.

Every detector imports this module. Modules that only some results need are therefore imported inside functions.
"""

from __future__ import annotations

import atexit
import base64
import importlib
import shutil
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload
from weakref import ref

import numpy as np

from sonjit._util import Image, InputError, optional_import
from sonjit.media.sources.images import ImageLike, encode_image, rgb_from
from sonjit.results import NO_ID, Frame, MotionEvent, Result, ResultList
from sonjit.results.measures import in_degrees, instance_values, with_owners

if TYPE_CHECKING:
    import pandas
    import polars

    from sonjit.media.drawing import DrawingStyle
    from sonjit.media.tables.base import ColumnType, Extras, TableRows
    from sonjit.media.tables.layout import Layout, Row

R = TypeVar("R", bound=Result)
_VIEWER_S = 3.0  # time for the viewer of the system to read a picture
_PREVIEW_PX = 480  # maximum side of the preview in a notebook, in pixels
Found: TypeAlias = "Frame | Iterable[Frame] | Iterable[Result]"
_INTEGERS: Final = ("instance", "key", "id", "keypoint")
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

    if not isinstance(found, Frame):
        found = Frame.from_results(0, None, [found] if isinstance(found, Result) else list(found))
    return draw_frame(image, found, style or DrawingStyle(), labels=labels)


@cache
def _picture_folder() -> Path:
    """Return the folder for pictures of `show`, which the end of the program removes."""
    folder = Path(tempfile.mkdtemp(prefix="sonjit-"))
    atexit.register(_remove_pictures, folder)
    return folder


def _remove_pictures(folder: Path) -> None:
    """Remove pictures after a viewer has had time to read the newest one."""
    with suppress(OSError):
        newest_s = max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)
        time.sleep(min(_VIEWER_S, max(0.0, newest_s + _VIEWER_S - time.time())))
    shutil.rmtree(folder, ignore_errors=True)


class _Shown(ABC):
    """Something found that knows its image as long as the caller keeps the image; it does not keep it itself."""

    __slots__ = ()
    _image: Any

    @property
    def image(self) -> Image:
        """Return the image of the results as uint8 RGB (H, W, 3).

        Raises:
            InputError: The image is no longer available, or it was passed as bytes.
        """
        image = self._image() if isinstance(self._image, ref) else self._image
        if image is None:
            raise InputError(
                "the image of these results is not in memory. Keep it and call sonjit.draw(image, results)"
            )
        return rgb_from(image)

    @abstractmethod
    def _frame(self) -> Frame:
        """Return the results as a frame."""

    def draw(self, style: DrawingStyle | None = None, *, labels: bool = True) -> Image:
        """Return the image with all results drawn over it; see `sonjit.draw`."""
        return draw(self.image, self._frame(), style, labels=labels)

    def show(self) -> None:
        """Show the drawn image below the cell of a notebook, or in the image viewer of the system.

        The file for the viewer is removed when the program ends, three seconds after the last call at the earliest.
        """
        notebook: Any = sys.modules.get("IPython")
        if notebook is not None and notebook.get_ipython() is not None:
            notebook.display.display(self)
            return
        import webbrowser

        folder = _picture_folder()
        path = folder / f"{len(list(folder.iterdir())) + 1}.png"
        path.write_bytes(encode_image(self.draw(), ".png"))
        webbrowser.open(path.as_uri())

    @overload
    def to_dataframe(
        self, library: Literal["pandas"] = "pandas", **options: Unpack[TableOptions]
    ) -> pandas.DataFrame: ...
    @overload
    def to_dataframe(self, library: Literal["polars"], **options: Unpack[TableOptions]) -> polars.DataFrame: ...
    def to_dataframe(
        self, library: Literal["pandas", "polars"] = "pandas", **options: Unpack[TableOptions]
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return the results as a data frame; see `sonjit.to_dataframe`."""
        return to_dataframe(self._frame(), library, **options)

    def to_supervision(self, form: Literal["keypoints", "detections"] = "keypoints") -> Any:  # noqa: ANN401  # its types
        """Return the results as `supervision.KeyPoints`, or as `supervision.Detections` with boxes and track IDs.

        Keypoints of people are those of their bodies; detections are also their hands and faces.

        Raises:
            InputError: An unknown form, or results with several numbers of keypoints.
            MissingExtraError: Supervision is not installed.
        """
        return to_supervision(self._frame(), form)

    def _repr_html_(self) -> str:
        """Return a small picture and a line per instance, for notebooks."""
        import html

        rows = ""
        for result in self._frame().all_results():
            box = ", ".join(f"{value:.0f}" for value in result.box)
            cells = result.title, f"{result.score:.2f}", "" if result.id is None else str(result.id), box
            rows += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        head = "".join(f"<th>{name}</th>" for name in ("found", "score", "id", "box (px)"))
        table = f"<table><tr>{head}</tr>{rows}</table>" if rows else "<p>nothing found</p>"
        try:
            drawn = self.draw()
        except InputError:
            return table
        import cv2

        scale = min(1.0, _PREVIEW_PX / max(drawn.shape[:2]))
        small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        data = base64.b64encode(encode_image(small, ".jpg")).decode("ascii")
        return f'<img alt="what was found" src="data:image/jpeg;base64,{data}">{table}'


class Results(_Shown, ResultList[R]):
    """List of the results in one image, which can be drawn, shown and converted to a data frame.

    The properties of `ResultList` give its values as arrays, and its index selects results: `hands[hands.scores > 0.9]`
    has the same image.

    It has only a weak reference to the image. `draw` and `show` require that the program keeps the image, or that the
    image was given as a path.

    Attributes:
        motions: Motions of hands, if the detector was created with `gestures`.
        total: Number of instances found, also those beyond `max_instances`.
        complete: True if the search of a still processed all proposals. False if it left out windows because the image
            shows no small instances.
    """

    __slots__ = ("_image", "complete", "motions", "total")

    def __init__(
        self,
        found: Iterable[R] = (),
        image: ImageLike | None = None,
        motions: Sequence[MotionEvent] = (),
        total: int | None = None,
        complete: bool = True,
        *,
        keypoint_count: int = 0,
    ) -> None:
        super().__init__(found, keypoint_count=keypoint_count)
        if image is None or isinstance(image, (str, Path)):
            self._image = image
        else:  # bytes have no weak references
            self._image = None if isinstance(image, (bytes, bytearray, memoryview)) else ref(image)
        self.motions = list(motions)
        self.total = len(self) if total is None else total
        self.complete = complete

    def _frame(self) -> Frame:
        return Frame.from_results(0, None, self)

    def _like(self, found: Iterable[R]) -> Results[R]:
        count = self._keypoint_count
        selected = Results(found, None, self.motions, self.total, self.complete, keypoint_count=count)
        selected._image = self._image
        return selected

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the results without the image."""
        state = {"_keypoint_count": self._keypoint_count}
        return Results, (list(self), None, self.motions, self.total, self.complete), (None, state)


class TrackedFrame(_Shown, Frame):
    """A `Frame` of `sonjit.track`, with the image while the loop is at it.

    Attributes:
        total: Number of instances found, also those beyond `max_instances`.
    """

    __slots__ = ("_image", "total")

    @classmethod
    def of(cls, frame: Frame, image: Image, hidden: int = 0) -> TrackedFrame:
        """Create a frame with its image (H, W, 3) and the number of instances beyond `max_instances`."""
        tracked = cls(*(getattr(frame, name) for name in Frame.__slots__))
        tracked._image = ref(image)
        tracked.total = sum(1 for _ in frame.all_results()) + hidden
        return tracked

    def _frame(self) -> Frame:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the results as a plain frame."""
        return Frame, tuple(getattr(self, name) for name in Frame.__slots__)


class TableOptions(TypedDict, total=False):
    """Options of `to_dataframe`."""

    rows: TableRows
    measures: bool
    degrees: bool


@overload
def to_dataframe(
    found: Found, library: Literal["pandas"] = "pandas", **options: Unpack[TableOptions]
) -> pandas.DataFrame: ...
@overload
def to_dataframe(found: Found, library: Literal["polars"], **options: Unpack[TableOptions]) -> polars.DataFrame: ...
def to_dataframe(
    found: Found,
    library: Literal["pandas", "polars"] = "pandas",
    *,
    rows: TableRows = "keypoint",
    measures: bool = False,
    degrees: bool = False,
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
    from sonjit.media.tables.layout import Layout, has_errors, wide_points

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
    types = _types(chain.from_iterable(extras))
    layout = Layout(
        with_source=any(frame.source is not None for frame in frames),
        extra=in_degrees(types) if degrees else types,
        rows=rows,
        points=wide_points(frames) if rows == "wide" else {},
        with_error=has_errors(frames),
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


def _types(values: Iterable[Mapping[str, float | str | None]]) -> dict[str, ColumnType]:
    """Return the additional columns and their types. A column of integers and other numbers has numbers."""
    found: dict[str, set[ColumnType]] = {}
    for mapping in values:
        for name, value in mapping.items():
            kinds = found.setdefault(name, set())
            if value is not None:
                kinds.add(str if isinstance(value, str) else int if isinstance(value, int) else float)
    return {name: str if str in kinds else int if kinds == {int} else float for name, kinds in found.items()}


def _named(made: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """Name the row of each frame without results after the first keypoint."""
    from sonjit.media.tables.layout import COLUMNS

    at = COLUMNS.index("name")
    first = next((row[at] for rows in made for row in rows if row[at] is not None), None)
    return [[(*row[:at], row[at] or first, *row[at + 1 :]) if row[2] is None else row for row in rows] for rows in made]


def to_supervision(frame: Frame, form: Literal["keypoints", "detections"]) -> Any:  # noqa: ANN401  # supervision's types
    """Return the results of a frame as types of Supervision; see `Results.to_supervision`."""
    if form not in ("keypoints", "detections"):
        raise InputError(f"Unknown form {form!r}. Choose from keypoints, detections.")
    with optional_import("to_supervision", "supervision"):
        sv: Any = importlib.import_module("supervision")
    is_points = form == "keypoints"
    found = ResultList[Result](frame.all_results() if is_points else (part for _, part in frame.instances()))
    kind = sv.KeyPoints if is_points else sv.Detections
    if not found:
        return kind.empty()
    titles = np.array([result.title for result in found])
    classes = np.unique(titles, return_inverse=True)[1]
    tracks = None if NO_ID in found.ids else found.ids
    data = {"class_name": titles}
    if not is_points:
        return kind(found.boxes, confidence=found.scores, class_id=classes, tracker_id=tracks, data=data)
    visible = [getattr(getattr(result, "body", result), "visibility", None) for result in found]
    certain = None if any(values is None for values in visible) else np.array(visible, np.float32)
    if tracks is not None:
        data["tracker_id"] = tracks
    return kind(found.xy, classes, certain, found.scores, data=data)

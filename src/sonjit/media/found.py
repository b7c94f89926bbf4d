"""Draw, show and export results together with their image.

Every detector imports this module, so that modules which only some results need are imported inside the functions that
need them.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from weakref import ref

from sonjit._util.errors import InputError
from sonjit.media.encode import encode_image
from sonjit.media.sources.convert import rgb_from
from sonjit.results import Frame, MotionEvent, Result

if TYPE_CHECKING:
    import pandas
    import polars

    from sonjit._util.arrays import Image
    from sonjit.media.encode import encode_image
    from sonjit.media.tables.base import TableRows
from sonjit.media.sources.convert import ImageLike

R = TypeVar("R", bound=Result)
_PREVIEW_PX = 480
"""Maximum side of the preview in a notebook, in pixels."""


def draw(image: ImageLike, found: Frame | Result | Iterable[Result], *, labels: bool = True) -> Image:
    """Return a copy of the image with the results drawn over it, in the style of the command line and the app.

    Args:
        image: Image of the results: an RGB array (H, W, 3), a path, encoded bytes or a PIL image.
        found: Results of a detector, one result, or a frame, with keypoints in pixels of the image.
        labels: If True, write a label such as "Right 0.98 #1" (title, score, id) next to each instance.

    Returns:
        RGB image (H, W, 3), uint8.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     drawn = sonjit.draw("photo.jpg", detector.detect("photo.jpg"))
        >>> drawn.shape, str(drawn.dtype)
        ((480, 640, 3), 'uint8')
    """
    from sonjit.media.drawing import draw_frame

    if not isinstance(found, Frame):
        found = Frame.from_results(0, None, [found] if isinstance(found, Result) else list(found))
    return draw_frame(image, found, labels=labels)


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

    def draw(self, *, labels: bool = True) -> Image:
        """Return the image with all results drawn over it; see `sonjit.draw`."""
        from sonjit.media.drawing import draw_frame

        return draw_frame(self.image, self._frame(), labels=labels)

    def show(self) -> None:
        """Show the drawn image below the cell of a notebook, or in the image viewer of the system."""
        notebook: Any = sys.modules.get("IPython")
        if notebook is not None and notebook.get_ipython() is not None:
            notebook.display.display(self)
            return
        import tempfile
        import webbrowser

        path = Path(tempfile.mkdtemp(prefix="sonjit-")) / "found.png"
        path.write_bytes(encode_image(self.draw(), ".png"))
        webbrowser.open(path.as_uri())

    @overload
    def to_dataframe(
        self, library: Literal["pandas"] = "pandas", *, rows: TableRows = "keypoint", measures: bool = False
    ) -> pandas.DataFrame: ...
    @overload
    def to_dataframe(
        self, library: Literal["polars"], *, rows: TableRows = "keypoint", measures: bool = False
    ) -> polars.DataFrame: ...

    def to_dataframe(
        self,
        library: Literal["pandas", "polars"] = "pandas",
        *,
        rows: TableRows = "keypoint",
        measures: bool = False,
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return the results as a data frame; see `sonjit.to_dataframe`."""
        from sonjit.media.tables.data_frames import to_dataframe

        return to_dataframe(self._frame(), library, rows=rows, measures=measures)

    def _repr_html_(self) -> str:
        """Return a small picture and a line per instance, for notebooks."""
        import base64
        import html

        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(result)) + "</tr>"
            for result in self._frame().all_results()
        )
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


class Results(_Shown, list[R]):
    """List of the results in one image, which can be drawn, shown and converted to a data frame.

    It has only a weak reference to the image. `draw` and `show` require that the program keeps the image, or that the
    image was given as a path.

    Attributes:
        motions: Motions of hands, if the detector was created with `gestures`.
        total: Number of instances found, also those beyond `max_instances`.
        complete: True if the search of a still processed all proposals or found `max_instances` confident instances.
            False where its budget ended before.
    """

    __slots__ = ("_image", "complete", "motions", "total")

    def __init__(
        self,
        found: Iterable[R] = (),
        image: ImageLike | None = None,
        motions: Sequence[MotionEvent] = (),
        total: int | None = None,
        complete: bool = True,
    ) -> None:
        super().__init__(found)
        self._image = _reference(image)
        self.motions = list(motions)
        self.total = len(self) if total is None else total
        self.complete = complete

    def _frame(self) -> Frame:
        return Frame.from_results(0, None, self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the results without the image."""
        return Results, (list(self), None, self.motions, self.total, self.complete)


class TrackedFrame(_Shown, Frame):
    """A `Frame` of `sonjit.track`, with the image while the loop is at it."""

    __slots__ = ("_image",)

    @classmethod
    def of(cls, frame: Frame, image: Image) -> TrackedFrame:
        """Create a frame with its image (H, W, 3)."""
        tracked = cls(*(getattr(frame, name) for name in Frame.__slots__))
        tracked._image = ref(image)
        return tracked

    def _frame(self) -> Frame:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the results as a plain frame."""
        return Frame, tuple(getattr(self, name) for name in Frame.__slots__)


def _reference(image: ImageLike | None) -> object:
    """Return a reference to the image that does not keep its pixels alive."""
    if image is None or isinstance(image, (bytes, bytearray, memoryview)):
        return None
    return image if isinstance(image, (str, Path)) else ref(image)


def _cells(result: Result) -> Iterator[str]:
    yield result.title
    yield f"{result.score:.2f}"
    yield "" if result.id is None else str(result.id)
    yield ", ".join(f"{value:.0f}" for value in result.box)

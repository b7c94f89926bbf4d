"""What was found, together with the image it was found in: drawn, shown, in a notebook, as a data frame.

Every detector imports this module, so what only some of its results need is imported where they need it.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from weakref import ref

from sonjit.errors import InputError
from sonjit.media.sources.image_files import rgb_from
from sonjit.results import Frame, MotionEvent, Result

if TYPE_CHECKING:
    import pandas
    import polars

    from sonjit.arrays import Image
    from sonjit.media.sources.image_files import ImageLike

R = TypeVar("R", bound=Result)
_PREVIEW_PX = 480


def draw(image: ImageLike, found: Frame | Result | Iterable[Result], *, labels: bool = True) -> Image:
    """A new image with what was found drawn over it, in the colours and widths of the command line and the app.

    Args:
        image: the one in which it was found: an RGB array (H, W, 3), a path, encoded bytes or a PIL image.
        found: what a detector gave, one result, or a frame; keypoints in pixels of the image.
        labels: write "Right 0.98 #1" (what, score, id) beside each instance.

    Returns:
        (H, W, 3) uint8 RGB.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     drawn = sonjit.draw("photo.jpg", detector.detect("photo.jpg"))
        >>> drawn.shape, str(drawn.dtype)
        ((480, 640, 3), 'uint8')
    """
    from sonjit.media.drawing import draw_frame

    if not isinstance(found, Frame):
        found = Frame.holding(0, None, [found] if isinstance(found, Result) else list(found))
    return draw_frame(image, found, labels=labels)


class _Shown(ABC):
    """Something found that knows its image as long as the caller keeps the image; it does not keep it itself."""

    __slots__ = ()
    _image: Any

    @property
    def image(self) -> Image:
        """The image it was found in, (H, W, 3) uint8 RGB.

        Raises:
            InputError: the image is gone: the program did not keep it, or it was given as bytes.
        """
        image = self._image() if isinstance(self._image, ref) else self._image
        if image is None:
            raise InputError("the image of these results is gone: keep it, and call sonjit.draw(image, results)")
        return rgb_from(image)

    @abstractmethod
    def _frame(self) -> Frame:
        """What was found, as a frame."""

    def draw(self, *, labels: bool = True) -> Image:
        """The image with everything drawn over it, see `sonjit.draw`."""
        from sonjit.media.drawing import draw_frame

        return draw_frame(self.image, self._frame(), labels=labels)

    def show(self) -> None:
        """Show it drawn: in a notebook below the cell, else in the system's viewer of images."""
        notebook: Any = sys.modules.get("IPython")
        if notebook is not None and notebook.get_ipython() is not None:
            notebook.display.display(self)
            return
        import tempfile
        import webbrowser

        path = Path(tempfile.mkdtemp(prefix="sonjit-")) / "found.png"
        path.write_bytes(_encoded(self.draw(), ".png"))
        webbrowser.open(path.as_uri())

    @overload
    def to_dataframe(self, library: Literal["pandas"] = "pandas") -> pandas.DataFrame: ...
    @overload
    def to_dataframe(self, library: Literal["polars"]) -> polars.DataFrame: ...

    def to_dataframe(self, library: Literal["pandas", "polars"] = "pandas") -> pandas.DataFrame | polars.DataFrame:
        """One row per instance and keypoint, see `sonjit.to_dataframe`."""
        from sonjit.media.tables.data_frames import to_dataframe

        return to_dataframe(self._frame(), library)

    def _repr_html_(self) -> str:
        """A small picture and a line per instance, for notebooks."""
        import base64
        import html

        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(one)) + "</tr>"
            for one in self._frame().all_results()
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
        data = base64.b64encode(_encoded(small, ".jpg")).decode("ascii")  # pyright: ignore[reportArgumentType]
        return f'<img alt="what was found" src="data:image/jpeg;base64,{data}">{table}'


class Results(_Shown, list[R]):
    """What a detector found in one image: a list, which can also be drawn, shown and made a data frame.

    It refers to the image but does not keep it: `draw` and `show` work as long as the program holds the image, or the
    image was named by its path.

    Attributes:
        motions: steps of the motions of hands, where the detector was given `gestures`.
    """

    __slots__ = ("_image", "motions")

    def __init__(
        self, found: Iterable[R] = (), image: ImageLike | None = None, motions: Sequence[MotionEvent] = ()
    ) -> None:
        super().__init__(found)
        self._image = _reference(image)
        self.motions = list(motions)

    def _frame(self) -> Frame:
        return Frame.holding(0, None, self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled without the image."""
        return Results, (list(self), None, self.motions)


class TrackedFrame(_Shown, Frame):
    """A `Frame` of `sonjit.track`, with the image while the loop is at it."""

    __slots__ = ("_image",)

    @classmethod
    def of(cls, frame: Frame, image: Image) -> TrackedFrame:
        """The frame with its image (H, W, 3)."""
        tracked = cls(*(getattr(frame, name) for name in Frame.__slots__))
        tracked._image = ref(image)
        return tracked

    def _frame(self) -> Frame:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as a plain frame."""
        return Frame, tuple(getattr(self, name) for name in Frame.__slots__)


def _reference(image: ImageLike | None) -> object:
    """What leads to the image without keeping its pixels."""
    if image is None or isinstance(image, (bytes, bytearray, memoryview)):
        return None
    return image if isinstance(image, (str, Path)) else ref(image)


def _encoded(rgb: Image, ending: str) -> bytes:
    import cv2

    return cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _cells(one: Result) -> Iterator[str]:
    yield one.title
    yield f"{one.score:.2f}"
    yield "" if one.id is None else str(one.id)
    yield ", ".join(f"{value:.0f}" for value in one.box)

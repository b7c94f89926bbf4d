"""Write annotated images as one image or a folder of images, and define what all writers of annotated images share."""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, TypeGuard

import numpy as np

from sonjit._util import Image, InputError, JobError
from sonjit._util.files import Draft, Output, failing_as_job
from sonjit.media.drawing.strokes import TILE_PX, Region
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.images import encode_image
from sonjit.media.sources.video import DecodedFrame

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

ANNOTATED_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.ENOENT, errno.EACCES)


class DrawingError(JobError):
    """Failure of an encoder or container. Other outputs can continue."""


@contextmanager
def failing_as_drawing(path: Path) -> Generator[None]:
    """Convert errors of an encoder inside the block to a DrawingError, and disk errors to a JobError."""
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in _DISK_ERRORS:
            raise JobError(f"writing {path} failed: {reason}") from error
        raise DrawingError(f"{path} cannot be drawn: {reason}; the source's size or rate may be damaged") from error


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """Image that a writer appends; see `DrawingWriter.write`."""

    rgb: Image
    time: float | None
    index: int | None
    under: SourceFrame | None
    regions: Sequence[Region] | None


class DrawingWriter(Output):
    """Writer of annotated images in order."""

    def write(
        self,
        rgb: Image,
        time: float | None,
        *,
        index: int | None = None,
        under: SourceFrame | None = None,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Append one image as uint8: RGB (H, W, 3), grey (H, W), or RGBA if the format supports transparency.

        The caller must not change it afterwards. Times are in seconds, None for stills. The index of the source frame,
        by default the next one, selects the file name in a folder. A video keeps the pixels of the source frame `under`
        the drawing where nothing was drawn. If it `keeps_pixels`, the image has a meaning only in `regions`, which do
        not touch.
        """
        self._append(AnnotatedImage(rgb, time, index, under, regions))

    @abstractmethod
    def _append(self, image: AnnotatedImage) -> None: ...

    def keeps_pixels(self, under: SourceFrame) -> bool:
        """Check whether the output has the pixels of a source frame outside the regions of a drawing."""
        del under
        return False


class BestEffortDrawing(DrawingWriter):
    """Drawing that is dropped for the `problem` that it cannot be encoded, while other outputs continue."""

    def __init__(self, drawing: DrawingWriter) -> None:
        super().__init__()
        self._drawing = drawing
        self.problem: str | None = None

    def _append(self, image: AnnotatedImage) -> None:
        if self.problem is None:
            try:
                self._drawing._append(image)
            except DrawingError as error:
                self.problem = str(error)
                self._drawing.discard()

    def keeps_pixels(self, under: SourceFrame) -> bool:
        """Check whether the output has the pixels of a source frame outside the regions of a drawing."""
        return self._drawing.keeps_pixels(under)

    def _finish(self) -> None:
        if self.problem is None:
            try:
                self._drawing.close()
            except DrawingError as error:
                self.problem = str(error)

    def _abort(self) -> None:
        self._drawing.discard()


class ImageWriter(DrawingWriter):
    """Writer of one image. Without an image it writes nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._draft = Draft(path)
        self._written = False

    def _append(self, image: AnnotatedImage) -> None:
        data = encode_image(image.rgb, self._draft.final.suffix.lower())
        with failing_as_job(self._draft.final):
            self._draft.path.write_bytes(data)
        self._written = True

    def _finish(self) -> None:
        if self._written:
            self._draft.keep()
        else:
            self._draft.drop()


class FolderWriter(DrawingWriter):
    """An image per input under the input's name; one that OpenCV cannot write (HEIC) becomes a PNG.

    Creates a missing folder. In an existing folder it replaces only images of the same names.
    """

    def __init__(self, path: Path, source: Source, ending: str | None = None) -> None:
        super().__init__()
        folder = path.resolve()
        if any(file.resolve().parent == folder for file in source.files):
            raise InputError(f"{path} contains the inputs. Choose another folder for the drawings")
        self._names = _file_names(source.files, ending)
        self._draft = Draft(path, folder=True)
        self._next = 0

    def _append(self, image: AnnotatedImage) -> None:
        index = self._next if image.index is None else image.index
        self._next = index + 1
        file = self._draft.path / self._names[index]
        data = encode_image(image.rgb, file.suffix.lower())
        with failing_as_job(self._draft.final / file.name):
            file.write_bytes(data)

    def _finish(self) -> None:
        self._draft.keep()


def _file_names(files: list[Path], ending: str | None) -> list[str]:
    """Return the file names of the drawings; repeated names from several folders get a number."""
    names: list[str] = []
    used_names: set[str] = set()
    for file in files:
        suffix = ending or (file.suffix if file.suffix.lower() in ANNOTATED_IMAGE_ENDINGS else ".png")
        name, number = f"{file.stem}{suffix}", 2
        while name in used_names:
            name, number = f"{file.stem}-{number}{suffix}", number + 1
        used_names.add(name)
        names.append(name)
    return names


_PIXELS = "yuv420p"
_FULL_RANGE = 2
_LIMITED_RANGE = 1  # FFmpeg's numbers of colour ranges
_ITU601, _ITU709 = 5, 1  # numbers of colour matrices of FFmpeg's scaler
_SCALER_MATRICES = {1: _ITU709, 4: 4, 5: _ITU601, 6: _ITU601, 7: 7, 9: 9, 10: 9}
"""Map FFmpeg's numbers of colour matrices to those of its scaler, which defaults to ITU 601."""


class Colours(NamedTuple):
    """Colour description of a video, as numbers of FFmpeg; by default BT.709."""

    matrix: int = _ITU709
    primaries: int = _ITU709
    transfer: int = _ITU709
    value_range: int = _LIMITED_RANGE

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Read the colour description of a frame."""
        return cls(frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)

    def scaling(self) -> dict[str, int]:
        """Return the arguments with which FFmpeg's scaler converts to these colours."""
        from av.video.reformatter import Interpolation

        return {
            "dst_colorspace": _SCALER_MATRICES.get(self.matrix, _ITU601),
            "dst_color_range": _LIMITED_RANGE,
            "interpolation": Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        }


def has_planes(under: SourceFrame | None) -> TypeGuard[DecodedFrame]:
    """Check whether a drawing over a source frame can be copied onto its planes."""
    return (
        isinstance(under, DecodedFrame)
        and under.decoded.format.name == _PIXELS
        and under.decoded.color_range != _FULL_RANGE
        and under.geometry.is_turn
        and under.geometry.shown_size(under.decoded.width, under.decoded.height) == under.rgb.shape[1::-1]
        and under.rgb.shape[0] % 2 == under.rgb.shape[1] % 2 == 0
    )


def drawn_on_planes(
    drawn: Image, under: DecodedFrame, reformatter: VideoReformatter, regions: Sequence[Region] | None = None
) -> av.VideoFrame:
    """Return an upright copy of a decoded frame with the changed parts of an image; see `has_planes`."""
    import av

    height, width = drawn.shape[:2]
    out = av.VideoFrame(width, height, _PIXELS)
    planes = _planes(out)
    for plane, decoded in zip(planes, _planes(under.decoded), strict=True):
        plane[:] = under.geometry.turned(decoded)
    scaling = Colours.of(under.decoded).scaling()
    for x, y, wide, high in _changed_regions(drawn, under.rgb, regions):
        changed = drawn[y : y + high, x : x + wide]
        # The scaler may read past the end of a row, which is not possible in the last row of an image.
        part = av.VideoFrame.from_numpy_buffer(changed) if y + high < height else frame_of(changed)
        # It starts its threads again for each size.
        part = reformatter.reformat(part, wide, high, _PIXELS, threads=1, **scaling)
        for plane, new, step in zip(planes, _planes(part), (1, 2, 2), strict=True):
            plane[y // step : (y + high) // step, x // step : (x + wide) // step] = new
    return out


def frame_of(rgb: Image) -> av.VideoFrame:
    """Return a frame with a copy of an image (H, W, 3 or 4)."""
    import av

    return av.VideoFrame.from_ndarray(rgb, format="rgba" if rgb.shape[2] == 4 else "rgb24")


def _planes(frame: av.VideoFrame) -> list[Image]:
    """Return each plane (h, w) without row padding."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # pyright: ignore
        for plane in frame.planes
    ]


def _changed_regions(
    drawn: Image, before: Image, regions: Sequence[Region] | None = None
) -> Iterator[tuple[int, int, int, int]]:
    """Yield x, y, width and height of the areas in which two images differ, aligned to tiles."""
    import cv2

    height, width = drawn.shape[:2]
    word = np.dtype(np.uint64 if width % 8 == 0 else np.uint16)  # eight bytes at once are compared as fast as one
    new, old = (image.reshape(height, -1).view(word) for image in (drawn, before))  # (H, 3 W / bytes of a word)
    words = 3 * TILE_PX // word.itemsize  # of a row of a tile
    tiles = np.zeros((-(-height // TILE_PX), -(-width // TILE_PX)), bool)
    for region in (Region(0, 0, width, height),) if regions is None else regions:
        rows, columns = (slice(part.start // TILE_PX, -(-part.stop // TILE_PX)) for part in region.slices)
        part = slice(columns.start * words, columns.stop * words)
        starts = np.arange(0, new[:1, part].shape[1], words)
        for row in range(rows.start, rows.stop) if len(starts) else ():
            strip = slice(row * TILE_PX, (row + 1) * TILE_PX), part
            tiles[row, columns] |= np.logical_or.reduceat((new[strip] != old[strip]).any(axis=0), starts)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(tiles.view(np.uint8), connectivity=8)
    for x, y, wide, high in (boxes[1:count, :4] * TILE_PX).tolist():
        yield x, y, min(wide, width - x), min(high, height - y)

"""Write annotated images as one image or a folder of images, and define what all writers of annotated images share."""

from __future__ import annotations

import errno
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError, JobError
from sonjit._util.files import Draft, Output, failing_as_job
from sonjit.media.sources.images import encode_image

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from sonjit.media.drawing.strokes import Region
    from sonjit.media.sources.base import Source, SourceFrame

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
        """Append one image.

        Args:
            rgb: Image as uint8: RGB (H, W, 3), grey (H, W), or RGBA (H, W, 4) if the format supports transparency. The
                caller must not change it afterwards.
            time: Time of the source frame in seconds; None for stills.
            index: Index of the source frame, which selects the file name in a folder; default: the next index.
            under: Source frame of the drawing. A video keeps its pixels where nothing was drawn.
            regions: Regions outside of which the image has no meaning, if `keeps_pixels` of the source frame. They do
                not touch each other.
        """
        self._append(AnnotatedImage(rgb, time, index, under, regions))

    @abstractmethod
    def _append(self, image: AnnotatedImage) -> None: ...

    def keeps_pixels(self, under: SourceFrame) -> bool:
        """Check whether the output has the pixels of a source frame outside the regions of a drawing."""
        del under
        return False


class BestEffortDrawing(DrawingWriter):
    """Drawing that is dropped if it cannot be encoded, while other outputs continue.

    Args:
        drawing: Writer of the drawing.

    Attributes:
        problem: Reason why the drawing was dropped, or None.
    """

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

    def _abort(self) -> None:
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

    def _abort(self) -> None:
        self._draft.drop()


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

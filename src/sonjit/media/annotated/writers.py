"""Write annotated images as one image or a folder of images, and define what all writers of annotated images share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sonjit._util import Image, InputError, JobError
from sonjit._util.files import Draft, Output, failing_as_job, free_name
from sonjit.media.drawing.regions import Region
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.images import encode_image

ANNOTATED_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class DrawingError(JobError):
    """Failure of an encoder or container. Other outputs can continue."""


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
        return self._drawing.keeps_pixels(under)

    def _finish(self) -> None:
        if self.problem is None:
            try:
                self._drawing.close()
            except DrawingError as error:
                self.problem = str(error)

    def _abort(self) -> None:
        self._drawing.discard()

    def _leave(self) -> list[Path]:
        return self._drawing.leave()


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
    used: set[str] = set()
    suffixes = [ending or (file.suffix if file.suffix.lower() in ANNOTATED_IMAGE_ENDINGS else ".png") for file in files]
    return [free_name(f"{file.stem}{suffix}", used) for file, suffix in zip(files, suffixes, strict=True)]

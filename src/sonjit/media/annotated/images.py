"""Drawn stills: one image, or a folder of them."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from sonjit.arrays import Image
from sonjit.errors import InputError, JobError
from sonjit.files import Draft, Output, failing_as_job
from sonjit.media.sources.base import Source
from sonjit.media.sources.image_files import quiet_opencv

_QUALITY = 95  # of JPEG and WebP, 0..100

ANNOTATED_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def encode_image(rgb: Image, ending: str) -> bytes:
    """One image as an image file's bytes.

    Args:
        rgb: (H, W, 3) uint8 RGB, (H, W) grey or (H, W, 4) RGBA.
        ending: one of `ANNOTATED_IMAGE_ENDINGS`.
    """
    import cv2

    quality = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    options = [quality[ending], _QUALITY] if ending in quality else []
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    try:
        with quiet_opencv():
            pixels = rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, order[rgb.shape[2]])
            done, data = cv2.imencode(ending, pixels, options)
    except cv2.error as error:
        raise JobError(f"a {rgb.shape[1]} x {rgb.shape[0]} image does not fit {ending}: {error.err}") from None
    if not done:
        raise JobError(f"a {rgb.shape[1]} x {rgb.shape[0]} image does not fit {ending}: choose .png")
    return data.tobytes()


class DrawingWriter(Output):
    """Drawn images being written, one after the other."""

    @abstractmethod
    def write(self, rgb: Image, time: float | None, *, index: int | None = None) -> None:
        """Append one image.

        Args:
            rgb: (H, W, 3) uint8 RGB, (H, W) grey, or (H, W, 4) RGBA where the format holds transparency; it must not be
                changed afterwards.
            time: its `SourceFrame.time` in seconds; `None` for stills.
            index: its `SourceFrame.index`, which names the image of a folder; by default the next one.
        """


class ImageWriter(DrawingWriter):
    """One image; without any nothing is written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._draft = Draft(path)
        self._written = False

    def write(self, rgb: Image, time: float | None, *, index: int | None = None) -> None:
        """Encode the image."""
        data = encode_image(rgb, self._draft.final.suffix.lower())
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

    The folder is made where it is missing; in one that exists only images of the same names are replaced.
    """

    def __init__(self, path: Path, source: Source, ending: str | None = None) -> None:
        super().__init__()
        folder = path.resolve()
        if any(file.resolve().parent == folder for file in source.files):
            raise InputError(f"{path} holds the inputs themselves: choose another folder for the drawings")
        self._names = _names(source.files, ending)
        self._draft = Draft(path, folder=True)
        self._next = 0

    def write(self, rgb: Image, time: float | None, *, index: int | None = None) -> None:
        """Encode one image under the name of input `index`."""
        index = self._next if index is None else index
        self._next = index + 1
        file = self._draft.path / self._names[index]
        data = encode_image(rgb, file.suffix.lower())
        with failing_as_job(self._draft.final / file.name):
            file.write_bytes(data)

    def _finish(self) -> None:
        self._draft.keep()

    def _abort(self) -> None:
        self._draft.drop()


def _names(files: list[Path], given: str | None) -> list[str]:
    """File names of the drawings; inputs of the same name in several folders get a number."""
    names: list[str] = []
    taken: set[str] = set()
    for file in files:
        ending = given or (file.suffix if file.suffix.lower() in ANNOTATED_IMAGE_ENDINGS else ".png")
        name, number = f"{file.stem}{ending}", 2
        while name in taken:
            name, number = f"{file.stem}-{number}{ending}", number + 1
        taken.add(name)
        names.append(name)
    return names

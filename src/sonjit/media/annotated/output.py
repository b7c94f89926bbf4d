"""Drawn images -> an image, a folder of images or a video with its sound; the source and the ending decide."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.files import Output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.media.sources.base import Source

ANNOTATED_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
ANNOTATED_VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi")


class DrawingWriter(Output):
    """Drawn images being written, one after the other."""

    @abstractmethod
    def write(self, rgb: NDArray[np.uint8], time: float | None, *, index: int | None = None) -> None:
        """Append one image.

        Args:
            rgb: (H, W, 3) uint8 RGB, (H, W) grey, or (H, W, 4) RGBA where the format holds transparency; it must not be
                changed afterwards.
            time: its `SourceFrame.time` in seconds; `None` for stills.
            index: its `SourceFrame.index`, which names the image of a folder; by default the next one.
        """


def open_drawing_writer(
    path: str | os.PathLike[str], source: Source, *, folder_ending: str | None = None
) -> DrawingWriter:
    """Open a file or folder for the drawn images of one source.

    One image becomes an image; a folder or glob becomes a folder with an image per input under the same name; a video
    or camera becomes a video: H.264 (VP9 in WebM, MPEG-4 in AVI) with the source's own times and its sound. Everything
    takes its final name only at `close()`.

    Args:
        path: the ending picks the format: `ANNOTATED_IMAGE_ENDINGS` or `ANNOTATED_VIDEO_ENDINGS`; a folder has none.
        source: the open source that is being drawn.
        folder_ending: format of the images of a folder; by default each input's own.

    Raises:
        InputError: an ending that does not fit the source, a missing or read-only folder, or the source's own file.
    """
    from sonjit.media.annotated.images import FolderWriter, ImageWriter
    from sonjit.media.annotated.video import VideoWriter

    path = Path(path)
    ending = path.suffix.lower()
    if any(path.resolve() == file.resolve() for file in source.files):
        raise InputError(f"{path} is the input itself: choose another name for the drawing")
    if source.kind == "folder":
        if ending in (*ANNOTATED_IMAGE_ENDINGS, *ANNOTATED_VIDEO_ENDINGS):
            raise InputError(f"{path}: images of a folder are drawn into a folder; name one, without an ending")
        return FolderWriter(path, source, folder_ending)
    if source.kind == "image":
        _check_ending(path, ANNOTATED_IMAGE_ENDINGS, "an image")
        return ImageWriter(path)
    _check_ending(path, ANNOTATED_VIDEO_ENDINGS, "a video")
    return VideoWriter(path, source)


def _check_ending(path: Path, known: tuple[str, ...], what: str) -> None:
    if path.suffix.lower() not in known:
        raise InputError(f"{path}: {what} is drawn into a file that ends in {', '.join(known)}")

"""Choose the writer of annotated images and masks from the source and the file name extension."""

import os
from pathlib import Path

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit._util.files import Output
from sonjit.media.annotated.writers import ANNOTATED_IMAGE_ENDINGS, DrawingWriter, FolderWriter, ImageWriter
from sonjit.media.sources.base import Source
from sonjit.results import Frame

_ANIMATION_ENDINGS = (".gif", ".webp")
ANNOTATED_VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", *_ANIMATION_ENDINGS)
TRANSPARENT_ENDINGS = (".png", ".webp", ".tif", ".tiff", ".webm", ".mov")
"""Endings of formats with transparency, in which a mask becomes a cut-out."""

_FOLDER_ENDING = ".png"


def open_drawing_writer(
    path: str | os.PathLike[str], source: Source, *, folder_ending: str | None = None, sound: bool = True
) -> DrawingWriter:
    """Open a file or folder for the annotated images of one source.

    One image becomes an image; a folder or glob becomes a folder with an image per input under the same name; a video
    or camera becomes a video: H.264 (VP9 in WebM, MPEG-4 in AVI) with the source's own times and its sound, or a GIF or
    WebP that loops without sound. Everything takes its final name only at `close()`.

    Args:
        path: Output path. Its extension selects the format; a folder has none.
        source: Open source of the images.
        folder_ending: Extension of the images in a folder; default: that of each input.
        sound: Keep the sound of a video.

    Raises:
        InputError: The ending does not fit the source, the folder cannot be created or written to, or the output is the
            source's own file.
    """
    is_folder, path = is_drawing_folder(path), Path(path)
    ending = path.suffix.lower()
    if source.kind == "folder":
        if not is_folder:
            raise InputError(f"{path}: several images require a folder. Give a name without an ending")
        return FolderWriter(path, source, folder_ending)
    if source.kind == "image":
        _check_ending(path, ANNOTATED_IMAGE_ENDINGS, "an image")
        return ImageWriter(path)
    _check_ending(path, ANNOTATED_VIDEO_ENDINGS, "a video")
    from sonjit.media.annotated import videos  # PyAV, which loads slowly

    is_animation = ending in _ANIMATION_ENDINGS
    return videos.AnimationWriter(path, source) if is_animation else videos.VideoWriter(path, source, sound=sound)


def is_drawing_folder(path: str | os.PathLike[str]) -> bool:
    """Check whether a path can be a folder of annotated images: it exists, or has no ending of an image or a video."""
    endings = (*ANNOTATED_IMAGE_ENDINGS, *ANNOTATED_VIDEO_ENDINGS)
    return os.fspath(path).endswith(("/", "\\")) or Path(path).is_dir() or Path(path).suffix.lower() not in endings


def _check_ending(path: Path, endings: tuple[str, ...], option: str) -> None:
    if path.suffix.lower() not in endings:
        raise InputError(f"{path}: {option} is drawn into a file that ends in {', '.join(endings)}")


class MaskWriter(Output):
    """Masks being written, one after the other, as grey masks or as cut-outs in RGBA."""

    def __init__(self, images: DrawingWriter, *, cutout: bool) -> None:
        super().__init__()
        self.images = images
        self._cutout = cutout

    def write(self, rgb: Image, mask: Float32Array | None, time: float | None, *, index: int | None = None) -> None:
        """Append the mask (H, W) of an image (H, W, 3), with probabilities 0..1 of pixels to keep as float32.

        Unknown (NaN) counts as 0, and None is a mask without detections. Raise InputError for another size.
        """
        if mask is None:
            mask = np.zeros(rgb.shape[:2], np.float32)
        if mask.shape != rgb.shape[:2]:
            raise InputError(f"a mask of shape {mask.shape} does not fit an image of shape {rgb.shape[:2]}")
        alpha = np.round(np.clip(np.nan_to_num(mask), 0, 1) * 255).astype(np.uint8)
        if self._cutout:  # RGBA, not premultiplied
            alpha = np.dstack([np.where(alpha[..., None] > 0, rgb, np.uint8(0)), alpha])
        self.images.write(alpha, time, index=index)

    def _finish(self) -> None:
        self.images.close()

    def _abort(self) -> None:
        self.images.discard()

    def _leave(self) -> list[Path]:
        return self.images.leave()


def open_mask_writer(
    path: str | os.PathLike[str], source: Source, *, cutout: bool = True, sound: bool = True
) -> MaskWriter:
    """Open a file or folder for the masks of one source.

    One image becomes an image, a folder or glob a folder of PNGs under the inputs' names, a video or camera a video
    with the source's own times and its sound. In `TRANSPARENT_ENDINGS` the image is kept with the mask as its alpha
    (VP9 in WebM, ProRes 4444 in MOV, WebP); pixels with an alpha of 0 are black, so the file contains no background.
    Other endings contain only the grey mask, 255 for certain pixels. Everything takes its final name only at
    `close()`.

    Args:
        path: Output path. Its extension selects the format, as in `open_drawing_writer`.
        source: Open source of the masks.
        cutout: `False` for the grey mask with every ending.
        sound: Keep the sound of a video.

    Raises:
        InputError: The ending does not fit the source, the folder cannot be created or written to, or the output is the
            source's own file.
    """
    ending = _FOLDER_ENDING if source.kind == "folder" else Path(path).suffix.lower()
    images = open_drawing_writer(path, source, folder_ending=_FOLDER_ENDING, sound=sound)
    return MaskWriter(images, cutout=cutout and ending in TRANSPARENT_ENDINGS)


def mask_from_frame(frame: Frame) -> Float32Array | None:
    """Return the combined mask (H, W) of all bodies and people of a frame; None without masks."""
    bodies = [*frame.bodies, *(person.body for person in frame.people)]
    masks = [body.mask for body in bodies if body.mask is not None]
    return np.maximum.reduce(masks) if masks else None

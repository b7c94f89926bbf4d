"""Uploaded files -> the input of a job: one video, one picture, or a folder of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.media import IMAGE_ENDINGS
from sonjit.media.damage import image_damage
from sonjit.media.image_files import SNIFF_BYTES, image_format, is_text
from sonjit.media.image_size import image_size
from sonjit.media.sources import is_mp4
from sonjit.media.video import open_container, video_stream
from sonjit.server.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PIXEL_BYTES = 8  # of 16 bits and four channels, without compression
_HEADER_BYTES = 10_000_000  # room for thumbnails and colour profiles


@dataclass(frozen=True)
class JobInput:
    """What a job runs on.

    Attributes:
        source: file or folder, for `open_source`.
        name: what tables, pages and downloads call it.
        drawing: ending of its drawing: `.mp4` of a video, `.jpg` of a picture, `.zip` of several.
    """

    source: Path
    name: str
    drawing: str


def input_from_files(files: Sequence[Path], folder: str | None, *, max_pixels: int) -> JobInput:
    """Look into what was uploaded, without decoding any of it.

    Args:
        files: all in one folder with nothing else.
        folder: what the client's own folder is called, or None.
        max_pixels: of a picture or a frame.

    Raises:
        RefusedError: nothing, something that is neither picture nor video, several videos, or too many pixels.
    """
    if not files:
        raise RefusedError("bad_image", "no file came: send one as the body, or as `file` of a multipart form")
    if len(files) == 1:
        (file,) = files
        is_video = _is_video(file, max_pixels)
        return JobInput(file, file.name, ".mp4" if is_video else ".jpg")
    for file in files:
        if _is_video(file, max_pixels, or_broken_picture=True):
            raise RefusedError("bad_image", f"{file.name} is a video among other files: send it as a job of its own")
    for file in files:
        if file.suffix.lower() not in IMAGE_ENDINGS:  # else the folder would pass it over
            file.rename(file.with_name(f"{file.name}.jpg"))
    return JobInput(files[0].parent, folder or "pictures", ".zip")


def _is_video(file: Path, max_pixels: int, *, or_broken_picture: bool = False) -> bool:
    """Whether a file is a video; otherwise it is a picture, of which only the header was read.

    Args:
        file: to look into.
        max_pixels: of a picture or a frame.
        or_broken_picture: take a file that is called a picture for one, whatever it holds; it becomes a problem later.
    """
    with file.open("rb") as opened:
        head = opened.read(SNIFF_BYTES)
    found = image_format(head)
    if found not in (None, "gif"):
        _check_picture(file, found, max_pixels)
        return False
    try:
        if not head or is_text(head):
            raise InputError(f"{file.name} {'holds text' if head else 'is empty'}")
        with open_container(file, file.name) as container:
            stream = video_stream(container)
            if stream is None:
                raise InputError(f"{file.name} holds no video stream")
            _check_pixels(file, stream.width * stream.height, max_pixels)
    except InputError as error:
        if or_broken_picture and file.suffix.lower() in IMAGE_ENDINGS:
            return False
        cut = "; an MP4 without its index was cut or never finished" if is_mp4(head) else ""
        raise RefusedError("bad_image", f"{error}{cut}: send a video, or pictures (JPEG, PNG, WebP, ...)") from None
    return True


def _check_picture(file: Path, found: str, max_pixels: int) -> None:
    """Refuse a picture that would take too much memory; a damaged one never comes so far as to be decoded."""
    largest = _PIXEL_BYTES * max_pixels + _HEADER_BYTES
    if file.stat().st_size > largest:
        raise RefusedError("too_large", f"{file.name} is larger than any picture of {max_pixels / 1e6:g} megapixels")
    data = file.read_bytes()
    size = image_size(data, found)
    if size is not None:
        _check_pixels(file, size[0] * size[1], max_pixels)
    elif image_damage(data, found) is None:
        raise RefusedError("bad_image", f"{file.name} does not say how large it is: export it again")


def _check_pixels(file: Path, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise RefusedError(
            "too_many_pixels",
            f"{file.name} has {pixels / 1e6:.0f} megapixels, more than {max_pixels / 1e6:g}: "
            "make it smaller or raise --max-megapixels",
        )

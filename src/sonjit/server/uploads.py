"""Uploaded files -> the input of a job: one video, one image, or a folder of images.

Names that a client gives -> names of files, safe in one folder.

A job's request body -> files in a folder, as they come: raw, or the files of a multipart form.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, Self

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from sonjit.errors import InputError
from sonjit.media import IMAGE_ENDINGS
from sonjit.media.sources.image_files import SNIFF_BYTES, image_damage, image_format, image_size, is_text
from sonjit.media.sources.open import is_mp4
from sonjit.server.errors import RefusedError
from sonjit.server.job_process import JobProcess

_PIXEL_BYTES = 8  # of 16 bits and four channels, without compression
_HEADER_BYTES = 10_000_000  # room for thumbnails and colour profiles


@dataclass(frozen=True)
class JobInput:
    """What a job runs on.

    Attributes:
        source: file or folder, for `open_source`.
        name: what tables, pages and downloads call it.
        drawing: ending of its drawing: `.mp4` of a video, `.jpg` of an image, `.zip` of several.
    """

    source: Path
    name: str
    drawing: str


def input_from_files(files: Sequence[Path], folder: str | None, *, max_pixels: int) -> JobInput:
    """Look into what was uploaded, without decoding any of it.

    Args:
        files: all in one folder with nothing else.
        folder: what the client's own folder is called, or None.
        max_pixels: of an image or a frame.

    Raises:
        RefusedError: nothing, something that is neither image nor video, several videos, or too many pixels.
    """
    if not files:
        raise RefusedError("bad_image", "no file came: send one as the body, or as `file` of a multipart form")
    with _Videos(max_pixels) as videos:
        if len(files) == 1:
            (file,) = files
            return JobInput(file, file.name, ".mp4" if _is_video(file, videos) else ".jpg")
        video = next((file for file in files if _is_video(file, videos, or_broken_image=True)), None)
    if video is not None:
        raise RefusedError("bad_image", f"{video.name} is a video among other files: send it as a job of its own")
    for file in files:
        if file.suffix.lower() not in IMAGE_ENDINGS:  # else the folder would pass it over
            file.rename(file.with_name(f"{file.name}.jpg"))
    return JobInput(files[0].parent, folder or "images", ".zip")


class _Videos:
    """Opens videos in a process of its own, which is started for the first of them."""

    def __init__(self, max_pixels: int) -> None:
        self.max_pixels = max_pixels
        self._process: JobProcess | None = None

    def pixels(self, file: Path) -> int:
        """Of a frame; InputError where the file is no video."""
        if self._process is None or not self._process.is_alive:
            self.close()
            self._process = JobProcess(self.max_pixels)
        return self._process.video_pixels(file)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_video(file: Path, videos: _Videos, *, or_broken_image: bool = False) -> bool:
    """Whether a file is a video; otherwise it is an image, of which only the header was read.

    Args:
        file: to inspect.
        videos: opens it if need be.
        or_broken_image: take a file that is called an image for one, whatever it holds; it becomes a problem later.
    """
    with file.open("rb") as opened:
        head = opened.read(SNIFF_BYTES)
    found = image_format(head)
    if found not in (None, "gif"):
        _check_image(file, found, videos.max_pixels)
        return False
    try:
        if not head or is_text(head):
            raise InputError(f"{file.name} {'holds text' if head else 'is empty'}")
        _check_pixels(file, videos.pixels(file), videos.max_pixels)
    except InputError as error:
        if or_broken_image and file.suffix.lower() in IMAGE_ENDINGS:
            return False
        cut = "; an MP4 without its index was cut or never finished" if is_mp4(head) else ""
        raise RefusedError("bad_image", f"{error}{cut}: send a video, or images (JPEG, PNG, WebP, ...)") from None
    return True


def _check_image(file: Path, found: str, max_pixels: int) -> None:
    """Refuse an image that would take too much memory; a damaged one never comes so far as to be decoded."""
    largest = _PIXEL_BYTES * max_pixels + _HEADER_BYTES
    if file.stat().st_size > largest:
        raise RefusedError("too_large", f"{file.name} is larger than any image of {max_pixels / 1e6:g} megapixels")
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


_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_LONGEST_BYTES = 150  # file systems take 255; drafts and drawings add to it


def split_name(sent: str) -> tuple[str | None, str]:
    r"""The chosen folder in a sent name, or None, and the file's own name, with the folders between joined by `_`.

    >>> split_name("shots/day 1/9.jpg")
    ('shots', 'day 1_9.jpg')
    >>> split_name(r"..\..\boot.ini")
    (None, 'boot.ini')
    """
    parts = [part for part in map(_clean, re.split(r"[/\\]", sent)) if part]
    if len(parts) < 2:
        return None, parts[0] if parts else "upload"
    return parts[0], _clean("_".join(parts[1:]))


def is_hidden(sent: str) -> bool:
    """Whether a sent name is that of a hidden file, as systems leave them in folders (.DS_Store)."""
    return re.split(r"[/\\]", sent)[-1].startswith(".")


def free_name(name: str, taken: set[str]) -> str:
    """The name, or the same with a number where it is taken; sorts after the one that has it. Adds it to `taken`.

    Names that differ in case alone are one file on some systems.
    """
    path = PurePosixPath(name)
    free, number = name, 2
    while free.casefold() in taken:
        free, number = f"{path.stem}_{number}{path.suffix}", number + 1
    taken.add(free.casefold())
    return free


def _clean(part: str) -> str:
    """One part of a path as a visible file's name; empty where nothing is left of it."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", part)).strip().lstrip(".").strip()
    path = PurePosixPath(text)
    ending = path.suffix if len(path.suffix) < 10 else ""
    room = _LONGEST_BYTES - len(ending.encode())
    return _cut(text.removesuffix(ending), room) + ending


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


MOST_FILES = 20_000
"""Of one job: more than anybody films by the image, fewer than the file systems' patience."""


class Upload(Protocol):
    """Takes a body piece by piece in a worker's thread and writes its files."""

    files: list[Path]
    folder: str | None

    def feed(self, data: bytes) -> None:
        """The next piece of the body."""
        ...

    def finish(self) -> None:
        """The body has ended; InputError where the form is incomplete."""
        ...

    def close(self) -> None:
        """Close what is open; may be called at any time."""
        ...


def open_upload(into: Path, content_type: str, name: str) -> Upload:
    """What writes a body into a folder.

    Args:
        into: an empty folder.
        content_type: of the request; a multipart form holds files, anything else is one file.
        name: of that one file.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return _RawUpload(into, name)
    boundary = parameters.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # RFC 2046
        raise InputError("the form has no boundary of 1 to 70 characters: let the HTTP library set the Content-Type")
    return _FormUpload(into, boundary)


class _Files:
    """Files being written into one folder, one at a time, under names of their own.

    Attributes:
        files: what was written, in order.
        folder: the folder that the client chose, or None.
    """

    def __init__(self, into: Path) -> None:
        self.files: list[Path] = []
        self.folder: str | None = None
        self._into = into
        self._taken: set[str] = set()
        self._file: BinaryIO | None = None

    def begin(self, sent_name: str) -> None:
        """Open the next file."""
        if len(self.files) >= MOST_FILES:
            raise InputError(f"more than {MOST_FILES} files in one job: send them as several jobs")
        folder, name = split_name(sent_name)
        self.folder = self.folder or folder
        path = self._into / free_name(name, self._taken)
        self._file = path.open("xb")
        self.files.append(path)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the open file, if there is one."""
        if self._file is not None:
            self._file.write(data)

    def close(self) -> None:
        """Close the open file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _RawUpload(_Files):
    """A body that is one file."""

    def __init__(self, into: Path, name: str) -> None:
        super().__init__(into)
        self.begin(name)

    def feed(self, data: bytes) -> None:
        self.write(data)

    def finish(self) -> None:
        self.close()


class _FormUpload(_Files):
    """The files called `file` of a multipart form; hidden files and other fields are passed over."""

    def __init__(self, into: Path, boundary: bytes) -> None:
        super().__init__(into)
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what it warns of is raised as well
        self._ended = False
        self._field, self._value, self._disposition = b"", b"", b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": lambda data, start, end: self.write(memoryview(data)[start:end]),
                "on_part_end": self.close,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise InputError(f"the multipart form is damaged: {error}") from None

    def finish(self) -> None:
        if not self._ended:
            raise InputError("the multipart form was cut: its closing boundary is missing; send it again")

    def _on_part(self) -> None:
        self._disposition = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        _, parameters = parse_options_header(self._disposition.decode("latin-1"))
        name = parameters.get(b"filename", b"").decode(errors="replace")
        if parameters.get(b"name") == b"file" and b"filename" in parameters and not is_hidden(name):
            self.begin(name)

    def _on_end(self) -> None:
        self._ended = True

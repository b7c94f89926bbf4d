"""Read the body of an upload into files and check that they are a video, an image or a folder of images."""

from __future__ import annotations

import logging
import mmap
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from sonjit._util.errors import InputError
from sonjit.media import IMAGE_ENDINGS
from sonjit.media.sources import is_mp4
from sonjit.media.sources.images import SNIFF_BYTES, image_damage, image_format, image_size, is_text
from sonjit.server.errors import RefusedError
from sonjit.server.job_process import JobInput, JobProcess

MAX_FILES = 20_000
"""Maximum number of files of a job; file systems become slow with more files in a folder."""
_MAX_NAME_BYTES = 150  # file systems accept 255; drafts and drawings add to the name
_MAX_BOUNDARY = 70  # RFC 2046
_PIXEL_BYTES = 8  # 16 bits and four channels without compression
_HEADER_BYTES = 10_000_000  # thumbnails and colour profiles
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')


def input_from_files(files: Sequence[Path], folder: str | None, *, max_pixels: int) -> JobInput:
    """Inspect uploaded files without decoding them.

    Args:
        files: Uploaded files, the only ones in their folder.
        folder: Name of the client's folder, or None.
        max_pixels: Maximum number of pixels of an image or a frame.

    Raises:
        RefusedError: There is no file, a file that is neither image nor video, several videos, or too many pixels.
    """
    if not files:
        raise RefusedError("bad_image", "no file came: send one as the body, or as `file` of a multipart form")
    with JobProcess(max_pixels) as process:  # starts only if a file may be a video
        if len(files) == 1:
            (file,) = files
            return JobInput(file, file.name, ".mp4" if _is_video(file, process, max_pixels) else ".jpg")
        for file in files:
            if _is_video(file, process, max_pixels, accept_broken_image=True):
                raise RefusedError(
                    "bad_image", f"{file.name} is a video among other files: send it as a job of its own"
                )
    for file in files:
        if file.suffix.lower() not in IMAGE_ENDINGS:  # a folder source skips other endings
            file.rename(file.with_name(f"{file.name}.jpg"))
    return JobInput(files[0].parent, folder or "images", ".zip")


def _is_video(file: Path, process: JobProcess, max_pixels: int, *, accept_broken_image: bool = False) -> bool:
    """Check whether a file is a video. Other files are images, of which only the header is read.

    Args:
        file: File to inspect.
        process: Process that opens videos.
        max_pixels: Maximum number of pixels.
        accept_broken_image: True if a file with an image's ending counts as an image with any content. The job
            reports it as a problem.
    """
    with file.open("rb") as opened:
        head = opened.read(SNIFF_BYTES)
    known_format = image_format(head)
    if known_format not in (None, "gif"):
        _check_image(file, known_format, max_pixels)
        return False
    try:
        if not head or is_text(head):
            raise InputError(f"{file.name} {'contains text' if head else 'is empty'}")
        _check_pixels(file, process.video_pixels(file), max_pixels)
    except InputError as error:
        if accept_broken_image and file.suffix.lower() in IMAGE_ENDINGS:
            return False
        cut = "; an MP4 without its index was cut or never finished" if is_mp4(head) else ""
        raise RefusedError("bad_image", f"{error}{cut}: send a video, or images (JPEG, PNG, WebP, ...)") from None
    return True


def _check_image(file: Path, known_format: str, max_pixels: int) -> None:
    """Refuse an image that takes too much memory. The decoder refuses damaged images before they take any."""
    largest = _PIXEL_BYTES * max_pixels + _HEADER_BYTES
    if file.stat().st_size > largest:
        raise RefusedError("too_large", f"{file.name} is larger than any image of {max_pixels / 1e6:g} megapixels")
    # Mapped, not read: the system loads only the pages of the header.
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        data = cast("bytes", content)  # it supports slices and searches as bytes do
        size = image_size(data, known_format)
        if size is None and image_damage(data, known_format) is None:
            raise RefusedError("bad_image", f"{file.name} has no size: export it again")
    if size is not None:
        _check_pixels(file, size[0] * size[1], max_pixels)


def _check_pixels(file: Path, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise RefusedError(
            "too_many_pixels",
            f"{file.name} has {pixels / 1e6:.0f} megapixels, more than {max_pixels / 1e6:g}: "
            "make it smaller or raise --max-megapixels",
        )


def split_name(sent: str) -> tuple[str | None, str]:
    r"""Split a client's file name into the selected folder, or None, and a safe file name.

    The folders between them become part of the file name.

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
    """Check whether a client's file is hidden, such as .DS_Store."""
    return re.split(r"[/\\]", sent)[-1].startswith(".")


def free_name(name: str, used: set[str]) -> str:
    """Return a name that is not in use, and add it to the names in use.

    A number is appended if needed, so that the file sorts after the other one. Names that differ only in case are
    equal, because they are one file on some systems.
    """
    path = PurePosixPath(name)
    free, number = name, 2
    while free.casefold() in used:
        free, number = f"{path.stem}_{number}{path.suffix}", number + 1
    used.add(free.casefold())
    return free


def _clean(part: str) -> str:
    """Return one part of a path as the name of a visible file; empty if no character is allowed."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", part)).strip().lstrip(".").strip()
    path = PurePosixPath(text)
    ending = path.suffix if len(path.suffix) < 10 else ""
    max_bytes = _MAX_NAME_BYTES - len(ending.encode())
    return text.removesuffix(ending).encode()[:max_bytes].decode(errors="ignore") + ending


class Upload:
    """A body that is one file, written in pieces; base of multipart forms.

    Args:
        folder: Empty folder for the files.

    Attributes:
        files: Written files in order.
        folder: Name of the folder that the client selected, or None.
    """

    def __init__(self, folder: Path) -> None:
        self.files: list[Path] = []
        self.folder: str | None = None
        self._target = folder
        self._used: set[str] = set()
        self._file: BinaryIO | None = None

    def feed(self, data: bytes) -> None:
        """Write the next piece of the body."""
        self.write(data)

    def finish(self) -> None:
        """End the body. Raise InputError if a form is incomplete."""
        self.close()

    def begin(self, sent_name: str) -> None:
        """Open the next file."""
        if len(self.files) >= MAX_FILES:
            raise InputError(f"more than {MAX_FILES} files in one job: send them as several jobs")
        folder, name = split_name(sent_name)
        self.folder = self.folder or folder
        path = self._target / free_name(name, self._used)
        self._file = path.open("xb")
        self.files.append(path)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the open file, if there is one."""
        if self._file is not None:
            self._file.write(data)

    def close(self) -> None:
        """Close the open file; may be called at any time."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class FormUpload(Upload):
    """The files in the field `file` of a multipart form. Hidden files and other fields are ignored.

    Args:
        folder: Empty folder for the files.
        boundary: Boundary of the form's parts.
    """

    def __init__(self, folder: Path, boundary: bytes) -> None:
        super().__init__(folder)
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings are raised as errors, too
        self._has_ended = False
        self._field, self._value, self._disposition = bytearray(), bytearray(), b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_part,
                "on_part_data": lambda data, start, end: self.write(memoryview(data)[start:end]),
                "on_part_end": self.close,
                "on_end": self._end_form,
            },
        )

    def feed(self, data: bytes) -> None:
        """Parse the next piece of the body."""
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise InputError(f"the multipart form is damaged: {error}") from None

    def finish(self) -> None:
        """End the body. Raise InputError if the closing boundary is missing."""
        if not self._has_ended:
            raise InputError("the multipart form was cut: its closing boundary is missing; send it again")

    def _end_header(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _begin_part(self) -> None:
        _, parameters = parse_options_header(self._disposition.decode("latin-1"))
        self._disposition = b""
        name = parameters.get(b"filename", b"").decode(errors="replace")
        if parameters.get(b"name") == b"file" and b"filename" in parameters and not is_hidden(name):
            self.begin(name)

    def _end_form(self) -> None:
        self._has_ended = True


def open_upload(folder: Path, content_type: str, name: str) -> Upload:
    """Return a writer for a request body.

    Args:
        folder: Empty folder for the files.
        content_type: Content type of the request. A multipart form contains files; any other body is one file.
        name: Name of that one file.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        upload = Upload(folder)
        upload.begin(name)
        return upload
    boundary = parameters.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise InputError(
            f"the form has no boundary of 1 to {_MAX_BOUNDARY} characters: let the HTTP library set the Content-Type"
        )
    return FormUpload(folder, boundary)

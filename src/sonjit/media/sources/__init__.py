"""Open a file, folder, pattern, address or camera as a source of images."""

from __future__ import annotations

import glob
import os
import re
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.images import (
    IMAGE_ENDINGS,
    SNIFF_BYTES,
    decode_image,
    image_format,
    is_text,
    load_image,
    quiet_opencv,
)
from sonjit.media.sources.remote import File, NetworkCameraSource, RemoteFile, is_address, is_remote, remote_files
from sonjit.media.sources.video import VideoSource

_F = TypeVar("_F", bound=File)


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sort key under which numbers in names count as numbers.

    >>> sorted(["f10.png", "f9.png", "F1.png"], key=natural_key)
    ['F1.png', 'f9.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts if part]


class ImageSource(Source):
    """One image, decoded when it is opened."""

    kind = "image"

    def __init__(self, name: str, rgb: Image, path: Path | None = None) -> None:
        super().__init__(name)
        self.height, self.width = rgb.shape[:2]
        self.count = 1
        self.files = [path] if path is not None else []
        self._rgb = rgb

    def __iter__(self) -> Iterator[SourceFrame]:
        yield from self._frames()  # nothing is left to read ahead
        self.finished = True

    def _frames(self) -> Generator[SourceFrame]:
        yield SourceFrame(0, None, self._rgb)


class FolderSource(Source):
    """Image files in the order given; one that cannot be read is skipped and named in `problems`.

    The first readable image is decoded when the source is opened; InputError where there is none.

    Args:
        name: Folder or glob.
        files: Image files, at least one.
        labels: Name of each file in tables.
    """

    kind = "folder"

    def __init__(self, name: str, files: Sequence[File], labels: Sequence[str]) -> None:
        super().__init__(name)
        self._inputs = list(files)
        self.files = [file for file in files if isinstance(file, Path)]
        self.count = len(files)
        self._labels = list(labels)
        reasons: list[str] = []
        for path in files:
            try:
                self.height, self.width = load_image(path).shape[:2]
                break
            except InputError as error:
                reasons.append(str(error))
        else:
            raise InputError(f"{name}: none of its {len(files)} images can be read; first: {reasons[0]}")

    def frame_source(self, index: int) -> str | None:
        """Return the name of an image within the folder, or its path as the glob matched it."""
        return self._labels[index]

    def _frames(self) -> Generator[SourceFrame]:
        for index, path in enumerate(self._inputs):
            try:
                rgb = load_image(path)
            except InputError as error:
                self.problems.append(str(error))
                continue
            yield SourceFrame(index, None, rgb)


class CameraSource(Source):
    """Images of a camera, always the newest one: while the caller works, older ones are dropped.

    `index` counts all images taken, so that dropped ones show as gaps; `time` is the wall time in seconds since the
    camera was opened, taken when the image arrived. The stream ends when the camera is unplugged, with an entry in
    `problems`; leave the loop to stop earlier.

    Args:
        number: Index of the camera, from 0.

    Raises:
        InputError: No such camera, or another program uses it.
    """

    kind = "camera"
    depth = 1
    live = True

    def __init__(self, number: int) -> None:
        super().__init__(f"camera:{number}")
        import cv2

        with quiet_opencv():
            self._capture = cv2.VideoCapture(number)
            opened = self._capture.isOpened() and self._capture.read()[0]
        if not opened:
            self._capture.release()
            raise InputError(
                f"{self.name} does not open: plug it in, close the program that uses it, or try another number"
            )
        self._start_s = time.monotonic()
        self.width = round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)) or None
        self.height = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) or None
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None

    def close(self) -> None:
        """Stop reading and free the camera."""
        super().close()
        self._capture.release()

    def _frames(self) -> Generator[SourceFrame]:
        import cv2

        index = 0
        while True:
            with quiet_opencv():
                found, bgr = self._capture.read()
            now = time.monotonic() - self._start_s
            if not found:  # no exception, because the outputs so far are kept
                self.problems.append(f"{self.name} ended after {now:.1f} s: unplugged, or taken by another program")
                return
            yield SourceFrame(index, now, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
            index += 1


def is_stream(named: str) -> bool:
    """Check whether an input is a camera or standard input."""
    return named == "-" or named.startswith("camera:") or is_address(named)


def open_source(named: str | os.PathLike[str]) -> Source:
    """Open an image, a folder, a glob, a video, a camera or standard input for reading.

    The content of a file decides whether it is an image or a video. Folders and globs select the files whose names end
    as in `IMAGE_ENDINGS`, without hidden files and subfolders, in natural order (9 before 10).

    Args:
        named: Path; a glob such as `shots/*.png`; `camera:0`; `-` for an image or a video on standard input; the
            address of a network camera, `rtsp://...` or `http://...`; or a file, folder or glob on remote storage, such
            as `s3://bucket/clips/a.mp4`, which requires fsspec and its package for that storage.

    Raises:
        InputError: The file is missing, cannot be read, or is neither an image nor a video.
        MissingExtraError: A HEIC image without pillow-heif.

    Example:
        >>> with sonjit.open_source("clip.mp4") as source:
        ...     source.kind, source.width, source.height, [round(frame.time, 2) for frame in source][:3]
        ('video', 640, 480, [0.0, 0.03, 0.07])
    """
    text = os.fspath(named)
    if text == "-":
        return _source_from_stream(sys.stdin.buffer, "standard input")
    if text.startswith("camera:"):
        number = text.removeprefix("camera:")
        if not number.isdecimal():
            raise InputError(f"{text}: a camera has a number, such as camera:0")
        return CameraSource(int(number))
    if isinstance(named, str) and is_address(text):
        return NetworkCameraSource(text)
    if is_remote(text):
        return _source_from_remote(text)
    path = Path(text)
    try:
        if path.is_dir():
            return _source_from_folder(path)
        if path.exists():
            return _source_from_file(path)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{text!r} cannot be opened: {reason}") from None
    if glob.has_magic(text):
        return _source_from_glob(text)
    raise InputError(f"{text}: no such file or folder")


def _source_from_file(path: Path) -> Source:
    with path.open("rb") as file:
        head = file.read(SNIFF_BYTES)
    if not head:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again")
    if _is_still(head):
        return ImageSource(str(path), load_image(path), path)
    _refuse_text(head, str(path))
    try:
        return VideoSource(str(path), path)
    except InputError as error:
        if path.suffix.lower() in IMAGE_ENDINGS:
            raise InputError(
                f"{path} is not an image, or damaged from its first byte: copy or export it again"
            ) from None
        hint = "; an MP4 without its index was cut or never finished: copy or record it again"
        raise InputError(f"{error}{hint if is_mp4(head) else ''}") from None


def _source_from_remote(url: str) -> Source:
    found = remote_files(url)
    if found is not None:
        if not (images := _images(found)):
            raise InputError(f"{url} contains no images with names ending in {', '.join(IMAGE_ENDINGS)}")
        return FolderSource(url, images, [file.name for file in images])
    file = RemoteFile(url)
    fetched = file.fetch()
    local = Path(fetched.name) / file.name
    try:
        source = _source_from_file(local)
    except InputError as error:
        fetched.cleanup()
        raise InputError(str(error).replace(str(local), url)) from None
    source.name = url
    source.keep(fetched)
    return source


def is_pattern(path: Path) -> bool:
    """Check whether a path is a pattern, such as `shots/cam0_*.jpg`."""
    return glob.has_magic(str(path)) and not path.exists()


def image_files(path: Path) -> list[Path]:
    """Return the images of a folder or pattern in natural order."""
    return _images(_matches(str(path)) if is_pattern(path) else path.iterdir())


def _matches(pattern: str) -> list[Path]:
    return [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207  # Path.glob refuses absolute ones


def _source_from_folder(path: Path) -> Source:
    files = image_files(path)
    if not files:
        raise InputError(f"{path} contains no images with names ending in {', '.join(IMAGE_ENDINGS)}")
    return FolderSource(str(path), files, [file.name for file in files])


def _source_from_glob(pattern: str) -> Source:
    matches = _matches(pattern)
    files = _images(matches)
    if not files and len(matches) == 1:
        return open_source(matches[0])
    if not files:
        found = f"matches {len(matches)} files, none of them an image" if matches else "matches nothing"
        raise InputError(f"{pattern} {found}: looked for names ending in {', '.join(IMAGE_ENDINGS)}")
    return FolderSource(pattern, files, [str(file) for file in files])


def _source_from_stream(stream: BinaryIO, name: str) -> Source:
    head = stream.read(SNIFF_BYTES)
    if not head:
        raise InputError(f"{name} is empty: pipe an image or a video into it")
    if _is_still(head):
        return ImageSource(name, decode_image(head + stream.read(), name))
    _refuse_text(head, name)
    try:
        return VideoSource(name, cast("BinaryIO", _Rejoined(head, stream)))
    except InputError as error:
        hint = "; an MP4 with its index at the end cannot be piped: name the file itself"
        raise InputError(f"{error}{hint if is_mp4(head) else ''}") from None


def _is_still(head: bytes) -> bool:
    return image_format(head) not in (None, "gif")  # a GIF moves: FFmpeg reads it as a video


def is_mp4(head: bytes) -> bool:
    """Check whether the first bytes of a file are those of MP4 or QuickTime."""
    return head[4:8] in (b"ftyp", b"mdat", b"wide", b"free")


def _refuse_text(head: bytes, name: str) -> None:
    if is_text(head):
        raise InputError(f"{name} contains text. Use an image, a folder, a glob, a video or camera:0")


def _images(paths: Iterable[_F]) -> list[_F]:
    found = (
        path
        for path in paths
        if path.suffix.lower() in IMAGE_ENDINGS
        and not path.name.startswith(".")
        and (not isinstance(path, Path) or path.is_file())
    )
    return sorted(found, key=lambda path: (natural_key(str(path)), str(path)))


class _Rejoined:
    """A stream whose first bytes were read already and are given once more; it cannot seek."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._rest = stream

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._rest.read(size)
        part, self._head = self._head[:size], self._head[size:]
        return part

"""Open a file, folder, pattern, address or camera as a source of images."""

import glob
import math
import os
import re
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path, PurePath
from typing import BinaryIO, ClassVar, Final, NamedTuple, TypeVar, cast

import numpy as np

from sonjit._util import Image, InputError, pluralize
from sonjit._util.addresses import is_address, shown_name
from sonjit._util.files import UNFINISHED
from sonjit.geometry.steps import frame_positions
from sonjit.media.sources import headers, images
from sonjit.media.sources.animations import AnimationSource, is_animated
from sonjit.media.sources.base import Source, SourceFrame, SourceKind, renamed
from sonjit.media.sources.levels import Levels, stretch_note
from sonjit.media.sources.remote import (
    File,
    NetworkCameraSource,
    RemoteFile,
    is_remote,
    remote_files,
)
from sonjit.media.sources.video import VIDEO_ENDINGS, VideoSource

_F = TypeVar("_F", bound=File)
CAMERA_WORDS = ("camera", "webcam", "cam")  # words that people try for a camera
_NUMBERED = re.compile(r"%0?([0-9]{0,3})d")
_USUAL_ENDINGS: Final = (".jpg", ".png", ".webp", ".tif", ".mp4", ".mov", ".mkv", ".avi")  # in messages
_CAMERA = re.compile(
    r"camera:(?P<number>[0-9]{1,9})(@(?P<width>[1-9][0-9]{0,4})x(?P<height>[1-9][0-9]{0,4}))?"
    r"(@(?P<fps>[1-9][0-9]{0,3}(\.[0-9]+)?))?"
)
_RECORDING = re.compile(rb"FLV\x01.\0\0\0|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\0\0\0.ftyp", re.DOTALL)
"""Eight bytes at the start of an FLV, ASF or MP4 file, of which FFmpeg reads only the first recording."""


def natural_key(text: str) -> list[tuple[int, str]]:
    """Return a sort key under which numbers in names count as numbers.

    >>> sorted(["f10.png", "f9.png", "F1.png"], key=natural_key)
    ['F1.png', 'f9.png', 'f10.png']
    """
    tokens = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in tokens if part]


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
    """

    kind: ClassVar[SourceKind] = "folder"

    def __init__(self, name: str, files: Sequence[File], labels: Sequence[str], notes: Sequence[str] = ()) -> None:
        super().__init__(name)
        self.notes += notes
        self._inputs = list(files)
        self.files = [file for file in files if isinstance(file, Path)]
        self.count = len(files)
        self._labels = list(labels)
        self._levels: Levels | None = None
        reasons: list[str] = []
        for number, path in enumerate(files):
            try:
                self.height, self.width = images.load_image(path).shape[:2]
                self._levels = images.common_levels(files[number:])
                break
            except InputError as error:
                reasons.append(str(error))
        else:
            raise InputError(f"{name}: none of its {len(files)} images can be read; first: {reasons[0]}")
        if self._levels not in (None, Levels()):
            self.note(f"{name}: {stretch_note(self._levels)}, the same for all images")

    def frame_source(self, index: int) -> str | None:
        return self._labels[index]

    def remarks(self) -> tuple[str, ...]:
        """Return notes and problems with the names of the images in tables, not with their paths."""
        return renamed((*self.notes, *self.problems), self._inputs, self._labels)

    def _frames(self) -> Generator[SourceFrame]:
        for index, path in enumerate(self._inputs):
            try:
                rgb = images.load_image(path, notes=self.notes, levels=self._levels)
            except InputError as error:
                self.problems.append(str(error))
                continue
            yield SourceFrame(*self._place(index), rgb)

    def _place(self, index: int) -> tuple[int, float | None]:
        return index, None


class SequenceSource(FolderSource):
    """Image files as one recording. The number in each name is the index of its frame, so that gaps are visible."""

    kind = "video"

    def __init__(self, name: str, files: Sequence[File], fps: float, notes: Sequence[str] = ()) -> None:
        super().__init__(name, files, [file.name for file in files], notes)
        self.fps = fps
        numbers_by_file = [[int(number) for number in re.findall(r"[0-9]+", file.stem)] for file in files]
        columns = zip(*numbers_by_file, strict=False) if len({len(numbers) for numbers in numbers_by_file}) == 1 else ()
        rising = [part for part in columns if all(before < after for before, after in pairwise(part))]
        if not rising and len(files) > 1:
            self.note(f"{name}: the names have no number that rises from file to file. Gaps are not visible")
        numbers = rising[-1] if rising else range(len(files))
        positions = frame_positions(numbers)
        if positions[-1] < numbers[-1] - numbers[0]:
            self.note(f"{name}: the numbers in the names are no frame numbers. The images are counted")
        self._numbers = [position - positions[0] for position in positions]
        if missing := self._numbers[-1] + 1 - len(files):
            self.note(f"{name}: {pluralize(missing, 'frame')} missing between the numbers of the files")

    def frame_source(self, index: int) -> None:
        """Return None: the frames of a recording have numbers."""

    def _place(self, index: int) -> tuple[int, float]:
        return self._numbers[index], self._numbers[index] / (self.fps or 1)


class CameraSource(Source):
    """Images of a camera, always the newest one: while the caller works, older ones are dropped.

    `index` counts all images taken, so that dropped ones show as gaps. `time` is the wall time in seconds since the
    camera was opened. The stream ends when the camera is unplugged, with an entry in `problems`. With `reconnect_s` in
    seconds, the camera is opened again once a second for so long. `size` in pixels and `fps` are asked for, and None
    leaves the choice to the camera. `notes` names those of a camera that has others.
    """

    kind = "camera"
    depth = 1
    live = True
    newest = True

    def __init__(
        self, number: int, size: tuple[int, int] | None = None, fps: float | None = None, reconnect_s: float = 0.0
    ) -> None:
        super().__init__(f"camera:{number}")
        import cv2

        self._number, self._size, self._asked_fps, self._reconnect_s = number, size, fps, reconnect_s
        self._is_closed = threading.Event()
        if not self._is_opened():
            advice = "plug it in, close the program that uses it, or try another number"
            raise InputError(f"{self.name} does not open: {advice}")
        self._start_s = time.monotonic()
        self.width = round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)) or None
        self.height = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) or None
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None
        if size is not None and size != (self.width, self.height):
            self.note(f"{self.name} gives {self.width}x{self.height} pixels in place of {size[0]}x{size[1]}")
        if fps is not None and self.fps is not None and abs(self.fps - fps) >= 1:
            self.note(f"{self.name} gives {self.fps:g} images per second in place of {fps:g}")

    def close(self) -> None:
        self._is_closed.set()
        super().close()
        self._capture.release()

    def _is_opened(self) -> bool:
        """Open the camera, and return whether it gives an image."""
        import cv2

        with images.quiet_opencv():
            self._capture = cv2.VideoCapture(self._number)
            if self._size is not None:
                self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
                self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
            if self._asked_fps is not None:
                self._capture.set(cv2.CAP_PROP_FPS, self._asked_fps)
            if self._capture.isOpened() and self._capture.read()[0]:
                return True
        self._capture.release()
        return False

    def _is_opened_again(self) -> bool:
        """Open a lost camera again, once a second, and return whether it gives an image within the time limit."""
        self._capture.release()
        lost_s = time.monotonic()
        while time.monotonic() - lost_s < self._reconnect_s and not self._is_closed.wait(1):
            if self._is_opened():
                self.note(f"{self.name} gave nothing from {lost_s - self._start_s:.1f} s")
                return True
        return False

    def _frames(self) -> Generator[SourceFrame]:
        import cv2

        index = 0
        while True:
            with images.quiet_opencv():
                is_frame, bgr = self._capture.read()
            now = time.monotonic() - self._start_s
            if not is_frame:
                if self._is_opened_again():
                    continue
                # No exception, because the outputs so far are kept.
                self.problems.append(f"{self.name} ended after {now:.1f} s: unplugged, or taken by another program")
                return
            yield SourceFrame(index, now, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
            index += 1


def is_stream(named: str) -> bool:
    """Check whether an input is a camera or standard input."""
    return named == "-" or named.startswith("camera:") or is_address(named)


def open_source(named: str | os.PathLike[str], *, fps: float | None = None, reconnect_s: float = 0.0) -> Source:
    """Open an image, a folder, a glob, a video, a camera or standard input for reading.

    The content of a file decides whether it is an image or a video. Folders and globs select images, without hidden
    files and subfolders, in natural order (9 before 10).

    Args:
        named: Path; a glob such as `shots/*.png`; `camera:0`, or `camera:0@1280x720@60` with the size and rate to ask
            it for; `-` for an image or a video on standard input; the
            address of a network camera, `rtsp://...` or `http://...`; or a file, folder or glob on remote storage, such
            as `s3://bucket/clips/a.mp4`, which requires fsspec and its package for that storage.
        fps: Frames per second. A folder, a glob or a pattern such as `f_%06d.png` is then one recording, and the times
            of a video are replaced. Default: the times of the video; images are independent.
        reconnect_s: Time in seconds for which a camera that ends is opened again. `frame.time` shows the gap.

    Raises:
        InputError: The file is missing, cannot be read, or is neither an image nor a video.
        MissingExtraError: A HEIC image without pillow-heif.

    Example:
        >>> with sonjit.open_source("clip.mp4") as source:
        ...     source.kind, source.width, source.height, [round(frame.time, 2) for frame in source][:3]
        ('video', 640, 480, [0.0, 0.03, 0.07])
    """
    text = os.fspath(named)
    Reading(fps=fps, reconnect_s=reconnect_s).check()
    if text == "-":
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # the shell closed it
            raise InputError("standard input is closed: pipe an image or a video into it")
        return _source_from_stream(sys.stdin.buffer, "standard input", fps)
    if text.startswith("camera:"):
        match = _CAMERA.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text}: a camera has a number, such as camera:0, with size and rate camera:0@1280x720@60"
            )
        size = (int(match["width"]), int(match["height"])) if match["width"] else None
        return CameraSource(int(match["number"]), size, float(match["fps"]) if match["fps"] else None, reconnect_s)
    if isinstance(named, str) and is_address(text):
        return NetworkCameraSource(text, reconnect_s)
    path = Path(text)
    try:
        locked = list[OSError]()
        matches = matching_files(text, locked) if is_pattern(path) else []
        if len(matches) == 1 and file_kind(matches[0]) != "image":
            return open_source(matches[0], fps=fps)
        if (listed := find_files(text, videos=False, matches=matches, locked=locked)) is not None:
            files, notes = listed
            if fps is not None:
                return SequenceSource(shown_name(text), files, fps, notes)
            return FolderSource(shown_name(text), files, file_labels(text, files), notes)
        if is_remote(text):
            return _source_from_remote(text, fps)
        if path.exists():
            return _source_from_file(path, fps)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{text!r} cannot be opened: {reason}") from None
    raise InputError(missing_input(text))


def missing_input(named: str) -> str:
    """Return the message for an input that does not exist."""
    hint = ". Use camera:0 for a camera" if named.casefold() in CAMERA_WORDS or named.isdecimal() else ""
    return f"{shown_name(named)}: no such file or folder{hint}"


class Reading(NamedTuple):
    """Which frames of each input to read.

    Attributes:
        fps, reconnect_s: See `open_source`.
        start_s: Time of the first frame of a video to read, in seconds.
        end_s: Time from which frames are not read. None reads to the end.
        every: Read only each frame whose index is a multiple of this number.
    """

    fps: float | None = None
    start_s: float = 0.0
    end_s: float | None = None
    every: int = 1
    reconnect_s: float = 0.0

    def check(self) -> None:
        """Raise InputError if these are no frames of any input."""
        if not 0 <= self.reconnect_s < math.inf:
            raise InputError(f"reconnect {self.reconnect_s:g}: give a time in seconds from 0")
        if self.fps is not None and not 0 < self.fps < 100_000:
            raise InputError(f"fps={self.fps:g}: give a number of frames per second above 0")
        if not 0 <= self.start_s < math.inf:
            raise InputError(f"start {self.start_s:g}: give a time in seconds from 0")
        if self.end_s is not None and not self.end_s > self.start_s:
            raise InputError(f"end {self.end_s:g}: give a time in seconds after the start, {self.start_s:g}")
        if self.every < 1:
            raise InputError(f"every {self.every}: give 1 for all frames, or a larger number")

    def open(self, named: str | os.PathLike[str]) -> Source:
        """Open a source that yields only these frames."""
        self.check()
        source = open_source(named, fps=self.fps, reconnect_s=self.reconnect_s)
        if self.reconnect_s and source.kind != "camera":
            source.note("reconnect applies to cameras")
        self.select(source)
        return source

    def select(self, source: Source) -> None:
        """Let a source yield only these frames, and note what has no effect on still images."""
        source.select(self.start_s, self.end_s, self.every, self.fps)
        if self.fps is not None and source.kind in ("image", "folder"):
            source.note("fps applies to videos and folders of images, not to single images")


def _source_from_file(path: Path, fps: float | None) -> Source:
    if path.is_fifo():  # can be read once, as standard input
        source = _source_from_stream(pipe := path.open("rb"), str(path), fps)
        source.keep(pipe.close)
        return source
    with path.open("rb") as file:
        return _source_from_stream(file, str(path), fps, path)


def _source_from_remote(url: str, fps: float | None) -> Source:
    file, name = RemoteFile(url), shown_name(url)
    fetched = file.fetch()
    local = Path(fetched.name) / file.name
    try:
        source = _source_from_file(local, fps)
    except InputError as error:
        fetched.cleanup()
        raise InputError(str(error).replace(str(local), name)) from None
    source.name = name
    source.keep(fetched.cleanup)
    return source


def is_pattern(path: Path) -> bool:
    """Check whether a path is no file but a glob, or has a place for a number such as `f_%06d.png`."""
    return not path.exists() and (glob.has_magic(str(path)) or _NUMBERED.search(str(path)) is not None)


def image_files(path: Path) -> list[Path]:
    """Return the images of a folder or pattern in natural order."""
    return select_files(matching_files(str(path), []) if is_pattern(path) else path.iterdir(), videos=False)[0]


def matching_files(pattern: str, locked: list[OSError]) -> list[Path]:
    """Return the paths of a glob or of `f_%06d.png`. Folders below `**` that cannot be read are added to `locked`."""
    if _NUMBERED.search(pattern) is None:
        return [*dict.fromkeys(map(Path, _matches(Path(pattern).parts, locked)))]
    candidates, matcher = numbered_names(Path(pattern))
    return [path for path in map(Path, glob.glob(candidates)) if matcher.fullmatch(path.as_posix())]  # noqa: PTH207


def numbered_names(pattern: PurePath) -> tuple[str, re.Pattern[str]]:
    """Return a glob for the files of a pattern such as `f_%06d.png`, and a matcher of their paths with slashes.

    >>> from pathlib import PureWindowsPath
    >>> numbered_names(PureWindowsPath("shots", "f_%03d.png"))[1].fullmatch("shots/f_001.png") is not None
    True
    """
    text = pattern.as_posix()
    before, digits, after = _NUMBERED.split(text, maxsplit=1)
    number = f"[0-9]{{{int(digits or 1)},}}"
    return f"{glob.escape(before)}*{glob.escape(after)}", re.compile(re.escape(before) + number + re.escape(after))


def _matches(parts: Sequence[str], locked: list[OSError]) -> Iterator[str]:
    """Yield the paths of a glob in parts, of which `**` stands for any number of folders."""
    if "**" not in parts:
        yield from glob.glob(os.path.join(*parts))  # noqa: PTH118, PTH207  # refuses absolute ones
        return
    start = parts.index("**")
    rest = parts[start + 1 :] or ("*",)
    for root in glob.glob(os.path.join(*parts[:start])) if start else ["."]:  # noqa: PTH118, PTH207
        for folder in _folders_below(root, locked):
            yield from _matches((glob.escape(folder), *rest), locked)


def _folders_below(root: str, locked: list[OSError]) -> Iterator[str]:
    """Yield a folder and those below it that are not hidden, each once, even if links lead to it or to each other."""
    real_root = os.path.realpath(root)
    folders = [root]
    links = list[str]()
    seen = set[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen or (real != real_root and Path(real_root).is_relative_to(real)):
            continue
        seen.add(real)
        yield folder
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name[0] != "." and entry.is_dir():
                        (links if entry.is_symlink() else folders).append(entry.path)
        except OSError as error:
            locked.append(error)


def distinct_files(files: Iterable[File]) -> list[File]:
    """Return each file once. Of several links to one file, the file itself is preferred."""
    folders: dict[Path, Path] = {}
    chosen: dict[File, File] = {}
    for file in files:
        real = file
        if isinstance(file, Path):
            if file.parent not in folders:
                folders[file.parent] = Path(os.path.realpath(file.parent))
            real = folders[file.parent] / file.name
            if file.is_symlink():
                real = Path(os.path.realpath(file))  # unlike resolve(), it accepts links in a circle
        if real not in chosen or (isinstance(file, Path) and file.absolute() == real):
            chosen[real] = file
    return list(chosen.values())


def find_files(
    named: str, *, videos: bool, matches: Sequence[Path] = (), locked: Sequence[OSError] = ()
) -> tuple[list[File], list[str]] | None:
    """Return the images of a folder or pattern in natural order, on request its videos, and notes; None for others."""
    path, candidates, locked = Path(named), list[File](matches), list(locked)
    name = shown_name(named)
    try:
        if is_remote(named):
            if (remote := remote_files(named)) is None:
                return None
            candidates += remote
        elif path.is_dir():
            candidates += path.iterdir()
        elif is_pattern(path):
            candidates = candidates or [*matching_files(named, locked)]
        else:
            return None
        count, candidates = len(candidates), distinct_files(candidates)
        files, others = select_files(candidates, videos=videos)
        if locked and not files:
            raise locked[0]
        in_folder = path.is_dir()
        folders = [
            candidate
            for candidate in candidates
            if in_folder and candidate.name[0] != "." and isinstance(candidate, Path) and candidate.is_dir()
        ]
    except OSError as error:
        raise InputError(f"{name} cannot be opened: {error.strerror}") from None
    hint = f". It contains folders: use {str(path / '**' / '*')!r}" if folders else ""
    if not files:
        problem = "contains" if candidates or in_folder else "matches nothing:"
        usual = ", ".join(_USUAL_ENDINGS if videos else _USUAL_ENDINGS[:4])
        raise InputError(f"{name} {problem} no images{' or videos' if videos else ''}, such as {usual}{hint}")
    names = ", ".join(file.name for file in others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    left_out = [f"{name}: left out {pluralize(len(others), 'file')}: {names}"] if others else []
    if len(candidates) < count:
        left_out.append(
            f"{name}: left out {pluralize(count - len(candidates), 'link')} to files that are inputs already"
        )
    left_out += [f"{error.filename} cannot be opened: {error.strerror}" for error in locked]
    return files, left_out + ([f"{name}: left out {pluralize(len(folders), 'folder')}{hint}"] if folders else [])


def file_labels(named: str, files: Iterable[File]) -> list[str]:
    """Return the names in tables of the files of a folder, or the paths of those that a pattern matches."""
    in_folder = Path(named).is_dir() or (is_remote(named) and not glob.has_magic(named))
    return [file.name if in_folder else str(file) for file in files]


def select_files(paths: Iterable[_F], *, videos: bool) -> tuple[list[_F], list[_F]]:
    """Return the images, on request with videos, in natural order, and all other files that are not hidden."""
    files: list[_F] = []
    others: list[_F] = []
    for path in paths:
        if not path.name.startswith(".") and not (isinstance(path, Path) and path.is_dir()):
            kind = None if path.suffix == UNFINISHED else file_kind(path)  # such as a drawing of Sonjit
            (files if kind == "image" or (videos and kind) else others).append(path)
    return sorted(files, key=lambda path: (natural_key(str(path)), str(path))), sorted(others, key=str)


def file_kind(path: File) -> SourceKind | None:
    """Return whether a file is an image or a video, by its ending, or by its content if the ending is unknown."""
    ending = path.suffix.lower()
    with suppress(OSError):
        if isinstance(path, Path) and not path.is_file():  # such as a link to a file that is missing
            return None
        if ending == ".webp" and isinstance(path, Path):
            with path.open("rb") as file:
                return "video" if is_animated(file.read(headers.SNIFF_BYTES)) else "image"
        if ending in (*images.IMAGE_ENDINGS, *VIDEO_ENDINGS):
            return "image" if ending in images.IMAGE_ENDINGS else "video"
        if isinstance(path, Path):
            with path.open("rb") as file:
                head = file.read(512)
            if headers.is_media(head):
                return "image" if _is_still(head) else "video"
    return None


def _source_from_stream(stream: BinaryIO, name: str, fps: float | None, path: Path | None = None) -> Source:
    """Open standard input, or the open file of a path."""
    head = stream.read(headers.SNIFF_BYTES)
    if not head:
        advice = ": pipe an image or a video into it" if path is None else " (0 bytes): copy or export it again"
        raise InputError(f"{name} is empty{advice}")
    if is_animated(head):
        return AnimationSource(name, head + stream.read(), path, fps)
    is_sequence, head = read_sequence(head, stream)
    if _is_still(head) and not is_sequence:
        notes: list[str] = []
        data = head + stream.read()
        source = ImageSource(name, images.decode_image(data, name, notes=notes), path)
        source.geometry = images.still_geometry(data, name)
        source.notes += notes
        return source
    if headers.is_text(head):
        raise InputError(f"{name} contains text. Use an image, a folder, a glob, a video or camera:0")
    opened = path or cast("BinaryIO", Rejoined(head, stream))
    try:
        is_jpeg = is_sequence and headers.image_format(head) == "jpeg"
        return VideoSource(name, opened, fps=fps, container_format="mjpeg" if is_jpeg else None)
    except InputError as error:
        if path is not None and path.suffix.lower() in images.IMAGE_ENDINGS:
            problem = "is not an image, or damaged from its first byte: copy or export it again"
            raise InputError(f"{path} {problem}") from None
        hint = "; an MP4 with its index at the end cannot be piped: name the file itself"
        if path is not None:
            hint = "; an MP4 without its index was cut or never finished: copy or record it again"
        raise InputError(f"{error}{hint if is_mp4(head) else ''}") from None


def read_sequence(head: bytes, stream: BinaryIO) -> tuple[bool, bytes]:
    """Check whether images of one format follow each other in a stream. Return the bytes that were read, too."""
    while (image_format := headers.image_format(head)) in headers.WITH_END:
        if 0 < (end := headers.image_end(head, image_format)) <= len(head) - 3:
            return headers.is_motion_jpeg(head) if image_format == "jpeg" else head[end : end + 2] == head[:2], head
        if not (more := stream.read(max(1 << 18, len(head)))):
            break
        head += more
    return False, head


def _is_still(head: bytes) -> bool:
    return headers.image_format(head) not in (None, "gif")  # a GIF moves: FFmpeg reads it as a video


def is_mp4(head: bytes) -> bool:
    """Check whether the first bytes of a file are those of MP4 or QuickTime."""
    return head[4:8] in (b"ftyp", b"mdat", b"wide", b"free")


class Rejoined:
    """A stream whose first bytes were read already and are given once more. It cannot seek, and counts recordings."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._rest = head, stream
        self._tail, self.heads = b"", 0

    def read(self, size: int) -> bytes:
        part, self._head = self._head[:size] or self._rest.read(size), self._head[size:]
        self.heads += len(_RECORDING.findall(self._tail + part))
        self._tail = (self._tail + part)[-7:]
        return part

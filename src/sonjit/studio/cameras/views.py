"""Read one camera's images by number from a video, a folder, or a pattern such as `shots/cam_0_frame_*.jpg`.

A video's frames are numbered from 0. Images are numbered by the last number of each name that is not their camera's, so
that a missing image does not renumber the others. If names lack numbers or repeat one, images are numbered from 0 in
natural order.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit.media import open_source
from sonjit.media.sources.decode import load_image
from sonjit.media.sources.open import image_files, is_pattern
from sonjit.media.sources.sniff import IMAGE_ENDINGS
from sonjit.media.sources.video import decoded_frames, open_container, upright_rgb, video_stream
from sonjit.studio.cameras.names import frame_number

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from av.container import InputContainer
    from av.video.frame import VideoFrame

_MAX_DECODE_AHEAD = 24
"""Largest distance in frames to decode forward instead of seeking to the previous key frame."""
_CACHED_FRAMES = 3
"""Number of recently decoded frames to cache; the previous frame is often requested next."""


def frame_numbers(files: Sequence[Path]) -> list[int]:
    """Return the number of each of one camera's images, in the given order.

    >>> frame_numbers([Path("image32523.jpg"), Path("image32526.jpg")])
    [32523, 32526]
    """
    numbers = [number for file in files if (number := frame_number(file.stem)) is not None]
    return numbers if len(set(numbers)) == len(files) else list(range(len(files)))


class View(ABC):
    """The images of one camera.

    Attributes:
        path: Video, folder or pattern.
        numbers: Numbers of its frames, ascending.
    """

    def __init__(self, path: Path, numbers: Sequence[int]) -> None:
        self.path = path
        self.numbers = tuple(numbers)

    @abstractmethod
    def read(self, number: int) -> Image:
        """Read one image, (H, W, 3) uint8 RGB. May be called from several threads.

        Raises:
            InputError: There is no image of that number, or it cannot be read.
        """

    @abstractmethod
    def files(self) -> Iterable[Path]:
        """Iterate over the files that are read, in order."""

    @abstractmethod
    def close(self) -> None:
        """Close open files. May be called twice."""


class FolderView(View):
    """The images of a folder or a pattern."""

    def __init__(self, path: Path) -> None:
        try:
            files = image_files(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if not files:
            raise InputError(f"{path} has no images: expected names ending in {', '.join(IMAGE_ENDINGS)}")
        self._files = dict(sorted(zip(frame_numbers(files), files, strict=True)))
        super().__init__(path, tuple(self._files))

    def read(self, number: int) -> Image:
        """See `View.read`."""
        if number not in self._files:
            raise InputError(f"{self.path} has no image {number}")
        return load_image(self._files[number])

    def files(self) -> Iterable[Path]:
        """See `View.files`."""
        return self._files.values()

    def close(self) -> None:
        """Do nothing: no file stays open."""


class VideoView(View):
    """The frames of a video.

    Its packets are indexed first so that every frame can be found. Decoding continues where it stopped.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._container: InputContainer | None = None
        self._frames: Generator[VideoFrame] | None = None
        self._next = 0
        self._cache: deque[VideoFrame] = deque(maxlen=_CACHED_FRAMES)
        self._frame_times = _frame_times(path)
        super().__init__(path, range(len(self._frame_times)))

    def read(self, number: int) -> Image:
        """See `View.read`."""
        if not 0 <= number < len(self._frame_times):
            raise InputError(f"{self.path} has no frame {number}: it has {len(self._frame_times)}")
        pts = self._frame_times[number]
        with self._lock:
            frame = next((frame for frame in self._cache if frame.pts == pts), None)
            if frame is None:
                if self._frames is None or not 0 <= number - self._next <= _MAX_DECODE_AHEAD:
                    self._seek(number)
                frame = self._decode_until(pts)
            if frame is None:
                self._close_decoder()
                raise InputError(f"{self.path}: frame {number} cannot be decoded; the video is damaged there")
            return upright_rgb(frame)

    def files(self) -> Iterable[Path]:
        """See `View.files`."""
        return (self.path,)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close_decoder()

    def _decode_until(self, pts: int) -> VideoFrame | None:
        """Decode forward to the frame of a time. Return None if the frame is lost."""
        for frame in self._frames or ():
            if frame.pts is not None:
                self._next = bisect_left(self._frame_times, frame.pts) + 1
                self._cache.append(frame)
                if frame.pts >= pts:
                    return frame if frame.pts == pts else None
        return None

    def _seek(self, number: int) -> None:
        self._close_decoder()
        container = self._container = open_container(self.path, str(self.path))
        stream = video_stream(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        if number:
            container.seek(self._frame_times[number], stream=stream, backward=True)
        self._frames = decoded_frames(container, stream, Counter[str]())
        self._next = 0

    def _close_decoder(self) -> None:
        frames, container = self._frames, self._container
        self._frames = self._container = None
        self._cache.clear()
        if frames is not None:
            frames.close()
        if container is not None:
            container.close()


class SynchronizedView(View):
    """The images of a view, numbered by their frame sets. Images of no frame set are absent.

    Args:
        view: View to read from.
        frame_sets: Number of the frame set by the number of the image.
    """

    def __init__(self, view: View, frame_sets: Mapping[int, int]) -> None:
        available = set(view.numbers)
        self._view = view
        self._images = {row: image for image, row in frame_sets.items() if image in available}
        super().__init__(view.path, sorted(self._images))

    def read(self, number: int) -> Image:
        """See `View.read`."""
        if number not in self._images:
            raise InputError(f"{self.path} has no image of frame set {number}")
        return self._view.read(self._images[number])

    def files(self) -> Iterable[Path]:
        """See `View.files`."""
        return self._view.files()

    def close(self) -> None:
        """See `View.close`."""
        self._view.close()


def open_view(path: Path) -> View:
    """Open a camera's images.

    Raises:
        InputError: The path is missing, or is neither a video nor a folder or pattern of images.
    """
    if path.is_dir() or is_pattern(path):
        return FolderView(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; put it back or create the project again")
    return VideoView(path)


def open_checked_view(path: Path) -> tuple[View, tuple[int, int]]:
    """Open a camera's images, read the first one, and return the view with its width and height in pixels.

    Raises:
        InputError: The view cannot be opened, as in `open_view`, or the video is damaged.
    """
    view = open_view(path)
    if isinstance(view, VideoView):
        with open_source(path) as source:  # raises a precise error for a file that is empty or not a video
            if source.kind != "video":
                raise InputError(f"{path} is one image: name a video or a folder of images")
    try:
        height, width = view.read(view.numbers[0]).shape[:2]
    finally:
        view.close()
    return view, (width, height)


def _frame_times(path: Path) -> list[int]:
    """Return the presentation times of a video's frames in ticks, ascending, without decoding."""
    container = open_container(path, str(path))
    with container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{path} contains no video stream: name a video or a folder of images")
        try:
            packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt]
        except OSError as error:  # FFmpeg's errors derive from OSError
            raise InputError(f"{path} cannot be read to its end: {error.strerror}; copy or record it again") from None
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    if not stamps:
        raise InputError(f"{path}: no frame of this video has a time; export it again as MP4 or MKV")
    return stamps

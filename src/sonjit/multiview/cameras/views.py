"""One camera's images by their numbers: a video, a folder of images, or a pattern such as `shots/cam_0_frame_*.jpg`.

A video's frames are numbered from 0. Images are numbered by the last number in each name that is not their camera's, so
that an image that is missing moves no other; where names have no numbers, or one twice, they count from 0 in natural
order.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.arrays import Image
from sonjit.errors import InputError
from sonjit.media import open_source
from sonjit.media.sources.image_files import IMAGE_ENDINGS, load_image
from sonjit.media.sources.open import image_files, is_pattern
from sonjit.media.sources.video import Damage, decoded_frames, open_container, upright_rgb, video_stream
from sonjit.multiview.cameras.names import frame_number

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from av.container import InputContainer
    from av.video.frame import VideoFrame

_AHEAD = 24
"""Frames that are decoded on the way to one ahead, rather than seeking to the key frame before it."""
_KEPT = 3
"""Frames decoded last that are kept: the one before is often asked for next."""


def frame_numbers(files: Sequence[Path]) -> list[int]:
    """The number of each of one camera's images, in the order given: see above.

    >>> frame_numbers([Path("image32523.jpg"), Path("image32526.jpg")])
    [32523, 32526]
    """
    numbers = [number for file in files if (number := frame_number(file.stem)) is not None]
    return numbers if len(set(numbers)) == len(files) else list(range(len(files)))


class View(ABC):
    """The images of one camera.

    Attributes:
        path: the video, folder or pattern.
        numbers: of its frames, rising.
    """

    def __init__(self, path: Path, numbers: Sequence[int]) -> None:
        self.path = path
        self.numbers = tuple(numbers)

    @abstractmethod
    def read(self, number: int) -> Image:
        """One image, (H, W, 3) uint8 RGB; may be called from several threads.

        Raises:
            InputError: there is none of that number, or it cannot be read.
        """

    @abstractmethod
    def files(self) -> Iterable[Path]:
        """What it is read from, in order."""

    @abstractmethod
    def close(self) -> None:
        """Free what is open; may be called twice."""


class FolderView(View):
    """A folder of images, or those of a pattern."""

    def __init__(self, path: Path) -> None:
        try:
            found = image_files(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if not found:
            raise InputError(f"{path} has no images: expected names ending in {', '.join(IMAGE_ENDINGS)}")
        self._files = dict(sorted(zip(frame_numbers(found), found, strict=True)))
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
        """Nothing is open."""


class VideoView(View):
    """A video; its packets are listed first, so that any frame can be found, and decoding goes on where it stopped."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._container: InputContainer | None = None
        self._frames: Generator[VideoFrame] | None = None
        self._next = 0
        self._kept: deque[VideoFrame] = deque(maxlen=_KEPT)
        self._stamps = _stamps(path)
        super().__init__(path, range(len(self._stamps)))

    def read(self, number: int) -> Image:
        """See `View.read`."""
        if not 0 <= number < len(self._stamps):
            raise InputError(f"{self.path} has no frame {number}: it has {len(self._stamps)}")
        wanted = self._stamps[number]
        with self._lock:
            frame = next((frame for frame in self._kept if frame.pts == wanted), None)
            if frame is None:
                if self._frames is None or not 0 <= number - self._next <= _AHEAD:
                    self._seek(number)
                frame = self._found(wanted)
            if frame is None:
                self._drop()
                raise InputError(f"{self.path}: frame {number} cannot be decoded; the video is damaged there")
            return upright_rgb(frame)

    def files(self) -> Iterable[Path]:
        """See `View.files`."""
        return (self.path,)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._drop()

    def _found(self, wanted: int) -> VideoFrame | None:
        """The frame of a time, decoded from where decoding stopped; None where it was lost."""
        for frame in self._frames or ():
            if frame.pts is not None:
                self._next = bisect_left(self._stamps, frame.pts) + 1
                self._kept.append(frame)
                if frame.pts >= wanted:
                    return frame if frame.pts == wanted else None
        return None

    def _seek(self, number: int) -> None:
        self._drop()
        container = self._container = open_container(self.path, str(self.path))
        stream = video_stream(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        if number:
            container.seek(self._stamps[number], stream=stream, backward=True)
        self._frames = decoded_frames(container, stream, Damage())
        self._next = 0

    def _drop(self) -> None:
        frames, container = self._frames, self._container
        self._frames = self._container = None
        self._kept.clear()
        if frames is not None:
            frames.close()
        if container is not None:
            container.close()


class MatchedView(View):
    """The images of a view, numbered by the frame sets that they belong to; the others are left out.

    Args:
        view: whose images.
        frame_sets: of the number of an image that of its frame set.
    """

    def __init__(self, view: View, frame_sets: Mapping[int, int]) -> None:
        there = set(view.numbers)
        self._view = view
        self._images = {row: image for image, row in frame_sets.items() if image in there}
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
    """A camera's images.

    Raises:
        InputError: nothing is there, or it is neither a video nor a folder or pattern of images.
    """
    if path.is_dir() or is_pattern(path):
        return FolderView(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; put it back or create the project again")
    return VideoView(path)


def check_view(path: Path) -> tuple[View, tuple[int, int]]:
    """A camera's images, the first one checked: the view, and width and height in pixels.

    Raises:
        InputError: as `open_view`; a damaged video.
    """
    view = open_view(path)
    if isinstance(view, VideoView):
        with open_source(path) as source:  # names what is wrong with a file that is not a video, or is empty
            if source.kind != "video":
                raise InputError(f"{path} is one image: name a video or a folder of images")
    try:
        height, width = view.read(view.numbers[0]).shape[:2]
    finally:
        view.close()
    return view, (width, height)


def _stamps(path: Path) -> list[int]:
    """Presentation times of a video's frames in ticks, rising; nothing is decoded."""
    container = open_container(path, str(path))
    with container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{path} holds no video stream: name a video or a folder of images")
        try:
            packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt]
        except OSError as error:  # FFmpeg's errors are of this kind
            raise InputError(f"{path} cannot be read to its end: {error.strerror}; copy or record it again") from None
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    if not stamps:
        raise InputError(f"{path}: no frame of this video has a time; export it again as MP4 or MKV")
    return stamps

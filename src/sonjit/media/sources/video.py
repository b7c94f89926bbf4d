"""Read video files and streams as upright frames with exact times."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError, pluralize
from sonjit.media.sources.base import Source, SourceFrame

if TYPE_CHECKING:
    from collections.abc import Generator
    from fractions import Fraction

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".3gp", ".wmv", ".gif")
"""Usual endings, for messages and globs; a named video is known by its content."""


class DecodedFrame(SourceFrame):
    """One image of a video, with the frame that it was made of.

    Attributes:
        decoded: Read-only frame in the video's own colours, before rotation.
    """

    decoded: VideoFrame


class VideoSource(Source):
    """A video decoded by FFmpeg through PyAV.

    `time` is each frame's own presentation time relative to the stream's start, so a variable frame rate is kept.
    The images are what FFmpeg's and OpenCV's conversion gives, bit for bit for 8-bit video, turned upright by the
    rotation that the file states. A video that is cut or damaged gives every frame that can be decoded; what was lost
    is in `problems`.

    Attributes:
        path: Video file, or None for a stream, which can be read only once.
        time_base: Seconds per tick of the stream's clock.
        start_s: Start of the stream on the container's clock in seconds, the origin of `time`.
    """

    kind = "video"

    def __init__(self, name: str, opened: Path | BinaryIO) -> None:
        super().__init__(name)
        self.path = opened if isinstance(opened, Path) else None
        self.files = [self.path] if self.path is not None else []
        container = open_container(opened, name)
        stream = video_stream(container)
        if stream is None:
            container.close()
            raise InputError(f"{name} contains no video stream. Use an image or a video")
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate else None
        self.time_base: Fraction | None = stream.time_base
        self.start_s = float((stream.start_time or 0) * (stream.time_base or 0))
        self._length_s = _stated_length_s(container, stream)
        self._slack_s = 0.1 if stream.frames else 0.75  # containers that do not count frames state rough lengths
        self.count = stream.frames or (round(self._length_s * self.fps) if self._length_s and self.fps else None)
        self._begun: Generator[SourceFrame] | None = self._decode(container, stream)
        first = next(self._begun, None)
        if first is None:
            raise InputError(f"{name}: no frame of this video can be decoded; export it again")
        self._first: SourceFrame | None = first
        self.height, self.width = first.rgb.shape[:2]

    def close(self) -> None:
        """Stop decoding and close the file."""
        super().close()
        frames, self._begun, self._first = self._begun, None, None
        if frames is not None:
            frames.close()

    def _frames(self) -> Generator[SourceFrame]:
        frames, first = self._begun, self._first
        self._begun = self._first = None
        if frames is None or first is None:
            if self.path is None:
                raise InputError(f"{self.name} is a stream and can be read only once: save it to a file")
            container = open_container(self.path, self.name)
            frames = self._decode(container, video_stream(container))
        else:
            yield first
        try:
            yield from frames
        finally:
            frames.close()

    def _decode(self, container: InputContainer, stream: VideoStream | None) -> Generator[SourceFrame]:
        """Yield all decodable frames in presentation order, and report lost frames at the end."""
        from av.video.reformatter import VideoReformatter

        assert stream is not None
        stream.thread_type = "AUTO"
        reformatter = VideoReformatter()  # one for all frames: it keeps its tables
        damage = Counter[str]()
        step = 1 / self.fps if self.fps else 0.0
        time, index = -step, 0
        with container:
            for frame in decoded_frames(container, stream, damage):
                stamp = frame.pts
                time = time + step if stamp is None else float(stamp * (frame.time_base or 0)) - self.start_s
                image = DecodedFrame(index, time, upright_rgb(frame, reformatter))
                image.decoded = frame
                yield image
                index += 1
        if damage:
            first = next(iter(damage))
            parts = pluralize(damage.total(), "damaged part")
            self.problems.append(f"{self.name}: {parts} could not be decoded: {first}")
        if self._length_s and time + step < self._length_s - self._slack_s:
            stated = f"{self.count} frames, {self._length_s:.2f} s" if self.count else f"{self._length_s:.2f} s"
            self.problems.append(f"{self.name} is cut: it ends after {index} frames, {time + step:.2f} s, of {stated}")


def decoded_frames(container: InputContainer, stream: VideoStream, damage: Counter[str]) -> Generator[VideoFrame]:
    """Yield the frames of a stream. Skip damaged packets, and count them by reason in `damage`."""
    from av.error import FFmpegError  # PyAV raises a plain OSError for errors without a class

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError) as error:
            damage[error.strerror or str(error)] += 1
            packet = None
        if packet is None:
            break
        if packet.is_corrupt:
            damage["incomplete data"] += 1
            continue
        try:
            yield from packet.decode()
        except (FFmpegError, OSError) as error:
            damage[error.strerror or str(error)] += 1
    with suppress(FFmpegError, OSError):  # after a read error the decoder still has complete frames
        yield from stream.decode(None)


def open_container(opened: Path | BinaryIO, name: str) -> InputContainer:
    """Open a media file or stream for reading; InputError where it is none. Never touches the network."""
    import av
    from av.error import FFmpegError

    file = str(opened.absolute()) if isinstance(opened, Path) else opened
    try:
        return av.open(file, "r", options={"protocol_whitelist": "file"})
    except (FFmpegError, OSError) as error:
        raise InputError(f"{name} is neither an image nor a video that can be read: {error.strerror}") from None


def video_stream(container: InputContainer) -> VideoStream | None:
    """Return the main video stream or None. Cover images of sound files have the lowest priority."""
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    return stream if isinstance(stream, VideoStream) else None


def _stated_length_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the length in the header, the shorter one if stream and container differ (trimmed clips)."""
    lengths: list[float] = []
    if container.duration:
        lengths.append(container.duration / 1e6)
    if stream.duration and stream.time_base:
        lengths.append(float(stream.duration * stream.time_base))
    elif match := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = match.groups()
        lengths.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    return min(lengths, default=None)


def upright_rgb(frame: VideoFrame, reformatter: VideoReformatter | None = None) -> Image:
    """Return a frame as RGB (H, W, 3), rotated by its metadata (degrees counter-clockwise)."""
    from av.video.reformatter import VideoReformatter

    scaler = reformatter or VideoReformatter()
    # One thread: the decoder uses the other cores.
    rgb = scaler.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
    return np.ascontiguousarray(turned_upright(np.asarray(rgb, np.uint8), frame))


def turned_upright(pixels: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """Rotate an image or one of its planes by the rotation in the metadata of its frame."""
    import cv2

    if quarter_turns := round(frame.rotation / 90) % 4:
        code = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)[quarter_turns - 1]
        return np.asarray(cv2.rotate(pixels, code), np.uint8)
    return pixels

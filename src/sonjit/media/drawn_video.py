"""Drawn video: H.264, VP9, MPEG-4, or ProRes with transparency, at the source's own times, and with its sound."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sonjit.errors import InputError, JobError
from sonjit.media.drawn import DrawingWriter
from sonjit.media.outputs import Draft
from sonjit.media.sound import SoundTrack

if TYPE_CHECKING:
    from pathlib import Path

    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from sonjit.media.source import Source


class _Codec(NamedTuple):
    name: str
    pixels: str
    options: dict[str, str]


_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "31", "b": "0"}
_H264 = _Codec("libx264", "yuv420p", {"preset": "veryfast", "crf": "20"})
_CODECS = {
    ".webm": _Codec("libvpx-vp9", "yuv420p", _VP9_OPTIONS),
    # AVI keeps no times of its own: H.264's would be guessed wrongly
    ".avi": _Codec("mpeg4", "yuv420p", {"qmin": "2", "qmax": "5", "b": "100M"}),
}
_TRANSPARENT_CODECS = {
    ".webm": _Codec("libvpx-vp9", "yuva420p", _VP9_OPTIONS),
    ".mov": _Codec("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
}
_LIVE_CLOCK = Fraction(1, 90_000)
_BT709 = 1  # the number of this colour standard in FFmpeg, for matrix, primaries and transfer alike
_LIMITED = 1


class VideoWriter(DrawingWriter):
    """Encode pictures at the times given with libx264 (VP9 in WebM, MPEG-4 in AVI), and carry the source's sound over.

    RGBA pictures keep their alpha in WebM (VP9) and MOV (ProRes 4444).
    Odd sizes grow by one pixel, repeating the border. All pictures take the size of the first. AVI knows only a fixed
    rate: times are rounded to it.
    """

    def __init__(self, path: Path, source: Source) -> None:
        super().__init__()
        import av

        self._source = source
        self._ending = path.suffix.lower()
        self._draft = Draft(path)
        self._step_s = 1 / source.fps if source.fps else 1 / 30
        clock = getattr(source, "time_base", None) or _LIVE_CLOCK
        self._clock: Fraction = Fraction(self._step_s).limit_denominator(1001) if self._ending == ".avi" else clock
        self._last_tick = -1
        self._end_s = 0.0
        self._stream: VideoStream | None = None
        try:
            self._container = av.open(str(self._draft.draft), "w")
        except BaseException:
            self._draft.drop()
            raise
        self._sound = SoundTrack.of_source(source)

    def write(self, rgb: NDArray[np.uint8], time: float | None, *, index: int | None = None) -> None:
        """Encode one picture at `time`; the sound up to it goes along."""
        from av.error import FFmpegError

        if time is None:
            raise InputError("a picture of a video needs its time: pass the source frame's time")
        try:
            stream = self._stream or self._begin(rgb)
            frame = _yuv_frame(rgb, stream)
            frame.pts = max(round(time / self._clock), self._last_tick + 1)
            frame.time_base = self._clock
            frame.duration = max(1, round(self._step_s / self._clock))  # the last frame lasts this long
            self._last_tick = frame.pts
            self._end_s = float((frame.pts + frame.duration) * self._clock)
            self._container.mux(stream.encode(frame))
            if self._sound is not None:
                self._sound.copy_until(float(frame.pts * self._clock))
        except (FFmpegError, OSError) as error:
            raise JobError(f"writing {self._draft.final} failed: {error.strerror or error}") from error

    def _begin(self, rgb: NDArray[np.uint8]) -> VideoStream:
        transparent = rgb.ndim == 3 and rgb.shape[2] == 4
        codec = _TRANSPARENT_CODECS[self._ending] if transparent else _CODECS.get(self._ending, _H264)
        rate = Fraction(1 / self._step_s).limit_denominator(1001)
        stream: Any = self._container.add_stream(codec.name, rate=rate, options=codec.options)
        height, width = rgb.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = codec.pixels
        context = stream.codec_context
        context.time_base = self._clock
        context.thread_type = "AUTO"
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if self._sound is not None:
            self._sound.begin(self._container)
        self._stream = stream
        return stream

    def _finish(self) -> None:
        from av.error import FFmpegError

        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.copy_until(None if self._source.finished else self._end_s)
            self._release()
        except (FFmpegError, OSError) as error:
            raise JobError(f"writing {self._draft.final} failed: {error.strerror or error}") from error
        if self._stream is None:
            self._draft.drop()  # no picture, no video
        else:
            self._draft.keep()

    def _abort(self) -> None:
        from av.error import FFmpegError

        try:
            self._release()
        except (FFmpegError, OSError, ValueError):  # what cannot be finished is thrown away below
            pass
        finally:
            self._draft.drop()

    def _release(self) -> None:
        try:
            if self._sound is not None:
                self._sound.close()
        finally:
            self._container.close()


def _yuv_frame(rgb: NDArray[np.uint8], stream: VideoStream) -> Any:  # noqa: ANN401  # an av.VideoFrame
    from av import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, axis=2)
    pad_y, pad_x = rgb.shape[0] % 2, rgb.shape[1] % 2
    if pad_y or pad_x:
        rgb = np.pad(rgb, ((0, pad_y), (0, pad_x), (0, 0)), "edge")
    return VideoFrame.from_ndarray(rgb, format="rgba" if rgb.shape[2] == 4 else "rgb24").reformat(
        stream.width,
        stream.height,
        stream.pix_fmt,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
    )

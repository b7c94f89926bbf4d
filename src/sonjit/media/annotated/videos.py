"""Write annotated images as a video with the sound of its source.

Video is H.264, VP9, MPEG-4, or ProRes with transparency, at the times of the source. The sound track is copied if the
container supports its codec, and re-encoded otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.files import Draft
from sonjit.media.annotated.planes import Colours, drawn_on_planes, frame_of, has_planes, reformat
from sonjit.media.annotated.sound import SoundTrack
from sonjit.media.annotated.writers import AnnotatedImage, DrawingWriter, failing_as_drawing
from sonjit.media.sources.video import DecodedFrame

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from sonjit._util.arrays import Image
    from sonjit.media.sources.base import Source, SourceFrame

_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "31", "b": "0"}
_VERYFAST_PIXELS = 1280 * 720
"""Largest image for the preset veryfast. It ignores the number of cores, so that all machines write the same bytes."""
_LIVE_CLOCK = Fraction(1, 90_000)
_MINIMUM_FPS, _MAXIMUM_FPS, _FINEST_CLOCK = 0.01, 1000, 1_000_000_000
"""Plausible range of header values. Encoders reject values outside it, or write videos of a wrong length."""
_Codec: TypeAlias = tuple[str, str, dict[str, str]]
"""Encoder, pixel format and options."""
_H264: _Codec = ("libx264", "yuv420p", {"preset": "veryfast", "crf": "20"})
# Takes a quarter of the time of veryfast for about 1.5 times the bytes. The x264 parameters limit the growth.
_H264_QUICK: _Codec = (
    "libx264",
    "yuv420p",
    {"preset": "ultrafast", "crf": "22", "x264-params": "cabac=1:no-deblock=0"},
)
_CODECS: dict[str, _Codec] = {
    ".webm": ("libvpx-vp9", "yuv420p", _VP9_OPTIONS),
    # AVI stores no timestamps, and players would guess those of H.264 wrongly
    ".avi": ("mpeg4", "yuv420p", {"qmin": "2", "qmax": "5", "b": "100M"}),
}
_TRANSPARENT_CODECS: dict[str, _Codec] = {
    ".webm": ("libvpx-vp9", "yuva420p", _VP9_OPTIONS),
    ".mov": ("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
}


class ContainerWriter(DrawingWriter):
    """Encode images at their times into a container of FFmpeg. Without an image it writes nothing.

    Args:
        path: File to write.
        options: Options of the container.
    """

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        super().__init__()
        import av
        from av.video.reformatter import VideoReformatter

        self._ending = path.suffix.lower()
        self._draft = Draft(path)
        self._last_tick = -1
        self._stream: VideoStream | None = None
        self._reformatter = VideoReformatter()
        self._container = av.open(str(self._draft.path), "w", options=dict(options))

    def _append(self, image: AnnotatedImage) -> None:
        if image.time is None:
            raise InputError("an image of a video needs its time: pass the source frame's time")
        with failing_as_drawing(self._draft.final):
            self._encode(image, image.time)

    @abstractmethod
    def _encode(self, image: AnnotatedImage, time: float) -> None: ...

    def _finish(self) -> None:
        with failing_as_drawing(self._draft.final):
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
                self._end()
            self._release()
        if self._stream is None:
            self._draft.drop()
        else:
            self._draft.keep()

    def _end(self) -> None:
        """Write what follows the last image."""

    def _abort(self) -> None:
        from av.error import FFmpegError

        try:
            self._release()
        except (FFmpegError, OSError, ValueError):  # the output is discarded below
            pass
        finally:
            self._draft.drop()

    def _release(self) -> None:
        self._container.close()


class VideoWriter(ContainerWriter):
    """Encode images at the times given with libx264 (VP9 in WebM, MPEG-4 in AVI), and carry the source's sound over.

    RGBA images keep their alpha in WebM (VP9) and MOV (ProRes 4444). Areas without a drawing keep the source's
    pixels and colours if these are 8-bit 4:2:0. Other sources are converted to BT.709. Videos larger than 720p are
    encoded faster, into more bytes. Odd sizes grow by one pixel, which repeats the border. All images have the size
    of the first. AVI has only a fixed rate, to which times are rounded.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self._source = source
        self._sound = SoundTrack.of_source(source)
        # otherwise Matroska writes random numbers and runs differ; it opens the file with the first image
        super().__init__(path, {"fflags": "+bitexact"})
        fps = source.fps if source.fps and _MINIMUM_FPS <= source.fps <= _MAXIMUM_FPS else 30
        self._step_s = 1 / fps
        clock = getattr(source, "time_base", None)
        if not clock or not 0 < clock <= self._step_s or clock.denominator > _FINEST_CLOCK:
            clock = _LIVE_CLOCK
        self._clock: Fraction = Fraction(self._step_s).limit_denominator(1001) if self._ending == ".avi" else clock
        self._end_s = 0.0
        self._colours = Colours()

    def _encode(self, image: AnnotatedImage, time: float) -> None:
        """Encode one image at `time` and the sound up to it."""
        stream = self._stream or self._begin(image.rgb, image.under)
        frame = self._frame(image, stream)
        frame.pts = max(round(time / self._clock), self._last_tick + 1)
        frame.time_base = self._clock
        frame.duration = max(1, round(self._step_s / self._clock))  # the last frame lasts this long
        self._last_tick = frame.pts
        self._end_s = float((frame.pts + frame.duration) * self._clock)
        self._container.mux(stream.encode(frame))
        if self._sound is not None:
            self._sound.copy_until(float(frame.pts * self._clock))

    def _begin(self, rgb: Image, under: SourceFrame | None) -> VideoStream:
        transparent = rgb.ndim == 3 and rgb.shape[2] == 4
        codec = _TRANSPARENT_CODECS[self._ending] if transparent else _CODECS.get(self._ending) or self._h264(rgb)
        encoder, pixels, options = codec
        if (
            pixels == "yuv420p"
            and isinstance(under, DecodedFrame)
            and rgb.shape == under.rgb.shape
            and has_planes(under)
        ):
            self._colours = Colours.of(under.decoded)
        rate = Fraction(1 / self._step_s).limit_denominator(1001)
        stream: Any = self._container.add_stream(encoder, rate=rate, options=options)
        height, width = rgb.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = self._clock
        context.thread_type = "AUTO"
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = self._colours
        if self._sound is not None:
            self._sound.begin(self._container)
        self._stream = stream
        return stream

    def _h264(self, rgb: Image) -> _Codec:
        return _H264_QUICK if rgb.shape[0] * rgb.shape[1] > _VERYFAST_PIXELS else _H264

    def keeps_pixels(self, under: SourceFrame) -> bool:
        """Check whether the output has the pixels of a source frame outside the regions of a drawing."""
        if not isinstance(under, DecodedFrame) or not has_planes(under):
            return False
        stream = self._stream
        return stream is None or (
            stream.pix_fmt == "yuv420p"
            and under.rgb.shape[:2] == (stream.height, stream.width)
            and Colours.of(under.decoded) == self._colours
        )

    def _frame(self, image: AnnotatedImage, stream: VideoStream) -> VideoFrame:
        """Return an image as a frame for the encoder."""
        rgb, under = image.rgb, image.under
        if isinstance(under, DecodedFrame) and rgb.shape == under.rgb.shape and self.keeps_pixels(under):
            return drawn_on_planes(rgb, under, self._reformatter, image.regions)
        if rgb.ndim == 2:
            rgb = np.repeat(rgb[..., None], 3, axis=2)
        pad_y, pad_x = rgb.shape[0] % 2, rgb.shape[1] % 2
        if pad_y or pad_x:
            rgb = np.pad(rgb, ((0, pad_y), (0, pad_x), (0, 0)), "edge")
        assert stream.pix_fmt is not None
        return reformat(
            frame_of(rgb),
            stream.width,
            stream.height,
            pixels=stream.pix_fmt,
            colours=self._colours,
            reformatter=self._reformatter,
        )

    def _end(self) -> None:
        if self._sound is not None:
            self._sound.copy_until(None if self._source.finished else self._end_s)

    def _release(self) -> None:
        try:
            if self._sound is not None:
                self._sound.close()
        finally:
            super()._release()

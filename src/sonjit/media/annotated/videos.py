"""Write annotated images as a video with the sound of its source, or as a looping animation.

Video is H.264, VP9, MPEG-4, or ProRes with transparency, at the times of the source. The sound track is copied if the
container supports its codec, and encoded otherwise, as uncompressed sound is in MP4.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias, TypeGuard

import av
import cv2
import numpy as np
from av import error as av_errors
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from sonjit._util import Image, InputError
from sonjit._util.files import DiskError, Draft, ReservedFile
from sonjit.media.annotated import writers
from sonjit.media.drawing.regions import TILE_PX, Region
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.video import DecodedFrame, VideoSource, open_container

_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.ENOENT, errno.EACCES),
    *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENXIO, errno.ENODEV),
}
_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "31", "b": "0"}
_VERYFAST_PIXELS = 1280 * 720
"""Largest image for the preset veryfast. It ignores the number of cores, so that all machines write the same bytes."""
_LIVE_CLOCK = Fraction(1, 90_000)
_MINIMUM_FPS, _MAXIMUM_FPS, _FINEST_CLOCK = 0.01, 1000, 1_000_000_000
"""Plausible range of header values. Encoders reject values outside it, or write videos of a wrong length."""
_Codec: TypeAlias = tuple[str, str, dict[str, str]]  # encoder, pixel format and options
_H264: _Codec = ("libx264", "yuv420p", {"preset": "veryfast", "crf": "20"})
_AVX_512 = 256  # OpenCV's number of the instruction sets of Skylake-X
_REPRODUCIBLE = {"x264-params": "asm=AVX2"}  # x264's code for AVX-512 reads memory that it has not set
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
_TICK_S = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}
_LEAST_TICKS = {".gif": 2, ".webp": 11}  # shortest time of an image of an animation
_WEBP_OPTIONS = {"quality": "80", "compression_level": "2"}
_DITHERING = "new=1:dither=bayer:bayer_scale=5"  # its pattern is the same in every image
_PIXELS = "yuv420p"
_FULL_RANGE = 2
_LIMITED_RANGE = 1  # FFmpeg's numbers of colour ranges
_ITU601, _ITU709 = 5, 1  # numbers of colour matrices of FFmpeg's scaler
_SCALER_MATRICES = {1: _ITU709, 4: 4, 7: 7, 9: 9, 10: 9}
"""Map FFmpeg's numbers of colour matrices to those of its scaler. All others are ITU 601."""


@contextmanager
def failing_as_drawing(path: Path) -> Generator[None]:
    """Convert errors of an encoder inside the block to a DrawingError, and disk errors to a JobError."""
    try:
        yield
    except (av_errors.FFmpegError, OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in _DISK_ERRORS:
            raise DiskError(f"writing {path} failed: {reason}") from error
        raise writers.DrawingError(
            f"{path} cannot be drawn: {reason}; the source's size or rate may be damaged"
        ) from error


class SoundTrack:
    """First sound track of a video file, read separately from the images."""

    def __init__(self, container: InputContainer, start_s: float) -> None:
        self._in = container
        self._stream = container.streams.audio[0]
        self._packets: Iterator[av.Packet[av.AudioStream]] = container.demux(self._stream)
        self._start_s = start_s
        self.size = 0  # bytes given to the container
        self._skips = False
        self._waiting: av.Packet[av.AudioStream] | None = None
        self._last_tick = -(1 << 62)
        self._out: OutputContainer | None = None
        self._track: Any = None
        self._resampler: Any = None

    @classmethod
    def of_source(cls, source: Source) -> Self | None:
        """Open the sound track of a source; return None for cameras, pipes and silent videos.

        Images with times of their own have no sound, which a source notes.
        """
        if not isinstance(source, VideoSource) or source.path is None:
            return None
        container = open_container(source.path, source.name)
        has_sound = any(getattr(stream, "rate", 0) for stream in container.streams.audio[:1])  # 0 by a broken header
        if has_sound and source.keeps_clock:
            return cls(container, source.start_s)
        container.close()
        if has_sound:
            source.note(f"{source.name}: drawn without its sound, because --fps changes the times of the images")
        return None

    def skip(self, time_s: float) -> None:
        """Leave out what sounds before a time on the images' clock, which becomes the start."""
        self._start_s += time_s
        self._skips = True

    def begin(self, container: OutputContainer) -> None:
        """Add the track to the video being written, before its first packet."""
        self._out = container
        if _takes(container.format.name, self._stream):
            self._track = container.add_stream_from_template(self._stream)
            return
        codec = "libopus" if container.format.name == "webm" else "aac"
        rate = 48_000 if codec == "libopus" else self._stream.rate
        layout = "mono" if self._stream.layout.nb_channels == 1 else "stereo"
        self._track = container.add_stream(codec, rate=rate, layout=layout)
        self._track.codec_context.open(strict=False)
        context = self._track.codec_context
        self._resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or None)

    def copy_until(self, time_s: float | None) -> None:
        """Carry over what sounds before `time_s` on the images' clock, or all. A damaged rest ends the sound."""
        try:
            while (packet := self._waiting or next(self._packets, None)) is not None:
                self._waiting = packet
                starts_s = float((packet.pts or 0) * packet.time_base) - self._start_s
                if time_s is not None and starts_s >= time_s:
                    return
                self._waiting = None
                if self._skips and starts_s < 0:
                    continue
                if packet.pts is not None and not packet.is_corrupt:
                    self._put(packet)
        except (av_errors.FFmpegError, ValueError) as error:  # ValueError: its rate or channels change half-way
            if isinstance(error, OSError):  # the disk, not the track
                raise
            self._waiting = None
            self._packets = iter(())
            self._resampler = None

    def close(self) -> None:
        """Write the buffered frames of the encoder and close the file."""
        try:
            if self._resampler is not None:
                self._encode(None)
        finally:
            self._in.close()

    def _put(self, packet: av.Packet[av.AudioStream]) -> None:
        if self._resampler is not None:
            self._put_decoded(packet)
            return
        ticks = self._ticks(packet.time_base)
        assert packet.pts is not None
        packet.dts = (packet.pts if packet.dts is None else packet.dts) - ticks
        packet.pts -= ticks
        if packet.dts > self._last_tick:  # a container takes rising times only
            self._last_tick = packet.dts
            packet.stream = self._track
            self._mux([packet])

    def _put_decoded(self, packet: av.Packet[av.AudioStream]) -> None:
        try:
            frames = packet.decode()
        except (av_errors.FFmpegError, OSError):  # a damaged packet is silence
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - self._ticks(frame.time_base)
            self._encode(frame)

    def _ticks(self, time_base: Any) -> int:  # noqa: ANN401  # Fraction | None
        return round(self._start_s / time_base) if time_base else 0

    def _encode(self, frame: av.AudioFrame | None) -> None:
        for part in self._resampler.resample(frame):
            self._mux(self._track.encode(part))
        if frame is None:
            self._mux(self._track.encode(None))

    def _mux(self, packets: Sequence[av.Packet[Any]]) -> None:
        assert self._out is not None
        self.size += sum(packet.size for packet in packets)
        self._out.mux(packets)


def _takes(container_format: str, stream: av.AudioStream) -> bool:
    """Check whether a container accepts the track unchanged, by writing a header into memory."""
    if container_format == "mp4" and stream.codec_context.name.startswith("pcm_"):
        return False  # FFmpeg refuses it at the end if the places of channels are unknown, and browsers do not play it
    try:
        with av.open(BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av_errors.FFmpegError, ValueError):
        return False
    return True


class ContainerWriter(writers.DrawingWriter):
    """Encode images at their times into a container of FFmpeg. Without an image it writes nothing.

    A full disk keeps the images until then.
    """

    leaves = "groups"

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        super().__init__()
        self._ending = path.suffix.lower()
        self._draft = Draft(path)
        self._last_tick = -1
        self._muxed = 0  # bytes of images given to the container, which may keep them until sound follows
        self._sound: SoundTrack | None = None
        self._stream: av.VideoStream | None = None
        self._reformatter = VideoReformatter()
        self._file = ReservedFile(self._draft.path)
        self._container = av.open(self._file, "w", options=dict(options))

    def _append(self, image: writers.AnnotatedImage) -> None:
        if image.time is None:
            raise InputError("an image of a video needs its time: pass the source frame's time")
        with failing_as_drawing(self._draft.final):
            self._encode(image, image.time)
            self._file.reserve(self._muxed + (0 if self._sound is None else self._sound.size))

    @abstractmethod
    def _encode(self, image: writers.AnnotatedImage, time: float) -> None: ...

    def _mux(self, packets: Sequence[av.Packet[Any]]) -> None:
        self._muxed += sum(packet.size for packet in packets)
        self._container.mux(packets)

    def _finish(self) -> None:
        with failing_as_drawing(self._draft.final):
            if self._stream is not None:
                self._mux(self._stream.encode(None))
                self._end()
            self._release()
        if self._stream is None:
            self._draft.drop()
        else:
            self._draft.keep()

    def _end(self) -> None:
        """Write what follows the last image."""

    def _abort(self) -> None:
        with suppress(av_errors.FFmpegError, OSError, ValueError):  # the output is discarded
            self._release()
        self._draft.drop()

    def _leave(self) -> list[Path]:
        if self._stream is not None and self._file.is_complete:
            with suppress(av_errors.FFmpegError, OSError, ValueError):  # no room for the end
                self._release()  # without the images that the encoder still has
                return self._draft.leave_finished()
        return super()._leave()

    def _release(self) -> None:
        try:
            self._container.close()
        finally:
            self._file.close()


class VideoWriter(ContainerWriter):
    """Encode images at the times given with libx264 (VP9 in WebM, MPEG-4 in AVI), and carry the source's sound over.

    RGBA images keep their alpha in WebM (VP9) and MOV (ProRes 4444). Areas without a drawing keep the source's
    pixels and colours if these are 8-bit 4:2:0. Other sources are converted to BT.709. Videos larger than 720p are
    encoded faster, into more bytes. Odd sizes grow by one pixel, which repeats the border. All images have the size
    of the first. AVI has only a fixed rate, to which times are rounded.
    """

    def __init__(self, path: Path, source: Source, *, sound: bool) -> None:
        self._source = source
        # otherwise Matroska writes random numbers and runs differ; it opens the file with the first image
        super().__init__(path, {"fflags": "+bitexact"})
        try:
            self._sound = SoundTrack.of_source(source) if sound else None
        except BaseException:
            self._abort()
            raise
        fps = source.fps if source.fps and _MINIMUM_FPS <= source.fps <= _MAXIMUM_FPS else 30
        self._step_s = 1 / fps
        clock = getattr(source, "time_base", None)
        if not clock or not 0 < clock <= self._step_s or clock.denominator > _FINEST_CLOCK:
            clock = _LIVE_CLOCK
        self._clock: Fraction = Fraction(self._step_s).limit_denominator(1001) if self._ending == ".avi" else clock
        self._end_s = self._first_s = 0.0
        self._colours = Colours()

    def _encode(self, image: writers.AnnotatedImage, time: float) -> None:
        if self._stream is None and self._source.starts_late:
            self._first_s = time
            if self._sound is not None:
                self._sound.skip(time)
        time -= self._first_s
        stream = self._stream or self._begin(image.rgb, image.under)
        frame = self._frame(image, stream)
        frame.pts = max(round(time / self._clock), self._last_tick + 1)
        frame.time_base = self._clock
        frame.duration = max(1, round(self._step_s / self._clock))  # the last frame lasts this long
        self._last_tick = frame.pts
        self._end_s = float((frame.pts + frame.duration) * self._clock)
        self._mux(stream.encode(frame))
        if self._sound is not None:
            self._sound.copy_until(float(frame.pts * self._clock))

    def _begin(self, rgb: Image, under: SourceFrame | None) -> av.VideoStream:
        transparent = rgb.ndim == 3 and rgb.shape[2] == 4
        h264 = _H264_QUICK if rgb.shape[0] * rgb.shape[1] > _VERYFAST_PIXELS else _H264
        codec = _TRANSPARENT_CODECS[self._ending] if transparent else _CODECS.get(self._ending) or h264
        encoder, pixels, options = codec
        if codec == _H264 and cv2.checkHardwareSupport(_AVX_512):
            options = options | _REPRODUCIBLE
        if pixels == "yuv420p" and has_planes(under) and rgb.shape == under.rgb.shape:
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

    def keeps_pixels(self, under: SourceFrame) -> bool:
        if not has_planes(under):
            return False
        stream = self._stream
        return stream is None or (
            stream.pix_fmt == "yuv420p"
            and under.rgb.shape[:2] == (stream.height, stream.width)
            and Colours.of(under.decoded) == self._colours
        )

    def _frame(self, image: writers.AnnotatedImage, stream: av.VideoStream) -> av.VideoFrame:
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
        frame, scaling = frame_of(rgb), self._colours.scaling()
        return self._reformatter.reformat(frame, stream.width, stream.height, stream.pix_fmt, **scaling)

    def _end(self) -> None:
        if self._sound is not None:
            self._sound.copy_until(None if self._source.finished else self._end_s)

    def _release(self) -> None:
        try:
            if self._sound is not None:
                self._sound.close()
        finally:
            super()._release()


class AnimationWriter(ContainerWriter):
    """Encode images as a GIF with a palette for each image, or a WebP, which is far smaller and keeps alpha.

    Times are rounded to 1/100 s in GIF and 1/1000 s in WebP. Browsers show an image of at most 10 ms for 100 ms, so
    images that follow too soon are left out. All images take the size of the first.
    """

    def __init__(self, path: Path, source: Source) -> None:
        super().__init__(path, {"loop": "0"})
        self._tick_s = _TICK_S[self._ending]
        self._rate = Fraction(source.fps or 30).limit_denominator(1001)
        self._palettes: Graph | None = None

    def _encode(self, image: writers.AnnotatedImage, time: float) -> None:
        tick = round(time / self._tick_s)
        if self._stream is not None and tick < self._last_tick + _LEAST_TICKS[self._ending]:
            return
        rgb = image.rgb if image.rgb.ndim == 3 else np.repeat(image.rgb[..., None], 3, axis=2)
        stream = self._stream or self._begin(rgb.shape[1], rgb.shape[0])
        frame = frame_of(np.ascontiguousarray(rgb))
        pixels = "rgb24" if self._palettes is not None else "bgra"
        frame = self._reformatter.reformat(frame, stream.width, stream.height, pixels)
        self._last_tick = frame.pts = tick
        frame.time_base = self._tick_s
        for encoded in self._with_palette(frame):
            self._mux(stream.encode(encoded))

    def _begin(self, width: int, height: int) -> av.VideoStream:
        is_gif = self._ending == ".gif"
        name, pixels = ("gif", "pal8") if is_gif else ("libwebp_anim", "bgra")
        stream: Any = self._container.add_stream(name, rate=self._rate, options={} if is_gif else _WEBP_OPTIONS)
        stream.width = width
        stream.height = height
        stream.pix_fmt = pixels
        stream.codec_context.time_base = self._tick_s
        self._stream, self._palettes = stream, _palette_graph(width, height, self._tick_s) if is_gif else None
        return stream

    def _with_palette(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Return the frame for the encoder, reduced to its own 256 colours for GIF."""
        if self._palettes is None:
            yield frame
            return
        self._palettes.push(frame)
        try:
            while True:
                yield self._palettes.pull()  # pyright: ignore[reportReturnType]  # a video graph returns video frames
        except (av_errors.BlockingIOError, av_errors.EOFError):
            return


def _palette_graph(width: int, height: int, time_base: Fraction) -> Graph:
    """Build the FFmpeg filters that reduce each image to its own 256 colours."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=time_base)
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, sink = graph.add("paletteuse", _DITHERING), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette)
    split.link_to(use, output_idx=1)
    palette.link_to(use, input_idx=1)
    use.link_to(sink)
    graph.configure()
    return graph


class Colours(NamedTuple):
    """Colour description of a video, as numbers of FFmpeg; by default BT.709."""

    matrix: int = _ITU709
    primaries: int = _ITU709
    transfer: int = _ITU709
    value_range: int = _LIMITED_RANGE

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Read the colour description of a frame."""
        return cls(frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)

    def scaling(self) -> dict[str, int]:
        """Return the arguments with which FFmpeg's scaler converts to these colours."""
        return {
            "dst_colorspace": _SCALER_MATRICES.get(self.matrix, _ITU601),
            "dst_color_range": _LIMITED_RANGE,
            "interpolation": Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        }


def has_planes(under: SourceFrame | None) -> TypeGuard[DecodedFrame]:
    """Check whether a drawing over a source frame can be copied onto its planes."""
    return (
        isinstance(under, DecodedFrame)
        and under.decoded.format.name == _PIXELS
        and under.decoded.color_range != _FULL_RANGE
        and under.geometry.is_turn
        and under.geometry.shown_size(under.decoded.width, under.decoded.height) == under.rgb.shape[1::-1]
        and under.rgb.shape[0] % 2 == under.rgb.shape[1] % 2 == 0
    )


def drawn_on_planes(
    drawn: Image, under: DecodedFrame, reformatter: VideoReformatter, regions: Sequence[Region] | None = None
) -> av.VideoFrame:
    """Return an upright copy of a decoded frame with the changed parts of an image (H, W, 3); see `has_planes`."""
    height, width = drawn.shape[:2]
    out = av.VideoFrame(width, height, _PIXELS)
    planes = _planes(out)
    for plane, decoded in zip(planes, _planes(under.decoded), strict=True):
        plane[:] = under.geometry.turned(decoded)
    scaling = Colours.of(under.decoded).scaling()
    for x, y, wide, high in changed_regions(drawn, under.rgb, regions):
        changed = drawn[y : y + high, x : x + wide]
        # The scaler may read past the end of a row, which is not possible in the last row of an image.
        part = av.VideoFrame.from_numpy_buffer(changed) if y + high < height else frame_of(changed)
        # It starts its threads again for each size.
        part = reformatter.reformat(part, wide, high, _PIXELS, threads=1, **scaling)
        for plane, new, step in zip(planes, _planes(part), (1, 2, 2), strict=True):
            plane[y // step : (y + high) // step, x // step : (x + wide) // step] = new
    return out


def frame_of(rgb: Image) -> av.VideoFrame:
    """Return a frame with a copy of an image (H, W, 3 or 4)."""
    return av.VideoFrame.from_ndarray(rgb, format="rgba" if rgb.shape[2] == 4 else "rgb24")


def _planes(frame: av.VideoFrame) -> list[Image]:
    """Return each plane (h, w) without row padding."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # pyright: ignore
        for plane in frame.planes
    ]


def changed_regions(
    drawn: Image, before: Image, regions: Sequence[Region] | None = None
) -> Iterator[tuple[int, int, int, int]]:
    """Yield x, y, width and height in pixels of the areas in which two images (H, W, 3) differ, aligned to tiles."""
    height, width = drawn.shape[:2]
    word = np.dtype(np.uint64 if width % 8 == 0 else np.uint16)  # eight bytes at once are compared as fast as one
    new, old = (image.reshape(height, -1).view(word) for image in (drawn, before))  # (H, 3 W / bytes of a word)
    words = 3 * TILE_PX // word.itemsize  # of a row of a tile
    tiles = np.zeros((-(-height // TILE_PX), -(-width // TILE_PX)), bool)
    for region in (Region(0, 0, width, height),) if regions is None else regions:
        rows, columns = (slice(part.start // TILE_PX, -(-part.stop // TILE_PX)) for part in region.slices)
        part = slice(columns.start * words, columns.stop * words)
        starts = np.arange(0, new[:1, part].shape[1], words)
        for row in range(rows.start, rows.stop) if len(starts) else ():
            strip = slice(row * TILE_PX, (row + 1) * TILE_PX), part
            tiles[row, columns] |= np.logical_or.reduceat((new[strip] != old[strip]).any(axis=0), starts)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(tiles.view(np.uint8), connectivity=8)
    for x, y, wide, high in (boxes[1:count, :4] * TILE_PX).tolist():
        yield x, y, min(wide, width - x), min(high, height - y)

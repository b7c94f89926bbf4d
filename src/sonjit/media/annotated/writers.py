"""Write annotated images as one image, a folder of images or a video.

Video is H.264, VP9, MPEG-4, or ProRes with transparency, at the times of the source. The sound track is copied if the
container supports its codec, and re-encoded otherwise.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError, JobError
from sonjit._util.files import Draft, Output, failing_as_job
from sonjit.media.annotated.planes import Colours, drawn_on_planes, frame_of, has_planes, reformat
from sonjit.media.encode import encode_image
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.video import DecodedFrame

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from sonjit.media.drawing.regions import Region

ANNOTATED_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.ENOENT, errno.EACCES)
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


class DrawingError(JobError):
    """Failure of an encoder or container. Other outputs can continue."""


@contextmanager
def failing_as_drawing(path: Path) -> Generator[None]:
    """Convert errors of an encoder inside the block to a DrawingError, and disk errors to a JobError."""
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in _DISK_ERRORS:
            raise JobError(f"writing {path} failed: {reason}") from error
        raise DrawingError(f"{path} cannot be drawn: {reason}; the source's size or rate may be damaged") from error


class DrawingWriter(Output):
    """Writer of annotated images in order."""

    @abstractmethod
    def write(
        self,
        rgb: Image,
        time: float | None,
        *,
        index: int | None = None,
        under: SourceFrame | None = None,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Append one image.

        Args:
            rgb: Image as uint8: RGB (H, W, 3), grey (H, W), or RGBA (H, W, 4) if the format supports transparency. The
                caller must not change it afterwards.
            time: Time of the source frame in seconds; None for stills.
            index: Index of the source frame, which selects the file name in a folder; default: the next index.
            under: Source frame of the drawing. A video keeps its pixels where nothing was drawn.
            regions: Regions outside of which the image has no meaning, if `keeps_pixels` of the source frame. They do
                not touch each other.
        """

    def keeps_pixels(self, under: SourceFrame) -> bool:
        """Check whether the output has the pixels of a source frame outside the regions of a drawing."""
        del under
        return False


class BestEffortDrawing(DrawingWriter):
    """Drawing that is dropped if it cannot be encoded, while other outputs continue.

    Args:
        drawing: Writer of the drawing.

    Attributes:
        problem: Reason why the drawing was dropped, or None.
    """

    def __init__(self, drawing: DrawingWriter) -> None:
        super().__init__()
        self._drawing = drawing
        self.problem: str | None = None

    def write(
        self,
        rgb: Image,
        time: float | None,
        *,
        index: int | None = None,
        under: SourceFrame | None = None,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Append one image unless the drawing was dropped."""
        if self.problem is None:
            try:
                self._drawing.write(rgb, time, index=index, under=under, regions=regions)
            except DrawingError as error:
                self.problem = str(error)
                self._drawing.discard()

    def keeps_pixels(self, under: SourceFrame) -> bool:
        """Check whether the output has the pixels of a source frame outside the regions of a drawing."""
        return self._drawing.keeps_pixels(under)

    def _finish(self) -> None:
        if self.problem is None:
            try:
                self._drawing.close()
            except DrawingError as error:
                self.problem = str(error)

    def _abort(self) -> None:
        self._drawing.discard()


class ImageWriter(DrawingWriter):
    """Writer of one image. Without an image it writes nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._draft = Draft(path)
        self._written = False

    def write(
        self,
        rgb: Image,
        time: float | None,
        *,
        index: int | None = None,
        under: SourceFrame | None = None,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Encode the image."""
        data = encode_image(rgb, self._draft.final.suffix.lower())
        with failing_as_job(self._draft.final):
            self._draft.path.write_bytes(data)
        self._written = True

    def _finish(self) -> None:
        if self._written:
            self._draft.keep()
        else:
            self._draft.drop()

    def _abort(self) -> None:
        self._draft.drop()


class FolderWriter(DrawingWriter):
    """An image per input under the input's name; one that OpenCV cannot write (HEIC) becomes a PNG.

    Creates a missing folder. In an existing folder it replaces only images of the same names.
    """

    def __init__(self, path: Path, source: Source, ending: str | None = None) -> None:
        super().__init__()
        folder = path.resolve()
        if any(file.resolve().parent == folder for file in source.files):
            raise InputError(f"{path} contains the inputs. Choose another folder for the drawings")
        self._names = _file_names(source.files, ending)
        self._draft = Draft(path, folder=True)
        self._next = 0

    def write(
        self,
        rgb: Image,
        time: float | None,
        *,
        index: int | None = None,
        under: SourceFrame | None = None,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Encode one image under the name of input `index`."""
        index = self._next if index is None else index
        self._next = index + 1
        file = self._draft.path / self._names[index]
        data = encode_image(rgb, file.suffix.lower())
        with failing_as_job(self._draft.final / file.name):
            file.write_bytes(data)

    def _finish(self) -> None:
        self._draft.keep()

    def _abort(self) -> None:
        self._draft.drop()


def _file_names(files: list[Path], ending: str | None) -> list[str]:
    """Return the file names of the drawings; repeated names from several folders get a number."""
    names: list[str] = []
    used_names: set[str] = set()
    for file in files:
        suffix = ending or (file.suffix if file.suffix.lower() in ANNOTATED_IMAGE_ENDINGS else ".png")
        name, number = f"{file.stem}{suffix}", 2
        while name in used_names:
            name, number = f"{file.stem}-{number}{suffix}", number + 1
        used_names.add(name)
        names.append(name)
    return names


class VideoWriter(DrawingWriter):
    """Encode images at the times given with libx264 (VP9 in WebM, MPEG-4 in AVI), and carry the source's sound over.

    RGBA images keep their alpha in WebM (VP9) and MOV (ProRes 4444). Areas without a drawing keep the source's
    pixels and colours if these are 8-bit 4:2:0. Other sources are converted to BT.709. Videos larger than 720p are
    encoded faster, into more bytes. Odd sizes grow by one pixel, which repeats the border. All images have the size
    of the first. AVI has only a fixed rate, to which times are rounded.
    """

    def __init__(self, path: Path, source: Source) -> None:
        super().__init__()
        import av
        from av.video.reformatter import VideoReformatter

        self._source = source
        self._ending = path.suffix.lower()
        self._sound = SoundTrack.of_source(source)
        self._draft = Draft(path)
        fps = source.fps if source.fps and _MINIMUM_FPS <= source.fps <= _MAXIMUM_FPS else 30
        self._step_s = 1 / fps
        clock = getattr(source, "time_base", None)
        if not clock or not 0 < clock <= self._step_s or clock.denominator > _FINEST_CLOCK:
            clock = _LIVE_CLOCK
        self._clock: Fraction = Fraction(self._step_s).limit_denominator(1001) if self._ending == ".avi" else clock
        self._last_tick = -1
        self._end_s = 0.0
        self._stream: VideoStream | None = None
        # otherwise Matroska writes random numbers and runs differ; it opens the file with the first image
        self._container = av.open(str(self._draft.path), "w", options={"fflags": "+bitexact"})
        self._reformatter = VideoReformatter()
        self._colours = Colours()

    def write(
        self,
        rgb: Image,
        time: float | None,
        *,
        index: int | None = None,
        under: SourceFrame | None = None,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Encode one image at `time` and the sound up to it."""
        if time is None:
            raise InputError("an image of a video needs its time: pass the source frame's time")
        with failing_as_drawing(self._draft.final):
            stream = self._stream or self._begin(rgb, under)
            frame = self._frame(rgb, under, stream, regions)
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

    def _frame(
        self, rgb: Image, under: SourceFrame | None, stream: VideoStream, regions: Sequence[Region] | None
    ) -> VideoFrame:
        """Return an image as a frame for the encoder."""
        if isinstance(under, DecodedFrame) and rgb.shape == under.rgb.shape and self.keeps_pixels(under):
            return drawn_on_planes(rgb, under, self._reformatter, regions)
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

    def _finish(self) -> None:

        with failing_as_drawing(self._draft.final):
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.copy_until(None if self._source.finished else self._end_s)
            self._release()
        if self._stream is None:
            self._draft.drop()  # no image, no video
        else:
            self._draft.keep()

    def _abort(self) -> None:
        from av.error import FFmpegError

        try:
            self._release()
        except (FFmpegError, OSError, ValueError):  # the output is discarded below
            pass
        finally:
            self._draft.drop()

    def _release(self) -> None:
        try:
            if self._sound is not None:
                self._sound.close()
        finally:
            self._container.close()


class SoundTrack:
    """First sound track of a video file, read separately from the images.

    Args:
        container: Video file, opened only for this track.
        start_s: Start of the images on the container's clock in seconds; the track is shifted by it.
    """

    def __init__(self, container: InputContainer, start_s: float) -> None:
        self._in = container
        self._stream = container.streams.audio[0]
        self._packets: Iterator[Packet[AudioStream]] = container.demux(self._stream)
        self._start_s = start_s
        self._waiting: Packet[AudioStream] | None = None
        self._last_tick = -(1 << 62)
        self._out: OutputContainer | None = None
        self._track: Any = None
        self._resampler: Any = None

    @classmethod
    def of_source(cls, source: Source) -> Self | None:
        """Open the sound track of a source; return None for cameras, pipes and silent videos."""
        from sonjit.media.sources.video import VideoSource, open_container

        if not isinstance(source, VideoSource) or source.path is None:
            return None
        container = open_container(source.path, source.name)
        if any(getattr(stream, "rate", 0) for stream in container.streams.audio[:1]):  # no rate: a broken header
            return cls(container, source.start_s)
        container.close()
        return None

    def begin(self, container: OutputContainer) -> None:
        """Add the track to the video being written, before its first packet."""
        import av

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
        """Carry over what sounds before `time_s` on the images' clock; `None` carries all the rest.

        If the rest of the track is damaged, the sound ends and the images continue.
        """
        from av.error import FFmpegError

        try:
            while (packet := self._waiting or next(self._packets, None)) is not None:
                self._waiting = packet
                starts_s = float((packet.pts or 0) * packet.time_base) - self._start_s
                if time_s is not None and starts_s >= time_s:
                    return
                self._waiting = None
                if packet.pts is not None and not packet.is_corrupt:
                    self._put(packet)
        except (FFmpegError, ValueError) as error:  # ValueError: its rate or channels change half-way
            if isinstance(error, OSError):  # the disk, not the track
                raise
            self._waiting, self._packets, self._resampler = None, iter(()), None

    def close(self) -> None:
        """Write the buffered frames of the encoder and close the file."""
        try:
            if self._resampler is not None:
                self._encode(None)
        finally:
            self._in.close()

    def _put(self, packet: Packet[AudioStream]) -> None:
        if self._resampler is not None:
            self._put_decoded(packet)
            return
        ticks = self._ticks(packet.time_base)
        assert packet.pts is not None
        assert self._out is not None
        packet.dts = (packet.pts if packet.dts is None else packet.dts) - ticks
        packet.pts -= ticks
        if packet.dts > self._last_tick:  # a container takes rising times only
            self._last_tick = packet.dts
            packet.stream = self._track
            self._out.mux(packet)

    def _put_decoded(self, packet: Packet[AudioStream]) -> None:
        from av.error import FFmpegError

        try:
            frames = packet.decode()
        except (FFmpegError, OSError):  # a damaged packet is silence
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - self._ticks(frame.time_base)
            self._encode(frame)

    def _ticks(self, time_base: Any) -> int:  # noqa: ANN401  # Fraction | None
        return round(self._start_s / time_base) if time_base else 0

    def _encode(self, frame: AudioFrame | None) -> None:
        assert self._out is not None
        for part in self._resampler.resample(frame):
            self._out.mux(self._track.encode(part))
        if frame is None:
            self._out.mux(self._track.encode(None))


def _takes(container_format: str, stream: AudioStream) -> bool:
    """Check whether a container accepts the track unchanged, by writing a header into memory."""
    from io import BytesIO

    import av
    from av.error import FFmpegError

    try:
        with av.open(BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (FFmpegError, ValueError):
        return False
    return True

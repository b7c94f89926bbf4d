"""Read video files and streams as upright frames with exact times."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter, deque
from contextlib import ExitStack, suppress
from fractions import Fraction
from itertools import chain, pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Image, InputError, pluralize
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.geometry import (
    HDR,
    Geometry,
    bordered,
    box_spans,
    container_crop,
    fitted,
    tone_curve,
    turns_of_matrix,
)
from sonjit.media.sources.levels import Levels, stretch_note, used_levels

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    import av
    from av.container import InputContainer
    from av.error import FFmpegError
    from av.filter import Graph
    from av.video.reformatter import VideoReformatter

VIDEO_ENDINGS = (
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".3gp", ".wmv", ".gif"),
    *(".mts", ".m2ts", ".m2t", ".vob", ".flv", ".ogv", ".asf", ".mpv", ".m2v", ".3g2", ".qt", ".mxf", ".dv"),
    *(".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".y4m", ".lrv", ".insv", ".dav"),
)
"""Usual endings, for messages and globs; a named video is known by its content."""
UNTIMED = 128  # flag of FFmpeg for containers without times, such as raw H.264
_ASSUMED_RATE, _MAX_RATE = 25, 10_000  # frames per second. Larger ones are ticks of a clock.
_DECODED = ("avi", "asf")  # formats whose times are in the order of decoding
_SAMPLES = 8  # number of frames by which the range of 16-bit values is known
_SYNC = 0x47  # of a packet of a transport stream
_UNALIGNED = 1  # flag of FFmpeg's decoders for a crop at any pixel. Others begin at a multiple of 16 or 32 pixels.
_TS_VIDEO = (0x01, 0x02, 0x10, 0x1B, 0x24, 0x33, 0x42, 0xD1, 0xEA)  # MPEG-1, 2, 4, H.264 to 266, AVS, Dirac, VC-1
_HEADS = {
    "flv": rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0{4}",
    "asf": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c",
}
"""First bytes of files by FFmpeg's name of their format."""


class DecodedFrame(SourceFrame):
    """One image of a video, the read-only frame in the video's own colours, and the geometry between them."""

    decoded: av.VideoFrame
    geometry: Geometry


class VideoSource(Source):
    """A video decoded by FFmpeg through PyAV.

    `time` is each frame's own presentation time relative to the first one, so a variable frame rate is kept. It never
    runs backwards: where a file states times in the order of decoding, the decoder's times are used, and a clock that
    restarts continues. The images are what FFmpeg's conversion gives, bit for bit for 8-bit video, as players show
    them: with square pixels, unmirrored and upright. HDR is tone-mapped. All images have the size of the first. A video
    that is cut or damaged gives every frame that can be decoded; what was lost is in `problems`.

    Attributes:
        keeps_clock: False if `fps` gives the images other times than the file, which its sound and players keep.
    """

    kind = "video"

    def __init__(
        self, name: str, opened: Path | BinaryIO, *, fps: float | None = None, container_format: str | None = None
    ) -> None:
        super().__init__(name)
        self.path = opened if isinstance(opened, Path) else None  # a stream can be read only once
        self._stream = None if isinstance(opened, Path) else opened
        self.files = [self.path] if self.path is not None else []
        self._format = container_format
        from av.stream import Disposition

        container = open_container(opened, name, container_format)
        stream = video_stream(container)
        if stream is None:
            container.close()
            raise InputError(f"{name} contains no video stream that can be decoded. Use an image or a video")
        videos = sum(not other.disposition & Disposition.attached_pic for other in container.streams.video)
        if videos != 1:
            what = f"contains {videos} video streams. Only number {stream.index}" if videos else "only its cover image"
            self.note(f"{name}: {what} is read")
        is_untimed = bool(container.format.flags & UNTIMED) or container.format.name.endswith("_pipe")
        stated = stream.codec_context.framerate if is_untimed else None
        rates = (stated, stream.average_rate, stream.guessed_rate, _ASSUMED_RATE if is_untimed else None)
        rate = fps or next((rate for rate in rates if rate and rate < _MAX_RATE), None)
        self.fps = float(rate) if rate else None
        self._counts_frames = is_untimed or fps is not None
        stated_rates = (stream.average_rate, stream.guessed_rate)  # equal where the rate is constant
        self.keeps_clock = fps is None or all(
            rate is not None and math.isclose(rate, fps, rel_tol=1e-6) for rate in stated_rates
        )
        if is_untimed and fps is None:
            source = "its headers state" if stated else "assumed, as it states none"
            note = f"{self.fps:g} frames per second, {source}. --fps sets the rate"
            self.note(f"{name}: contains no times. {note}")
        self.time_base: Fraction | None = None if self._counts_frames else stream.time_base  # seconds per tick
        self.start_s = float((stream.start_time or 0) * (stream.time_base or 0))  # origin of `time` in the container
        self._origin_s = (container.start_time or 0) / 1_000_000 if container.streams.audio else None
        self._length_s = None if self._counts_frames else stated_length_s(container, stream)
        self._slack_s = 0.1 if stream.frames else 0.75  # containers that do not count frames state rough lengths
        self.count = stream.frames or (round(self._length_s * self.fps) if self._length_s and self.fps else None)
        self._is_gif = container.format.name == "gif"
        self._levels: Levels | None = None  # of 16-bit values; None before they are known
        frames = self._decode(container, stream)
        first = next(frames, None)
        if first is None:
            raise InputError(f"{name}: no frame of this video can be decoded; export it again")
        self._begun: tuple[Generator[SourceFrame], SourceFrame] | None = frames, first  # the first iteration has these
        self.height, self.width = first.rgb.shape[:2]

    def close(self) -> None:
        """Stop decoding and close the file."""
        super().close()
        begun, self._begun = self._begun, None
        if begun is not None:
            begun[0].close()

    def _frames(self) -> Generator[SourceFrame]:
        begun, self._begun = self._begun, None
        if begun is None:
            if self.path is None:
                raise InputError(f"{self.name} is a stream and can be read only once: save it to a file")
            container = open_container(self.path, self.name, self._format)
            frames = self._decode(container, video_stream(container))
        else:
            frames, first = begun
            yield first
        try:
            yield from frames
        finally:
            frames.close()

    def _decode(self, container: InputContainer, stream: av.VideoStream | None) -> Generator[SourceFrame]:
        """Yield all decodable frames in presentation order, and report lost frames at the end."""
        from av.video.reformatter import VideoReformatter

        assert stream is not None
        reformatter = VideoReformatter()  # one for all frames: it keeps its tables
        step_s = 1 / self.fps if self.fps else 0.0
        done, clock = Decoded(step_s), Clock(stream, step_s)
        aspect = None if self._is_gif else stream.sample_aspect_ratio  # browsers ignore the ratio of a GIF
        crop = container_crop(self.path, container.format.name) if self.path is not None else (0, 0, 0, 0)
        shape = Shape(aspect, crop)
        with container:
            for frame, context in self._parts(container, stream, clock, done.damage):
                restarts = clock.restarts
                done.add_time(done.count * step_s if self._counts_frames else clock.time_of(frame))
                if restarts != clock.restarts:
                    shape.geometry = Geometry()  # another recording begins
                if shape.changes(frame, context):
                    if done.count == 0:
                        self._begin(frame, stream, step_s, shape.geometry)
                    done.resized += [] if shape.fit is None else [done.count]
                if frame.is_corrupt:
                    done.damaged.append(done.count)
                levels = self._levels_of(frame, reformatter)
                rgb = upright_rgb(frame, reformatter, shape.geometry, shape.fit, levels)
                image = DecodedFrame(done.count, done.time_s, rgb)
                image.decoded, image.geometry = frame, shape.geometry
                yield image if levels is None else SourceFrame(done.count, done.time_s, rgb)  # its colours differ
                done.count += 1
        self._report(container, stream, done, clock)

    def _levels_of(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> Levels | None:
        """Return the levels by which 16-bit values of a frame are stretched, the same for all frames; None for none."""
        if frame.format.components[0].bits != 16 or frame.color_trc in HDR:
            return None
        if self._levels is None:
            values = deep_values(frame, reformatter)
            if np.ptp(values):  # a uniform frame states no range
                self._levels = used_levels(chain([values], self._samples())) or Levels()
                if self._levels != Levels():
                    self.note(f"{self.name}: {stretch_note(self._levels)}, the same for all frames")
        return self._levels if self._levels != Levels() else None

    def _samples(self) -> Generator[NDArray[np.uint16]]:
        """Yield the values of some frames of a file, over its length."""
        from av.video.reformatter import VideoReformatter

        if self.path is None or not self._length_s:
            return
        with open_container(self.path, self.name, self._format) as container, suppress(*read_errors()):
            for number in range(1, _SAMPLES):
                container.seek(round(number / _SAMPLES * self._length_s * 1e6) + (container.start_time or 0))
                yield deep_values(next(container.decode(video=0)), VideoReformatter())

    def _begin(self, frame: av.VideoFrame, stream: av.VideoStream, step_s: float, geometry: Geometry) -> None:
        """Take the start and the geometry from the first frame, and note what its images do not show."""
        if frame.pts is not None:
            self.start_s = float(frame.pts * (frame.time_base or 0))
            stated = frame.pts if stream.start_time is None else stream.start_time  # may be 0
            lost_s = self.start_s - float(stated * (stream.time_base or 0))
            if lost_s > 1.5 * step_s > 0 and not self._counts_frames:
                self.note(f"{self.name}: begins with {lost_s:.2f} s that cannot be decoded")
        has_sound = self._origin_s is not None and self.keeps_clock
        self.offset_s = max(0.0, self.start_s - (self._origin_s or 0.0)) if has_sound else 0.0
        self.geometry = geometry
        if frame.color_trc in HDR:
            self.note(f"{self.name}: HDR video, tone-mapped to standard range")
        if "f32" in frame.format.name or "f16" in frame.format.name:
            self.note(f"{self.name}: values above 1 of floating-point images are cut off")

    def _report(self, container: InputContainer, stream: av.VideoStream, done: Decoded, clock: Clock) -> None:
        """Add notes and problems after the last frame."""
        name, pause_s = self.name, done.longest_s
        if done.resized:
            is_mpeg = stream.codec_context.name in ("mpeg1video", "mpeg2video")
            lost = ". MPEG-1 and MPEG-2 decoders lose a frame there" if is_mpeg else ""
            self.note(f"{name}: the size changes at frame {done.resized[0]}. Images are scaled to the first size{lost}")
        if pause_s > max(10.0, 10 * done.step_s):  # players may leave it out
            self.note(f"{name}: no frame for {pause_s:.1f} s before frame {done.after_longest}")
        if clock.restarts:
            self.note(f"{name}: its clock restarts {pluralize(clock.restarts, 'time')}. The time continues")
        if self._stream is not None:
            self._stream.read(1 << 16)  # FFmpeg may stop before the head of a second recording
            if getattr(self._stream, "heads", 0) > 1:
                self.problems.append(
                    f"{name}: contains joined recordings. Only the first is read: name the file itself"
                )
        if done.damage:
            damaged_parts = pluralize(done.damage.total(), "damaged part")
            self.problems.append(f"{name}: {damaged_parts} could not be decoded: {next(iter(done.damage))}")
        if done.damaged:
            frames = pluralize(len(done.damaged), "frame")
            self.note(f"{name}: {frames} decoded with errors, first frame {done.damaged[0]}")
        end_s = done.time_s + done.step_s
        if self._length_s and end_s < self._length_s - self._slack_s and self._is_cut():
            stated = f"{self.count} frames, {self._length_s:.2f} s" if self.count else f"{self._length_s:.2f} s"
            self.problems.append(f"{name} is cut: it ends after {done.count} frames, {end_s:.2f} s, of {stated}")
        elif self.path is not None and ends_early(self.path, container.format.name):
            self.problems.append(f"{name} is cut: its last part, after frame {done.count - 1}, is not complete")
        elif container.format.name == "avi" and done.count < stream.frames:
            self.note(f"{name}: {done.count} of {stream.frames} frames contain an image")

    def _parts(
        self, container: InputContainer, stream: av.VideoStream, clock: Clock, damage: Counter[str]
    ) -> Generator[tuple[av.VideoFrame, av.VideoCodecContext]]:
        """Yield the frames with their decoder. Each joined part has its own one: FFmpeg reads only the first."""
        joints = [] if self.path is None else find_joints(self.path, container.format.name)
        if joints:
            self.note(f"{self.name}: consists of {len(joints) + 1} joined parts. All are read")
        for start, end in pairwise((0, *joints, 0)):
            with ExitStack() as opened:
                if joints and self.path is not None:
                    try:
                        container = open_container(self.path, self.name, None, f"subfile,,start,{start},end,{end},,:")
                        stream = video_stream(opened.enter_context(container)) or stream
                    except InputError as error:
                        self.problems.append(str(error))
                        continue
                stream.thread_type = "AUTO"
                clock.begin(stream)
                for frame in deinterlaced(decoded_frames(container, stream, damage), self):
                    yield frame, stream.codec_context

    def _is_cut(self) -> bool:
        """Return whether all streams of a file end before its stated length, on the clock of the container."""
        if self.path is None or self._length_s is None:
            return True
        end_s = 0.0
        with open_container(self.path, self.name, self._format) as container, suppress(*read_errors()):
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        return end_s < self._length_s - self._slack_s


class Decoded:
    """What the decoding of a video has met so far, with times in seconds."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self.time_s = step_s, -step_s
        self.count = 0  # number of frames
        self.longest_s = 0.0  # longest time between two frames
        self.after_longest = 0  # index of the frame after it
        self.resized: list[int] = []  # indices of frames with another size than the first
        self.damaged: list[int] = []  # indices of frames that were decoded with errors
        self.damage: Counter[str] = Counter()  # errors of parts that cannot be decoded

    def add_time(self, time_s: float) -> None:
        """Take the time of the next frame."""
        if time_s - self.time_s >= self.longest_s:
            self.longest_s, self.after_longest = time_s - self.time_s, self.count
        self.time_s = time_s


class Shape:
    """Geometry of the frames of a video, which may change at any frame.

    Attributes:
        geometry: How the newest frame becomes its image.
        fit: Width and height in pixels of the first image, if that of the newest frame differs; otherwise None.
    """

    def __init__(self, aspect: Fraction | None, crop: tuple[int, int, int, int]) -> None:
        self.geometry = Geometry()
        self.fit: tuple[int, int] | None = None
        self._aspect, self._crop = aspect, crop
        self._size: tuple[int, int] | None = None
        self._ratio: Fraction | None = None
        self._state: tuple[int, int, object, Fraction | None] | None = None

    def changes(self, frame: av.VideoFrame, context: av.VideoCodecContext) -> bool:
        """Take the next frame. Return True if its geometry differs from that of the frame before."""
        before, turns = self._state, self.geometry.turns
        self._ratio = context.sample_aspect_ratio if frame.key_frame or before is None else self._ratio
        turns = turns_of_matrix(frame, turns) if frame.key_frame or frame.rotation else turns
        self._state = frame.width, frame.height, turns, self._ratio
        if before == self._state:
            return False
        if before is not None and before[3] != self._ratio and (before[3] or 1) == (self._aspect or 1):
            self._aspect = self._ratio  # the container states no other one
        self.geometry = Geometry.of_frame(frame, self._aspect, self._crop, self.geometry)
        shown = self.geometry.shown_size(frame.width, frame.height)
        self._size = self._size or shown
        self.fit = None if shown == self._size else self._size
        return True


class Clock:
    """Times of the frames of one stream from the first one, which never run backwards.

    AVI and ASF state only the order of decoding, and other files may state wrong times. The decoder's times then
    replace those of the container. A clock that restarts or stands still, as in joined recordings, continues.
    """

    def __init__(self, stream: av.VideoStream, step_s: float) -> None:
        self._step_s, self._last_s = step_s, -step_s
        self._origin: Fraction | int | None = None
        self._base = stream.time_base
        self._offset_s = 0.0
        self.restarts = 0

    def begin(self, stream: av.VideoStream) -> None:
        """Expect the stamps of a stream."""
        if self._origin and self._base and stream.time_base and self._base != stream.time_base:
            self._origin *= self._base / stream.time_base
        self._base = stream.time_base
        self._follows_decoder = bool(stream.codec_context.has_b_frames) and stream.container.format.name in _DECODED
        self._repeats, self._last_pts = 0, None
        self._last_dts: int | None = None

    def time_of(self, frame: av.VideoFrame) -> float:
        """Return the time of the next frame in seconds."""
        pts, dts = frame.pts, frame.dts
        before, self._last_pts = self._last_pts, pts
        moves_on = dts is not None and self._last_dts is not None and dts > self._last_dts
        if pts is not None and before is not None and pts < before and moves_on and not self._follows_decoder:
            self._follows_decoder = True
            self._offset_s += self._last_s - self._seconds(frame, self._last_dts)
        if dts is not None and (self._last_dts is None or dts > self._last_dts):
            self._last_dts = dts
        stamp = dts if self._follows_decoder else pts
        if stamp is None:
            self._last_s += self._step_s
            return self._last_s
        self._origin = stamp if self._origin is None else self._origin
        time_s = self._seconds(frame, stamp)
        self._repeats = self._repeats + 1 if time_s == self._last_s else 0
        if time_s < self._last_s or self._repeats > 1:
            self.restarts, self._last_dts = self.restarts + (self._repeats < 3), dts
            self._offset_s += self._last_s + self._step_s - time_s
            time_s = self._last_s + self._step_s
        self._last_s = time_s
        return time_s

    def _seconds(self, frame: av.VideoFrame, stamp: int | None) -> float:
        return float(((stamp or 0) - (self._origin or 0)) * (frame.time_base or 0)) + self._offset_s


def read_errors() -> tuple[type[FFmpegError], type[OSError]]:
    """Return the errors of PyAV, which raises a plain OSError for errors without a class."""
    from av.error import FFmpegError

    return FFmpegError, OSError


def decoded_frames(container: InputContainer, stream: av.VideoStream, damage: Counter[str]) -> Generator[av.VideoFrame]:
    """Yield the frames of a stream. Count packets that cannot be decoded by reason in `damage`."""
    return decoded(demuxed(container, stream, damage), stream, damage)


def demuxed(
    container: InputContainer, stream: av.VideoStream, damage: Counter[str]
) -> Generator[av.Packet[av.VideoStream]]:
    """Yield the packets of a stream up to an error of reading, which is counted in `damage`."""
    try:
        yield from container.demux(stream)
    except read_errors() as error:
        damage[error.strerror or str(error)] += 1


def decoded(
    packets: Iterable[av.Packet[av.VideoStream]], stream: av.VideoStream, damage: Counter[str]
) -> Generator[av.VideoFrame]:
    """Yield the frames of packets. Count those that cannot be decoded by reason in `damage`."""
    stream.codec_context.flags |= _UNALIGNED
    for packet in packets:
        try:
            yield from packet.decode()
        except read_errors() as error:
            damage["incomplete data" if packet.is_corrupt else error.strerror or str(error)] += 1
    with suppress(*read_errors()):  # after a read error the decoder still has complete frames
        yield from stream.decode(None)


def deinterlaced(frames: Iterable[av.VideoFrame], source: Source) -> Generator[av.VideoFrame]:
    """Yield frames of which interlaced ones are deinterlaced, each with its own time. Note them in a source.

    From the first frame on that its decoder calls interlaced, FFmpeg's `idet` judges by the content, because many
    progressive videos are flagged wrongly, and `yadif` interpolates the lines of the other field. A change of the
    size or the format of the frames begins anew.
    """
    graph: Graph | None = None
    waiting: deque[av.VideoFrame] = deque()
    shape = 0, 0, ""
    for frame in frames:
        if graph is not None and shape != (frame.width, frame.height, frame.format.name):
            yield from _filtered(graph, None, waiting)
            graph = None
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None:
            source.note(f"{source.name}: interlaced, and deinterlaced")
            graph, shape = _deinterlacer(frame), (frame.width, frame.height, frame.format.name)
        waiting.append(frame)
        yield from _filtered(graph, frame, waiting)
    if graph is not None:
        yield from _filtered(graph, None, waiting)


def _deinterlacer(frame: av.VideoFrame) -> Graph:
    from av.filter import Graph

    graph = Graph()
    buffer = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    graph.link_nodes(
        buffer, graph.add("idet"), graph.add("yadif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph


def _filtered(graph: Graph, frame: av.VideoFrame | None, waiting: deque[av.VideoFrame]) -> Generator[av.VideoFrame]:
    """Pass a frame, or None at the end, to a filter that gives one frame for each. They have the times of the given."""
    from av.error import BlockingIOError as NothingYet
    from av.error import EOFError as AtEnd

    graph.vpush(frame)
    while waiting:
        try:
            made = graph.vpull()
        except (NothingYet, AtEnd):
            return
        given = waiting.popleft()
        made.pts, made.dts, made.time_base = given.pts, given.dts, given.time_base
        yield made


def find_joints(path: Path, container_format: str) -> list[int]:
    """Return the positions of a file from which it contains another recording, or a transport stream another video."""
    with suppress(OSError, ValueError), path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if container_format in _HEADS:
            return [match.start() for match in re.finditer(_HEADS[container_format], data)][1:]
        if "mp4" in container_format:
            return [head for kind, head, *_ in box_spans(data) if kind == b"ftyp" and head]
        return _joints_of_transport_stream(data) if container_format == "mpegts" else []
    return []


def _joints_of_transport_stream(data: mmap) -> list[int]:
    joints: list[int] = []
    videos: dict[bytes, list[tuple[int, int]]] = {}
    at = 0
    while (at := data.find(b"\0\2\xb0", at + 1)) >= 0:  # a pointer and the head of the table of a programme
        table = data[at + 1 : at + data[at + 3]]
        position = 12
        video_streams = list[tuple[int, int]]()
        if data[at - 4] != _SYNC or not data[at - 3] & 0x40 or len(table) < position:
            continue
        position += table[11]
        while position + 5 <= len(table):
            kind, number, length = struct.unpack_from(">BHH", table, position)
            video_streams += [(kind, number & 0x1FFF)] if kind in _TS_VIDEO else []
            position += 5 + (length & 0xFFF)
        if video_streams and video_streams != videos.setdefault(table[3:5], video_streams):
            videos[table[3:5]] = video_streams
            joints.append(max(data.rfind(b"\x47\x40\0", max(0, at - 4096), at), 0) or at - 4)
    return joints


def ends_early(path: Path, container_format: str) -> bool:
    """Check whether a GIF has no end marker, or the last part of an MP4 is longer than the file."""
    with suppress(OSError, ValueError), path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if container_format == "gif":
            return b"\0;" not in data[-64:]
        if "mp4" in container_format:
            last = [(kind, end) for kind, *_, end in box_spans(data) if kind in (b"mdat", b"moof")][-1:]
            return any(end > len(data) or kind == b"moof" for kind, end in last)
    return False


def open_container(
    opened: Path | BinaryIO, name: str, container_format: str | None = None, part: str = ""
) -> InputContainer:
    """Open a media file, a part of it, or a stream for reading; InputError where it is none."""
    import av

    file = part + str(opened.absolute()) if isinstance(opened, Path) else opened
    try:
        return av.open(
            file, "r", format=container_format, options={"protocol_whitelist": "file,subfile" if part else "file"}
        )
    except read_errors() as error:
        raise InputError(f"{name} is neither an image nor a video that can be read: {error.strerror}") from None


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """Return the main video stream with a decoder or None. Cover images of sound files have the lowest priority."""
    import av

    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or getattr(stream, "codec_context", None) is None:
        return None
    return stream


def stated_length_s(container: InputContainer, stream: av.VideoStream) -> float | None:
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


def deep_values(frame: av.VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint16]:
    """Return the 16-bit values of a frame: grey (H, W), or RGB (H, W, 3)."""
    target = "gray16le" if frame.format.name.startswith("gray") else "rgb48le"
    return np.asarray(reformatter.reformat(frame, format=target, threads=1).to_ndarray(), np.uint16)


def upright_rgb(
    frame: av.VideoFrame,
    reformatter: VideoReformatter | None = None,
    geometry: Geometry | None = None,
    size: tuple[int, int] | None = None,
    levels: Levels | None = None,
) -> Image:
    """Return a frame as RGB (H, W, 3), as players show it. By default, only its display matrix changes it.

    An image with another ratio of its sides than `size` gets black borders. `levels` stretch 16-bit values.
    `reformatter` keeps its tables.
    """
    import av
    from av.video.reformatter import VideoReformatter

    scaler, geometry = reformatter or VideoReformatter(), geometry or Geometry.of_frame(frame)
    is_plain = size is None and geometry.is_turn
    shown = geometry.shown_size(frame.width, frame.height)
    inner = fitted(shown, size) if size else shown
    width, height = inner[::-1] if geometry.transposed else inner
    is_hdr, is_cropped = frame.color_trc in HDR, any(geometry.crop)
    if levels is not None:
        eight = levels.eight_bits(deep_values(frame, scaler))
        grey_or_rgb = eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2)
        frame = av.VideoFrame.from_ndarray(grey_or_rgb, format="rgb24")
    scaled = (None, None) if is_cropped or is_plain else (width, height)
    target = "rgb48le" if is_hdr else "rgb24"
    # One thread: the decoder uses the other cores
    pixels = scaler.reformat(frame, *scaled, format=target, interpolation="BICUBIC", threads=1).to_ndarray()
    rgb = tone_curve(frame.color_trc)[np.asarray(pixels, np.uint16)] if is_hdr else np.asarray(pixels, np.uint8)
    if is_cropped:
        import cv2

        rgb = np.asarray(cv2.resize(geometry.cropped(rgb), (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    return bordered(geometry.turned(rgb), size) if size else geometry.turned(rgb)

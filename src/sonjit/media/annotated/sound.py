"""Carry the sound track of a source over to a video that is being written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sonjit.media.sources.base import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet


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

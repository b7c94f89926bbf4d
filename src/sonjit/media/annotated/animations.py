"""Write annotated images as a looping GIF or WebP animation."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.media.annotated.videos import ContainerWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from sonjit.media.annotated.writers import AnnotatedImage
    from sonjit.media.sources.base import Source

ANIMATION_ENDINGS = (".gif", ".webp")
_TICK_S = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}
_WEBP_OPTIONS = {"quality": "80", "compression_level": "2"}
_DITHERING = "new=1:dither=bayer:bayer_scale=5"  # its pattern is the same in every image


class AnimationWriter(ContainerWriter):
    """Encode images at the times given: a GIF with a palette for each image, or a WebP, which is far smaller.

    Times are rounded to the format's clock, 1/100 s of GIF and 1/1000 s of WebP. All images take the size of the
    first. RGBA images keep their alpha in WebP.
    """

    def __init__(self, path: Path, source: Source) -> None:
        super().__init__(path, {"loop": "0"})
        self._tick_s = _TICK_S[self._ending]
        self._rate = Fraction(source.fps or 30).limit_denominator(1001)
        self._palettes: Graph | None = None

    def _encode(self, image: AnnotatedImage, time: float) -> None:
        """Encode one image at `time`."""
        from av import VideoFrame

        rgb = image.rgb if image.rgb.ndim == 3 else np.repeat(image.rgb[..., None], 3, axis=2)
        stream = self._stream or self._begin(rgb.shape[1], rgb.shape[0])
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgba" if rgb.shape[2] == 4 else "rgb24")
        pixels = "rgb24" if self._palettes is not None else "bgra"
        frame = self._reformatter.reformat(frame, stream.width, stream.height, pixels)
        self._last_tick = frame.pts = max(round(time / self._tick_s), self._last_tick + 1)
        frame.time_base = self._tick_s
        for encoded in self._with_palette(frame):
            self._container.mux(stream.encode(encoded))

    def _begin(self, width: int, height: int) -> VideoStream:
        is_gif = self._ending == ".gif"
        name, pixels = ("gif", "pal8") if is_gif else ("libwebp_anim", "bgra")
        stream: Any = self._container.add_stream(name, rate=self._rate, options={} if is_gif else _WEBP_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = self._tick_s
        self._stream, self._palettes = stream, _palette_graph(width, height, self._tick_s) if is_gif else None
        return stream

    def _with_palette(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Return the frame for the encoder, reduced to its own 256 colours for GIF."""
        from av.error import BlockingIOError, EOFError

        if self._palettes is None:
            yield frame
            return
        self._palettes.push(frame)
        try:
            while True:
                yield self._palettes.pull()  # pyright: ignore[reportReturnType]  # a video graph returns video frames
        except (BlockingIOError, EOFError):
            return


def _palette_graph(width: int, height: int, time_base: Fraction) -> Graph:
    """Build the FFmpeg filters that reduce each image to its own 256 colours."""
    from av import VideoFormat
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=time_base)
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, sink = graph.add("paletteuse", _DITHERING), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette)
    split.link_to(use, output_idx=1)
    palette.link_to(use, input_idx=1)
    use.link_to(sink)
    graph.configure()
    return graph

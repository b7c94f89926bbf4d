"""Read animated WebP, which FFmpeg does not decode, as a video. GIF is read by FFmpeg.

Source: Google, WebP container specification, "Extended File Format" and "Animation".
"""

from collections.abc import Generator
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np

from sonjit.media.sources import images
from sonjit.media.sources.base import Source, SourceFrame

_ANIMATED: Final = 0b10  # flag of the first chunk
_CHUNKS: Final = 12  # offset of the first chunk


class AnimationSource(Source):
    """Images of an animated WebP at their own times."""

    kind = "video"

    def __init__(self, name: str, data: bytes, path: Path | None = None, fps: float | None = None) -> None:
        super().__init__(name)
        self.height, self.width = images.decode_image(data, name).shape[:2]
        self._data = data
        durations_s = _durations_s(data)
        self.count, self.files = len(durations_s), [path] if path is not None else []
        self.fps = fps or (len(durations_s) / sum(durations_s) if sum(durations_s) else None)
        self._times_s = [index / fps for index in range(self.count)] if fps else [0.0, *accumulate(durations_s)]

    def _frames(self) -> Generator[SourceFrame]:
        from PIL.Image import open as open_image

        with open_image(BytesIO(self._data)) as image:
            for index in range(self.count or 0):
                try:
                    image.seek(index)
                    rgb = np.array(image.convert("RGBA"))[..., :3]
                except (OSError, EOFError, ValueError, SyntaxError) as error:
                    self.problems.append(f"{self.name}: image {index} cannot be read: {error}")
                    return
                yield SourceFrame(index, self._times_s[index], np.ascontiguousarray(rgb))


def is_animated(head: bytes) -> bool:
    """Check whether the first bytes of a file are those of an animated WebP."""
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20:21] and head[20] & _ANIMATED)


def _durations_s(data: bytes) -> list[float]:
    """Return how long each image of an animated WebP is shown, in seconds."""
    durations_s, at = list[float](), _CHUNKS
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"ANMF":
            durations_s.append(int.from_bytes(data[at + 20 : at + 23], "little") / 1000)
        at += 8 + size + size % 2
    return durations_s

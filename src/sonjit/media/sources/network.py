"""Read live video from network cameras, only at the address that the user passed."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from sonjit._util.errors import InputError
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.video import decoded_frames, upright_rgb, video_stream

if TYPE_CHECKING:
    from collections.abc import Generator

    from av.container import InputContainer

ADDRESS_STARTS = ("rtsp://", "rtsps://", "http://", "https://")
_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,crypto,httpproxy"  # no file: an address opens nothing on this disk
_OPEN_S, _READ_S = 10.0, 5.0
"""Time limits of opening a camera and of reading an image."""


def is_address(named: str) -> bool:
    """Check whether an input is the address of a network camera."""
    return named.lower().startswith(ADDRESS_STARTS)


class NetworkCameraSource(Source):
    """Images of a network camera (RTSP, MJPEG or HLS over HTTP), always the newest one, as `CameraSource` gives them.

    `index` counts all images received; `time` is the wall time in seconds since it was opened, taken when the image
    arrived. If the camera ends the stream, or sends nothing for five seconds, the images end. `problems`
    contains the reason.

    Args:
        address: Address such as `rtsp://user:password@host/stream`; `name` omits user and password.

    Raises:
        InputError: Nothing answers, what answers is no live video, or SONJIT_OFFLINE is set.
    """

    kind = "camera"
    depth: ClassVar[int] = 1
    live: ClassVar[bool] = True

    def __init__(self, address: str) -> None:
        super().__init__(re.sub(r"(?<=://)[^/@]*@", "", address))
        if os.environ.get("SONJIT_OFFLINE", "") not in ("", "0"):
            raise InputError(f"SONJIT_OFFLINE is set and {self.name} is in the network; unset it to read that camera")
        self._container = _open(address, self.name)
        stream = video_stream(self._container)
        problem = None
        if stream is None:
            problem = "contains no video stream. Use the address of the video"
        elif self._container.duration:
            problem = f"is a recording of {self._container.duration / 1e6:.0f} s; download it and name the file"
        if stream is None or problem:
            self._container.close()
            raise InputError(f"{self.name} {problem}")
        self._stream = stream
        self._start_s = time.monotonic()
        self.width, self.height = stream.width or None, stream.height or None

    def close(self) -> None:
        """Stop reading and leave the camera; waits for an image that is under way, five seconds at most."""
        super().close()
        self._container.close()

    def _frames(self) -> Generator[SourceFrame]:
        damage = Counter[str]()
        for index, frame in enumerate(decoded_frames(self._container, self._stream, damage)):
            yield SourceFrame(index, time.monotonic() - self._start_s, upright_rgb(frame))
        why = f": {next(iter(damage))}" if damage else ""
        self.problems.append(f"{self.name} ended after {time.monotonic() - self._start_s:.1f} s{why}")


def _open(address: str, name: str) -> InputContainer:
    import av
    from av.error import FFmpegError

    options = {"protocol_whitelist": _PROTOCOLS, "rtsp_transport": "tcp", "fflags": "nobuffer"}
    try:
        return av.open(address, "r", options=options, timeout=(_OPEN_S, _READ_S))
    except (FFmpegError, OSError) as error:
        raise InputError(
            f"{name} cannot be opened: {error.strerror}; check the address, and whether it is on"
        ) from None

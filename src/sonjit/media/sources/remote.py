"""Read live video from network cameras, and files from remote storage (`s3://`, `gs://` and others of fsspec)."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias
from urllib.parse import urlsplit

from sonjit._util import InputError, optional_import
from sonjit._util.addresses import ADDRESS_STARTS, is_address, is_offline, shown_name
from sonjit._util.files import WorkFolder
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.geometry import Geometry
from sonjit.media.sources.live import LiveClock, Packets, arrivals
from sonjit.media.sources.video import UNTIMED, decoded, deinterlaced, read_errors, upright_rgb, video_stream

if TYPE_CHECKING:
    from collections.abc import Generator

    from av.container import InputContainer

_VIDEO_SITES: Final = (
    *("youtube.com", "youtu.be", "vimeo.com", "tiktok.com", "instagram.com", "facebook.com", "twitch.tv"),
    *("bilibili.com", "dailymotion.com", "x.com", "twitter.com", "naver.com", "kakao.com"),
)
"""Sites whose addresses are those of pages with a video."""
_PROTOCOLS = "rtsp,rtsps,rtmp,rtmps,rtmpt,srt,rtp,udp,tcp,tls,http,https,crypto,httpproxy"
"""No file: an address opens nothing on this disk."""
_OPEN_S, _READ_S = 10.0, 5.0  # time limits of opening a camera and of reading an image
_HERE = ("file", "local", "memory")
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
File: TypeAlias = "Path | RemoteFile"  # an input on this machine or on remote storage


class NetworkCameraSource(Source):
    """Images of a network camera or stream (RTSP, RTMP, SRT, MJPEG, MPEG-TS or HLS), in order.

    `time` is that of the stream, in seconds from its first image, so that images that arrive in bursts have their own
    times. Each image is given when it is due. If the caller is slow, images are dropped, and `index` shows the gap.
    Streams without times get those of arrival.

    If the camera ends the stream, or sends nothing for five seconds (RTSP: ten), the images end, and `problems` has the
    reason.
    With `reconnect_s` the images continue after a gap in `time`, which `notes` names. `name` omits the user, the
    password and values of the query. Raise InputError if nothing answers, or no live video.
    """

    kind = "camera"
    depth: ClassVar[int] = 2
    live: ClassVar[bool] = True
    newest: ClassVar[bool] = False

    def __init__(self, address: str, reconnect_s: float = 0.0) -> None:
        super().__init__(shown_name(address))
        if is_offline():
            raise InputError(f"SONJIT_OFFLINE is set and {self.name} is in the network; unset it to read that camera")
        self._address = address
        self._reconnect_s = reconnect_s
        self._is_closed = threading.Event()
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
        self.width, self.height = stream.width or None, stream.height or None

    def close(self) -> None:
        """Stop reading and leave the camera; waits for a packet that is under way, five seconds at most."""
        self._is_closed.set()
        super().close()
        self._container.close()

    def _frames(self) -> Generator[SourceFrame]:
        clock, index, size = LiveClock(), 0, None
        while True:
            packets, arrived = Packets(self._container, self._stream), [0.0]
            is_untimed = bool(self._container.format.flags & UNTIMED)
            try:
                frames = decoded(arrivals(packets, arrived), self._stream, packets.damage)
                for frame in deinterlaced(frames, self):
                    stamp_s = None
                    if frame.pts is not None and frame.time_base is not None and not is_untimed:
                        stamp_s = float(frame.pts * frame.time_base)
                    time_s = clock.time_of(stamp_s, arrived[0])
                    wait_s = clock.wait_s(time.monotonic())
                    if wait_s > 0 and self._is_closed.wait(wait_s):
                        return
                    if wait_s > -math.inf:
                        aspect = self._stream.sample_aspect_ratio
                        self.geometry = geometry = Geometry.of_frame(frame, aspect, before=self.geometry)
                        size = size or geometry.shown_size(frame.width, frame.height)
                        yield SourceFrame(index, time_s, upright_rgb(frame, None, geometry, size))
                    index += 1
                    self._note_times(clock)
            finally:
                packets.close()
            why = f": {next(iter(packets.damage))}" if packets.damage else ""
            lost_s = time.monotonic()
            if not self._reconnect(lost_s):
                self.problems.append(f"{self.name} ended after {clock.last_s:.1f} s{why}")
                return
            gap_s = time.monotonic() - lost_s
            self.note(f"{self.name} sent nothing from {clock.last_s:.1f} s for {gap_s:.1f} s{why}")
            clock.restart()

    def _note_times(self, clock: LiveClock) -> None:
        if not clock.is_timed:
            self.note(f"{self.name}: its images have no times and get those of their arrival")
        elif clock.restarts:
            self.note(f"{self.name}: its clock restarts. The time continues")

    def _reconnect(self, lost_s: float) -> bool:
        """Open a lost camera again, once a second, and return whether it answers within the time limit."""
        self._container.close()
        while time.monotonic() - lost_s < self._reconnect_s and not self._is_closed.wait(1):
            with suppress(InputError):
                self._container = _open(self._address, self.name)
                if (stream := video_stream(self._container)) is not None:
                    self._stream = stream
                    return True
                self._container.close()
        return False


def _open(address: str, name: str) -> InputContainer:
    import av
    from av.error import InvalidDataError, ProtocolNotFoundError

    options = {
        "protocol_whitelist": _PROTOCOLS,
        "rtsp_transport": "tcp",
        "fflags": "nobuffer",
        "overrun_nonfatal": "1",  # of UDP
    }
    try:
        return av.open(address, "r", options=options, timeout=(_OPEN_S, _READ_S))
    except ProtocolNotFoundError:
        scheme = address.partition("://")[0]
        raise InputError(f"{name}: the FFmpeg in this PyAV does not read {scheme}://") from None
    except read_errors() as error:
        reason = f"{error.strerror}; {_advice(address, is_data=isinstance(error, InvalidDataError))}"
        raise InputError(f"{name} cannot be opened: {reason}") from None


def _advice(address: str, *, is_data: bool) -> str:
    """Return what to do about an address that is no stream. `is_data`: it answered with something else."""
    host = (urlsplit(address).hostname or "").removeprefix("www.").removeprefix("m.")
    if any(host == site or host.endswith(f".{site}") for site in _VIDEO_SITES):
        return "it is the address of a page. Download the video, and name the file"
    if is_data and address.startswith("http"):
        return "it answers, but not with a video, such as a page to sign in. Name the address of the stream itself"
    return "check the address, and whether it is on"


def is_remote(named: str) -> bool:
    """Check whether an input is on remote storage. Addresses of cameras are not."""
    return re.match(r"[a-z][a-z0-9+]+://", named) is not None and not is_address(named)


@dataclass(frozen=True)
class RemoteFile(os.PathLike[str]):
    """One file on remote storage, with as much of `Path` as inputs need."""

    url: str  # URL such as `s3://bucket/clips/a.mp4`

    def __str__(self) -> str:
        return shown_name(self.url)

    def __fspath__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Return the name after the last slash."""
        return self._path.name

    @property
    def stem(self) -> str:
        """Return the name without its extension."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """Return the extension with its dot."""
        return self._path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts of the path from the bucket to the file name."""
        return tuple(part for part in self._path.parts if part != "/")

    @property
    def version(self) -> list[str]:
        """Return the size and, if available, the hash or time of the file, to detect changes."""
        with _storage(self.url) as (system, path):
            about = system.info(path)
        return [str(about.get("size")), *(f"{name}={about[name]}" for name in _VERSIONS if about.get(name))]

    def read_bytes(self) -> bytes:
        """Read the complete file."""
        with _storage(self.url) as (system, path):
            return bytes(system.cat_file(path))

    def fetch(self) -> WorkFolder:
        """Download the file into a temporary folder under its own name."""
        folder = WorkFolder()
        with _storage(self.url) as (system, path):
            system.get_file(path, str(Path(folder.name) / self.name))
        return folder

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(shown_name(self.url).partition("://")[2])


def remote_files(named: str) -> list[RemoteFile] | None:
    """Return all files of a remote folder (without subfolders) or glob; None for a single file."""
    with _storage(named) as (system, path):
        if any(mark in path for mark in "*?["):
            locations = system.glob(path)
        elif system.isdir(path):
            locations = system.ls(path, detail=False)
        elif system.exists(path):
            return None
        else:
            raise InputError(f"{shown_name(named)}: no such file or folder")
        return [
            RemoteFile(str(system.unstrip_protocol(location)))
            for location in locations
            if location.rstrip("/") != path.rstrip("/")
        ]


@contextmanager
def _storage(url: str) -> Generator[tuple[Any, str]]:
    """Yield the file system and path of a URL, and convert its errors to InputError."""
    scheme, name = url.partition("://")[0], shown_name(url)
    if scheme not in _HERE and is_offline():
        raise InputError(f"SONJIT_OFFLINE is set and {name} is in the network; unset it, or copy the file")
    with optional_import(f"{scheme}://", "remote"):
        import fsspec
    try:
        yield fsspec.url_to_fs(url)
    except (InputError, KeyboardInterrupt):
        raise
    except ImportError as error:  # the storage's own package
        raise InputError(f"{name}: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        starts = f"{', '.join(ADDRESS_STARTS)} of a camera, s3://, gs:// and other storage of fsspec"
        reason = str(error).replace(url, name)
        raise InputError(f"{name} cannot be opened ({reason}); an address begins with {starts}") from None
    except Exception as error:  # each storage raises its own
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise InputError(f"{name} cannot be read: {reason.splitlines()[0].replace(url, name)}") from None

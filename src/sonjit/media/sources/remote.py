"""Read live video from network cameras, and files from remote storage (`s3://`, `gs://` and others of fsspec)."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from sonjit._util import InputError, optional_import
from sonjit._util.files import WorkFolder
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.geometry import Geometry
from sonjit.media.sources.video import decoded_frames, read_errors, upright_rgb, video_stream

if TYPE_CHECKING:
    from collections.abc import Generator

    from av.container import InputContainer

ADDRESS_STARTS = ("rtsp://", "rtsps://", "http://", "https://")
_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,crypto,httpproxy"  # no file: an address opens nothing on this disk
_OPEN_S, _READ_S = 10.0, 5.0  # time limits of opening a camera and of reading an image
_HERE = ("file", "local", "memory")
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
File: TypeAlias = "Path | RemoteFile"  # an input on this machine or on remote storage


def is_address(named: str) -> bool:
    """Check whether an input is the address of a network camera."""
    return named.lower().startswith(ADDRESS_STARTS)


class NetworkCameraSource(Source):
    """Images of a network camera (RTSP, MJPEG or HLS over HTTP), always the newest one, as `CameraSource` gives them.

    If the camera ends the stream, or sends nothing for five seconds, the images end. `problems` contains the reason.
    With `reconnect_s` the images continue after a gap in `time`, which `notes` names. `name` omits the user and
    password of the address. Raise InputError if nothing answers, or no live video.
    """

    kind = "camera"
    depth: ClassVar[int] = 1
    live: ClassVar[bool] = True

    def __init__(self, address: str, reconnect_s: float = 0.0) -> None:
        super().__init__(re.sub(r"(?<=://)[^/@]*@", "", address))
        if os.environ.get("SONJIT_OFFLINE", "") not in ("", "0"):
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
        self._start_s = time.monotonic()
        self.width, self.height = stream.width or None, stream.height or None

    def close(self) -> None:
        """Stop reading and leave the camera; waits for an image that is under way, five seconds at most."""
        self._is_closed.set()
        super().close()
        self._container.close()

    def _frames(self) -> Generator[SourceFrame]:
        index, size = 0, None
        while True:
            damage = Counter[str]()
            for frame in decoded_frames(self._container, self._stream, damage):
                aspect = self._stream.sample_aspect_ratio
                self.geometry = geometry = Geometry.of_frame(frame, aspect, before=self.geometry)
                size = size or geometry.shown_size(frame.width, frame.height)
                yield SourceFrame(index, time.monotonic() - self._start_s, upright_rgb(frame, None, geometry, size))
                index += 1
            lost_s, why = time.monotonic(), f": {next(iter(damage))}" if damage else ""
            if not self._reconnect(lost_s):
                self.problems.append(f"{self.name} ended after {lost_s - self._start_s:.1f} s{why}")
                return
            gap_s = time.monotonic() - lost_s
            self.notes.append(f"{self.name} sent nothing from {lost_s - self._start_s:.1f} s for {gap_s:.1f} s{why}")

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

    options = {"protocol_whitelist": _PROTOCOLS, "rtsp_transport": "tcp", "fflags": "nobuffer"}
    try:
        return av.open(address, "r", options=options, timeout=(_OPEN_S, _READ_S))
    except read_errors() as error:
        reason = f"{error.strerror}; check the address, and whether it is on"
        raise InputError(f"{name} cannot be opened: {reason}") from None


def is_remote(named: str) -> bool:
    """Check whether an input is on remote storage. Addresses of cameras are not."""
    return re.match(r"[a-z][a-z0-9+]+://", named) is not None and not is_address(named)


@dataclass(frozen=True)
class RemoteFile(os.PathLike[str]):
    """One file on remote storage, with as much of `Path` as inputs need."""

    url: str  # URL such as `s3://bucket/clips/a.mp4`

    def __str__(self) -> str:
        return self.url

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
        return PurePosixPath(self.url.partition("://")[2])


def remote_files(named: str) -> list[RemoteFile] | None:
    """Return all files of a remote folder (without subfolders) or glob; None for a single file."""
    with _storage(named) as (system, path):
        if any(mark in path for mark in "*?["):
            found = system.glob(path)
        elif system.isdir(path):
            found = system.ls(path, detail=False)
        elif system.exists(path):
            return None
        else:
            raise InputError(f"{named}: no such file or folder")
        return [
            RemoteFile(str(system.unstrip_protocol(location)))
            for location in found
            if location.rstrip("/") != path.rstrip("/")
        ]


@contextmanager
def _storage(url: str) -> Generator[tuple[Any, str]]:
    """Yield the file system and path of a URL, and convert its errors to InputError."""
    scheme = url.partition("://")[0]
    if scheme not in _HERE and os.environ.get("SONJIT_OFFLINE", "") not in ("", "0"):
        raise InputError(f"SONJIT_OFFLINE is set and {url} is in the network; unset it, or copy the file")
    with optional_import(f"{scheme}://", "remote"):
        import fsspec
    try:
        yield fsspec.url_to_fs(url)
    except (InputError, KeyboardInterrupt):
        raise
    except ImportError as error:  # the storage's own package
        raise InputError(f"{url}: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        addresses = "rtsp://, rtsps://, http:// or https:// of a camera, s3://, gs:// and other storage of fsspec"
        raise InputError(f"{url} cannot be opened ({error}); an address begins with {addresses}") from None
    except Exception as error:  # each storage raises its own
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise InputError(f"{url} cannot be read: {reason.splitlines()[0]}") from None

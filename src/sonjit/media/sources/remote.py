"""Read files from remote storage (`s3://`, `gs://` and others of fsspec), one at a time."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit._util.files import WorkFolder
from sonjit.media.sources.network import is_address

if TYPE_CHECKING:
    from collections.abc import Generator

_HERE = ("file", "local", "memory")
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


File: TypeAlias = "Path | RemoteFile"
"""An input on this machine or on remote storage."""


def is_remote(named: str) -> bool:
    """Check whether an input is on remote storage. Addresses of cameras are not."""
    return re.match(r"[a-z][a-z0-9+]+://", named) is not None and not is_address(named)


@dataclass(frozen=True)
class RemoteFile(os.PathLike[str]):
    """One file on remote storage, with as much of `Path` as inputs need.

    Attributes:
        url: URL such as `s3://bucket/clips/a.mp4`.
    """

    url: str

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
    """Return all files of a remote folder (without subfolders) or glob; None for a single file.

    Raises:
        InputError: Nothing is there, it cannot be reached, or SONJIT_OFFLINE is set.
        MissingExtraError: The package fsspec is not installed.
    """
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
        addresses = (
            "rtsp://, rtsps://, http:// or https:// of a camera, s3://, gs:// and other storage that fsspec knows"
        )
        raise InputError(f"{url} cannot be opened ({error}); an address begins with {addresses}") from None
    except Exception as error:  # each storage raises its own
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise InputError(f"{url} cannot be read: {reason.splitlines()[0]}") from None

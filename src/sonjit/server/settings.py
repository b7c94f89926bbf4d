"""Settings of the server: its address, its access rules and its limits."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sonjit._util.errors import InputError

MB = 1_000_000
"""Bytes of a megabyte."""
_LIMITS = (
    "queue", "max_clients", "max_rate", "max_body_mb", "max_megapixels", "max_job_mb", "max_job_minutes", "max_jobs",
    "keep_jobs", "max_disk_mb", "read_timeout_s", "idle_minutes",
)  # fmt: skip
"""Limits that clients can read."""
_MAX_LIMIT = 1e9
"""Maximum value of a limit."""
_MAX_WORKERS = 1024
"""Maximum number of workers."""


@dataclass(frozen=True)
class Settings:
    """Options of `sonjit serve`.

    Attributes:
        host: Name or address to listen on.
        token: Secret that every request must contain; required beyond loopback.
        tls_cert: PEM file with the certificate for https; requires `tls_key`.
        tls_key: PEM file with the certificate's key; may be the same file.
        allow_origins: Origins of other pages that may call the server, such as `http://localhost:3000`.
        queue: Maximum number of waiting frames of a stream; the oldest are dropped.
        workers: Number of threads that decode and detect, each on one core.
        max_models: Maximum number of unused detectors.
        max_clients: Maximum number of streams, and of single images, at a time.
        max_rate: Maximum number of requests per second from one address.
        max_body_mb: Maximum size of an image or a frame in megabytes.
        max_megapixels: Maximum size of an image or a frame in megapixels.
        max_job_mb: Maximum size of the upload of a job in megabytes.
        max_job_minutes: Maximum run time of a job.
        max_jobs: Maximum number of jobs that upload, wait or run.
        keep_jobs: Number of finished jobs whose files are kept.
        max_disk_mb: Maximum size of the files of all jobs in megabytes.
        read_timeout_s: Maximum pause of an incoming request in seconds.
        idle_minutes: Maximum pause of a stream in minutes.
        jobs_folder: Folder of jobs that survive the server; None for a temporary folder.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_origins: tuple[str, ...] = ()
    queue: int = 2
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_models: int = 8
    max_clients: int = 16
    max_rate: float = 200
    max_body_mb: float = 20
    max_megapixels: float = 50
    max_job_mb: float = 2000
    max_job_minutes: float = 60
    max_jobs: int = 8
    keep_jobs: int = 20
    max_disk_mb: float = 20_000
    read_timeout_s: float = 20
    idle_minutes: float = 10
    jobs_folder: Path | None = None

    def __post_init__(self) -> None:
        """Check the settings. Raise InputError with one line."""
        for name in ("workers", *_LIMITS):
            maximum = _MAX_WORKERS if name == "workers" else _MAX_LIMIT
            if not 0 < getattr(self, name) <= maximum:
                raise InputError(f"{option_name(name)} {getattr(self, name)}: give more than 0 and at most {maximum:g}")
        if self.max_models < 0:
            raise InputError(f"--max-models {self.max_models}: give 0 or more")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise InputError("--token: give printable ASCII characters")
        if self.token is None and not is_loopback(self.host):
            raise InputError(f"--host {self.host} can be reached from other machines: give a --token as well")
        if self.tls_cert is not None or self.tls_key is not None:
            from sonjit.server.certificate import check_certificate  # most servers speak http, and it is slow to import

            check_certificate(self.tls_cert, self.tls_key)
        for origin in self.allow_origins:
            if not _is_origin(origin):
                raise InputError(f"--allow-origin {origin}: give scheme, name and port, e.g. http://localhost:3000")

    @property
    def max_body_bytes(self) -> int:
        """Maximum size of an image or a frame in bytes."""
        return int(self.max_body_mb * MB)

    @property
    def max_job_bytes(self) -> int:
        """Maximum size of the upload of a job in bytes."""
        return int(self.max_job_mb * MB)

    @property
    def max_disk_bytes(self) -> int:
        """Maximum size of the files of all jobs in bytes."""
        return int(self.max_disk_mb * MB)

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image or a frame."""
        return int(self.max_megapixels * 1e6)

    def limits(self) -> dict[str, int | float]:
        """Return the limits that clients can read, by name."""
        return {name: getattr(self, name) for name in _LIMITS}


def option_name(name: str) -> str:
    """Return the name of a setting on the command line.

    >>> option_name("read_timeout_s")
    '--read-timeout'
    """
    return "--" + name.removesuffix("_s").replace("_", "-")


def is_loopback(host: str) -> bool:
    """Check whether a name or address means only this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # refuses what is not a number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"
